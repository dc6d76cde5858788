//! Listening to spans and events on one test's thread.

use std::sync::OnceLock;

use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Dispatch, Subscriber};

/// Lets a subscriber listen on this thread until what is returned is dropped.
pub(crate) fn listen(subscriber: impl Subscriber + Send + Sync + 'static) -> DefaultGuard {
    // Where there is only one subscriber, tracing asks whichever thread comes first whether anybody is
    // interested in a span: with a second one it asks them all.
    static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
    ANOTHER.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
    set_default(subscriber)
}
