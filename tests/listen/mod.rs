//! Listens to spans and events on one test's thread.

use std::sync::OnceLock;

use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Dispatch, Subscriber};

/// Registers a subscriber on this thread until the returned policy is dropped.
pub(crate) fn listen(subscriber: impl Subscriber + Send + Sync + 'static) -> DefaultGuard {
    // With only one subscriber, tracing caches the interest that the first thread reports for a span. With a second
    // subscriber it asks all of them.
    static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
    ANOTHER.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
    set_default(subscriber)
}
