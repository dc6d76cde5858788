//! How a tracker reaches the hooks of foreign clients, which do not pass it on: by the task that polls them. Only the
//! tracker is passed in this way, never a config. (`call/ambient.rs` explains which facts a call takes over from an
//! operation around it, and why no others.)

use std::sync::Arc;

use tokio::task::futures::TaskLocalFuture;

use super::tracker::Tracker;

tokio::task_local! {
    static CURRENT: Arc<Tracker>;
}

/// Returns the tracker of the attempt that is being polled in this task, if there is one.
pub(crate) fn current() -> Option<Arc<Tracker>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// Returns whether `tracker` belongs to the attempt that is being polled in this task.
#[cfg(any(feature = "hyper-util", feature = "reqwest"))]
pub(crate) fn is_current(tracker: &Arc<Tracker>) -> bool {
    CURRENT
        .try_with(|current| Arc::ptr_eq(current, tracker))
        .unwrap_or(false)
}

/// Makes `future` report to `tracker`.
pub(crate) fn scope<F: Future>(tracker: Arc<Tracker>, future: F) -> Scoped<F> {
    CURRENT.scope(tracker, future)
}

/// Makes `poll` report to `tracker`.
pub(crate) fn sync_scope<T>(tracker: Arc<Tracker>, poll: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(tracker, poll)
}

/// A future that reports to a tracker.
pub(crate) type Scoped<F> = TaskLocalFuture<Arc<Tracker>, F>;
