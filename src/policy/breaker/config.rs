use std::sync::Arc;
use std::time::Duration;

use super::rules::{CircuitRules, FailureWindow, Recovery};
use super::verdict::Judge;
use crate::callback::{Site, ask};
use crate::getters::getters;
use crate::timeout::Timeouts;

/// The config of a breaker. The default of the window follows from the attempt timeout.
///
/// They are plain values. [`CircuitBreakerLayer::from_config`](crate::CircuitBreakerLayer::from_config) checks them.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{policy::breaker::FailureWindow, CircuitBreakerConfig, CircuitBreakerLayer, Timeouts};
///
/// let timeouts = Timeouts::new(Duration::from_secs(10))?; // 5 s for an attempt
/// let config = CircuitBreakerConfig::new().window(FailureWindow::Time(Duration::from_secs(8)));
/// let refused = CircuitBreakerLayer::from_config(timeouts, config).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "circuit_breaker.window.time: 8s is invalid: expected at least twice timeouts.attempt (5s)"
/// );
/// # Ok::<(), sevenhops::ConfigError>(())
/// ```
///
/// # Defaults
///
/// | field | default |
/// |---|---|
/// | `failure_ratio` | 0.5 |
/// | `min_attempts` | 20 |
/// | `window` | 10 s, or twice the attempt timeout if that is longer |
/// | `consecutive_failures` | off |
/// | `slow_calls` | off |
/// | `break_duration` | 5 s, twice as long after each failed probe, plus up to 20 % jitter |
/// | `max_break_duration` | 120 s |
/// | `recovery` | 1 successful probe |
/// | `count_throttled_as_failure` | no |
/// | `observe_only` | no |
///
/// A value that is not set has its default. In the config of a destination it is taken from the surrounding config.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct CircuitBreakerConfig {
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) failure_ratio: Option<f64>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) min_attempts: Option<u32>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) window: Option<FailureWindow>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) consecutive_failures: Option<u32>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub(super) slow_threshold: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) slow_ratio: Option<f64>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub(super) break_duration: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) break_duration_factor: Option<f64>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "super::serialize::durations",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub(super) break_durations: Option<Arc<[Duration]>>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::serde_forms::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub(super) max_break_duration: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) recovery: Option<Recovery>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) count_throttled_as_failure: Option<bool>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) observe_only: Option<bool>,
}

