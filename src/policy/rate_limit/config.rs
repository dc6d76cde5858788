use std::time::Duration;

use super::decide::Rate;
use crate::config_error::{ConfigError, expected};
use crate::getters::getters;

/// The config of a rate limit: how many requests are sent in a time, and whether the others wait.
///
/// These are plain values. [`RateLimitLayer::new`](crate::RateLimitLayer::new) checks them.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{RateLimitConfig, RateLimitLayer};
///
/// let hundred_a_minute = RateLimitConfig::new(100).per(Duration::from_secs(60)).burst(5);
/// let layer = RateLimitLayer::new(hundred_a_minute)?;
/// let refused = RateLimitLayer::new(RateLimitConfig::new(0)).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "rate_limit.requests: 0 is invalid: expected at least 1"
/// );
/// # drop(layer); Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Defaults
///
/// | config | default |
/// |---|---|
/// | `enabled` | yes, where a config has this part |
/// | `requests` | none: it has to be set |
/// | `per` | 1s |
/// | `burst` | `requests` |
/// | `wait` | yes |
/// | `max_wait` | the time left until the deadline of the call |
/// | `server_informed` | no |
///
/// A value that is not set has its default. In the config of a destination it is taken from the surrounding config.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct RateLimitConfig {
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    enabled: Option<bool>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    requests: Option<u32>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    per: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    burst: Option<u32>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    wait: Option<bool>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    max_wait: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    server_informed: Option<bool>,
}

impl RateLimitConfig {
    /// Creates a config for this many requests a second: from 1 on.
    #[must_use]
    pub fn new(requests: u32) -> Self {
        Self {
            requests: Some(requests),
            ..Self::default()
        }
    }

    /// Sets whether the limit is on. `false` switches it off for a destination inside a config that has it on.
    #[must_use]
    pub const fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = Some(enabled);
        self
    }

    /// Sets how many requests are sent in each [`per`](Self::per): from 1 on.
    #[must_use]
    pub const fn requests(mut self, requests: u32) -> Self {
        self.requests = Some(requests);
        self
    }

    /// Sets the time in which [`requests`](Self::requests) are sent: at most a day.
    #[must_use]
    pub const fn per(mut self, per: Duration) -> Self {
        self.per = Some(per);
        self
    }

    /// Sets how many requests may be sent at once after a pause: from 1 on. With 1, requests are spaced evenly.
    #[must_use]
    pub const fn burst(mut self, burst: u32) -> Self {
        self.burst = Some(burst);
        self
    }

    /// Sets whether a call waits for its slot. With `false`, a call without a slot is rejected at once.
    #[must_use]
    pub const fn wait(mut self, wait: bool) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Sets how long a call waits for its slot at most: more than 0, and less than the deadline.
    #[must_use]
    pub const fn max_wait(mut self, longest: Duration) -> Self {
        self.max_wait = Some(longest);
        self
    }

    /// Sets whether the limit follows what the server says of its own: in `RateLimit`, or in
    /// `x-ratelimit-remaining` and `x-ratelimit-reset`. The server can only lower the limit.
    #[must_use]
    pub const fn server_informed(mut self, informed: bool) -> Self {
        self.server_informed = Some(informed);
        self
    }

    getters! {
        get_enabled(enabled) -> bool = |own| own.enabled.unwrap_or(true);
        get_requests(requests) -> Option<u32> = |own| own.requests;
        get_per(per) -> Duration = |own| own.per.unwrap_or(PER);
        get_burst(burst) -> Option<u32> = |own| own.burst.or(own.requests);
        get_wait(wait) -> bool = |own| own.wait.unwrap_or(true);
        get_max_wait(max_wait) -> Option<Duration> = |own| own.max_wait;
        get_server_informed(server_informed) -> bool = |own| own.server_informed.unwrap_or(false);
    }

    /// Returns this config, with missing values taken from the surrounding config.
    pub(crate) fn over(self, around: &Self) -> Self {
        Self {
            enabled: self.enabled.or(around.enabled),
            requests: self.requests.or(around.requests),
            per: self.per.or(around.per),
            burst: self.burst.or(around.burst),
            wait: self.wait.or(around.wait),
            max_wait: self.max_wait.or(around.max_wait),
            server_informed: self.server_informed.or(around.server_informed),
        }
    }

    /// Returns this config with every default that does not depend on the deadline.
    pub(crate) fn written_out(&self) -> Self {
        Self {
            enabled: Some(self.get_enabled()),
            requests: self.requests,
            per: Some(self.get_per()),
            burst: self.get_burst(),
            wait: Some(self.get_wait()),
            max_wait: self.max_wait,
            server_informed: Some(self.get_server_informed()),
        }
    }

    /// Refuses values that are out of range, that contradict each other, or that contradict the deadline if there is
    /// one.
    pub(crate) fn check(&self, deadline: Option<Duration>) -> Result<(), ConfigError> {
        let Some(requests) = self.requests else {
            let why = "it is missing: set how many requests are sent in each rate_limit.per";
            return Err(ConfigError::refused(REQUESTS, why));
        };
        expected::count(REQUESTS, requests, 1..=u32::MAX)?;
        let per = self.get_per();
        expected::wait("rate_limit.per", per)?;
        if per < Duration::from_nanos(requests.into()) {
            let expected =
                format_args!("at most one for each nanosecond of rate_limit.per ({per:?})");
            return Err(ConfigError::invalid(REQUESTS, requests, expected));
        }
        if let Some(burst) = self.burst {
            expected::count("rate_limit.burst", burst, 1..=u32::MAX)?;
        }
        let Some(longest) = self.max_wait else {
            return Ok(());
        };
        expected::wait(MAX_WAIT, longest)?;
        if !self.get_wait() {
            let expected = "no wait beside rate_limit.wait = false";
            return Err(ConfigError::invalid(MAX_WAIT, longest, expected));
        }
        match deadline {
            Some(deadline) if longest >= deadline => {
                let expected = format_args!("less than deadline ({deadline:?})");
                Err(ConfigError::invalid(MAX_WAIT, longest, expected))
            }
            _ => Ok(()),
        }
    }

    /// Returns the rate; `None` if the limit is off.
    pub(super) fn rate(&self) -> Option<Rate> {
        let requests = self.requests.filter(|_| self.get_enabled())?.max(1);
        Some(Rate {
            interval: self.get_per() / requests,
            burst: self.get_burst().unwrap_or(requests).max(1),
        })
    }

    /// Returns how long a call with this much time left may wait.
    pub(super) fn longest(&self, left: Duration) -> Duration {
        match self.get_wait() {
            // The call needs time after the wait, too.
            true => {
                let left = left.saturating_sub(Duration::from_nanos(1));
                self.max_wait.map_or(left, |longest| longest.min(left))
            }
            false => Duration::ZERO,
        }
    }
}

