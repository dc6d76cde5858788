use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Uri};
use tower_layer::Layer;

use crate::callback::{Site, ask, observe};
use crate::config_error::ConfigError;
use crate::destination::Destination;
use crate::driver::{Driver, Now, Policies};
use crate::hop::FailureClass;
use crate::policy::breaker::{
    CircuitBreakerConfig, CircuitBreakerHandle, CircuitBreakers, CircuitEvent,
};
use crate::policy::retry::Failure;
use crate::policy::{Classifier, destination_key};
use crate::retry_after::{Hints, ResponseHead};
use crate::timeout::Timeouts;

/// Puts a circuit breaker around a service. It rejects calls to a destination that keeps failing, and tests the
/// destination with probes.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{CircuitBreakerLayer, Policy, Timeouts};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let service = ServiceBuilder::new()
///     .layer(CircuitBreakerLayer::new(Timeouts::new(Duration::from_secs(10))?))
///     .service(service_fn(async |_request: http::Request<String>| {
///         http::Response::builder().status(503).body(String::new())
///     }));
/// let get = || http::Request::get("https://api.test/v1").body(String::new());
/// for _ in 0..20 {
///     assert_eq!(service.clone().oneshot(get()?).await?.status(), 503);
/// }
/// let refused = service.oneshot(get()?).await.unwrap_err();
/// assert_eq!(refused.rejected_by(), Some(Policy::Breaker));
/// assert!(refused.retry_after() >= Some(Duration::from_secs(4)));
/// let cause = std::error::Error::source(&refused).ok_or("no cause")?;
/// assert_eq!(
///     cause.to_string(),
///     "20 of 20 attempts failed, 20 at server (unavailable)"
/// );
/// # Ok(()) }
/// ```
///
/// # Protects from
///
/// - Callers that wait for a destination that is down.
/// - A destination that cannot recover because all callers keep sending.
/// - Many callers that return at the same moment.
///
/// Each destination (scheme, host and port) has its own circuit. [`key_by`](Self::key_by) can choose other groups.
///
/// These count as failures:
///
/// - errors at connect, tls, send, gateway and receive
/// - errors at server: 5xx, a connection that closes, no response
/// - an attempt that was dropped after its timeout or after the deadline of its call
///
/// These do not count:
///
/// - errors at encode, decode and dns
/// - 4xx (the destination responded properly), 429, and a 503 with a hint
/// - a lack of local resources, and rejections by other policies
/// - an attempt that its caller gave up
///
/// A 503 without a hint counts only while less than 10 % of the recent attempts succeeded: above that the destination
/// is overloaded, not down. [`classify`](Self::classify) decides on failures before these rules.
///
/// Over a [`Transport`](crate::Transport) with an attempt layer in between, failures of an address that has left DNS
/// do not count. If DNS brings an address that was not known when the circuit opened, the next call is its probe.
/// While a circuit is open, each rejected call looks the name up in the resolver's cache. The resolver then refreshes
/// the name at most once a second.
///
/// A half-open circuit is closed by every response from 2xx to 4xx. Every 5xx opens it again, for at least as long as
/// its hint.
///
/// A timeout counts only if the attempt had its configured time. That is the attempt timeout of this layer's
/// `timeouts`: half of their deadline, unless it was set. If a request has its own or an inherited shorter deadline,
/// its timeout does not count. A hop timeout that was set explicitly always counts.
///
/// # Defaults
///
/// The defaults are those of [`CircuitBreakerConfig`].
///
/// The breaker keeps up to 100000 destinations. If there are more, it first removes those that were idle for 600 s.
///
/// If a response with `Retry-After` opens the circuit, the circuit stays open at least that long, up to
/// `max_break_duration`.
///
/// # Reports
///
/// A rejection is an [`Error`](crate::Error) with [`Policy::Breaker`](crate::Policy::Breaker),
/// [`Kind::CircuitOpen`](crate::Kind::CircuitOpen) and no effect. Its [`retry_after`](crate::Error::retry_after) is
/// the open time left, and its cause names the hop that opened the circuit. [`breaker_handle`](Self::breaker_handle)
/// returns a [`CircuitBreakerHandle`], with a snapshot of each window. If a circuit opens, half-opens or closes, the
/// call's span gets an event, and the layer calls [`on_event`](Self::on_event). The layer also calls it for
/// rejections.
///
/// # Trade-offs
///
/// The breaker also rejects calls that would have succeeded: at the default ratio, a destination that fails half of the
/// time gets no calls. A single probe brings the traffic back one round trip later than possible, and never floods the
/// destination. A window of time forgets in steps of a tenth: attempts older than nine tenths of it may be gone
/// already.
///
/// A probe holds a lease for one more open time, or for an attempt timeout if that is longer. If it has no response by
/// then, another probe replaces it. A probe whose body is still being received counts as successful.
///
/// # How people get it wrong
///
/// - Building a layer for each request: it learns nothing. Build one layer and clone it.
/// - Putting it outside of the retries: then it counts one failure instead of three, and the retries go on against an
///   open circuit. Put it inside.
/// - Setting a window shorter than two attempts: attempts that hang until their timeout leave the window before there
///   are enough of them. [`from_config`](Self::from_config) refuses such a window.
/// - Keeping one circuit for hosts that fail independently (shards, tenants behind one gateway): see
///   [`key_by`](Self::key_by).
/// - Putting it around a service that reserves a permit in `poll_ready`, such as a concurrency limit. After a rejection
///   the permit stays reserved until the next call, or until the service is dropped.
///
/// # Cancel safety
///
/// Dropping the future or the body gives the permit back. An attempt that was dropped before its configured time does
/// not count. An attempt that was dropped later counts as a timeout.
#[derive(Clone)]
pub struct CircuitBreakerLayer {
    policy: CircuitBreakers,
    classifier: Option<Classifier>,
}

