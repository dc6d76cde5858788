use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Uri};
use tower_layer::Layer;

use crate::callback::{Site, ask, observe, require};
use crate::config_error::SettingError;
use crate::destination::Destination;
use crate::driver::{Driver, Now, Policies};
use crate::hint::{Hints, ResponseHead};
use crate::hop::FailureClass;
use crate::limit::Limits;
use crate::policy::breaker::{Breaker, Event, Judge, Policy, Settings};
use crate::policy::retry::Failure;
use crate::policy::{Classifier, Key};

/// Puts a circuit breaker around a service: it refuses calls to a destination that keeps failing at
/// once, and asks the destination again by one probe at a time.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{BreakerLayer, Policy, limit::Limits};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let service = ServiceBuilder::new()
///     .layer(BreakerLayer::new(Limits::new(Duration::from_secs(10))?))
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
/// # What it protects from
///
/// Callers that wait in line for a destination that is down; a destination that cannot get up
/// because all callers keep asking; a herd that comes back at the same moment. Each destination has a
/// circuit of its own: scheme, host and port, or what [`key_by`](Self::key_by) makes of a request.
///
/// These count as failures: errors at connect, tls, send, gateway, server (5xx, a connection that
/// closes, silence) and receive, and an attempt that was dropped after its limit or the deadline of
/// its call. These do not: encode, decode and dns, 4xx (the destination did its part), 429, a 503 that says when
/// to come back, a lack of local resources, rejections by other policies, and an attempt that its caller gave up.
///
/// A 503 without a hint counts only while less than a tenth of the recent attempts succeeded: above that the
/// destination is overloaded, not down. [`classify`](Self::classify) has the last word on failures.
///
/// Over a [`Transport`](crate::Transport) with an attempt layer in between, failures of an address that has left DNS
/// do not count. If DNS brings an address that was not known as the circuit opened, the next call is its probe. While
/// a circuit is open, calls that it rejects renew the answer of DNS: they read the resolver's memory, and let it ask at
/// most once a second.
///
/// A half-open circuit is closed by every response from 2xx to 4xx, and opened by every 5xx, for at least as long
/// as its hint.
///
/// A timeout counts only if the attempt had its configured time: the attempt limit of these limits, which is
/// half of their deadline unless it was set. A request with a shorter deadline of its own, or with one that
/// was inherited, says nothing about the destination. The limit of a hop that was set explicitly always
/// counts.
///
/// # Defaults
///
/// | setting | default |
/// |---|---|
/// | failure ratio | 0.5 |
/// | minimum volume | 20 attempts |
/// | window | 10 s, or twice the attempt limit if that is longer |
/// | consecutive failures | off |
/// | slow calls | off |
/// | open for | 5 s, twice as long each time, 0–20 % longer by luck, at most 120 s |
/// | probes | 1 |
/// | recovery | one successful probe; by ratio or by a ramp if set |
/// | 429 counts | no |
/// | observe only | no |
/// | destinations | 10000, forgotten first when idle for 600 s |
///
/// A server that says `Retry-After` as it opens the circuit is not asked before then, within the
/// longest open time.
///
/// # What it reports
///
/// A refusal is an [`Error`](crate::Error) with [`Policy::Breaker`](crate::Policy::Breaker),
/// [`Kind::Open`](crate::Kind::Open) and no effect. Its [`retry_after`](crate::Error::retry_after) is the open
/// time left; its cause names the hop that broke the circuit. [`handle`](Self::handle) gives a [`Breaker`],
/// with a snapshot of each window. Each time a circuit opens, half-opens or closes, the call's span has an event
/// and [`on_event`](Self::on_event) is called; rejections are told to the latter, too.
///
/// # Trade-offs
///
/// The breaker also refuses calls that would have worked: at the default ratio, a destination that
/// fails half of the time gets no calls at all. A single probe returns the traffic one round trip later
/// than possible, and never stampedes the destination. A time window forgets by tenths: attempts older
/// than nine tenths of it may be forgotten already.
///
/// A probe holds a lease for one more open time, or for an attempt limit if that is longer. A probe
/// that is silent for so long is replaced; one whose body is still coming was successful.
///
/// # How people get it wrong
///
/// - A layer for each request: nothing is learned. Build one, and clone it.
/// - Outside of the retries: it then sees one failure where there were three, and a retry goes on
///   against an open circuit. Put it inside.
/// - A window shorter than two attempts: those that hang until their limit have fallen out of it
///   before there are enough. Refused when it is built.
/// - One circuit for hosts that fail apart (shards, tenants behind one gateway): see
///   [`key_by`](Self::key_by).
/// - Around a service that reserves room in `poll_ready`, as a concurrency limit does: a refusal
///   keeps that room until the next call, or until the service is dropped.
///
/// # Cancel safety
///
/// Dropping the future or the body gives the permit back. An attempt that had not had its configured time
/// counts nothing; one that had counts as a timeout.
#[derive(Clone)]
pub struct BreakerLayer {
    breaker: Breaker,
    judge: Judge,
    key: Option<Key>,
    hints: Hints,
    classifier: Option<Classifier>,
}

