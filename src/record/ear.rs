//! How a tracker reaches the hooks of foreign clients, which carry nothing for us: by the task that
//! polls them. Only the tracker travels so; behaviour never does. (What a call takes over from an
//! operation around it, and why no more: `call/around.rs`.)

use std::sync::Arc;

use tokio::task::futures::TaskLocalFuture;

use super::tracker::Tracker;

tokio::task_local! {
    static CURRENT: Arc<Tracker>;
}

/// The tracker of the attempt that is being polled right here, if any.
pub(crate) fn current() -> Option<Arc<Tracker>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// Whether `tracker` is the one of the attempt that is being polled right here.
#[cfg(any(feature = "hyper", feature = "reqwest"))]
pub(crate) fn is_current(tracker: &Arc<Tracker>) -> bool {
    CURRENT
        .try_with(|current| Arc::ptr_eq(current, tracker))
        .unwrap_or(false)
}

/// Lets `future` report to `tracker`.
pub(crate) fn scope<F: Future>(tracker: Arc<Tracker>, future: F) -> Scoped<F> {
    CURRENT.scope(tracker, future)
}

/// Lets what `poll` does report to `tracker`.
pub(crate) fn sync_scope<T>(tracker: Arc<Tracker>, poll: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(tracker, poll)
}

/// A future that reports to a tracker.
pub(crate) type Scoped<F> = TaskLocalFuture<Arc<Tracker>, F>;
