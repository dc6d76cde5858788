use std::time::Duration;

use super::decide::{Algorithm, Rules};
use crate::config_error::{ConfigError, expected};
use crate::getters::getters;

/// The config of a concurrency limit: how many attempts are in flight, and how many calls wait.
///
/// These are plain values. [`ConcurrencyLayer::new`](crate::ConcurrencyLayer::new) checks them.
///
/// # Example
///
/// ```
/// use sevenhops::policy::concurrency::Algorithm;
/// use sevenhops::{ConcurrencyConfig, ConcurrencyLayer};
///
/// let config = ConcurrencyConfig::new().algorithm(Algorithm::Vegas).limit(10).max_limit(5);
/// let refused = ConcurrencyLayer::new(config).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "concurrency.limit: 10 is invalid: expected at most concurrency.max_limit (5)"
/// );
/// ```
///
/// # Defaults
///
/// | config | default |
/// |---|---|
/// | `enabled` | yes, where a config has this part |
/// | `algorithm` | `aimd` |
/// | `limit` | 20; of an algorithm that adapts, the first limit |
/// | `min_limit` | 1 |
/// | `max_limit` | 200 |
/// | `max_queued` | 100 |
/// | `max_wait` | half of the time left until the deadline of the call |
///
/// A value that is not set has its default. In the config of a destination it is taken from the surrounding config.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct ConcurrencyConfig {
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    enabled: Option<bool>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    algorithm: Option<Algorithm>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    limit: Option<u32>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    min_limit: Option<u32>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    max_limit: Option<u32>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    max_queued: Option<u32>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    max_wait: Option<Duration>,
}

impl ConcurrencyConfig {
    /// Creates a config with all defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether the limit is on. `false` switches it off for a destination inside a config that has it on.
    #[must_use]
    pub const fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = Some(enabled);
        self
    }

    /// Sets how the limit changes.
    #[must_use]
    pub const fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// Sets how many attempts are in flight: 1 to 100,000. An algorithm that adapts begins with this limit.
    #[must_use]
    pub const fn limit(mut self, attempts: u32) -> Self {
        self.limit = Some(attempts);
        self
    }

    /// Sets the smallest limit of an algorithm that adapts: from 1 on.
    #[must_use]
    pub const fn min_limit(mut self, attempts: u32) -> Self {
        self.min_limit = Some(attempts);
        self
    }

    /// Sets the largest limit of an algorithm that adapts: at most 100,000.
    #[must_use]
    pub const fn max_limit(mut self, attempts: u32) -> Self {
        self.max_limit = Some(attempts);
        self
    }

    /// Sets how many calls wait for a permit: at most 10,000. With 0, a call without a permit is rejected at once.
    #[must_use]
    pub const fn max_queued(mut self, calls: u32) -> Self {
        self.max_queued = Some(calls);
        self
    }

    /// Sets how long a call waits for its permit at most: more than 0, and less than the deadline.
    #[must_use]
    pub const fn max_wait(mut self, longest: Duration) -> Self {
        self.max_wait = Some(longest);
        self
    }

    getters! {
        get_enabled(enabled) -> bool = |own| own.enabled.unwrap_or(true);
        get_algorithm(algorithm) -> Algorithm = |own| own.algorithm.unwrap_or(Algorithm::Aimd);
        get_limit(limit) -> u32 = |own| own.limit.unwrap_or(LIMIT);
        get_min_limit(min_limit) -> u32 = |own| own.min_limit.unwrap_or(MIN_LIMIT);
        get_max_limit(max_limit) -> u32 = |own| own.max_limit.unwrap_or(MAX_LIMIT);
        get_max_queued(max_queued) -> u32 = |own| own.max_queued.unwrap_or(MAX_QUEUED);
        get_max_wait(max_wait) -> Option<Duration> = |own| own.max_wait;
    }

    /// Returns this config, with missing values taken from the surrounding config. A fixed limit takes over no
    /// bounds.
    pub(crate) fn over(self, around: &Self) -> Self {
        let adapts = self.algorithm != Some(Algorithm::Fixed);
        Self {
            enabled: self.enabled.or(around.enabled),
            algorithm: self.algorithm.or(around.algorithm),
            limit: self.limit.or(around.limit),
            min_limit: (self.min_limit).or_else(|| around.min_limit.filter(|_| adapts)),
            max_limit: (self.max_limit).or_else(|| around.max_limit.filter(|_| adapts)),
            max_queued: self.max_queued.or(around.max_queued),
            max_wait: self.max_wait.or(around.max_wait),
        }
    }

    /// Returns this config with every default that does not depend on the deadline.
    pub(crate) fn written_out(&self) -> Self {
        let adapts = self.get_algorithm() != Algorithm::Fixed;
        Self {
            enabled: Some(self.get_enabled()),
            algorithm: Some(self.get_algorithm()),
            limit: Some(self.get_limit()),
            min_limit: adapts.then(|| self.get_min_limit()),
            max_limit: adapts.then(|| self.get_max_limit()),
            max_queued: Some(self.get_max_queued()),
            max_wait: self.max_wait,
        }
    }

    /// Refuses values that are out of range, that contradict each other, or that contradict the deadline if there is
    /// one.
    pub(crate) fn check(&self, deadline: Option<Duration>) -> Result<(), ConfigError> {
        let limit = (LIMIT_PATH, self.get_limit());
        expected::count(limit.0, limit.1, 1..=MOST_ATTEMPTS)?;
        self.check_bounds(limit)?;
        let (path, queued) = ("concurrency.max_queued", self.get_max_queued());
        expected::count(path, queued, 0..=MOST_QUEUED)?;
        let Some(longest) = self.max_wait else {
            return Ok(());
        };
        let path = "concurrency.max_wait";
        expected::wait(path, longest)?;
        if queued == 0 {
            let expected = "no wait beside concurrency.max_queued = 0";
            return Err(ConfigError::invalid(path, longest, expected));
        }
        match deadline {
            Some(deadline) if longest >= deadline => {
                let expected = format_args!("less than deadline ({deadline:?})");
                Err(ConfigError::invalid(path, longest, expected))
            }
            _ => Ok(()),
        }
    }

    fn check_bounds(&self, limit: (&str, u32)) -> Result<(), ConfigError> {
        let (min, max) = ("concurrency.min_limit", "concurrency.max_limit");
        if self.get_algorithm() == Algorithm::Fixed {
            for (path, bound) in [(min, self.min_limit), (max, self.max_limit)] {
                if let Some(bound) = bound {
                    let expected = "no bound beside concurrency.algorithm = fixed";
                    return Err(ConfigError::invalid(path, bound, expected));
                }
            }
            return Ok(());
        }
        let (least, most) = ((min, self.get_min_limit()), (max, self.get_max_limit()));
        for (path, bound) in [least, most] {
            expected::count(path, bound, 1..=MOST_ATTEMPTS)?;
        }
        if limit.1 < least.1 {
            return Err(ConfigError::less(limit, least));
        }
        match limit.1 > most.1 {
            true => {
                let expected = format_args!("at most {max} ({})", most.1);
                Err(ConfigError::invalid(limit.0, limit.1, expected))
            }
            false => Ok(()),
        }
    }

    pub(super) fn rules(&self) -> Rules {
        Rules {
            algorithm: self.get_algorithm(),
            initial: self.get_limit(),
            least: self.get_min_limit(),
            most: self.get_max_limit(),
        }
    }

    /// Returns how long a call with this much time left may wait.
    pub(super) fn longest(&self, left: Duration) -> Duration {
        self.max_wait.map_or(left / 2, |longest| longest.min(left))
    }
}

