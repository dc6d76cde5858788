//! Sends a request later: a retry, once the inner service is ready for it, and a request that has waited for a policy.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::Body;

use super::admit::Entry;
use super::attempt::AttemptInFlight;
use super::future::{DriverState, Polling};
use super::later::Resend;
use super::next_step::NextStep;
use crate::box_error::BoxError;
use crate::hop::NoRetryReason;

impl<N: Resend, R> Polling<'_, N, R> {
    /// Sends the next request once the inner service is ready for it.
    pub(super) fn ready(
        &mut self,
        state: Pin<&mut DriverState<N::Future, R>>,
        cx: &mut Context<'_>,
    ) -> Poll<NextStep<R>>
    where
        R: Body<Error: Into<BoxError>>,
    {
        match self.later.poll_ready(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(self.run.unready(error)),
            Poll::Pending => {
                let Some(end) = self.run.end_at() else {
                    return Poll::Pending;
                };
                ready!(self.alarm.poll_until(end, cx));
                return Poll::Ready(self.run.out_of_time());
            }
        }
        Poll::Ready(self.send_again(state))
    }

    /// Sends the next request if the policies permit it.
    fn send_again(&mut self, mut state: Pin<&mut DriverState<N::Future, R>>) -> NextStep<R>
    where
        R: Body<Error: Into<BoxError>>,
    {
        let Some(mut request) = self.run.again(self.later) else {
            return self.run.end(NoRetryReason::BodyNotReplayable);
        };
        let is_replayable = self.later.is_replayable();
        let flight = match self.run.admit_first(&mut request, is_replayable) {
            Ok(Entry::Go(flight)) => flight,
            Ok(Entry::Wait) => {
                self.later.hold(request);
                state.set(DriverState::Admit);
                return NextStep::Again;
            }
            Err(failure) => {
                self.later.take_back(request);
                return self.failed(failure);
            }
        };
        let sent = flight.within(|| self.later.send(request));
        self.sent((flight, sent), state)
    }

    /// Sends the request that waits, once its wait is over.
    pub(super) fn admitted(
        &mut self,
        state: Pin<&mut DriverState<N::Future, R>>,
        cx: &mut Context<'_>,
    ) -> Poll<NextStep<R>>
    where
        R: Body<Error: Into<BoxError>>,
    {
        let waited = ready!(self.run.poll_waiting(&mut self.alarm, cx));
        Poll::Ready(match waited {
            Ok(()) => self.send_held(state),
            Err(failure) => {
                self.later.take_back_held();
                self.failed(failure)
            }
        })
    }

    /// Sends the request that has waited, unless it has to wait again.
    fn send_held(&mut self, state: Pin<&mut DriverState<N::Future, R>>) -> NextStep<R>
    where
        R: Body<Error: Into<BoxError>>,
    {
        let is_replayable = self.later.is_replayable();
        let Some(request) = self.later.held() else {
            return self.run.end(NoRetryReason::BodyNotReplayable);
        };
        let flight = match self.run.admit_first(request, is_replayable) {
            Ok(Entry::Go(flight)) => flight,
            Ok(Entry::Wait) => return NextStep::Again,
            Err(failure) => {
                self.later.take_back_held();
                return self.failed(failure);
            }
        };
        let sent = flight.within(|| self.later.send_held());
        self.sent((flight, sent), state)
    }

    fn sent(
        &mut self,
        (flight, sent): (AttemptInFlight, Option<N::Future>),
        mut state: Pin<&mut DriverState<N::Future, R>>,
    ) -> NextStep<R>
    where
        R: Body<Error: Into<BoxError>>,
    {
        match sent {
            Some(inner) => {
                *self.flight = flight;
                state.set(DriverState::Exchange { inner });
                NextStep::Again
            }
            None => self.run.end(NoRetryReason::BodyNotReplayable),
        }
    }
}
