//! The server's side of a deadline: what a caller passed on holds for the calls that the handler makes.

mod future;
mod parent;
mod rejection;

use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

pub use self::future::InheritFuture;
use self::parent::Parent;
pub use self::rejection::Expired;
use crate::call::restrain_sync;
use crate::clock;
use crate::hop::is_grpc;
use crate::options::Options;

/// Inherits the time left and the retries of the caller, for a server that makes calls itself.
///
/// It works over any service of `http::Request`: axum, hyper, tonic.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::server::InheritLayer;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), std::io::Error> {
/// let service = ServiceBuilder::new()
///     .layer(InheritLayer::new()) // in axum: `router.layer(InheritLayer::new())`
///     .service(service_fn(async |_request: http::Request<String>| {
///         // A call made here ends with the caller's deadline.
///         Ok::<_, std::io::Error>(http::Response::new(String::from("hello")))
///     }));
/// let late = http::Request::get("/").header("sevenhops-timeout-ms", "0");
/// let response = service.oneshot(late.body(String::new()).unwrap()).await?;
/// assert_eq!(response.status(), 504);
/// # Ok(()) }
/// ```
///
/// # Protects from
///
/// - Work for a caller that has gone: a request whose time is over is rejected, and the handler ends at the deadline.
/// - Retries that multiply: if the caller retries, the calls inside do not.
///
/// # Reports
///
/// It reads `Sevenhops-Timeout-Ms`, `Sevenhops-Attempt` and gRPC's `grpc-timeout`. Of two times the shorter one holds.
/// Malformed headers are ignored. A client of this crate sends the first two if
/// [`propagate_deadline`](crate::AttemptLayer::propagate_deadline) is on.
///
/// The calls of this crate's clients find the deadline by the task that polls the handler. For another task, take
/// the [`Options`] from the request's extensions, and add them to the call:
/// `client.get(url).options(|_| options)`. Options that were in the extensions before are kept.
///
/// If the time is over, the response is 504, and in gRPC the status 4 (`DEADLINE_EXCEEDED`). It has
/// [`Expired`] in its extensions, so a layer above can replace it.
///
/// # Defaults
///
/// A request without these headers has no deadline here. `continue_trace` is off.
///
/// # Cancel safety
///
/// At the deadline, the handler's future is dropped. Its calls are given up.
///
/// # Trade-offs
///
/// The deadline ends at the response head: a body that the handler returned is sent to its end.
///
/// # How people get it wrong
///
/// The work has to be completed even if the caller has gone. Spawn it in a task of its own then.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct InheritLayer {
    #[cfg(feature = "otel")]
    continues_trace: bool,
}

impl InheritLayer {
    /// Creates the layer.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            #[cfg(feature = "otel")]
            continues_trace: false,
        }
    }

    #[cfg(feature = "otel")]
    fn parent(self, headers: &HeaderMap) -> Parent {
        match self.continues_trace {
            true => Parent::of(headers),
            false => Parent::default(),
        }
    }

    #[cfg(not(feature = "otel"))]
    fn parent(self, _: &HeaderMap) -> Parent {
        Parent::default()
    }

    /// Sets whether the handler continues the caller's trace: off by default. The trace is read with the application's
    /// global propagator, and is OpenTelemetry's current context while the handler is polled. A root span of `tracing`
    /// becomes its child, so put this layer above the layer that creates the server's span.
    ///
    /// # Example
    ///
    /// ```
    /// let layer = sevenhops::server::InheritLayer::new().continue_trace(true);
    /// # drop(layer);
    /// ```
    #[cfg(feature = "otel")]
    #[must_use]
    pub const fn continue_trace(mut self, yes: bool) -> Self {
        self.continues_trace = yes;
        self
    }
}

impl<S> Layer<S> for InheritLayer {
    type Service = InheritService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        InheritService {
            inner,
            layer: *self,
        }
    }
}

/// The service of [`InheritLayer`].
#[derive(Clone, Debug)]
pub struct InheritService<S> {
    inner: S,
    layer: InheritLayer,
}

impl<S, B, R> Service<Request<B>> for InheritService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = InheritFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let arrived = Options::new().inherit(request.headers());
        let is_grpc = is_grpc(request.headers());
        let deadline = arrived.inherited.deadline;
        if deadline.is_some_and(|deadline| deadline <= clock::now()) {
            return InheritFuture::rejected(is_grpc);
        }
        let parent = self.layer.parent(request.headers());
        let mut options = request
            .extensions_mut()
            .remove::<Options>()
            .unwrap_or_default();
        options.restrain_by(&arrived);
        request.extensions_mut().insert(options.clone());
        let call = || self.inner.call(request);
        let inner = parent.within(|| restrain_sync(options.clone(), call));
        InheritFuture::running((inner, options), parent, is_grpc)
    }
}