impl CircuitBreakerLayer {
    /// Creates a breaker with defaults that are derived from the attempt timeout.
    #[must_use]
    pub fn new(timeouts: Timeouts) -> Self {
        Self::checked(&timeouts, &CircuitBreakerConfig::new())
    }

    /// Creates a breaker with this config.
    ///
    /// # Errors
    ///
    /// Fails if a ratio is not more than 0 and at most 1, or if a count or a time is out of its range. Also fails if
    /// the window is shorter than two attempts or holds fewer than `min_attempts`, or if `break_duration` is longer
    /// than `max_break_duration`. The error names the fields and their values.
    pub fn from_config(
        timeouts: Timeouts,
        config: CircuitBreakerConfig,
    ) -> Result<Self, ConfigError> {
        config.check(&timeouts)?;
        Ok(Self::checked(&timeouts, &config))
    }

    fn checked(timeouts: &Timeouts, config: &CircuitBreakerConfig) -> Self {
        Self {
            policy: CircuitBreakers {
                breaker: CircuitBreakerHandle::new(timeouts, config),
                judge: config.judge(timeouts),
                key: None,
                hints: Hints::default(),
            },
            classifier: None,
        }
    }

    /// Keeps a circuit for each destination that `key` returns. Requests for which it returns `None` have no circuit.
    /// By default the key is the [`Destination::of`] the URL. If `key` panics, the call fails at encode.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sevenhops::{CircuitBreakerLayer, Destination, Timeouts};
    ///
    /// let timeouts = Timeouts::new(Duration::from_secs(10))?;
    /// let by_tenant = CircuitBreakerLayer::new(timeouts).key_by(|_method, uri, headers| {
    ///     let tenant = headers.get("x-tenant")?.to_str().ok()?;
    ///     Some(Destination::named(format!("{}#{tenant}", Destination::of(uri)?)))
    /// });
    /// # let _ = by_tenant;
    /// # Ok::<(), sevenhops::ConfigError>(())
    /// ```
    #[must_use]
    pub fn key_by(
        mut self,
        key: impl Fn(&Method, &Uri, &HeaderMap) -> Option<Destination> + Send + Sync + 'static,
    ) -> Self {
        let site = Site::new("CircuitBreakerLayer::key_by");
        self.policy.key = Some(destination_key(site, key));
        self
    }

    /// Sets a function that reads from a response when to retry, before the common headers are read: see
    /// [`RetryLayer::hint`](crate::RetryLayer::hint).
    #[must_use]
    pub fn hint<F>(mut self, hint: F) -> Self
    where
        F: Fn(&ResponseHead<'_>) -> Option<Duration> + Send + Sync + 'static,
    {
        let site = Site::new("CircuitBreakerLayer::hint");
        self.policy.hints = Hints::by(move |head| ask(&site, || hint(head)));
        self
    }

    /// Sets a function that classifies a failure of the destination before the built-in rules do: see
    /// [`RetryLayer::classify`](crate::RetryLayer::classify).
    ///
    /// A transient failure counts. A permanent failure does not count if it is a response, because the destination
    /// responded properly. Failures of this process, of encoding and of DNS never count.
    #[must_use]
    pub fn classify<F>(mut self, classify: F) -> Self
    where
        F: Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync + 'static,
    {
        let site = Site::new("CircuitBreakerLayer::classify");
        self.classifier = Some(Classifier::of_failures(site, classify));
        self
    }

    /// Sets a function like [`classify`](Self::classify) that also classifies each 2xx response: see
    /// [`RetryLayer::classify_all`](crate::RetryLayer::classify_all).
    #[must_use]
    pub fn classify_all<F>(mut self, classify: F) -> Self
    where
        F: Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync + 'static,
    {
        let site = Site::new("CircuitBreakerLayer::classify_all");
        self.classifier = Some(Classifier::of_all(site, classify));
        self
    }

    /// Calls this function at each event of a circuit: it opened, half-opened, closed, was isolated, or rejected an
    /// attempt. The function runs on the task of the event, without any lock. All clones of the layer share it. A
    /// panic is ignored.
    #[must_use]
    pub fn on_event(self, observe: impl Fn(&CircuitEvent) + Send + Sync + 'static) -> Self {
        let site = Site::new("CircuitBreakerLayer::on_event");
        let tell = move |event: &CircuitEvent| self::observe(&site, || observe(event));
        self.policy.breaker.observe(Arc::new(tell));
        self
    }

    /// Returns the circuits, to read and to control them.
    #[must_use]
    pub fn breaker_handle(&self) -> CircuitBreakerHandle {
        self.policy.breaker.clone()
    }
}

impl<S> Layer<S> for CircuitBreakerLayer {
    type Service = CircuitBreakerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = Policies {
            breaker: Some(self.policy.clone()),
            classifier: self.classifier.clone(),
            ..Policies::default()
        };
        Driver::new(inner, Now, policies)
    }
}

/// The service of [`CircuitBreakerLayer`].
pub type CircuitBreakerService<S> = Driver<S, Now>;

impl fmt::Debug for CircuitBreakerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerLayer")
            .field("breaker", &self.policy.breaker)
            .field("keyed", &self.policy.key.is_some())
            .finish()
    }
}