const LIMIT_PATH: &str = "concurrency.limit";
/// A small service can bear this first limit.
const LIMIT: u32 = 20;
/// One attempt has to be in flight to learn that there is room again.
const MIN_LIMIT: u32 = 1;
/// Fewer than a client's default number of connections to one destination.
const MAX_LIMIT: u32 = 200;
/// Five times the first limit: a burst, and not a backlog.
const MAX_QUEUED: u32 = 100;
const MOST_ATTEMPTS: u32 = 100_000;
const MOST_QUEUED: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SECS: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn table_of_defaults_shows_the_defaults() {
        let doc = include_str!("config.rs");
        for row in [
            format!("/// | `limit` | {LIMIT}; of an algorithm that adapts, the first limit |"),
            format!("/// | `min_limit` | {MIN_LIMIT} |"),
            format!("/// | `max_limit` | {MAX_LIMIT} |"),
            format!("/// | `max_queued` | {MAX_QUEUED} |"),
        ] {
            assert!(doc.contains(&row), "{row}");
        }
        assert_eq!(ConcurrencyConfig::new().get_algorithm(), Algorithm::Aimd);
        assert!(ConcurrencyConfig::new().check(Some(SECS(1))).is_ok());
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        let config = ConcurrencyConfig::new;
        let fixed = || config().algorithm(Algorithm::Fixed);
        for (bad, expected) in [
            (
                config().limit(0),
                "limit: 0 is invalid: expected 1..=100000",
            ),
            (
                config().limit(201),
                "limit: 201 is invalid: expected at most concurrency.max_limit (200)",
            ),
            (
                config().min_limit(21),
                "limit: 20 is invalid: expected at least concurrency.min_limit (21)",
            ),
            (
                config().min_limit(0),
                "min_limit: 0 is invalid: expected 1..=100000",
            ),
            (
                fixed().max_limit(50),
                "max_limit: 50 is invalid: expected no bound beside concurrency.algorithm = fixed",
            ),
            (
                config().max_queued(10_001),
                "max_queued: 10001 is invalid: expected 0..=10000",
            ),
            (
                config().max_queued(0).max_wait(SECS(1)),
                "max_wait: 1s is invalid: expected no wait beside concurrency.max_queued = 0",
            ),
            (
                config().max_wait(SECS(5)),
                "max_wait: 5s is invalid: expected less than deadline (5s)",
            ),
        ] {
            let refused = bad.check(Some(SECS(5))).unwrap_err().to_string();
            assert_eq!(refused, format!("concurrency.{expected}"));
        }
        assert!(fixed().limit(500).check(None).is_ok());
        assert!(config().max_wait(SECS(5)).check(None).is_ok());
    }

    #[test]
    fn fixed_limit_of_a_destination_takes_over_no_bounds() {
        let around = ConcurrencyConfig::new()
            .min_limit(5)
            .max_limit(50)
            .max_queued(7);
        let part = ConcurrencyConfig::new()
            .algorithm(Algorithm::Fixed)
            .limit(500);
        let part = part.over(&around);
        assert!(part.check(None).is_ok());
        assert_eq!(part.get_max_queued(), 7);
    }
}