impl BreakerLayer {
    /// Creates a breaker with the defaults that follow from the attempt limit.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            judge: Settings::new().judge(&limits),
            breaker: Breaker::new(&limits, &Settings::new()),
            key: None,
            hints: Hints::default(),
            classifier: None,
        }
    }

    /// Creates a breaker with these settings.
    ///
    /// # Errors
    ///
    /// Fails if a ratio is not more than 0 and at most 1, if a count or a time is out of its range,
    /// if the window is shorter than two attempts or than the minimum volume, or if the open time is
    /// longer than the longest one; the error names the fields and their values.
    pub fn with(limits: Limits, settings: Settings) -> Result<Self, SettingError> {
        settings.check(&limits)?;
        Ok(Self {
            judge: settings.judge(&limits),
            breaker: Breaker::new(&limits, &settings),
            key: None,
            hints: Hints::default(),
            classifier: None,
        })
    }

    /// Keeps a circuit for each destination that `key` returns, and does not judge requests for which
    /// it returns `None`. By default it is [`Destination::of`] the URL. If `key` panics, the call fails at encode.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sevenhops::{BreakerLayer, Destination, limit::Limits};
    ///
    /// let limits = Limits::new(Duration::from_secs(10))?;
    /// let by_tenant = BreakerLayer::new(limits).key_by(|_method, uri, headers| {
    ///     let tenant = headers.get("x-tenant")?.to_str().ok()?;
    ///     Some(Destination::named(format!("{}#{tenant}", Destination::of(uri)?)))
    /// });
    /// # let _ = by_tenant;
    /// # Ok::<(), sevenhops::SettingError>(())
    /// ```
    #[must_use]
    pub fn key_by(
        mut self,
        key: impl Fn(&Method, &Uri, &HeaderMap) -> Option<Destination> + Send + Sync + 'static,
    ) -> Self {
        let site = Site::new("BreakerLayer::key_by");
        self.key = Some(Arc::new(move |method: &_, uri: &_, headers: &_| {
            require(&site, || key(method, uri, headers))
        }));
        self
    }

    /// Takes the circuits of another layer in place of its own.
    pub(crate) fn on(mut self, breaker: Breaker) -> Self {
        self.breaker = breaker;
        self
    }

    pub(crate) fn keyed(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// Asks this function first when the server wants to be asked again: see
    /// [`RetryLayer::hint`](crate::RetryLayer::hint).
    #[must_use]
    pub fn hint<F>(self, hint: F) -> Self
    where
        F: Fn(&ResponseHead<'_>) -> Option<Duration> + Send + Sync + 'static,
    {
        let site = Site::new("BreakerLayer::hint");
        self.hints(Hints::by(move |head| ask(&site, || hint(head))))
    }

    /// Asks this function first what a failure is, as far as the destination goes: see
    /// [`RetryLayer::classify`](crate::RetryLayer::classify).
    ///
    /// A transient failure counts. A permanent one does not if it is a response: the destination did its part.
    /// Failures of this process, of encoding and of DNS never count.
    #[must_use]
    pub fn classify<F>(mut self, classify: F) -> Self
    where
        F: Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync + 'static,
    {
        let site = Site::new("BreakerLayer::classify");
        self.classifier = Some(Classifier::of_failures(site, classify));
        self
    }

    /// Does the same, and asks about each 2xx response, too: see
    /// [`RetryLayer::classify_all`](crate::RetryLayer::classify_all).
    #[must_use]
    pub fn classify_all<F>(mut self, classify: F) -> Self
    where
        F: Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync + 'static,
    {
        let site = Site::new("BreakerLayer::classify_all");
        self.classifier = Some(Classifier::of_all(site, classify));
        self
    }

    /// Calls this function at each event of a circuit: it opened, half-opened, closed, was isolated, or rejected
    /// an attempt. The function runs where the event happens, under no lock, and is called for all clones of the
    /// layer. A panic is ignored.
    #[must_use]
    pub fn on_event(self, observe: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        let site = Site::new("BreakerLayer::on_event");
        let tell = move |event: &Event| self::observe(&site, || observe(event));
        self.breaker.observe(Arc::new(tell));
        self
    }

    pub(crate) fn hints(mut self, hints: Hints) -> Self {
        self.hints = hints;
        self
    }

    /// Returns the circuits, to look at and to work by hand.
    #[must_use]
    pub fn handle(&self) -> Breaker {
        self.breaker.clone()
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy {
            breaker: self.breaker.clone(),
            judge: self.judge,
            key: self.key.clone(),
            hints: self.hints.clone(),
        }
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = BreakerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = Policies {
            breaker: Some(self.policy()),
            classifier: self.classifier.clone(),
            ..Policies::default()
        };
        Driver::new(inner, Now, policies)
    }
}

/// The service of [`BreakerLayer`].
pub type BreakerService<S> = Driver<S, Now>;

impl fmt::Debug for BreakerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerLayer")
            .field("breaker", &self.breaker)
            .field("keyed", &self.key.is_some())
            .finish()
    }
}
