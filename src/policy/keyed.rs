//! The user's function that groups requests into circuits, budgets and limits.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Uri};
use tokio::time::Instant;

use crate::callback::{Panicked, Site, require};
use crate::destination::{Destination, Origin};
use crate::error::Error;
use crate::registry::{Entry, Registry};

/// The user's function, behind `catch_unwind`. It maps a request to the destination whose circuit and budget it uses.
pub(crate) type DestinationKey = Arc<dyn Fn(&Method, &Uri, &HeaderMap) -> Keying + Send + Sync>;
type Keying = Result<Option<Destination>, Panicked>;

/// Puts the user's function behind `catch_unwind`.
pub(crate) fn destination_key(
    site: Site,
    key: impl Fn(&Method, &Uri, &HeaderMap) -> Option<Destination> + Send + Sync + 'static,
) -> DestinationKey {
    Arc::new(move |method, uri, headers| require(&site, || key(method, uri, headers)))
}

/// The caller of a policy: a request, or an operation with the name of its destination.
pub(crate) enum Subject<'s, B> {
    Request(&'s Request<B>),
    Destination(&'s Destination),
}

impl<B> Clone for Subject<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for Subject<'_, B> {}

/// The state of a destination, and its rules; `None` if the destination has no name.
pub(crate) type Found<T, R> = Option<(Arc<T>, R)>;

/// Returns the state of a subject's destination, or of the destination that the user's function names, and its rules.
/// `None` if the function names none. `rules` receives the name that the function gave.
///
/// # Errors
///
/// Fails if the user's function panics.
pub(crate) fn state_of<T: Entry, R: Copy, B>(
    (registry, key): (&Registry<T>, Option<&DestinationKey>),
    subject: Subject<'_, B>,
    now: Instant,
    (rules, new): (
        impl FnOnce(Option<&Destination>) -> R,
        impl FnOnce(&Destination, R) -> T,
    ),
) -> Result<Found<T, R>, Error> {
    let named = match (subject, key) {
        (Subject::Request(request), None) => {
            let origin = Origin::of_request(request.uri());
            if let Some(known) = registry.get(&origin, now) {
                return Ok(Some((known, rules(None))));
            }
            Some(origin.to_destination())
        }
        (Subject::Request(request), Some(key)) => {
            let named = key(request.method(), request.uri(), request.headers());
            named.map_err(|panicked| Error::invalid().caused_by(panicked))?
        }
        (Subject::Destination(destination), _) => Some(destination.clone()),
    };
    Ok(named.map(|destination| {
        let is_named = matches!(subject, Subject::Request(_)) && key.is_some();
        let rules = rules(Some(&destination).filter(|_| is_named));
        let known = registry.find(&destination, now);
        let state = known.unwrap_or_else(|| {
            let new = new(&destination, rules);
            registry.get_or_keep(destination, new, now)
        });
        (state, rules)
    }))
}
