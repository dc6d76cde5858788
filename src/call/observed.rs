//! The calls that a future makes, for code above an SDK whose errors show nothing. They are found by the task that
//! polls the future.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::futures::TaskLocalFuture;

use super::ambient::MOST_CALLS;
use super::{AmbientOperation, Call};
use crate::record::tracker::Tracker;

tokio::task_local! {
    static OBSERVED: Arc<ObservedScope>;
}

/// The calls of one observed future.
pub(crate) struct ObservedScope {
    /// The operation's attempt that the future is part of. The calls of another attempt belong to its operation, which
    /// is a call itself.
    attempt: Option<Arc<Tracker>>,
    /// The observation around this one.
    outer: Option<Arc<Self>>,
    latest: Mutex<Latest>,
}

/// The latest calls, in order.
#[derive(Default)]
struct Latest {
    calls: Vec<Call>,
    /// Whether there were more calls before these.
    is_cut: bool,
}

impl ObservedScope {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            attempt: AmbientOperation::current().map(|around| around.attempt),
            outer: OBSERVED.try_with(Arc::clone).ok(),
            latest: Mutex::default(),
        })
    }

    /// Records the calls that begin in `future`.
    pub(crate) fn scope<F: Future>(self: Arc<Self>, future: F) -> TaskLocalFuture<Arc<Self>, F> {
        OBSERVED.scope(self, future)
    }

    /// Returns the latest calls in order, and whether they are all.
    pub(crate) fn calls(&self) -> (Vec<Call>, bool) {
        let latest = self.latest();
        (latest.calls.clone(), !latest.is_cut)
    }

    fn heard(&self, call: &Call, attempt: Option<&Arc<Tracker>>) {
        if self.attempt.as_ref().map(Arc::as_ptr) == attempt.map(Arc::as_ptr) {
            let mut latest = self.latest();
            if latest.calls.len() == MOST_CALLS {
                latest.calls.remove(0);
                latest.is_cut = true;
            }
            latest.calls.push(call.clone());
        }
        if let Some(outer) = &self.outer {
            outer.heard(call, attempt);
        }
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    /// Records this call in the observations around it.
    pub(super) fn report_to_observers(&self, around: Option<&AmbientOperation>) {
        let attempt = around.map(|around| &around.attempt);
        let _ = OBSERVED.try_with(|observed| observed.heard(self, attempt));
    }

    /// Returns whether this is one of these calls, or continues one of them.
    pub(crate) fn is_among(&self, calls: &[Self]) -> bool {
        calls
            .iter()
            .any(|call| call.is(self) || call.leads_to(self))
    }
}
