use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::future::{ActiveFault, ChaosFuture};
use super::plan::{FaultPlan, When};
use super::{ChaosBody, ChaosConfig, Fault};
use crate::box_error::BoxError;
use crate::call::Call;
use crate::callback::{Site, permits};
use crate::config_error::ConfigError;

/// Injects faults into the requests that pass it: see [the module](super).
///
/// Clones, and the services of clones, share the sequence, the queue and the switch.
///
/// # Example
///
/// A test in which the first response is lost, without a socket and on a paused clock:
///
/// ```
/// use std::time::Duration;
/// use sevenhops::chaos::{ChaosLayer, Fault, ChaosConfig};
/// use sevenhops::{Effect, Hop, StandardLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let chaos = ChaosLayer::new(ChaosConfig::new(0))?;
/// let service = ServiceBuilder::new()
///     .layer(StandardLayer::new(Duration::from_secs(10))?)
///     .layer(chaos.clone()) // right above the transport
///     .service(service_fn(async |_request: http::Request<String>| {
///         Ok::<_, std::io::Error>(http::Response::new(String::from("charged")))
///     }));
///
/// chaos.enqueue([Fault::DropResponse])?;
/// let charge = http::Request::post("https://api.test/v1/charges").body(String::new())?;
/// let error = service.oneshot(charge).await.unwrap_err();
/// assert_eq!((error.hop(), error.effect()), (Some(Hop::Server), Effect::Possible));
/// # Ok(()) }
/// ```
///
/// # Cancel safety
///
/// Dropping the future drops the request below.
#[derive(Clone)]
pub struct ChaosLayer {
    plan: Arc<FaultPlan>,
    when: Option<Arc<When>>,
}

impl ChaosLayer {
    /// Creates a layer with this config. Fault injection is on from the start.
    ///
    /// # Errors
    ///
    /// Fails if a value is out of range. The error names the field and its value.
    pub fn new(config: ChaosConfig) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            plan: Arc::new(FaultPlan::new(config)),
            when: None,
        })
    }

    /// Injects faults only into requests for which this function returns true. Other requests do not advance the random
    /// sequence or the queue. If the function panics, the request gets no fault.
    #[must_use]
    pub fn when(mut self, predicate: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        let site = Site::new("ChaosLayer::when");
        self.when = Some(Arc::new(move |head: &_| permits(&site, || predicate(head))));
        self
    }

    /// Queues faults for the next requests, one each. Queued faults come before random ones.
    ///
    /// # Errors
    ///
    /// Fails if a value of a fault is out of range. The error names the value, and no fault is queued.
    pub fn enqueue(&self, faults: impl IntoIterator<Item = Fault>) -> Result<(), ConfigError> {
        let faults: Vec<_> = faults.into_iter().collect();
        faults.iter().try_for_each(|fault| fault.check())?;
        self.plan.queue(faults);
        Ok(())
    }

    /// Switches fault injection on or off for all clones. While it is off, requests pass unchanged and do not advance
    /// the random sequence or the queue.
    pub fn set_enabled(&self, on: bool) {
        self.plan.set_enabled(on);
    }

    /// Returns whether fault injection is on.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.plan.is_enabled()
    }

    /// Returns the number of faults injected so far.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.plan.injected()
    }
}

impl<S> Layer<S> for ChaosLayer {
    type Service = ChaosService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ChaosService {
            inner,
            chaos: self.clone(),
        }
    }
}

impl fmt::Debug for ChaosLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaosLayer")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

/// The service of [`ChaosLayer`].
#[derive(Clone, Debug)]
pub struct ChaosService<S> {
    inner: S,
    chaos: ChaosLayer,
}

impl<S, B, R> Service<Request<B>> for ChaosService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    B: Send + 'static,
    R: Body<Data: Buf, Error: Into<BoxError>>,
{
    type Response = Response<ChaosBody<R>>;
    type Error = BoxError;
    type Future = ChaosFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let ChaosLayer { plan, when } = &self.chaos;
        if !plan.is_enabled() {
            return ChaosFuture::untouched(self.inner.call(request));
        }
        let (head, body) = request.into_parts();
        let meant = plan.is_meant(&head, when.as_deref());
        let drawn = meant.then(|| plan.draw()).flatten();
        let call = drawn.and_then(|_| Call::of(&head.extensions));
        let request = Request::from_parts(head, body);
        let Some(drawn) = drawn else {
            return ChaosFuture::untouched(self.inner.call(request));
        };
        let fault = ActiveFault::new(drawn, Arc::clone(plan), call);
        if fault.needs_the_service() {
            return ChaosFuture::sent(self.inner.call(request), fault);
        }
        fault.give_back(request);
        ChaosFuture::unsent(fault)
    }
}
