//! The user's own layers: around each call, and around each attempt.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower::util::BoxCloneSyncService;
use tower_layer::Layer;
use tower_service::Service;

use super::ClientBuilder;
use crate::body::Body;
use crate::box_error::BoxError;
use crate::call::Call;
use crate::diagnose::{AttemptFailure, View};
use crate::error::Error;
use crate::layer::{DeadlineService, StandardLayer, StandardService};
use crate::transport::{Incoming, Transport, TransportFuture};

impl ClientBuilder {
    /// Puts a tower layer around each attempt, right above the transport. It sees the request of each retry and of each
    /// redirect, with the client's headers and the idempotency key. Use it to sign, to refresh a token, to log.
    ///
    /// Of several layers the first one is the outermost, as in `tower::ServiceBuilder`.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::{HeaderValue, Request};
    /// use sevenhops::{Body, Client};
    /// use tower::util::MapRequestLayer;
    ///
    /// let client = Client::builder(Duration::from_secs(10))
    ///     .attempt_layer(MapRequestLayer::new(|mut request: Request<Body>| {
    ///         // After a redirect, the request may be for another host.
    ///         if request.uri().host() == Some("api.test") {
    ///             let token = HeaderValue::from_static("fresh for each attempt");
    ///             request.headers_mut().insert("x-token", token);
    ///         }
    ///         request
    ///     }))
    ///     .build()?;
    /// # drop(client); Ok::<(), sevenhops::ConfigError>(())
    /// ```
    ///
    /// # Reports
    ///
    /// The service below returns an [`Error`] with hop, kind, effect and timeline. An error of the layer itself becomes
    /// such an error, too. It is never a proof that nothing was sent.
    /// [`Timeline::from_extensions`](crate::Timeline::from_extensions) returns the call's timeline from the request's
    /// extensions: its `attempt_count` is the number of this attempt.
    ///
    /// # Trade-offs
    ///
    /// The attempt's timeouts include the time of the layer. Each layer costs a box for each attempt. Without a layer
    /// there is no cost.
    ///
    /// # How people get it wrong
    ///
    /// The layer sends a credential to every host. Or it sends the request twice after a response that may have had an
    /// effect. The retry above checks the effect; the layer has to check it itself.
    pub fn attempt_layer<L, B>(mut self, layer: L) -> Self
    where
        L: Layer<InnerService> + Send + 'static,
        L::Service: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.attempt_layers.push(wrapped(layer));
        self
    }

    /// Puts a tower layer around each call: outside of retries, redirects, keys, breaker and stale responses. Only the
    /// deadline is around it. Use it to count calls, to bound them, or to answer some of them without a request.
    ///
    /// Of several layers the first one is the outermost, as in `tower::ServiceBuilder`.
    ///
    /// # Example
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use std::time::Duration;
    /// use http::Request;
    /// use sevenhops::{Body, Client};
    /// use tower::util::MapRequestLayer;
    ///
    /// let calls = Arc::new(AtomicU64::new(0));
    /// let counter = Arc::clone(&calls);
    /// let client = Client::builder(Duration::from_secs(10))
    ///     .call_layer(MapRequestLayer::new(move |request: Request<Body>| {
    ///         counter.fetch_add(1, Ordering::Relaxed);
    ///         request
    ///     }))
    ///     .build()?;
    /// # drop((calls, client)); Ok::<(), sevenhops::ConfigError>(())
    /// ```
    ///
    /// # Reports
    ///
    /// A response or an error of the layer has the timeline of the call, whether it sent a request or not. If it sends
    /// the request several times, all attempts are in that timeline, and the effect is the greatest of theirs.
    ///
    /// # Trade-offs
    ///
    /// Each layer costs a box for each call. Without a layer there is no cost.
    ///
    /// # How people get it wrong
    ///
    /// The layer retries. The retry below has already made all safe retries, and has its budget. Or the layer copies
    /// the extensions of the request into a request of its own: that request then counts as a part of this call.
    pub fn call_layer<L, B>(mut self, layer: L) -> Self
    where
        L: Layer<InnerService> + Send + 'static,
        L::Service: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.call_layers.push(wrapped(layer));
        self
    }
}

/// A layer of the user's, over the service below it.
pub(super) type UserLayer = Box<dyn FnOnce(InnerService) -> InnerService + Send>;

fn wrapped<L, B>(layer: L) -> UserLayer
where
    L: Layer<InnerService> + Send + 'static,
    L::Service: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    Box::new(move |inner| InnerService::new(layer.layer(inner)))
}

/// The service below a layer of [`ClientBuilder::attempt_layer`] or [`ClientBuilder::call_layer`].
///
/// Its errors are complete: hop, kind, effect and timeline.
///
/// # Cancel safety
///
/// Dropping its future drops the request.
#[derive(Clone)]
pub struct InnerService(BoxCloneSyncService<Request<Body>, Response<Incoming>, Error>);

