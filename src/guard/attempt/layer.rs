use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::future::Running;
use super::{AttemptBody, ResponseFuture};
use crate::call::{Call, redacted};
use crate::clock;
use crate::destination::Destination;
use crate::error::{BoxError, Error, Guard};
#[cfg(feature = "har")]
use crate::hop::keep_request;
use crate::hop::tracker::Tracker;
use crate::hop::{Diagnosis, Effect, Kind};
use crate::limit::{Limits, Waited};
use crate::propagation;
use crate::telemetry::{AttemptSpans, Propagator};

/// Puts the limits of an attempt around a service, and names the hop at which it fails.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{AttemptLayer, limit::Limits};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let service = ServiceBuilder::new()
///     .layer(AttemptLayer::new(Limits::new(Duration::from_secs(10))?))
///     .service(service_fn(async |_request: http::Request<String>| {
///         Ok::<_, std::io::Error>(http::Response::new(String::from("hello")))
///     }));
/// let response = service.oneshot(http::Request::new(String::new())).await?;
/// assert_eq!(response.status(), 200);
/// # Ok(()) }
/// ```
///
/// # What it protects from
///
/// A hop that stalls: each has a limit of its own, so the error says which one it was. A request
/// that was given up and reaches the server all the same: its body refuses to be sent. An option that no
/// layer above carries out: the request is [refused](crate::Options#honored-or-refused).
///
/// # Defaults
///
/// Those of [`Limits`]. Over [`Transport`](crate::Transport) every limit holds; over a service of
/// another kind the attempt limit and the body idle limit do, and what cannot be seen is one wait.
///
/// # Cancel safety
///
/// Dropping the future gives the attempt up: what was not taken by a connection is never sent, and
/// the timeline says "cancelled", not "failed".
#[derive(Clone, Debug)]
pub struct AttemptLayer {
    limits: Limits,
    propagating: bool,
    propagator: Option<Arc<dyn Propagator>>,
}

impl AttemptLayer {
    /// Attempts under these limits.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            propagating: false,
            propagator: None,
        }
    }

    /// Tells the next process, in the headers `Sevenhops-Attempt` and `Sevenhops-Timeout-Ms`, which
    /// attempt it is and how much time is left: off by default. What it does with them there:
    /// [`Options::inherit`](crate::Options::inherit).
    #[must_use]
    pub const fn propagating(mut self, yes: bool) -> Self {
        self.propagating = yes;
        self
    }

    /// Lets the trace go along in the headers of each attempt: none does by default. To another origin
    /// than the call's own, W3C `baggage` does not go.
    #[must_use]
    pub fn propagator(mut self, propagator: impl Propagator) -> Self {
        self.propagator = Some(Arc::new(propagator));
        self
    }
}

impl<S> Layer<S> for AttemptLayer {
    type Service = AttemptService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AttemptService {
            inner,
            limits: Arc::new(self.limits),
            propagating: self.propagating,
            propagator: self.propagator.clone(),
        }
    }
}

/// The service of [`AttemptLayer`].
#[derive(Clone, Debug)]
pub struct AttemptService<S> {
    inner: S,
    /// Behind a pointer: services are cloned for each call, and moved about.
    limits: Arc<Limits>,
    propagating: bool,
    propagator: Option<Arc<dyn Propagator>>,
}

impl<S, B, R> Service<Request<B>> for AttemptService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    R: Body,
    R::Error: Into<BoxError>,
{
    type Response = Response<AttemptBody<R>>;
    type Error = Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let ready = self.inner.poll_ready(cx);
        ready.map_err(|error| foreign(error.into()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // Without a call around it, the attempt is the whole call.
        let call = Call::of(request.extensions())
            .unwrap_or_else(|| Call::begin(&mut request, self.limits.attempt()));
        let now = clock::now();
        if call.deadline() <= now {
            let diagnosis = Diagnosis {
                expired: Some(Waited::Deadline),
                ..Diagnosis::refusal(Kind::Timeout)
            };
            return ResponseFuture::refused(Error::refused(Guard::Deadline, diagnosis).of(&call));
        }
        if let Some(refused) = call.refuse_unmet(&request, true) {
            return ResponseFuture::refused(refused);
        }
        let limits = match call.options().deadline {
            Some(deadline) => Arc::new(self.limits.under(deadline)),
            None => Arc::clone(&self.limits),
        };
        let made = call.attempt_count();
        let mut spans = AttemptSpans::new(&call, (request.method(), request.uri()), (made, now));
        if let Some(propagator) = &self.propagator {
            spans.propagate(propagator, request.headers_mut());
            if call.is_redirected()
                && call.asked().uri().and_then(Destination::of) != Destination::of(request.uri())
            {
                request.headers_mut().remove(BAGGAGE);
            }
        }
        let tracker = Arc::new(Tracker::new(limits, spans, now));
        if call.is_redirected() {
            let url = redacted(request.uri());
            let method =
                Some(request.method()).filter(|method| Some(*method) != call.asked().method());
            tracker.facts(|facts| {
                facts.url = Some(url);
                facts.method = method.cloned();
            });
        }
        let keyed = call.keyed(request.headers());
        call.attempt(Arc::clone(&tracker));
        if self.propagating {
            let left = call.deadline().saturating_duration_since(now);
            propagation::write(
                request.headers_mut(),
                made.saturating_sub(call.attempts_before_leg()) + 1,
                call.most_attempts(),
                left,
            );
        }
        #[cfg(feature = "har")]
        keep_request(&call, &tracker, request.headers());
        let span = tracker.spans().attempt();
        let running = Running::new(tracker, call, keyed);
        let inner = {
            let _entered = span.enter();
            self.inner.call(request)
        };
        ResponseFuture::new(inner, running)
    }
}

/// What the application says of itself and its user (W3C Baggage).
const BAGGAGE: &str = "baggage";

/// The error of a service that was not ready: nothing was sent.
pub(crate) fn foreign(error: BoxError) -> Error {
    Error::ours(error).unwrap_or_else(|other| {
        let mut diagnosis = Diagnosis::new(crate::hop::Hop::Send, Kind::Other, Effect::None);
        diagnosis.hop = None;
        Error::new(diagnosis).because(other)
    })
}
