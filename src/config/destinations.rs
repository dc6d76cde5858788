//! Overrides of a config for some destinations.

use std::time::Duration;

use crate::getters::getters;
use crate::policy::concurrency::ConcurrencyConfig;
use crate::policy::hedge::HedgeConfig;
use crate::policy::rate_limit::RateLimitConfig;
use crate::policy::stale::StaleConfig;
use crate::policy::throttle::ThrottleConfig;

use crate::policy::breaker::CircuitBreakerConfig;
use crate::policy::idempotency::IdempotencyConfig;
use crate::policy::redirect::RedirectConfig;
use crate::policy::retry::RetryConfig;
use crate::timeout::TimeoutsConfig;

/// Overrides of a config for some destinations: see [`Config::destination`](crate::Config::destination).
///
/// A field that is not set is taken from the surrounding config. Each field is one value: a backoff, a budget, a
/// window or a list is replaced as a whole.
///
/// # Example
///
/// ```
/// use sevenhops::{DestinationConfig, RetryConfig};
///
/// let once = DestinationConfig::new().retry(RetryConfig::new().attempts(1));
/// assert_eq!(once.get_retry().get_attempts(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct DestinationConfig {
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub(super) deadline: Option<Duration>,
    pub(super) timeouts: TimeoutsConfig,
    pub(super) idempotency: IdempotencyConfig,
    pub(super) redirect: RedirectConfig,
    pub(super) retry: RetryConfig,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) hedge: Option<HedgeConfig>,
    pub(super) circuit_breaker: CircuitBreakerConfig,
    pub(super) stale: StaleConfig,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) throttle: Option<ThrottleConfig>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) concurrency: Option<ConcurrencyConfig>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) rate_limit: Option<RateLimitConfig>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) propagate_deadline: Option<bool>,
}

impl DestinationConfig {
    /// Creates overrides that change nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the deadline of calls that begin at this destination: 10 ms to 24 h. A redirect to this destination does
    /// not change the deadline.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets timeouts explicitly.
    #[must_use]
    pub fn timeouts(mut self, timeouts: TimeoutsConfig) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets how keys are generated, and whether this destination honors them. A redirect to this destination adds no
    /// key.
    #[must_use]
    pub fn idempotency(mut self, idempotency: IdempotencyConfig) -> Self {
        self.idempotency = idempotency;
        self
    }

    /// Sets how redirects from this destination are followed.
    #[must_use]
    pub fn redirect(mut self, redirect: RedirectConfig) -> Self {
        self.redirect = redirect;
        self
    }

    /// Sets when a call is retried. A route cannot have a budget of its own.
    #[must_use]
    pub fn retry(mut self, retry: RetryConfig) -> Self {
        self.retry = retry;
        self
    }

    /// Sets when a slow call is sent a second time, or with [`HedgeConfig::enabled`] that it is not.
    #[must_use]
    pub fn hedge(mut self, hedge: HedgeConfig) -> Self {
        self.hedge = Some(hedge);
        self
    }

    /// Sets when calls are rejected. A route cannot have a breaker of its own.
    #[must_use]
    pub fn circuit_breaker(mut self, circuit_breaker: CircuitBreakerConfig) -> Self {
        self.circuit_breaker = circuit_breaker;
        self
    }

    /// Sets when the throttle rejects attempts, and switches it on. A route cannot have a throttle of its own.
    #[must_use]
    pub fn throttle(mut self, throttle: ThrottleConfig) -> Self {
        self.throttle = Some(throttle);
        self
    }

    /// Sets how many attempts are in flight, and switches the limit on. A route cannot have a limit of its own.
    #[must_use]
    pub fn concurrency(mut self, concurrency: ConcurrencyConfig) -> Self {
        self.concurrency = Some(concurrency);
        self
    }

    /// Sets the rate of requests, and switches the limit on. A route cannot have a limit of its own.
    #[must_use]
    pub fn rate_limit(mut self, rate_limit: RateLimitConfig) -> Self {
        self.rate_limit = Some(rate_limit);
        self
    }

    /// Sets whether the last good response may stand in for a failure. The store is shared by all destinations: it can
    /// be set at the top of the config only.
    #[must_use]
    pub fn stale(mut self, stale: StaleConfig) -> Self {
        self.stale = stale;
        self
    }

    /// Sets whether each attempt passes its number and the time left to the next process.
    #[must_use]
    pub fn propagate_deadline(mut self, yes: bool) -> Self {
        self.propagate_deadline = Some(yes);
        self
    }

    /// Returns the first field that is set, besides those that belong to a whole call: `deadline` and `stale`.
    pub(super) fn other_than_of_the_call(&self) -> Option<&'static str> {
        let plain = Self::new();
        // Without `..`, so that each new field has to be placed.
        let Self {
            deadline: _,
            stale: _,
            timeouts,
            idempotency,
            redirect,
            retry,
            hedge,
            circuit_breaker,
            throttle,
            concurrency,
            rate_limit,
            propagate_deadline,
        } = self;
        let others = [
            ("timeouts", *timeouts != plain.timeouts),
            ("idempotency", *idempotency != plain.idempotency),
            ("redirect", *redirect != plain.redirect),
            ("retry", *retry != plain.retry),
            ("hedge", hedge.is_some()),
            ("circuit_breaker", *circuit_breaker != plain.circuit_breaker),
            ("throttle", throttle.is_some()),
            ("concurrency", concurrency.is_some()),
            ("rate_limit", rate_limit.is_some()),
            ("propagate_deadline", propagate_deadline.is_some()),
        ];
        let set = others.into_iter().find(|(_, is_set)| *is_set);
        set.map(|(field, _)| field)
    }

    getters! {
        get_deadline(deadline) -> Option<Duration> = |own| own.deadline;
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
        get_propagate_deadline(propagate_deadline) -> Option<bool> = |own| own.propagate_deadline;
    }
}

/// The overrides for some destinations, each with its pattern, in the order of the file.
pub(super) type Destinations = Vec<(String, DestinationConfig)>;

/// The form of the overrides in a file: a table by pattern.
#[cfg(feature = "serde")]
pub(super) mod file {
    use std::fmt;
    use std::marker::PhantomData;

    use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
    use serde::ser::{Serialize, Serializer};

    pub(in super::super) fn serialize<T: Serialize, S: Serializer>(
        parts: &[(String, T)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(parts.iter().map(|(pattern, config)| (pattern, config)))
    }

    type Parts<T> = Vec<(String, T)>;

    pub(in super::super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Parts<T>, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData))
    }

    /// Keeps both of two equal patterns, so that `build()` can refuse them.
    struct Entries<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
        type Value = Vec<(String, T)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of configs by name")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }
}
