//! The whole config of a stack in one value, so that it can be read from a file.

mod check;
mod destinations;
mod effective;
mod plan;

use std::time::Duration;

pub use self::destinations::DestinationConfig;
use self::destinations::Destinations;
pub(crate) use self::plan::{Effective, Plan};
use crate::driver::LoadConfigs;
use crate::getters::getters;
use crate::policy::breaker::CircuitBreakerConfig;
use crate::policy::concurrency::ConcurrencyConfig;
use crate::policy::endpoints::EndpointsConfig;
use crate::policy::hedge::HedgeConfig;
use crate::policy::idempotency::IdempotencyConfig;
use crate::policy::rate_limit::RateLimitConfig;
use crate::policy::redirect::RedirectConfig;
use crate::policy::retry::RetryConfig;
use crate::policy::stale::StaleConfig;
use crate::policy::throttle::ThrottleConfig;
use crate::timeout::TimeoutsConfig;

/// The config of a stack: the deadline, the config of each policy, and overrides for some destinations.
///
/// These are plain values. They are checked when a layer or a client is built. A value that is out of range or
/// contradicts another one is refused with its path: `retry.attempts: 0 is invalid: expected 1..=255`.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{Config, DestinationConfig, RetryConfig, StandardLayer};
///
/// let once = DestinationConfig::new().retry(RetryConfig::new().attempts(1));
/// let config = Config::new(Duration::from_secs(10))
///     .retry(RetryConfig::new().attempts(5))
///     .destination("*.bank.test", once);
/// let layer = StandardLayer::from_config(&config)?;
///
/// let bank = config.effective(&"https://api.bank.test".parse()?, None)?;
/// assert_eq!(bank.get_retry().get_attempts(), 1);
/// # drop(layer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Destinations
///
/// A part of the config can apply to some destinations only. Its pattern is one of these:
///
/// | pattern | calls |
/// |---|---|
/// | `api.test` | to that host, at any port |
/// | `api.test:8443`, `[::1]:8443` | to that host, at that port |
/// | `*.example.com` | to the hosts below that name, not to the name itself |
/// | `/v1/charges/{id}` | of that route ([`Options::route`](crate::Options::route)), to any host |
/// | `api.test/v1/charges/{id}` | of that route, to that host |
///
/// **All parts that match a call apply. If two of them set the same field, the more specific one wins.** A pattern with
/// a route goes before one without. Then the order is a host with a port, a host, a longer suffix, a shorter suffix.
/// The order in the file does not matter. If no part sets a field, the value at the top of the config holds.
///
/// Parts are chosen by the URL when a call begins, and again at each redirect. After a redirect, routes no longer
/// count. The deadline and the key of a call are those of its first destination.
///
/// A call to a [logical name](Self::endpoints) has the deadline and the stale responses of the part for that name. All
/// other values are those of the part for its endpoint. A part for the name that sets others is refused.
///
/// A route has no breaker, budget, throttle or limit of its own: its calls share those of their host. If destinations
/// have custom names ([`StandardLayer::key_by`](crate::StandardLayer::key_by)), a name that begins like a URL follows
/// the rules of that host. Other names follow the top of the config. If the top has no throttle or limit, they follow
/// the part of the first call after a reload.
///
/// # In a file
///
/// With the feature `serde` a config can be read from a file. Only the deadline is required. An unknown field is an
/// error with its path.
///
/// ```
/// # #[cfg(feature = "serde")] {
/// let config: sevenhops::Config = serde_json::from_str(
///     r#"{
///         "deadline": "10s",
///         "retry": { "attempts": 5, "budget": { "ratio": 0.1 } },
///         "destinations": {
///             "api.stripe.com": { "idempotency": { "honored_by_all": true } },
///             "*.bank.test": { "timeouts": { "attempt": "2s" }, "retry": { "attempts": 1 } },
///             "/v1/reports/{id}": { "deadline": "60s" }
///         }
///     }"#,
/// ).unwrap();
/// # drop(config); }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(remote = "Self", deny_unknown_fields))]
pub struct Config {
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_forms::duration"))]
    pub(crate) deadline: Duration,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) timeouts: TimeoutsConfig,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) idempotency: IdempotencyConfig,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) redirect: RedirectConfig,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) retry: RetryConfig,
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) hedge: Option<HedgeConfig>,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) circuit_breaker: CircuitBreakerConfig,
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub(crate) throttle: Option<ThrottleConfig>,
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub(crate) concurrency: Option<ConcurrencyConfig>,
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub(crate) rate_limit: Option<RateLimitConfig>,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) stale: StaleConfig,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) propagate_deadline: bool,
    #[cfg_attr(
        feature = "serde",
        serde(
            default,
            with = "destinations::file",
            skip_serializing_if = "Vec::is_empty"
        )
    )]
    destinations: Destinations,
    #[cfg_attr(
        feature = "serde",
        serde(
            default,
            with = "destinations::file",
            skip_serializing_if = "Vec::is_empty"
        )
    )]
    endpoints: Vec<(String, EndpointsConfig)>,
}

