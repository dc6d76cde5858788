use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, Method, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::AttemptBody;
use super::due::{Progress, due, look_again};
use crate::call::Call;
use crate::clock;
use crate::error::{BoxError, Error};
#[cfg(feature = "har")]
use crate::hop::keep_response;
use crate::hop::tracker::{Scoped, Tracker, scope};
use crate::hop::{
    Diagnosis, Effect, Hop, Keyed, Kind, Said, diagnose, effect_of, effect_of_response,
};
use crate::limit::Waited;

pin_project! {
    /// The future of [`AttemptService`](super::AttemptService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, R> {
        // Dropped first: the attempt is given up before its inner future goes.
        running: Option<Running>,
        #[pin]
        state: State<F, R>,
        #[pin]
        alarm: Option<Sleep>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<F, R> {
        Refused { error: Option<Error> },
        Waiting { #[pin] inner: Scoped<F> },
        Receiving { head: Option<Parts>, #[pin] body: R, whole: Whole },
        Done,
    }
}

/// A body that is received inside the attempt.
struct Whole {
    bytes: BytesMut,
    trailers: Option<HeaderMap>,
    most_bytes: usize,
}

/// An attempt under way; dropped before its end, it gives itself up.
pub(super) struct Running {
    tracker: Arc<Tracker>,
    call: Call,
    /// The end of the attempt, and whose it is.
    end: (Instant, Waited),
    over: bool,
    /// What the request's key is to the far side.
    keyed: Keyed,
}

impl<F: Future, R> ResponseFuture<F, R> {
    pub(super) fn new(inner: F, running: Running) -> Self {
        Self {
            state: State::Waiting {
                inner: scope(Arc::clone(&running.tracker), inner),
            },
            running: Some(running),
            alarm: None,
        }
    }

    pub(super) fn refused(error: Error) -> Self {
        Self {
            running: None,
            state: State::Refused { error: Some(error) },
            alarm: None,
        }
    }
}

impl<F, R, E> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
    R: Body,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<AttemptBody<R>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(running) = this.running else {
            return match this.state.project() {
                StateProjected::Refused { error } => match error.take() {
                    Some(error) => Poll::Ready(Err(error)),
                    None => Poll::Pending,
                },
                _ => Poll::Pending,
            };
        };
        let span = running.tracker.spans().attempt();
        let _entered = span.enter();

        let ended = match advance(this.state.as_mut(), running, cx) {
            Poll::Ready(ended) => ended,
            Poll::Pending => Err(running.expire(ready!(running.poll_alarm(this.alarm, cx)))),
        };
        // The inner future goes before anyone hears of the end.
        this.state.set(State::Done);
        Poll::Ready(ended.map_err(|error| running.fail(error)))
    }
}

type Answered<R> = Result<Response<AttemptBody<R>>, Error>;

/// Polls what is under way until it waits.
fn advance<F, R, E>(
    mut state: Pin<&mut State<F, R>>,
    running: &mut Running,
    cx: &mut Context<'_>,
) -> Poll<Answered<R>>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
    R: Body,
    R::Error: Into<BoxError>,
{
    loop {
        match state.as_mut().project() {
            StateProjected::Waiting { inner } => {
                let response = match ready!(inner.poll(cx)) {
                    Ok(response) => response,
                    Err(error) => return Poll::Ready(Err(running.diagnose(error.into()))),
                };
                running.head(&response);
                // What failed by its status is judged by it, whatever becomes of its body.
                let failed = running.tracker.failure().is_some();
                let wanted = running.call.options().whole_body.filter(|_| !failed);
                let Some(most_bytes) = wanted else {
                    running.over = true;
                    let tracker = Arc::clone(&running.tracker);
                    // Where nothing is to come, it does not matter how long the caller keeps the head.
                    if response.body().is_end_stream() && clock::now() < running.end.0 {
                        tracker.finish();
                    }
                    return Poll::Ready(Ok(response.map(|body| AttemptBody::new(body, tracker))));
                };
                let (head, body) = response.into_parts();
                state.set(State::Receiving {
                    head: Some(head),
                    body,
                    whole: Whole {
                        bytes: BytesMut::new(),
                        trailers: None,
                        most_bytes,
                    },
                });
            }
            StateProjected::Receiving { head, body, whole } => {
                if let Err(error) = ready!(whole.poll(body, running, cx)) {
                    return Poll::Ready(Err(error));
                }
                running.tracker.finish();
                running.over = true;
                let body = AttemptBody::whole(whole.bytes.split().freeze(), whole.trailers.take());
                return match head.take() {
                    Some(head) => Poll::Ready(Ok(Response::from_parts(head, body))),
                    None => Poll::Pending,
                };
            }
            StateProjected::Refused { .. } | StateProjected::Done => return Poll::Pending,
        }
    }
}

