//! The loop of a call. It polls the current state, and lets the policies decide the next one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http::response::Parts;
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

use super::alarm::Alarm;
use super::attempt::AttemptInFlight;
use super::body::DriverBody;
use super::classify::Wanted;
use super::drain::Drain;
use super::exchange::{Ended, poll_exchange, poll_whole};
use super::fallback::FallbackCall;
use super::later::Resend;
use super::next_step::NextStep;
use super::peek::{Peek, peeked};
use super::round::Others;
use super::run::Run;
use super::service::HttpResponse;
use super::source::BodySource;
use super::substitute::served;
use super::whole::Whole;
use crate::box_error::BoxError;
use crate::clock;
use crate::diagnose::AttemptFailure;
use crate::error::Error;
use crate::telemetry::Span;

pin_project! {
    /// The future of [`Driver`](super::Driver).
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the attempt up: a request that no connection took is never sent. The circuit and the
    /// concurrency limit get their permits back. The rate limit gets back a slot that is not due. The budget gets its
    /// token back if the retry has not begun. The timeline says "cancelled".
    #[must_use = "futures do nothing unless polled"]
    pub struct DriverFuture<N, R>
    where
        N: Resend,
    {
        // Dropped first: the attempt is judged and given up before its inner future is dropped.
        flight: AttemptInFlight,
        #[pin]
        state: DriverState<N::Future, R>,
        // In a box, so that a call without hedges has no room for them.
        round: Others<N::Future, R>,
        #[pin]
        alarm: Option<Sleep>,
        later: N,
        // Dropped last: the call ends after everything else.
        run: Run,
    }
}

