//! A call that a driver began: it is held open until the driver and its body are done with it.

use std::sync::Arc;

use tokio::time::Instant;

use crate::call::{Call, Hold};
use crate::diagnose::{Edge, Failure};
use crate::error::Error;
use crate::hop::{Diagnosis, Effect};
use crate::limit::Waited;
use crate::record::Tracker;

/// A call under way; its end is recorded when it goes.
pub(crate) struct Scope(Hold);

impl Scope {
    pub(crate) fn new(call: &Call) -> Self {
        Self(call.open())
    }

    pub(crate) const fn call(&self) -> &Call {
        self.0.call()
    }

    /// Ends with the last byte of the body, just now.
    pub(super) fn end(self, now: Instant) {
        self.0.end(now);
    }

    /// Whether a piece of the body that is here now comes too late.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.call().deadline() <= now && !self.call().options().streaming
    }

    /// The call's deadline passed, and the attempt under way is not one of this driver's.
    pub(super) fn expire(&self) -> Failure {
        // An attempt that is over stays as it was.
        let under_way = |tracker: &Arc<Tracker>| !tracker.is_over();
        let tracker = self.call().last().filter(under_way);
        if let Some(tracker) = &tracker {
            tracker.give_up();
        }
        let diagnosis = Diagnosis::expired(tracker.as_deref(), Waited::Deadline);
        if let Some(tracker) = &tracker {
            tracker.fail(diagnosis);
        }
        diagnosis.into()
    }

    /// The call fails for good: the error as its caller gets it.
    pub(crate) fn fail(&self, failure: Failure, seen: Effect) -> Error {
        if let Some(policy) = failure.rejected_by() {
            self.call().rejected_by(policy);
        }
        let edge = Edge {
            seen,
            ..Edge::of_call(self.call())
        };
        let error = Error::at_edge(edge, failure);
        self.call().fail(error.diagnosis());
        error
    }
}