impl Config {
    /// Creates a config with the defaults for the deadline of the whole call: 10 ms to 24 h.
    #[must_use]
    pub fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            timeouts: TimeoutsConfig::new(),
            idempotency: IdempotencyConfig::new(),
            redirect: RedirectConfig::new(),
            retry: RetryConfig::new(),
            hedge: None,
            circuit_breaker: CircuitBreakerConfig::new(),
            throttle: None,
            concurrency: None,
            rate_limit: None,
            stale: StaleConfig::new(),
            propagate_deadline: false,
            destinations: Vec::new(),
            endpoints: Vec::new(),
        }
    }

    /// Sets timeouts explicitly, in place of those derived from the deadline.
    #[must_use]
    pub fn timeouts(mut self, timeouts: TimeoutsConfig) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets how keys are generated, and which destinations honor them.
    #[must_use]
    pub fn idempotency(mut self, idempotency: IdempotencyConfig) -> Self {
        self.idempotency = idempotency;
        self
    }

    /// Sets how redirects are followed.
    #[must_use]
    pub fn redirect(mut self, redirect: RedirectConfig) -> Self {
        self.redirect = redirect;
        self
    }

    /// Sets when a call is retried.
    #[must_use]
    pub fn retry(mut self, retry: RetryConfig) -> Self {
        self.retry = retry;
        self
    }

    /// Sends a slow call a second time. Without this, calls are not hedged.
    #[must_use]
    pub fn hedge(mut self, hedge: HedgeConfig) -> Self {
        self.hedge = Some(hedge);
        self
    }

    /// Sets when calls to a destination are rejected.
    #[must_use]
    pub fn circuit_breaker(mut self, circuit_breaker: CircuitBreakerConfig) -> Self {
        self.circuit_breaker = circuit_breaker;
        self
    }

    /// Switches the throttle on: see [`ThrottleLayer`](crate::ThrottleLayer). Off by default.
    #[must_use]
    pub fn throttle(mut self, throttle: ThrottleConfig) -> Self {
        self.throttle = Some(throttle);
        self
    }

    /// Limits how many attempts are in flight to a destination: see [`ConcurrencyLayer`](crate::ConcurrencyLayer).
    /// Off by default.
    #[must_use]
    pub fn concurrency(mut self, concurrency: ConcurrencyConfig) -> Self {
        self.concurrency = Some(concurrency);
        self
    }

    /// Limits the rate of requests to a destination: see [`RateLimitLayer`](crate::RateLimitLayer). Off by default.
    #[must_use]
    pub fn rate_limit(mut self, rate_limit: RateLimitConfig) -> Self {
        self.rate_limit = Some(rate_limit);
        self
    }

    /// Sets whether the last good response may stand in for a failure: see [`StaleLayer`](crate::StaleLayer).
    ///
    /// Serving [while a response is refreshed](StaleConfig::while_revalidate) needs a client or a `StaleLayer`. A
    /// [`StandardLayer`](crate::StandardLayer) refuses it.
    #[must_use]
    pub fn stale(mut self, stale: StaleConfig) -> Self {
        self.stale = stale;
        self
    }

    /// Sets whether each attempt passes its number and the time left to the next process: see
    /// [`AttemptLayer::propagate_deadline`](crate::AttemptLayer::propagate_deadline).
    #[must_use]
    pub fn propagate_deadline(mut self, yes: bool) -> Self {
        self.propagate_deadline = yes;
        self
    }

    /// Overrides parts of the config for the calls that match a pattern: see [above](Self#destinations).
    ///
    /// An invalid or duplicate pattern is refused when a layer or a client is built.
    #[must_use]
    pub fn destination(mut self, pattern: impl Into<String>, config: DestinationConfig) -> Self {
        self.destinations.push((pattern.into(), config));
        self
    }

    /// Sends calls to a logical name, the host `name`, to one of several base URLs: see [`EndpointsConfig`].
    ///
    /// An invalid or duplicate name is refused when a layer or a client is built.
    #[must_use]
    pub fn endpoints(mut self, name: impl Into<String>, endpoints: EndpointsConfig) -> Self {
        self.endpoints.push((name.into(), endpoints));
        self
    }

    /// Returns the logical names, and the endpoints of each.
    pub fn get_endpoints(&self) -> impl Iterator<Item = (&str, &EndpointsConfig)> {
        let endpoints = self.endpoints.iter();
        endpoints.map(|(name, endpoints)| (name.as_str(), endpoints))
    }

    /// Returns the deadline.
    #[must_use]
    pub const fn get_deadline(&self) -> Duration {
        self.deadline
    }

    getters! {
        get_timeouts(timeouts) -> &TimeoutsConfig = |own| &own.timeouts;
        get_idempotency(idempotency) -> &IdempotencyConfig = |own| &own.idempotency;
        get_redirect(redirect) -> &RedirectConfig = |own| &own.redirect;
        get_retry(retry) -> &RetryConfig = |own| &own.retry;
        get_hedge(hedge) -> Option<&HedgeConfig> = |own| own.hedge.as_ref();
        get_circuit_breaker(circuit_breaker) -> &CircuitBreakerConfig = |own| &own.circuit_breaker;
        get_throttle(throttle) -> Option<&ThrottleConfig> = |own| own.throttle.as_ref();
        get_concurrency(concurrency) -> Option<&ConcurrencyConfig> = |own| own.concurrency.as_ref();
        get_rate_limit(rate_limit) -> Option<&RateLimitConfig> = |own| own.rate_limit.as_ref();
        get_stale(stale) -> &StaleConfig = |own| &own.stale;
        get_propagate_deadline(propagate_deadline) -> bool = |own| own.propagate_deadline;
    }

    /// Returns the patterns of destinations, and the config of each.
    pub fn get_destinations(&self) -> impl Iterator<Item = (&str, &DestinationConfig)> {
        let destinations = self.destinations.iter();
        destinations.map(|(pattern, config)| (pattern.as_str(), config))
    }

    /// Returns the parts that bound the load of destinations.
    pub(crate) fn load(&self) -> LoadConfigs<'_> {
        LoadConfigs::new(
            self.throttle.as_ref(),
            self.concurrency.as_ref(),
            self.rate_limit.as_ref(),
        )
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Config {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_forms::with_path(deserializer, |deserializer| Self::deserialize(deserializer))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Config {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

#[cfg(all(test, feature = "serde"))]
mod tests;
