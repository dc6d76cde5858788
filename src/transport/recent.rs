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
    authority: Authority,
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
    let recent = Recent {
        scheme: scheme.clone(),
        authority: authority.clone(),
        destination: Arc::downgrade(destination),
        until: clock::after(now, LOOK_AGAIN),
    };
    let _ = RECENT.try_with(|kept| kept.try_borrow_mut().ok()?.replace(recent));
}

impl Recent {
    fn is_of(&self, uri: &Uri, now: Instant) -> bool {
        now < self.until
            && uri.authority().map(Authority::as_str) == Some(self.authority.as_str())
            && uri.scheme() == Some(&self.scheme)
    }
}

thread_local! {
    static RECENT: RefCell<Option<Recent>> = const { RefCell::new(None) };
}

/// The registry counts uses by the second.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);
