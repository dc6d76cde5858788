//! A lookup without a request: while a circuit is open, no request reaches the transport to look the name up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::TransportInner;
use crate::clock;
use crate::dns::{AddressFilter, Answer, Resolution, Resolve};

/// The name of a destination, and how it is looked up.
pub(super) struct Name {
    name: Box<str>,
    resolver: Arc<dyn Resolve>,
    filter: AddressFilter,
    limit: Duration,
    /// Until this instant the resolver is not called again, because it had to send a query.
    look_again: Mutex<Option<Instant>>,
}

impl Name {
    pub(super) fn new(name: &str, shared: &TransportInner, filter: &AddressFilter) -> Self {
        Self {
            name: name.into(),
            resolver: Arc::clone(&shared.resolver),
            filter: filter.clone(),
            limit: shared.timeouts.dns(),
            look_again: Mutex::default(),
        }
    }

    /// Passes on the cached addresses immediately. If the resolver has to send a query, a task waits for the result.
    /// That happens at most once a second.
    pub(super) fn lookup(&self, take_in: impl FnOnce(&Answer) + Send + 'static) {
        let now = clock::now();
        if self.look_again().is_some_and(|at| now < at) {
            return;
        }
        let filter = self.filter.clone();
        let take_in = move |answer| {
            if let Ok(answer) = filter.retain(&answer) {
                take_in(&answer);
            }
        };
        match self.resolver.resolve_within(&self.name, self.limit) {
            Resolution::Cached(Ok(answer)) => take_in(answer),
            Resolution::Cached(Err(_)) => {}
            Resolution::Pending(asking) => {
                *self.look_again() = Some(clock::after(now, LOOK_AGAIN));
                let Ok(runtime) = Handle::try_current() else {
                    return;
                };
                let limit = self.limit;
                runtime.spawn(async move {
                    if let Ok(Ok(answer)) = timeout(limit, asking).await {
                        take_in(answer);
                    }
                });
            }
        }
    }

    fn look_again(&self) -> MutexGuard<'_, Option<Instant>> {
        self.look_again
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shortest interval between the queries of a resolver without a cache.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
