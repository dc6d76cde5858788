//! An attempt under way: its leave, its record, its timeouts.

use std::sync::Arc;

use http::Response;
use http_body::Body;

use super::attempt::Attempt;
use super::source::Source;
use crate::clock;
use crate::diagnose::Failure;
use crate::policy::breaker::{Admission, PendingVerdict};
use crate::record::Tracker;
use crate::telemetry::Span;

/// An attempt under way. Dropped before its end, it is judged by the time it had, and given up.
#[derive(Default)]
pub(super) struct Flight {
    // Judged first: what is open in the attempt tells where it hung.
    pub(super) admission: Option<Admission>,
    pub(super) attempt: Option<Attempt>,
}

impl Flight {
    /// The span to be entered while the attempt is polled.
    pub(super) fn span(&self) -> Span {
        let attempt = self.attempt.as_ref();
        attempt.map_or_else(Span::none, |attempt| attempt.tracker.spans().attempt())
    }

    /// The record of the attempt, for the hooks below.
    pub(super) fn tracker(&self) -> Option<&Arc<Tracker>> {
        self.attempt.as_ref().map(|attempt| &attempt.tracker)
    }

    /// The attempt was answered: what follows the body, for the destination's sake and the record's.
    pub(super) fn deliver<R: Body>(
        mut self,
        response: &Response<Source<R>>,
    ) -> (Option<PendingVerdict>, Option<Arc<Tracker>>) {
        let is_over = response.body().is_end_stream();
        let admission = self.admission.take();
        let verdict = admission.and_then(|admission| admission.head(response, is_over));
        let tracker = self.attempt.as_mut().map(|attempt| {
            attempt.over = true;
            // Where nothing is to come, it does not matter how long the caller keeps the head.
            if is_over && clock::now() < attempt.end.0 {
                attempt.tracker.finish();
            }
            Arc::clone(&attempt.tracker)
        });
        (verdict, tracker)
    }

    /// The attempt failed: records it, and judges the destination.
    pub(super) fn fail(mut self, failure: &Failure) {
        if let Some(attempt) = &mut self.attempt {
            attempt.fail(failure);
        }
        if let Some(admission) = self.admission.take() {
            admission.fail(failure);
        }
    }
}