impl InnerService {
    fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self(BoxCloneSyncService::new(Completing(service)))
    }

    /// Returns the service with these layers around it. The first layer is the outermost.
    fn within(self, layers: Vec<UserLayer>) -> Self {
        layers
            .into_iter()
            .rev()
            .fold(self, |inner, layer| layer(inner))
    }
}

impl Service<Request<Body>> for InnerService {
    type Response = Response<Incoming>;
    type Error = Error;
    type Future = InnerFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> InnerFuture {
        InnerFuture(self.0.call(request))
    }
}

/// The future of [`InnerService`].
#[must_use = "futures do nothing unless polled"]
pub struct InnerFuture(Sending);

type Sending = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Error>> + Send>>;

impl Future for InnerFuture {
    type Output = Result<Response<Incoming>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

/// A service whose errors are completed, so that each layer above it sees hop, effect and timeline.
#[derive(Clone)]
struct Completing<S>(S);

impl<S, B> Service<Request<Body>> for Completing<S>
where
    S: Service<
            Request<Body>,
            Response = Response<B>,
            Error: Into<BoxError>,
            Future: Send + 'static,
        >,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Incoming>;
    type Error = Error;
    type Future = Sending;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let ready = self.0.poll_ready(cx);
        ready.map_err(|error| complete(error.into(), None))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = Call::of(request.extensions());
        let sent = self.0.call(request);
        Box::pin(async move {
            match sent.await {
                Ok(response) => Ok(response.map(Incoming::other)),
                Err(error) => Err(complete(error.into(), call.as_ref())),
            }
        })
    }
}

/// Completes an error that leaves a layer.
fn complete(error: BoxError, call: Option<&Call>) -> Error {
    let view = View {
        call,
        ..View::default()
    };
    let error = AttemptFailure::below(error, view).into_error();
    match call {
        Some(call) => error.of(call),
        None => error,
    }
}

/// The service below the policies: the transport, or the user's layers over it.
#[derive(Clone, Debug)]
pub(super) enum AttemptStack {
    Transport(Transport),
    Layered(InnerService),
}

impl AttemptStack {
    pub(super) fn new(transport: Transport, layers: Vec<UserLayer>) -> Self {
        match layers.is_empty() {
            true => Self::Transport(transport),
            false => Self::Layered(InnerService::new(transport).within(layers)),
        }
    }
}

impl Service<Request<Body>> for AttemptStack {
    type Response = Response<Incoming>;
    type Error = Error;
    type Future = AttemptFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::Transport(_) => Poll::Ready(Ok(())),
            Self::Layered(service) => service.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Request<Body>) -> AttemptFuture {
        match self {
            Self::Transport(transport) => AttemptFuture::Transport(transport.call(request)),
            Self::Layered(service) => AttemptFuture::Layered(service.call(request)),
        }
    }
}

/// The future of [`AttemptStack`].
pub(super) enum AttemptFuture {
    Transport(TransportFuture),
    Layered(InnerFuture),
}

impl Future for AttemptFuture {
    type Output = Result<Response<Incoming>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Transport(sending) => Pin::new(sending).poll(cx),
            Self::Layered(sending) => Pin::new(sending).poll(cx),
        }
    }
}

/// The service of a client: all policies, or the user's layers with the deadline around them.
#[derive(Clone)]
pub(super) enum CallStack {
    Standard(StandardService<AttemptStack>),
    Layered(Arc<LayeredStack>),
}

/// The user's layers around each call.
pub(super) struct LayeredStack {
    pub(super) calls: DeadlineService<InnerService>,
    /// Without the layers: they have changed the request of a refresh already.
    pub(super) refreshes: DeadlineService<InnerService>,
}

impl CallStack {
    pub(super) fn new(
        standard: &StandardLayer,
        transport: Transport,
        (around_calls, around_attempts): (Vec<UserLayer>, Vec<UserLayer>),
    ) -> Self {
        // The chaos layer and the user's layers look for the call in the request.
        let is_plain = !transport.is_amid_chaos() && around_attempts.is_empty();
        let attempts = AttemptStack::new(transport, around_attempts);
        match around_calls.is_empty() {
            true if is_plain => Self::Standard(standard.over(attempts)),
            true => Self::Standard(standard.layer(attempts)),
            false => Self::Layered(Arc::new(LayeredStack {
                refreshes: standard.within((attempts.clone(), is_plain), InnerService::new),
                calls: standard.within((attempts, is_plain), |policies| {
                    InnerService::new(policies).within(around_calls)
                }),
            })),
        }
    }
}

impl fmt::Debug for InnerService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InnerService").finish_non_exhaustive()
    }
}

impl fmt::Debug for InnerFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InnerFuture").finish_non_exhaustive()
    }
}
