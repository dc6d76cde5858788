use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::{CallBody, CallFuture, Open};
use crate::call::{Call, Observer, also};
use crate::callback::Site;
use crate::error::{BoxError, Error, SettingError};
use crate::guard::attempt::foreign;
use crate::hop::Timeline;
use crate::limit::Limit;
#[cfg(feature = "otel")]
use crate::telemetry::otel::Spans;
use crate::telemetry::{Maker, call_span};

/// Puts the deadline of the whole call around a service: attempts, waits and the body included.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::CallLayer;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let service = ServiceBuilder::new()
///     .layer(CallLayer::new(Duration::from_secs(1))?)
///     .service(service_fn(async |_request: http::Request<String>| {
///         std::future::pending::<Result<http::Response<String>, std::io::Error>>().await
///     }));
/// let error = service.oneshot(http::Request::new(String::new())).await.unwrap_err();
/// assert_eq!(error.expired(), Some(sevenhops::limit::Waited::Deadline));
/// # Ok(()) }
/// ```
///
/// # What it protects from
///
/// A timeout that is forgotten, one that becomes "per attempt", and a body that trickles for ever.
///
/// # Defaults
///
/// None: a deadline has to be named. One request can ask for another by
/// [`Options::deadline`](crate::Options::deadline), or for none after the head by
/// [`Options::streaming`](crate::Options::streaming).
///
/// # Cancel safety
///
/// Dropping the future or the body cancels what is below; a caller's cancellation is recorded as
/// such and is no failure.
#[derive(Clone)]
pub struct CallLayer {
    deadline: Limit,
    observer: Option<Observer>,
    maker: Maker,
}

impl CallLayer {
    /// Calls that end within `deadline`.
    ///
    /// # Errors
    ///
    /// Fails if `deadline` is zero or longer than a day.
    pub fn new(deadline: Duration) -> Result<Self, SettingError> {
        match Limit::new(deadline) {
            Ok(deadline) => Ok(Self::within(deadline)),
            Err(_) => Err(SettingError::out_of_range(
                "deadline",
                deadline,
                "0s (not included) to 86400s",
            )),
        }
    }

    /// Calls that end within a limit that is known to be one.
    pub(crate) const fn within(deadline: Limit) -> Self {
        Self {
            deadline,
            observer: None,
            maker: Maker::Tracing,
        }
    }

    /// Calls this function at the end of every call: when the last byte of its body has come, it
    /// failed, or it was dropped. What was set before is called first.
    ///
    /// It runs where the call ends, so it should be quick. If it panics, the call goes on, and the first panic is
    /// logged.
    #[must_use]
    pub fn on_end(mut self, observe: impl Fn(&Timeline) + Send + Sync + 'static) -> Self {
        let site = Site::new("CallLayer::on_end");
        self.observer = Some(also(self.observer, site, observe));
        self
    }

    /// Makes the spans of every call straight in OpenTelemetry, and none in `tracing`: see
    /// [`Spans`].
    #[cfg(feature = "otel")]
    #[must_use]
    pub fn spans(mut self, spans: &Spans) -> Self {
        self.maker = Maker::Direct(spans.clone());
        self
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CallService {
            inner,
            deadline: self.deadline,
            observer: self.observer.clone(),
            maker: self.maker.clone(),
        }
    }
}

impl fmt::Debug for CallLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallLayer")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// The service of [`CallLayer`].
#[derive(Clone)]
pub struct CallService<S> {
    inner: S,
    deadline: Limit,
    observer: Option<Observer>,
    maker: Maker,
}

impl<S, B, R> Service<Request<B>> for CallService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    R: Body,
    R::Error: Into<BoxError>,
{
    type Response = Response<CallBody<R>>;
    type Error = Error;
    type Future = CallFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let ready = self.inner.poll_ready(cx);
        ready.map_err(|error| foreign(error.into()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = Call::begin(&mut request, self.deadline);
        let span = call_span(&self.maker, &call, (request.method(), request.uri()));
        call.listen(span.clone(), self.observer.clone());
        #[cfg(feature = "middleware")]
        call.begin_callers_try();
        // Before anything is asked below: whatever happens there, the call has an end.
        let open = Open::new(call, span);
        let inner = {
            let _entered = open.span.enter();
            self.inner.call(request)
        };
        CallFuture::new(inner, open)
    }
}

impl<S: fmt::Debug> fmt::Debug for CallService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallService")
            .field("inner", &self.inner)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
