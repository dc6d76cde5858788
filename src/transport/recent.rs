//! Each thread remembers the destination of its latest request, so that it is not looked up for each request.

use std::cell::RefCell;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};
use tokio::time::Instant;

use super::destinations::DestinationPool;
use crate::clock;

/// A destination. It is held weakly: the registry forgets it as it would without this.
struct Recent {
    scheme: Scheme,
    /// A copy: a slice would keep the whole URL, with its query.
    authority: Box<str>,
    destination: Weak<DestinationPool>,
    /// Until this instant the registry need not be notified that it is in use.
    until: Instant,
}

/// Returns the destination of the thread's latest request, if this request goes there, too.
pub(super) fn recent(uri: &Uri, now: Instant) -> Option<Arc<DestinationPool>> {
    // A thread that ends remembers nothing.
    let recent = RECENT.try_with(|recent| {
        let recent = recent.try_borrow().ok()?;
        let recent = recent.as_ref().filter(|recent| recent.is_of(uri, now))?;
        recent.destination.upgrade()
    });
    recent.ok().flatten()
}

/// Remembers the destination of a request.
pub(super) fn remember(destination: &Arc<DestinationPool>, uri: &Uri, now: Instant) {
    let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
        return;
    };
    if authority.as_str().contains('@') {
        // Userinfo is a secret, too.
        return;
    }
    let recent = Recent {
        scheme: scheme.clone(),
        authority: authority.as_str().into(),
        destination: Arc::downgrade(destination),
        until: clock::after(now, LOOK_AGAIN),
    };
    let _ = RECENT.try_with(|kept| kept.try_borrow_mut().ok()?.replace(recent));
}

impl Recent {
    fn is_of(&self, uri: &Uri, now: Instant) -> bool {
        now < self.until
            && uri.authority().map(Authority::as_str) == Some(&*self.authority)
            && uri.scheme() == Some(&self.scheme)
    }
}

thread_local! {
    static RECENT: RefCell<Option<Recent>> = const { RefCell::new(None) };
}

/// The registry counts uses by the second.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::transport::destinations::DestinationPools;
    use crate::transport::pool::bounds::Bounds;
    use crate::transport::proxy::{Choice, Proxies};
    use crate::transport::routing::Routing;
    use crate::transport::target::Target;

    fn remembered(uri: &str) -> (Arc<DestinationPool>, Uri) {
        let uri: Uri = uri.parse().unwrap();
        let routing = || {
            let target = Target::of(&uri, &mut HeaderMap::new()).unwrap();
            let straight = Proxies::of(&Choice::Straight, "", |_| None).unwrap();
            Routing::new(target, &straight)
        };
        let destinations = DestinationPools::new(1, Bounds::new(1));
        (destinations.of(&uri, clock::now(), routing).unwrap(), uri)
    }

    #[test]
    fn rest_of_the_url_is_not_kept() {
        let (_destination, uri) = remembered("http://a.test/v1?token=secret");
        assert!(recent(&uri, clock::now()).is_some());
        let kept = RECENT.with_borrow(|recent| recent.as_ref().map(|it| it.authority.as_ptr()));
        let given = uri.authority().map(|authority| authority.as_str().as_ptr());
        assert_ne!(kept, given, "a slice of the URL keeps all of it");
    }

    #[test]
    fn userinfo_is_not_kept() {
        let (_destination, uri) = remembered("http://user:secret@b.test/");
        assert!(recent(&uri, clock::now()).is_none());
        assert!(RECENT.with_borrow(Option::is_none));
    }
}