const REQUESTS: &str = "rate_limit.requests";
const MAX_WAIT: &str = "rate_limit.max_wait";
/// Rates are mostly given for a second.
const PER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SECS: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn bad_values_are_refused_by_name() {
        let ten = || RateLimitConfig::new(10);
        for (bad, expected) in [
            (
                RateLimitConfig::default(),
                "rate_limit.requests: it is missing: set how many requests are sent in each rate_limit.per",
            ),
            (
                ten().requests(0),
                "rate_limit.requests: 0 is invalid: expected at least 1",
            ),
            (
                ten().per(Duration::from_nanos(9)),
                "rate_limit.requests: 10 is invalid: expected at most one for each nanosecond of rate_limit.per \
                 (9ns)",
            ),
            (
                ten().per(SECS(0)),
                "rate_limit.per: 0ns is invalid: expected more than 0s, at most 86400s",
            ),
            (
                ten().burst(0),
                "rate_limit.burst: 0 is invalid: expected at least 1",
            ),
            (
                ten().max_wait(SECS(0)),
                "rate_limit.max_wait: 0ns is invalid: expected more than 0s, at most 86400s",
            ),
            (
                ten().max_wait(SECS(1)).wait(false),
                "rate_limit.max_wait: 1s is invalid: expected no wait beside rate_limit.wait = false",
            ),
            (
                ten().max_wait(SECS(5)),
                "rate_limit.max_wait: 5s is invalid: expected less than deadline (5s)",
            ),
        ] {
            assert_eq!(bad.check(Some(SECS(5))).unwrap_err().to_string(), expected);
        }
        assert!(ten().max_wait(SECS(5)).check(None).is_ok());
        assert!(ten().max_wait(SECS(4)).check(Some(SECS(5))).is_ok());
    }

    #[test]
    fn call_waits_as_long_as_the_config_and_its_deadline_allow() {
        let ten = || RateLimitConfig::new(10);
        let just = |secs| SECS(secs) - Duration::from_nanos(1);
        assert_eq!(ten().longest(SECS(3)), just(3));
        assert_eq!(ten().max_wait(SECS(1)).longest(SECS(3)), SECS(1));
        assert_eq!(ten().max_wait(SECS(4)).longest(SECS(3)), just(3));
        assert_eq!(ten().wait(false).longest(SECS(3)), SECS(0));
    }

    #[test]
    fn limit_that_is_off_has_no_rate() {
        let ten = RateLimitConfig::new(10);
        let rate = ten.rate().unwrap();
        assert_eq!(
            (rate.interval, rate.burst),
            (Duration::from_millis(100), 10)
        );
        assert_eq!(ten.enabled(false).rate(), None);
    }
}
