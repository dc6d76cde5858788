//! The fallback of a failed call, while it is asked.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http::response::Parts;
use http_body::Body;
use tokio::time::Instant;

use super::body::{DriverBody, Truncated};
use super::drain::{DRAIN_TIME, Drain, DrainedBody};
use super::future::Polling;
use super::later::Resend;
use super::next_step::NextStep;
use super::run::Run;
use super::source::BodySource;
use crate::box_error::BoxError;
use crate::clock;
use crate::error::Error;
use crate::hop::{Effect, Outcome, TimelineEventKind};
use crate::policy::fallback::{FallbackFuture, Replacement};
use crate::timeline::Timeline;

/// A failed call whose fallback is asked.
pub(super) struct FallbackCall<R> {
    future: FallbackFuture,
    error: Option<Error>,
    /// The response with a failing status. `None` if there was only an error.
    response: Option<FailedResponse<R>>,
}

/// The failing response of a call. Its connection is released before the fallback is polled.
enum FailedResponse<R> {
    /// Its body is in memory.
    Here(Response<DriverBody<R>>),
    /// The rest of it is read until this instant.
    Drain(Parts, Pin<Box<DriverBody<R>>>, Drain, Instant),
    Drained(Parts, DrainedBody, Effect),
}

impl<R> FallbackCall<R> {
    /// Asks the fallback about an error.
    pub(super) fn after_failure(future: FallbackFuture, error: Error) -> Box<Self> {
        Box::new(Self {
            future,
            error: Some(error),
            response: None,
        })
    }

    /// Asks the fallback about a response. Its body is read until this instant.
    pub(super) fn after_response(
        future: FallbackFuture,
        (response, error): (Response<DriverBody<R>>, Error),
        until: Instant,
    ) -> Box<Self> {
        let response = match response.body().is_here() {
            true => FailedResponse::Here(response),
            false => {
                let (head, body) = response.into_parts();
                FailedResponse::Drain(head, Box::pin(body), Drain::new(false), until)
            }
        };
        Box::new(Self {
            future,
            error: Some(error),
            response: Some(response),
        })
    }
}

impl Run {
    /// Returns the end of the time for reading the rest of a response: at most half of the time left.
    pub(super) fn end_of_drain(&self) -> Instant {
        let now = clock::now();
        let spare = self.call.deadline().saturating_duration_since(now) / 2;
        clock::after(now, DRAIN_TIME.min(spare))
    }

    /// Ends the call with the response of its fallback, or without one.
    fn replace<R>(
        &mut self,
        response: Option<Response<Bytes>>,
        fallback: &mut FallbackCall<R>,
    ) -> Option<NextStep<R>> {
        let error = fallback.error.take()?;
        let Some(response) = response else {
            return Some(self.original(error, fallback.response.take()));
        };
        let (mut head, bytes) = response.into_parts();
        let instead_of = Outcome::from(error.diagnosis());
        let effect = error.effect();
        head.extensions.insert(Replacement::new(error));
        let what = TimelineEventKind::Fallback { instead_of };
        let response = self.stand_in((head, bytes), effect, what);
        Some(NextStep::Deliver(response))
    }

    /// Ends the call with its own failure.
    fn original<R>(&mut self, error: Error, response: Option<FailedResponse<R>>) -> NextStep<R> {
        let (head, body) = match response {
            None => return NextStep::End(error.into()),
            Some(FailedResponse::Here(response)) => response.into_parts(),
            Some(FailedResponse::Drain(head, body, drain, _)) => {
                self.kept_response((head, drain.kept()), body.effect())
            }
            Some(FailedResponse::Drained(head, kept, effect)) => {
                self.kept_response((head, kept), effect)
            }
        };
        self.deliver_as_is(head, body)
    }

    /// Returns a response with the kept part of its body.
    pub(super) fn kept_response<R>(
        &self,
        (mut head, kept): (Parts, DrainedBody),
        effect: Effect,
    ) -> (Parts, DriverBody<R>) {
        if kept.truncated {
            head.extensions.insert(Truncated);
        }
        let source = BodySource::kept(kept, effect);
        let body = DriverBody::new(source, effect, Timeline(self.call.clone()));
        (head, body)
    }
}

impl<N: Resend, R> Polling<'_, N, R> {
    /// Polls the fallback, until the deadline of the call.
    pub(super) fn fallback(
        &mut self,
        fallback: &mut FallbackCall<R>,
        cx: &mut Context<'_>,
    ) -> Poll<NextStep<R>>
    where
        R: Body<Error: Into<BoxError>>,
    {
        ready!(self.release(&mut fallback.response, cx));
        let response = match fallback.future.poll(cx) {
            Poll::Ready(response) => response,
            Poll::Pending => {
                ready!(self.alarm.poll_until(self.run.call.deadline(), cx));
                None
            }
        };
        match self.run.replace(response, fallback) {
            Some(next) => Poll::Ready(next),
            None => Poll::Pending,
        }
    }

    /// Reads the rest of the failed response, and lets its connection go.
    fn release(
        &mut self,
        response: &mut Option<FailedResponse<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<()>
    where
        R: Body<Error: Into<BoxError>>,
    {
        if let Some(FailedResponse::Drain(_, body, drain, until)) = response
            && drain.poll(body.as_mut(), cx).is_pending()
        {
            ready!(self.alarm.poll_until(*until, cx));
        }
        *response = response.take().map(|response| match response {
            FailedResponse::Drain(head, body, drain, _) => {
                FailedResponse::Drained(head, drain.kept(), body.effect())
            }
            here => here,
        });
        Poll::Ready(())
    }
}
