//! A call that a driver began. It stays open until the driver and its body are done with it.

use std::sync::Arc;

use tokio::time::Instant;

use crate::call::{Call, Hold};
use crate::diagnose::{AttemptFailure, Edge};
use crate::error::Error;
use crate::hop::{Diagnosis, Effect};
use crate::record::Tracker;
use crate::timeout::TimeoutKind;

/// A call in flight. Dropping it records the end of the call.
pub(crate) struct Scope(Hold);

impl Scope {
    pub(crate) fn new(call: &Call) -> Self {
        Self(call.open())
    }

    pub(crate) const fn call(&self) -> &Call {
        self.0.call()
    }

    /// Ends the call at `now`, with the last byte of the body.
    pub(super) fn end(self, now: Instant) {
        self.0.end(now);
    }

    /// Returns whether a piece of the body that comes now is too late.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.call().deadline() <= now && !self.call().options().streaming
    }

    /// Returns the failure of a passed deadline, while the attempt in flight is not one of this driver's.
    pub(super) fn expire(&self) -> AttemptFailure {
        // The record of a finished attempt does not change.
        let under_way = |tracker: &Arc<Tracker>| !tracker.is_over();
        let tracker = self.call().last().filter(under_way);
        if let Some(tracker) = &tracker {
            tracker.give_up();
        }
        let diagnosis = Diagnosis::timeout_kind(tracker.as_deref(), TimeoutKind::Deadline);
        if let Some(tracker) = &tracker {
            tracker.fail(diagnosis);
        }
        diagnosis.into()
    }

    /// Ends the call with a failure. Returns the error for the caller.
    pub(crate) fn fail(&self, failure: AttemptFailure, seen: Effect) -> Error {
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
