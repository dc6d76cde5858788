//! The next step of a request, as the policies decide it.

use http::Response;
use tokio::time::Instant;

use super::body::DriverBody;
use super::fallback::FallbackCall;
use crate::diagnose::AttemptFailure;

/// The next step after an attempt.
pub(super) enum NextStep<R> {
    /// The state has changed and has to be polled.
    Again,
    /// The call is over, except for the body.
    Deliver(Response<DriverBody<R>>),
    Fail(AttemptFailure),
    /// The same, and nothing stands in for the failure.
    End(AttemptFailure),
    /// The user's fallback is asked for a response that stands in for the failure.
    Fallback(Box<FallbackCall<R>>),
    /// The rest of the response is read until this instant. Then another request is sent.
    Drain(DriverBody<R>, Instant),
    /// Another attempt follows when its wait is over.
    Backoff,
}
