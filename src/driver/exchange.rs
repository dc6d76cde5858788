//! Polls one attempt: its response head, or its whole body, under its timeouts.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http_body::Body;

use super::alarm::Alarm;
use super::attempt::AttemptInFlight;
use super::run::Run;
use super::whole::{Whole, WholeBodyError};
use crate::box_error::BoxError;
use crate::diagnose::AttemptFailure;
use crate::record::tracker;
use crate::telemetry::Span;

/// How an exchange ended without a response.
pub(super) enum Ended {
    Failed(AttemptFailure),
    /// The deadline of the call passed, and the attempt is not one of this driver's.
    Expired(AttemptFailure),
}

/// Polls the inner service under the timeouts of the attempt, or of the call.
pub(super) fn poll_exchange<F, P, E>(
    inner: Pin<&mut F>,
    (flight, run): (&AttemptInFlight, &Run),
    alarm: &mut Alarm<'_>,
    cx: &mut Context<'_>,
) -> Poll<Result<P, Ended>>
where
    F: Future<Output = Result<P, E>>,
    E: Into<BoxError>,
{
    let span = flight.live_span();
    let _entered = span.as_ref().map(Span::enter);
    let mut polled = Poll::Pending;
    match flight.tracker() {
        Some(tracker) => tracker::sync_scope(Arc::clone(tracker), || polled = inner.poll(cx)),
        None => polled = inner.poll(cx),
    }
    if let Poll::Ready(ended) = polled {
        let failed = |error: E| Ended::Failed(run.diagnose_in(flight, error.into()));
        return Poll::Ready(ended.map_err(failed));
    }
    if let Some(attempt) = &flight.attempt {
        let which = ready!(attempt.poll_timeout(alarm, cx));
        return Poll::Ready(Err(Ended::Failed(attempt.expire(which))));
    }
    match run.deadline() {
        Some(deadline) => {
            ready!(alarm.poll_until(deadline, cx));
            Poll::Ready(Err(Ended::Expired(run.expire())))
        }
        None => Poll::Pending,
    }
}

/// Polls a body that is received in the attempt, under its timeouts.
pub(super) fn poll_whole<R>(
    (body, whole): (Pin<&mut R>, &mut Whole),
    (flight, run): (&AttemptInFlight, &Run),
    alarm: &mut Alarm<'_>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), AttemptFailure>>
where
    R: Body<Error: Into<BoxError>>,
{
    let Some(attempt) = &flight.attempt else {
        return Poll::Pending;
    };
    let span = flight.live_span();
    let _entered = span.as_ref().map(Span::enter);
    match whole.poll(body, attempt, cx) {
        Poll::Ready(ended) => Poll::Ready(ended.map_err(|broken| match broken {
            WholeBodyError::Ours(failure) => failure,
            WholeBodyError::Foreign(error) => run.diagnose_in(flight, error),
        })),
        Poll::Pending => {
            let which = ready!(attempt.poll_timeout(alarm, cx));
            Poll::Ready(Err(attempt.expire(which)))
        }
    }
}
