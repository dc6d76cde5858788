//! The config that applies to a call: that of all calls, with the parts for its destination and route over it.

use http::Uri;

use super::plan::Plan;
use super::{Config, DestinationConfig};
use crate::config_error::ConfigError;
use crate::policy::concurrency::ConcurrencyConfig;
use crate::policy::hedge::HedgeConfig;
use crate::policy::rate_limit::RateLimitConfig;
use crate::policy::throttle::ThrottleConfig;

impl Config {
    /// Returns the effective config of the calls to a URL, and to a route if one is given, to inspect or print it.
    ///
    /// Defaults are written out. Timeouts that are derived from the deadline are left open:
    /// [`Timeouts::from_config`](crate::timeout::Timeouts::from_config) derives them.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sevenhops::{DestinationConfig, Config};
    ///
    /// let reports = DestinationConfig::new().deadline(Duration::from_secs(60));
    /// let config = Config::new(Duration::from_secs(10)).destination("/v1/reports/{id}", reports);
    /// let effective = config.effective(&"https://api.test/v1/reports/7".parse()?, Some("/v1/reports/{id}"))?;
    /// assert_eq!(effective.get_deadline(), Duration::from_secs(60));
    /// println!("{effective:#?}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if a layer would refuse the config.
    pub fn effective(&self, url: &Uri, route: Option<&str>) -> Result<Self, ConfigError> {
        let plan = Plan::new(self)?;
        let own = &plan.find(url, route).config;
        Ok(Self {
            idempotency: own.idempotency.written_out(),
            redirect: own.redirect.written_out(),
            retry: own.retry.written_out(),
            hedge: own.hedge.as_ref().map(HedgeConfig::written_out),
            circuit_breaker: own.circuit_breaker.written_out(),
            throttle: own.throttle.as_ref().map(ThrottleConfig::written_out),
            concurrency: (own.concurrency.as_ref()).map(ConcurrencyConfig::written_out),
            rate_limit: own.rate_limit.as_ref().map(RateLimitConfig::written_out),
            stale: own.stale.written_out(),
            ..own.clone()
        })
    }

    pub(super) fn without_destinations(&self) -> Self {
        Self {
            destinations: Vec::new(),
            ..self.clone()
        }
    }

    /// Returns this config with the overrides of a part applied.
    pub(super) fn under(self, part: &DestinationConfig) -> Self {
        Self {
            deadline: part.deadline.unwrap_or(self.deadline),
            timeouts: part.timeouts.over(&self.timeouts),
            idempotency: part.idempotency.clone().over(&self.idempotency),
            redirect: part.redirect.clone().over(&self.redirect),
            retry: part.retry.clone().over(&self.retry),
            hedge: match (&part.hedge, self.hedge) {
                (Some(part), Some(own)) => Some(part.clone().over(&own)),
                (part, own) => part.clone().or(own),
            },
            circuit_breaker: part.circuit_breaker.clone().over(&self.circuit_breaker),
            throttle: over(&part.throttle, self.throttle, ThrottleConfig::over),
            concurrency: over(&part.concurrency, self.concurrency, ConcurrencyConfig::over),
            rate_limit: over(&part.rate_limit, self.rate_limit, RateLimitConfig::over),
            stale: part.stale.clone().over(&self.stale),
            propagate_deadline: part.propagate_deadline.unwrap_or(self.propagate_deadline),
            destinations: self.destinations,
            endpoints: self.endpoints,
        }
    }
}

/// Merges a part of the config that is off unless it is there.
fn over<T: Clone + Default>(
    part: &Option<T>,
    around: Option<T>,
    over: impl FnOnce(T, &T) -> T,
) -> Option<T> {
    match part {
        Some(part) => Some(over(part.clone(), &around.unwrap_or_default())),
        None => around,
    }
}
