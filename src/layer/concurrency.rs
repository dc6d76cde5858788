use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Method, Uri};
use tower_layer::Layer;

use crate::callback::Site;
use crate::config_error::ConfigError;
use crate::destination::Destination;
use crate::driver::{Again, Driver, Policies};
use crate::policy::concurrency::{ConcurrencyConfig, ConcurrencyHandle, Policy};
use crate::policy::{NamedRules, destination_key};
use crate::replay::SentOnce;

/// Puts a concurrency limit around a service. It bounds how many attempts are in flight to a destination, and lets the
/// others wait in a bounded queue.
///
/// # Example
///
/// ```
/// use sevenhops::policy::concurrency::Algorithm;
/// use sevenhops::{ConcurrencyConfig, ConcurrencyLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let layer = ConcurrencyLayer::new(ConcurrencyConfig::new().algorithm(Algorithm::Vegas))?;
/// let limits = layer.concurrency_handle();
/// let service = ServiceBuilder::new()
///     .layer(layer)
///     .service(service_fn(async |_request: http::Request<String>| {
///         Ok::<_, std::io::Error>(http::Response::new(String::from("hello")))
///     }));
/// let get = http::Request::get("https://api.test/v1").body(String::new())?;
/// let response = service.oneshot(get).await?;
/// let api = "https://api.test".parse()?;
/// // The permit is held to the last byte of the body.
/// assert_eq!(limits.snapshot(&api).map(|now| now.in_flight), Some(1));
/// drop(response);
/// assert_eq!(limits.snapshot(&api).map(|now| now.in_flight), Some(0));
/// # Ok(()) }
/// ```
///
/// # Protects from
///
/// - A slow destination that collects all the tasks, memory and connections of this process.
/// - A server that gets slower with each request more, until no response comes in time.
/// - A backlog of calls whose callers have left.
///
/// # The queue
///
/// A call without a permit waits. It is rejected at once if the queue is full or the wait would be too long. The wait
/// is estimated by the average time for which permits are held. Calls are served by
/// [priority](crate::Options::priority), then in their order. If the queue has not been empty for 100 ms, the newest
/// call is served first: the oldest ones are about to give up. If the queue is full, a more important call takes the
/// place of the least important one.
///
/// # Algorithms
///
/// [`Algorithm::Aimd`](crate::policy::concurrency::Algorithm::Aimd) shrinks the limit by a tenth at each overload, and
/// grows it by one otherwise. An overload is a 429, 503 or 529, a timeout, or a response that the classifier calls
/// throttled. `Vegas` and `Gradient2` also follow the time to the response head, so that they notice a queue at the
/// server before it rejects requests. `Fixed` does not change.
///
/// # Defaults
///
/// Off in a [`StandardLayer`](crate::StandardLayer) and in a client. The values are those of [`ConcurrencyConfig`].
/// Each destination has its own limit. [`key_by`](Self::key_by) can choose other groups. Over this layer alone a call
/// has no deadline: set [`max_wait`](ConcurrencyConfig::max_wait).
///
/// # Reports
///
/// A rejection is an [`Error`](crate::Error) with [`Policy::Concurrency`](crate::Policy::Concurrency),
/// [`Kind::ConcurrencyLimit`](crate::Kind::ConcurrencyLimit) and no effect. Its text has the reason. A wait is a row of
/// the timeline: "waited 80.0 ms for a permit". It is an event of the call's span, and a metric. [`concurrency_handle`](Self::concurrency_handle)
/// returns a [`ConcurrencyHandle`], with the current limits.
///
/// # Trade-offs
///
/// The wait belongs to the call, and not to the timeout of the attempt. An inner service that reserves room in
/// `poll_ready` keeps that room during the wait. The estimate of the wait follows the average, so single calls may wait
/// longer.
///
/// # How people get it wrong
///
/// - Building a layer for each request: it bounds nothing. Build one layer and clone it.
/// - Keeping response bodies without reading them: each of them holds a permit.
/// - A queue that is longer than the server works off within the deadline: its calls only wait to fail.
/// - Vegas or Gradient2 for routes with very different times: the limit follows the mix. See
///   [`key_by`](Self::key_by).
///
/// # Cancel safety
///
/// Dropping the future or the body gives the permit back, or leaves the queue. The next call gets the permit.
#[derive(Clone)]
pub struct ConcurrencyLayer {
    policy: Policy,
}

impl ConcurrencyLayer {
    /// Creates a concurrency limit.
    ///
    /// # Errors
    ///
    /// Fails if a value is out of range or contradicts another one. The error names the fields and their values.
    pub fn new(config: ConcurrencyConfig) -> Result<Self, ConfigError> {
        config.check(None)?;
        Ok(Self {
            policy: Policy {
                limits: ConcurrencyHandle::new(),
                config: Arc::new(config),
                key: None,
                rules: NamedRules::default(),
            },
        })
    }

    /// Keeps a limit for each destination that `key` returns. Requests for which it returns `None` are not limited.
    /// By default the key is the [`Destination::of`] the URL. If `key` panics, the call fails at encode.
    #[must_use]
    pub fn key_by(
        mut self,
        key: impl Fn(&Method, &Uri, &HeaderMap) -> Option<Destination> + Send + Sync + 'static,
    ) -> Self {
        let site = Site::new("ConcurrencyLayer::key_by");
        self.policy.key = Some(destination_key(site, key));
        self
    }

    /// Returns the limits, to read them.
    #[must_use]
    pub fn concurrency_handle(&self) -> ConcurrencyHandle {
        self.policy.limits.clone()
    }
}

impl<S> Layer<S> for ConcurrencyLayer {
    type Service = ConcurrencyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = Policies {
            concurrency: Some(self.policy.clone()),
            ..Policies::default()
        };
        Driver::new(inner, Again(SentOnce), policies)
    }
}

/// The service of [`ConcurrencyLayer`]. It sends each request once, through a clone of its service if it has to wait.
pub type ConcurrencyService<S> = Driver<S, Again<SentOnce>>;

impl fmt::Debug for ConcurrencyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLayer")
            .field("config", &self.policy.config)
            .field("keyed", &self.policy.key.is_some())
            .finish()
    }
}