impl Whole {
    fn poll<R>(
        &mut self,
        mut body: Pin<&mut R>,
        running: &Running,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>>
    where
        R: Body,
        R::Error: Into<BoxError>,
    {
        while let Some(frame) = ready!(body.as_mut().poll_frame(cx)) {
            if running.end.0 <= clock::now() {
                return Poll::Ready(Err(running.expire(running.end.1)));
            }
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return Poll::Ready(Err(running.diagnose(error.into()))),
            };
            match frame.into_data() {
                Ok(data) => {
                    running.tracker.received(data.remaining());
                    if data.remaining() > self.most_bytes - self.bytes.len() {
                        let effect = effect_of(&running.tracker);
                        let too_large = Diagnosis::new(Hop::Receive, Kind::TooLarge, effect);
                        return Poll::Ready(Err(Error::new(too_large)));
                    }
                    self.bytes.put(data);
                }
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Running {
    pub(super) fn new(tracker: Arc<Tracker>, call: Call, keyed: Keyed) -> Self {
        let attempt = clock::after(tracker.started(), tracker.limits().attempt().get());
        let end = if call.deadline() <= attempt {
            (call.deadline(), Waited::Deadline)
        } else {
            (attempt, Waited::Attempt)
        };
        Self {
            tracker,
            call,
            end,
            over: false,
            keyed,
        }
    }

    fn head<R>(&self, response: &Response<R>) {
        let status = response.status();
        if let Some(said) = Said::read(response.headers(), clock::wall) {
            self.tracker
                .facts(|facts| facts.said = Some(Box::new(said)));
        }
        #[cfg(feature = "har")]
        keep_response(&self.call, &self.tracker, response.headers());
        let judged = Diagnosis::status(status, response.headers(), self.keyed);
        if judged.is_none() && !status.is_success() {
            let effect = effect_of_response(status, response.headers(), self.is_safe());
            let is_declined = effect == Effect::Declined;
            self.tracker.facts(|facts| facts.is_declined = is_declined);
        }
        let version = || self.tracker.facts(|facts| facts.version);
        self.tracker.spans().answered(status, version);
        self.tracker.head(status, judged);
    }

    /// Whether the method of this attempt is safe (RFC 9110 §9.2.1).
    fn is_safe(&self) -> bool {
        let redirected = self.tracker.facts(|facts| facts.method.clone());
        let method = redirected.as_ref().or_else(|| self.call.method());
        method.is_some_and(Method::is_safe)
    }

    fn progress(&self) -> Progress {
        let stage = self.tracker.open();
        Progress {
            stage,
            tracked: self.tracker.is_tracked(),
            entered: stage.map_or_else(|| self.tracker.started(), |s| self.tracker.entered(s)),
            moved: self.tracker.moved(),
            sent_bytes: self.tracker.sent_bytes(),
        }
    }

    /// Ready when a limit has run out: which one.
    fn poll_alarm(&self, mut alarm: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> Poll<Waited> {
        self.tracker.waiting();
        loop {
            let now = clock::now();
            let progress = self.progress();
            let limits = self.tracker.limits();
            let (at, which) = due(&progress, limits, self.end);
            if at <= now {
                return Poll::Ready(which);
            }
            let look = look_again(&progress, limits, at, now);
            match alarm.as_mut().as_pin_mut() {
                // An alarm that goes off too early only looks again: cheaper than moving it on.
                Some(sleep) if sleep.deadline() <= look && !sleep.is_elapsed() => {}
                Some(sleep) => sleep.reset(look),
                None => alarm.set(Some(sleep_until(look))),
            }
            if let Some(sleep) = alarm.as_mut().as_pin_mut() {
                ready!(sleep.poll(cx));
            }
        }
    }

    fn expire(&self, which: Waited) -> Error {
        self.tracker.give_up();
        Error::new(Diagnosis::expired(Some(&self.tracker), which))
    }

    fn diagnose(&self, error: BoxError) -> Error {
        self.tracker.give_up();
        Error::ours(error)
            .map(|ours| ours.passed_up_to(&self.call))
            .unwrap_or_else(|other| Error::new(diagnose(&self.tracker, &*other)).because(other))
    }

    fn fail(&mut self, error: Error) -> Error {
        self.over = true;
        self.tracker.fail(error.diagnosis());
        error.of(&self.call)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            self.tracker.give_up();
            self.tracker.cancel();
        }
    }
}

impl<F, R> std::fmt::Debug for ResponseFuture<F, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// A piece of a body as bytes, shared where it can be.
pub(super) fn bytes_of(mut data: impl Buf) -> Bytes {
    data.copy_to_bytes(data.remaining())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::OnceLock;
    use std::task::Waker;
    use std::time::Duration;

    use http::Request;
    use http_body_util::Empty;
    use tower::{Layer, Service, service_fn};

    use super::*;
    use crate::AttemptLayer;
    use crate::hop::tracker;
    use crate::limit::Limits;

    type Answer = Result<Response<Empty<Bytes>>, Infallible>;

    #[tokio::test(start_paused = true)]
    async fn dropped_attempt_is_given_up_before_its_inner_future_goes() {
        let limits = Limits::new(Duration::from_secs(10)).unwrap();
        let heard = Arc::new(OnceLock::new());
        let ear = Arc::clone(&heard);
        let mut service = AttemptLayer::new(limits).layer(service_fn(move |_: Request<()>| {
            let ear = Arc::clone(&ear);
            async move {
                ear.get_or_init(tracker::current);
                std::future::pending::<Answer>().await
            }
        }));
        let mut attempt = Box::pin(service.call(Request::new(())));
        let mut context = Context::from_waker(Waker::noop());
        assert!(attempt.as_mut().poll(&mut context).is_pending());
        let tracker = heard.get().cloned().flatten().unwrap();
        assert!(!tracker.is_given_up());
        drop(attempt);
        assert!(tracker.is_given_up());
    }
}
