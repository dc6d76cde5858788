//! The end of a call with a response, or without the attempt that was planned.

use std::time::Duration;

use http::Response;
use http::response::Parts;
use http_body::Body;

use super::body::DriverBody;
use super::drain::DrainedBody;
use super::next_step::NextStep;
use super::run::{Last, Run};
use crate::box_error::BoxError;
use crate::hop::{Diagnosis, Hop, Kind, NoRetryReason, TimelineEventKind};
use crate::policy::idempotency::is_replayed;

impl Run {
    /// Ends the call without the planned attempt. The caller gets the response or error before it.
    pub(super) fn end<R>(&mut self, reason: NoRetryReason) -> NextStep<R>
    where
        R: Body<Error: Into<BoxError>>,
    {
        if self.last.is_some() {
            self.call.stop(Some(reason));
        }
        self.deliver_last()
    }

    /// Delivers the last response or error.
    pub(super) fn deliver_last<R>(&mut self) -> NextStep<R>
    where
        R: Body<Error: Into<BoxError>>,
    {
        let Some(last) = self.last.take() else {
            let nothing = Diagnosis::new(Hop::Encode, Kind::Other, self.seen.all);
            return NextStep::Fail(nothing.into());
        };
        let kept = match *last {
            Last::Failure(failure) => return NextStep::Fail(failure),
            Last::Response(head, kept) => (head, kept),
            Last::Head(head) => (head, DrainedBody::nothing()),
        };
        let (head, body) = self.kept_response(kept, self.seen.all);
        self.deliver(head, body)
    }

    /// Handles an inner service that could not accept the next request.
    pub(super) fn unready<R>(&mut self, error: BoxError) -> NextStep<R>
    where
        R: Body<Error: Into<BoxError>>,
    {
        match self.last {
            // A service that failed in `poll_ready` is not called again.
            Some(_) => self.end(NoRetryReason::ServiceNotReady),
            None => NextStep::Fail(self.diagnose(error)),
        }
    }

    /// Delivers the response of the call, or a substitute for it.
    #[inline]
    pub(super) fn deliver<R>(&mut self, head: Parts, body: DriverBody<R>) -> NextStep<R> {
        match self.has_substitute() {
            true => self.deliver_or_substitute(head, body),
            false => self.deliver_as_is(head, body),
        }
    }

    pub(super) fn deliver_as_is<R>(&mut self, head: Parts, mut body: DriverBody<R>) -> NextStep<R> {
        if self.policies.idempotency.is_some() && is_replayed(&head.headers) {
            self.call.note(TimelineEventKind::Replayed);
        }
        if let Some(scope) = &self.scope {
            scope.call().answer_with(head.status, body.effect());
        }
        body.ends(self.scope.take());
        NextStep::Deliver(Response::from_parts(head, body))
    }

    /// Handles an inner service that was not ready for the next request in time.
    pub(super) fn out_of_time<R>(&mut self) -> NextStep<R>
    where
        R: Body<Error: Into<BoxError>>,
    {
        match self.last {
            Some(_) => self.end(NoRetryReason::DeadlineTooClose {
                wait: Duration::ZERO,
                left: Duration::ZERO,
            }),
            None => NextStep::Fail(self.expire()),
        }
    }
}
