//! The loop of a call: it polls what is under way, and lets the policies decide what comes next.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use http::response::Parts;
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

use super::alarm::Alarm;
use super::body::DriverBody;
use super::drain::Drain;
use super::flight::Flight;
use super::judge::Next;
use super::later::Resend;
use super::run::Run;
use super::service::HttpResponse;
use super::source::Source;
use super::whole::{Broken, Whole};
use crate::box_error::BoxError;
use crate::diagnose::Failure;
use crate::error::Error;
use crate::hop::NotRepeated;
use crate::record::tracker;

pin_project! {
    /// The future of [`Driver`](super::Driver).
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the attempt up: what no connection took is never sent. The circuit's permit and
    /// what the budget paid for a retry that was not begun go back, and the timeline says "cancelled".
    #[must_use = "futures do nothing unless polled"]
    pub struct DriverFuture<N, R>
    where
        N: Resend,
    {
        // Dropped first: the attempt is judged and given up before its inner future goes.
        flight: Flight,
        #[pin]
        state: State<N::Future, R>,
        #[pin]
        alarm: Option<Sleep>,
        later: N,
        // Dropped last: the call ends when everything else has.
        run: Run,
    }
}

pin_project! {
    /// What is under way.
    #[project = StateProjected]
    enum State<F, R> {
        // A policy rejected the request.
        Rejected { failure: Option<Failure> },
        // The request is on its way, or its response is awaited.
        Exchange { #[pin] inner: F },
        // The body is received as part of the attempt.
        Receive { #[pin] body: R, head: Option<Parts>, whole: Whole },
        // What is left of a response is read, so that its connection is of use again.
        Drain { #[pin] body: DriverBody<R>, drain: Drain, until: Instant },
        // The next attempt waits for its time.
        Backoff,
        // The service below gets ready for the next request.
        Ready,
        Done,
    }
}

impl<N: Resend, R> DriverFuture<N, R> {
    /// The first request is under way, or was rejected.
    pub(super) fn begun(later: N, run: Run, first: Result<(Flight, N::Future), Failure>) -> Self {
        match first {
            Ok((flight, inner)) => Self {
                flight,
                state: State::Exchange { inner },
                alarm: None,
                later,
                run,
            },
            Err(failure) => Self {
                flight: Flight::default(),
                state: State::Rejected {
                    failure: Some(failure),
                },
                alarm: None,
                later,
                run,
            },
        }
    }
}

type Answered<R> = Result<Response<DriverBody<R>>, Error>;

impl<N, R, P, E> Future for DriverFuture<N, R>
where
    N: Resend<Future: Future<Output = Result<P, E>>>,
    P: HttpResponse<Body = R>,
    E: Into<BoxError>,
    R: Body<Error: Into<BoxError>>,
{
    type Output = Answered<R>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let span = this.run.span();
        let entered = span.enter();
        let ended = loop {
            let mut alarm = Alarm(this.alarm.as_mut());
            let (flight, run, later) = (&mut *this.flight, &mut *this.run, &mut *this.later);
            let next = match this.state.as_mut().project() {
                StateProjected::Rejected { failure } => {
                    let Some(failure) = failure.take() else {
                        return Poll::Pending;
                    };
                    run.failed(Flight::default(), failure, later)
                }
                StateProjected::Exchange { inner } => {
                    match ready!(poll_exchange(inner, (flight, run), &mut alarm, cx)) {
                        Ok(response) => {
                            let response = response.into_response();
                            if let Some(most_bytes) = run.head(flight, &response) {
                                let (head, body) = response.into_parts();
                                let (head, whole) = (Some(head), Whole::new(most_bytes));
                                this.state.set(State::Receive { body, head, whole });
                                continue;
                            }
                            let flight = std::mem::take(flight);
                            let response = response.map(|body| Source::Live { body });
                            run.answered(flight, response, later)
                        }
                        Err(Ended::Failed(failure)) => {
                            // The inner future goes before anything hears of the end.
                            this.state.set(State::Done);
                            run.failed(std::mem::take(flight), failure, later)
                        }
                        Err(Ended::Expired(failure)) => {
                            // Judged by the time it had.
                            *flight = Flight::default();
                            Next::Fail(failure)
                        }
                    }
                }
                StateProjected::Receive { body, head, whole } => {
                    let received = poll_whole((body, whole), (flight, run), &mut alarm, cx);
                    match (ready!(received), head.take()) {
                        (Ok(()), Some(head)) => {
                            let response = Response::from_parts(head, whole.take());
                            run.answered(std::mem::take(flight), response, later)
                        }
                        (Err(failure), _) => {
                            this.state.set(State::Done);
                            run.failed(std::mem::take(flight), failure, later)
                        }
                        (Ok(()), None) => return Poll::Pending,
                    }
                }
                StateProjected::Drain { body, drain, until } => {
                    if drain.poll(body, cx).is_pending() {
                        ready!(alarm.poll_until(*until, cx));
                    }
                    let kept = std::mem::take(drain).kept();
                    run.drained(kept);
                    Next::Backoff
                }
                StateProjected::Backoff => {
                    ready!(alarm.poll_until(run.due(), cx));
                    this.state.set(State::Ready);
                    continue;
                }
                StateProjected::Ready => match later.poll_ready(cx) {
                    Poll::Ready(Ok(())) => match run.again(later) {
                        Some(request) => {
                            let launched = run.launch(request, |request| later.send(request));
                            match launched {
                                Ok((begun, Some(inner))) => {
                                    *flight = begun;
                                    this.state.set(State::Exchange { inner });
                                    continue;
                                }
                                Ok((_, None)) => run.end(NotRepeated::NotReplayable),
                                Err(failure) => run.failed(Flight::default(), failure, later),
                            }
                        }
                        None => run.end(NotRepeated::NotReplayable),
                    },
                    Poll::Ready(Err(error)) => run.unready(error),
                    Poll::Pending => {
                        let Some(end) = run.end_at() else {
                            return Poll::Pending;
                        };
                        ready!(alarm.poll_until(end, cx));
                        run.out_of_time()
                    }
                },
                StateProjected::Done => return Poll::Pending,
            };
            match next {
                Next::Drain(body, until) => this.state.set(State::Drain {
                    body,
                    drain: Drain::default(),
                    until,
                }),
                Next::Backoff => this.state.set(State::Backoff),
                Next::Deliver(response) => break Ok(response),
                Next::Fail(failure) => break Err(failure),
            }
        };
        drop(entered);
        drop(span);
        this.state.set(State::Done);
        Poll::Ready(ended.map_err(|failure| this.run.finish(failure)))
    }
}

/// How an exchange ended without a response.
enum Ended {
    Failed(Failure),
    /// The deadline of the call passed, in an attempt that is not this driver's.
    Expired(Failure),
}

/// Polls the service below under the timeouts of the attempt, or of the call.
fn poll_exchange<F, P, E>(
    inner: Pin<&mut F>,
    (flight, run): (&Flight, &Run),
    alarm: &mut Alarm<'_>,
    cx: &mut Context<'_>,
) -> Poll<Result<P, Ended>>
where
    F: Future<Output = Result<P, E>>,
    E: Into<BoxError>,
{
    let span = flight.span();
    let _entered = span.enter();
    let polled = match flight.tracker() {
        Some(tracker) => tracker::sync_scope(Arc::clone(tracker), || inner.poll(cx)),
        None => inner.poll(cx),
    };
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
fn poll_whole<R>(
    (body, whole): (Pin<&mut R>, &mut Whole),
    (flight, run): (&Flight, &Run),
    alarm: &mut Alarm<'_>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Failure>>
where
    R: Body<Error: Into<BoxError>>,
{
    let Some(attempt) = &flight.attempt else {
        return Poll::Pending;
    };
    let span = flight.span();
    let _entered = span.enter();
    match whole.poll(body, attempt, cx) {
        Poll::Ready(ended) => Poll::Ready(ended.map_err(|broken| match broken {
            Broken::Ours(failure) => failure,
            Broken::Foreign(error) => run.diagnose_in(flight, error),
        })),
        Poll::Pending => {
            let which = ready!(attempt.poll_timeout(alarm, cx));
            Poll::Ready(Err(attempt.expire(which)))
        }
    }
}

impl<N: Resend, R> fmt::Debug for DriverFuture<N, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverFuture").finish_non_exhaustive()
    }
}