impl CircuitBreakerConfig {
    /// Creates a config with all defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            failure_ratio: None,
            min_attempts: None,
            window: None,
            consecutive_failures: None,
            slow_threshold: None,
            slow_ratio: None,
            break_duration: None,
            break_duration_factor: None,
            break_durations: None,
            max_break_duration: None,
            recovery: None,
            count_throttled_as_failure: None,
            observe_only: None,
        }
    }

    /// Sets the ratio of failed attempts in the window at which the circuit opens: more than 0, at most 1.
    #[must_use]
    pub const fn failure_ratio(mut self, ratio: f64) -> Self {
        self.failure_ratio = Some(ratio);
        self
    }

    /// Sets how many attempts the window must have before ratios apply: 1 or more.
    #[must_use]
    pub const fn min_attempts(mut self, attempts: u32) -> Self {
        self.min_attempts = Some(attempts);
        self
    }

    /// Sets the window: a time of at least twice the attempt timeout, or a count of 1 to 10,000. A count must be
    /// at least `min_attempts`.
    #[must_use]
    pub const fn window(mut self, window: FailureWindow) -> Self {
        self.window = Some(window);
        self
    }

    /// Sets how many failed attempts in a row open the circuit, whatever the ratio: 1 or more.
    #[must_use]
    pub const fn consecutive_failures(mut self, attempts: u32) -> Self {
        self.consecutive_failures = Some(attempts);
        self
    }

    /// Sets the ratio of slow attempts in the window at which the circuit opens: more than 0, at most 1. An attempt is
    /// slow if it takes longer than `threshold`, to the response head or to a failure before that.
    #[must_use]
    pub const fn slow_calls(mut self, threshold: Duration, ratio: f64) -> Self {
        self.slow_threshold = Some(threshold);
        self.slow_ratio = Some(ratio);
        self
    }

    /// Sets how long the circuit stays open the first time: more than 0, at most `max_break_duration`. The default is
    /// 5 s. The time grows each time that the probes fail.
    #[must_use]
    pub const fn break_duration(mut self, break_duration: Duration) -> Self {
        self.break_duration = Some(break_duration);
        self
    }

    /// Sets the factor by which the open time grows each time that the probes fail: 1 to 100.
    #[must_use]
    pub const fn break_duration_factor(mut self, factor: f64) -> Self {
        self.break_duration_factor = Some(factor);
        self
    }

    /// Sets a function that computes the open time from the number of openings in a row, from 1. It replaces
    /// [`break_duration`](Self::break_duration) and [`break_duration_factor`](Self::break_duration_factor).
    ///
    /// The function runs immediately, for 1 to 32 openings. The last result holds for all later openings. If the
    /// function panics, the config is refused when a layer or a client is built.
    #[must_use]
    pub fn break_duration_by(mut self, time: impl Fn(u32) -> Duration) -> Self {
        let site = Site::new("CircuitBreakerConfig::break_duration_by");
        let times = (1..=OPENINGS).map(|nth| ask(&site, || Some(time(nth))));
        self.break_durations = Some(times.map_while(|time| time).collect());
        self
    }

    /// Sets the longest open time, including growth, jitter and the server's hint. At most a day. The default is 120 s.
    #[must_use]
    pub const fn max_break_duration(mut self, longest: Duration) -> Self {
        self.max_break_duration = Some(longest);
        self
    }

    /// Sets how a half-open circuit closes.
    #[must_use]
    pub const fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = Some(recovery);
        self
    }

    /// Sets whether a 429 counts as a failure. By default it does not, because it asks the client to wait. Enable it
    /// for a destination that sends 429 when it is down.
    #[must_use]
    pub const fn count_throttled_as_failure(mut self, counts: bool) -> Self {
        self.count_throttled_as_failure = Some(counts);
        self
    }

    /// Sets whether the circuits only observe: they judge, change state and report, but reject nothing.
    #[must_use]
    pub const fn observe_only(mut self, observe_only: bool) -> Self {
        self.observe_only = Some(observe_only);
        self
    }

    getters! {
        get_failure_ratio(failure_ratio) -> f64 = |own| own.failure_ratio.unwrap_or(FAILURE_RATIO);
        get_min_attempts(min_attempts) -> u32 = |own| own.min_attempts.unwrap_or(MIN_ATTEMPTS);
        get_consecutive_failures(consecutive_failures) -> Option<u32> = |own| own.consecutive_failures;
        get_slow_calls(slow_calls) -> Option<(Duration, f64)>
            = |own| Some((own.slow_threshold?, own.slow_ratio.unwrap_or(FAILURE_RATIO)));
        get_break_duration(break_duration) -> Duration = |own| own.break_duration.unwrap_or(BREAK_DURATION);
        get_break_duration_factor(break_duration_factor) -> f64 = |own| own.break_duration_factor.unwrap_or(BREAK_DURATION_FACTOR);
        get_break_duration_by(break_duration_by) -> Option<&[Duration]> = |own| own.break_durations.as_deref();
        get_max_break_duration(max_break_duration) -> Duration = |own| own.max_break_duration.unwrap_or(MAX_BREAK_DURATION);
        get_recovery(recovery) -> Recovery = |own| own.recovery.unwrap_or(Recovery::Successes(PROBES));
        get_count_throttled_as_failure(count_throttled_as_failure) -> bool = |own| own.count_throttled_as_failure.unwrap_or(false);
        get_observe_only(observe_only) -> bool = |own| own.observe_only.unwrap_or(false);
    }

    /// Returns [`window`](Self::window) for attempts with these timeouts, as set or by default.
    #[must_use]
    pub fn get_window(&self, timeouts: &Timeouts) -> FailureWindow {
        let longest = || SHORTEST_WINDOW.max(timeouts.attempt() * 2);
        self.window
            .unwrap_or_else(|| FailureWindow::Time(longest()))
    }

    /// Returns this config, with missing values taken from the surrounding config. Open times by a function and by a
    /// factor exclude each other, so if one is set, the other is not taken over.
    pub(crate) fn over(self, around: &Self) -> Self {
        let by_factor = self.break_duration.is_some() || self.break_duration_factor.is_some();
        let by_times = self.break_durations.is_some();
        Self {
            failure_ratio: self.failure_ratio.or(around.failure_ratio),
            min_attempts: self.min_attempts.or(around.min_attempts),
            window: self.window.or(around.window),
            consecutive_failures: self.consecutive_failures.or(around.consecutive_failures),
            slow_threshold: self.slow_threshold.or(around.slow_threshold),
            slow_ratio: self.slow_ratio.or(around.slow_ratio),
            break_duration: self
                .break_duration
                .or_else(|| around.break_duration.filter(|_| !by_times)),
            break_duration_factor: (self.break_duration_factor)
                .or_else(|| around.break_duration_factor.filter(|_| !by_times)),
            break_durations: (self.break_durations)
                .or_else(|| around.break_durations.clone().filter(|_| !by_factor)),
            max_break_duration: self.max_break_duration.or(around.max_break_duration),
            recovery: self.recovery.or(around.recovery),
            count_throttled_as_failure: self
                .count_throttled_as_failure
                .or(around.count_throttled_as_failure),
            observe_only: self.observe_only.or(around.observe_only),
        }
    }

    /// Returns this config with every default that does not depend on the timeouts.
    pub(crate) fn written_out(&self) -> Self {
        let by_factor = self.break_durations.is_none();
        Self {
            failure_ratio: Some(self.get_failure_ratio()),
            min_attempts: Some(self.get_min_attempts()),
            break_duration: by_factor.then(|| self.get_break_duration()),
            break_duration_factor: by_factor.then(|| self.get_break_duration_factor()),
            max_break_duration: Some(self.get_max_break_duration()),
            recovery: Some(self.get_recovery()),
            count_throttled_as_failure: Some(self.get_count_throttled_as_failure()),
            observe_only: Some(self.get_observe_only()),
            ..self.clone()
        }
    }

    /// Returns the rules of a circuit for attempts with these timeouts.
    pub(crate) fn rules(&self, timeouts: &Timeouts) -> CircuitRules {
        CircuitRules {
            failure_ratio: self.get_failure_ratio(),
            min_attempts: self.get_min_attempts(),
            window: self.get_window(timeouts),
            consecutive_failures: self.consecutive_failures,
            slow_ratio: self.get_slow_calls().map(|(_, ratio)| ratio),
            break_duration: self.get_break_duration(),
            break_duration_factor: self.get_break_duration_factor(),
            break_durations: self.break_durations.clone(),
            max_break_duration: self.get_max_break_duration(),
            recovery: self.get_recovery(),
            shortest_lease: timeouts.attempt(),
        }
    }

    /// Returns the judge of attempts with these timeouts.
    pub(crate) fn judge(&self, timeouts: &Timeouts) -> Judge {
        Judge {
            slow: self.slow_threshold,
            count_throttled_as_failure: self.get_count_throttled_as_failure(),
            observe_only: self.get_observe_only(),
            attempt: timeouts.attempt(),
        }
    }
}

/// At this ratio half of the attempts fail. That is more than noise.
pub(super) const FAILURE_RATIO: f64 = 0.5;
/// A small client must be able to open the circuit; noise must not.
pub(super) const MIN_ATTEMPTS: u32 = 20;
/// The window is at least this long, and at least twice the attempt timeout. Otherwise attempts that hang until their
/// timeout leave the window before there are enough of them.
pub(super) const SHORTEST_WINDOW: Duration = Duration::from_secs(10);
/// A quick restart takes less than this.
pub(super) const BREAK_DURATION: Duration = Duration::from_secs(5);
/// No caller waits longer than this for a service that has recovered.
pub(super) const MAX_BREAK_DURATION: Duration = Duration::from_secs(2 * 60);
/// Each failed probe shows that the outage takes longer than expected.
pub(super) const BREAK_DURATION_FACTOR: f64 = 2.0;
/// With an open time of one minute, this many openings take more than half an hour.
const OPENINGS: u32 = 32;
/// One probe is enough to decide, and causes no burst.
pub(super) const PROBES: u32 = 1;

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
