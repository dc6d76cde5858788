use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};
use tower_service::Service;

use super::turn::Turn;
use super::{Copies, RetryBody};
use crate::box_error::BoxError;
use crate::error::Error;
use crate::hop::NotRepeated;

pin_project! {
    /// The future of [`RetryService`](super::RetryService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, R, C>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S::Future, R>,
        service: S,
        copies: C,
        turn: Turn<B>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<F, R> {
        Attempting { #[pin] inner: F },
        Draining { #[pin] body: R, #[pin] until: Sleep },
        Waiting { #[pin] until: Sleep },
        Readying { #[pin] until: Sleep },
        Done,
    }
}

impl<S, B, R, C> ResponseFuture<S, B, R, C>
where
    S: Service<Request<B>>,
{
    /// The first attempt is under way; `service` makes the others.
    pub(super) fn new(first: S::Future, turn: Turn<B>, (service, copies): (S, C)) -> Self {
        Self {
            state: State::Attempting { inner: first },
            service,
            copies,
            turn,
        }
    }
}

impl<S, B, R, C> Future for ResponseFuture<S, B, R, C>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    C: Copies<B>,
    B: Send + 'static,
    R: Body,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<RetryBody<R>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let turn = this.turn;
        loop {
            match this.state.as_mut().project() {
                StateProjected::Attempting { inner } => match ready!(inner.poll(cx)) {
                    Ok(response) if turn.repeats(&response) => {
                        let (body, until) = turn.set_aside(response);
                        let until = sleep_until(until);
                        this.state.set(State::Draining { body, until });
                        continue;
                    }
                    Ok(response) => {
                        this.state.set(State::Done);
                        return Poll::Ready(Ok(turn.live(response)));
                    }
                    Err(error) => {
                        if let Some(ended) = turn.fail(error) {
                            this.state.set(State::Done);
                            return Poll::Ready(ended);
                        }
                    }
                },
                StateProjected::Draining { body, until } => {
                    if turn.poll_drain(body, cx).is_pending() {
                        ready!(until.poll(cx));
                    }
                    turn.keep();
                }
                StateProjected::Waiting { until } => {
                    ready!(until.poll(cx));
                    let until = sleep_until(turn.deadline());
                    this.state.set(State::Readying { until });
                    continue;
                }
                StateProjected::Readying { until } => {
                    let Poll::Ready(ready) = this.service.poll_ready(cx) else {
                        ready!(until.poll(cx));
                        let ended = turn.end(turn.no_time());
                        this.state.set(State::Done);
                        return Poll::Ready(ended);
                    };
                    // A service that failed to get ready is not asked again.
                    let again = ready.ok().map(|()| turn.again(this.copies));
                    let ended = match again {
                        Some(Some(request)) => {
                            let inner = this.service.call(request);
                            this.state.set(State::Attempting { inner });
                            continue;
                        }
                        Some(None) => turn.end(NotRepeated::NotReplayable),
                        None => turn.end(NotRepeated::Unready),
                    };
                    this.state.set(State::Done);
                    return Poll::Ready(ended);
                }
                StateProjected::Done => return Poll::Pending,
            }
            let until = sleep_until(turn.due());
            this.state.set(State::Waiting { until });
        }
    }
}

impl<S, B, R, C> fmt::Debug for ResponseFuture<S, B, R, C>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