pin_project! {
    /// The state of the call.
    #[project = StateProjected]
    pub(super) enum DriverState<F, R> {
        // The request waits for a permit or a slot.
        Admit,
        // A policy rejected the request.
        Rejected { failure: Option<AttemptFailure> },
        // A stored response is served before the server is asked.
        Served { response: Option<Box<Response<DriverBody<R>>>> },
        // The request is being sent, or the driver waits for its response.
        Exchange { #[pin] inner: F },
        // The first attempt has failed, and hedges are in flight.
        Hedged,
        // The body is received as part of the attempt.
        Receive { #[pin] body: R, head: Option<Parts>, whole: Whole },
        // The beginning of the body is read, for a classifier.
        Peek { peek: Option<Box<Peek<R>>> },
        // The rest of a response is read, so that its connection can be used again.
        Drain { #[pin] body: DriverBody<R>, drain: Drain, until: Instant },
        // The driver waits until the next attempt may begin.
        Backoff,
        // The driver waits until the inner service is ready for the next request.
        Ready,
        // The call failed, and the user's fallback is asked.
        Fallback { fallback: Box<FallbackCall<R>> },
        Done,
    }
}

// Inlined, so that the future is built in its final place and not moved.
impl<N: Resend, R> DriverFuture<N, R> {
    /// Creates the future of a first request that was sent.
    #[inline(always)]
    pub(super) fn sent((flight, inner): (AttemptInFlight, N::Future), later: N, run: Run) -> Self {
        Self {
            flight,
            state: DriverState::Exchange { inner },
            round: None,
            alarm: None,
            later,
            run,
        }
    }

    /// Creates the future of a first request that waits for a policy.
    #[inline(always)]
    pub(super) fn waiting(later: N, run: Run) -> Self {
        Self::unsent(DriverState::Admit, later, run)
    }

    /// Creates the future of a request that is answered from the store.
    pub(super) fn served(response: Response<DriverBody<R>>, later: N, run: Run) -> Self {
        let response = Some(Box::new(response));
        Self::unsent(DriverState::Served { response }, later, run)
    }

    /// Creates the future of a first request that a policy rejected.
    #[inline(always)]
    pub(super) fn rejected(failure: AttemptFailure, later: N, run: Run) -> Self {
        let failure = Some(failure);
        Self::unsent(DriverState::Rejected { failure }, later, run)
    }

    #[inline(always)]
    fn unsent(state: DriverState<N::Future, R>, later: N, run: Run) -> Self {
        Self {
            flight: AttemptInFlight::default(),
            state,
            round: None,
            alarm: None,
            later,
            run,
        }
    }
}

impl<N, R, P, E> Future for DriverFuture<N, R>
where
    N: Resend<Future: Future<Output = Result<P, E>>>,
    P: HttpResponse<Body = R>,
    E: Into<BoxError>,
    R: Body<Error: Into<BoxError>>,
{
    type Output = Result<Response<DriverBody<R>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let span = this.run.live_span();
        let entered = span.as_ref().map(Span::enter);
        let ended = loop {
            let mut turn = Polling {
                flight: this.flight,
                round: this.round,
                alarm: Alarm(this.alarm.as_mut()),
                later: this.later,
                run: this.run,
            };
            match turn.step_or_substitute(this.state.as_mut(), cx) {
                Poll::Ready(NextStep::Again) => {}
                Poll::Ready(NextStep::Fallback(fallback)) => {
                    this.state.set(DriverState::Fallback { fallback })
                }
                Poll::Ready(NextStep::Drain(body, until)) => this.state.set(DriverState::Drain {
                    drain: Drain::new(body.is_here()),
                    body,
                    until,
                }),
                Poll::Ready(NextStep::Backoff) => this.state.set(DriverState::Backoff),
                Poll::Ready(NextStep::Deliver(response)) => {
                    this.state.set(DriverState::Done);
                    return Poll::Ready(Ok(response));
                }
                Poll::Ready(NextStep::Fail(failure) | NextStep::End(failure)) => break failure,
                Poll::Pending => return Poll::Pending,
            }
        };
        drop(entered);
        drop(span);
        *this.round = None;
        this.state.set(DriverState::Done);
        Poll::Ready(Err(this.run.finish(ended)))
    }
}

/// The parts of the future without its state.
pub(super) struct Polling<'a, N: Resend, R> {
    pub(super) flight: &'a mut AttemptInFlight,
    pub(super) round: &'a mut Others<N::Future, R>,
    pub(super) alarm: Alarm<'a>,
    pub(super) later: &'a mut N,
    pub(super) run: &'a mut Run,
}

impl<N: Resend, R> Polling<'_, N, R> {
    pub(super) fn step<P, E>(
        &mut self,
        mut state: Pin<&mut DriverState<N::Future, R>>,
        cx: &mut Context<'_>,
    ) -> Poll<NextStep<R>>
    where
        N: Resend<Future: Future<Output = Result<P, E>>>,
        P: HttpResponse<Body = R>,
        E: Into<BoxError>,
        R: Body<Error: Into<BoxError>>,
    {
        Poll::Ready(match state.as_mut().project() {
            StateProjected::Admit => ready!(self.admitted(state.as_mut(), cx)),
            StateProjected::Rejected { failure } => match failure.take() {
                Some(failure) => self
                    .run
                    .failed(AttemptInFlight::default(), failure, self.later),
                None => return Poll::Pending,
            },
            StateProjected::Served { response } => ready!(served(response)),
            StateProjected::Exchange { inner } => {
                let parts = (&*self.flight, &*self.run);
                match poll_exchange(inner, parts, &mut self.alarm, cx) {
                    Poll::Ready(ended) => self.ended(ended, state),
                    Poll::Pending if self.run.hedges.is_none() => return Poll::Pending,
                    Poll::Pending => ready!(self.beside(state, cx)),
                }
            }
            StateProjected::Hedged => ready!(self.beside(state, cx)),
            StateProjected::Receive { body, head, whole } => {
                let parts = (&*self.flight, &*self.run);
                let received = ready!(poll_whole((body, whole), parts, &mut self.alarm, cx));
                match (received, head.take()) {
                    (Ok(()), Some(head)) => {
                        let response = Response::from_parts(head, whole.take());
                        self.run
                            .on_response((self.flight, clock::now()), response, self.later)
                    }
                    (Err(failure), _) => {
                        state.set(DriverState::Done);
                        self.failed(failure)
                    }
                    (Ok(()), None) => return Poll::Pending,
                }
            }
            StateProjected::Peek { peek } => match ready!(peeked(peek, &mut self.alarm, cx)) {
                Some(response) => {
                    self.run
                        .on_response((self.flight, clock::now()), response, self.later)
                }
                None => return Poll::Pending,
            },
            StateProjected::Drain { body, drain, until } => {
                if drain.poll(body, cx).is_pending() {
                    ready!(self.alarm.poll_until(*until, cx));
                }
                self.run.drained(std::mem::take(drain).kept());
                NextStep::Backoff
            }
            StateProjected::Backoff => {
                if let Some(due) = self.run.due() {
                    ready!(self.alarm.poll_until(due, cx));
                }
                state.set(DriverState::Ready);
                NextStep::Again
            }
            StateProjected::Ready => ready!(self.ready(state.as_mut(), cx)),
            StateProjected::Fallback { fallback } => ready!(self.fallback(fallback, cx)),
            StateProjected::Done => return Poll::Pending,
        })
    }

    /// Handles the end of the first exchange.
    #[inline]
    fn ended<P>(
        &mut self,
        ended: Result<P, Ended>,
        mut state: Pin<&mut DriverState<N::Future, R>>,
    ) -> NextStep<R>
    where
        P: HttpResponse<Body = R>,
        R: Body<Error: Into<BoxError>>,
    {
        if self.round.is_some() {
            return self.ended_among(None, ended, state);
        }
        match ended {
            Ok(response) => self.head(response.into_response(), clock::now(), state),
            Err(Ended::Failed(failure)) => {
                // The inner future is dropped before an observer is notified of the end.
                state.set(DriverState::Done);
                self.failed(failure)
            }
            Err(Ended::Expired(failure)) => {
                // The breaker judges the attempt by the time it had.
                *self.flight = AttemptInFlight::default();
                NextStep::Fail(failure)
            }
        }
    }

    /// Handles the response head.
    #[inline]
    pub(super) fn head(
        &mut self,
        response: Response<R>,
        now: Instant,
        mut state: Pin<&mut DriverState<N::Future, R>>,
    ) -> NextStep<R>
    where
        R: Body<Error: Into<BoxError>>,
    {
        match self.run.head((self.flight, now), &response) {
            Wanted::Nothing => {
                let response = response.map(|body| BodySource::Live { body });
                return self
                    .run
                    .on_response((self.flight, now), response, self.later);
            }
            Wanted::Whole(most_bytes) => self.receive(response, most_bytes, state),
            Wanted::Beginning(until) => {
                let peek = Some(Box::new(Peek::new(response, until)));
                state.set(DriverState::Peek { peek });
            }
        }
        NextStep::Again
    }

    /// Receives the body as part of the attempt.
    pub(super) fn receive(
        &self,
        response: Response<R>,
        most_bytes: usize,
        mut state: Pin<&mut DriverState<N::Future, R>>,
    ) {
        self.run.first_responded();
        let (head, body) = response.into_parts();
        let (head, whole) = (Some(head), Whole::new(most_bytes));
        state.set(DriverState::Receive { body, head, whole });
    }

    pub(super) fn failed(&mut self, failure: AttemptFailure) -> NextStep<R>
    where
        R: Body<Error: Into<BoxError>>,
    {
        let flight = std::mem::take(self.flight);
        self.run.failed(flight, failure, self.later)
    }
}

impl<N: Resend, R> fmt::Debug for DriverFuture<N, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverFuture").finish_non_exhaustive()
    }
}
