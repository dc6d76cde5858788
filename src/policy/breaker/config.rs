use std::sync::Arc;
use std::time::Duration;

use super::rules::{Recovery, Rules, Window};
use super::verdict::Judge;
use crate::callback::{Site, ask};
use crate::getters::getters;
use crate::timeout::Timeouts;

/// The settings of a breaker. Values that are not set are derived from the attempt limit.
///
/// They are plain values. [`CircuitBreakerLayer::with`](crate::CircuitBreakerLayer::with) checks them.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::CircuitBreakerLayer;
/// use sevenhops::policy::breaker::{CircuitBreakerConfig, Window};
/// use sevenhops::timeout::Timeouts;
///
/// let timeouts = Timeouts::new(Duration::from_secs(10))?; // 5 s for an attempt
/// let config = CircuitBreakerConfig::new().window(Window::Time(Duration::from_secs(8)));
/// let refused = CircuitBreakerLayer::with(timeouts, config).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "circuit_breaker.window.time: 8s is invalid: expected at least twice timeouts.attempt (5s)"
/// );
/// # Ok::<(), sevenhops::ConfigError>(())
/// ```
///
/// A value that is not set has its default. In the config of a destination it is taken from the surrounding config.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct CircuitBreakerConfig {
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) failure_ratio: Option<f64>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) minimum_volume: Option<u32>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) window: Option<Window>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) consecutive_failures: Option<u32>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::file::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub(super) slow_limit: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) slow_ratio: Option<f64>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::file::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub(super) open_for: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) open_factor: Option<f64>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "super::written::durations",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub(super) open_times: Option<Arc<[Duration]>>,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::file::optional_duration",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub(super) open_at_most: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) recovery: Option<Recovery>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) throttled_counts: Option<bool>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(super) observe_only: Option<bool>,
}

impl CircuitBreakerConfig {
    /// Creates settings with all defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            failure_ratio: None,
            minimum_volume: None,
            window: None,
            consecutive_failures: None,
            slow_limit: None,
            slow_ratio: None,
            open_for: None,
            open_factor: None,
            open_times: None,
            open_at_most: None,
            recovery: None,
            throttled_counts: None,
            observe_only: None,
        }
    }

    /// Opens when this ratio of the attempts in the window failed: more than 0, at most 1.
    #[must_use]
    pub const fn failure_ratio(mut self, ratio: f64) -> Self {
        self.failure_ratio = Some(ratio);
        self
    }

    /// Applies ratios only when the window has at least this many attempts: from 1 on.
    #[must_use]
    pub const fn minimum_volume(mut self, attempts: u32) -> Self {
        self.minimum_volume = Some(attempts);
        self
    }

    /// Sets the window: a time of at least twice the attempt limit, or a count of 1 to 10,000.
    #[must_use]
    pub const fn window(mut self, window: Window) -> Self {
        self.window = Some(window);
        self
    }

    /// Opens also when this many attempts in a row failed, whatever the ratio: from 1 on.
    #[must_use]
    pub const fn consecutive_failures(mut self, attempts: u32) -> Self {
        self.consecutive_failures = Some(attempts);
        self
    }

    /// Opens also when this ratio of the attempts in the window was slow: more than 0, at most 1. An attempt is slow
    /// if it takes longer than `limit`, to the response head or to its failure.
    #[must_use]
    pub const fn slow_calls(mut self, limit: Duration, ratio: f64) -> Self {
        self.slow_limit = Some(limit);
        self.slow_ratio = Some(ratio);
        self
    }

    /// Sets how long the circuit stays open the first time. The time grows each time that the probes fail.
    #[must_use]
    pub const fn open_for(mut self, open_for: Duration) -> Self {
        self.open_for = Some(open_for);
        self
    }

    /// Multiplies the open time by this factor each time that the probes fail: 1 to 100.
    #[must_use]
    pub const fn open_factor(mut self, factor: f64) -> Self {
        self.open_factor = Some(factor);
        self
    }

    /// Computes the open time by a function of the number of openings in a row, from 1. It replaces
    /// [`open_for`](Self::open_for) and [`open_factor`](Self::open_factor).
    ///
    /// The function runs immediately, for 1 to 32 openings. The last time holds for all that follow. If the function
    /// panics, `build()` refuses the settings.
    #[must_use]
    pub fn open_by(mut self, time: impl Fn(u32) -> Duration) -> Self {
        let site = Site::new("breaker::CircuitBreakerConfig::open_by");
        let times = (1..=OPENINGS).map(|nth| ask(&site, || Some(time(nth))));
        self.open_times = Some(times.map_while(|time| time).collect());
        self
    }

    /// Bounds the open time, including growth, jitter and the server's hint.
    #[must_use]
    pub const fn open_at_most(mut self, longest: Duration) -> Self {
        self.open_at_most = Some(longest);
        self
    }

    /// Sets how a half-open circuit closes.
    #[must_use]
    pub const fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = Some(recovery);
        self
    }

    /// Sets whether a 429 counts as a failure. By default it does not: it asks the client to wait. Set it for a
    /// destination that sends 429 when it is down.
    #[must_use]
    pub const fn throttled_counts(mut self, counts: bool) -> Self {
        self.throttled_counts = Some(counts);
        self
    }

    /// Only observes: the circuits judge, change state and report, but reject nothing.
    #[must_use]
    pub const fn observe_only(mut self, observe_only: bool) -> Self {
        self.observe_only = Some(observe_only);
        self
    }

    getters! {
        get_failure_ratio(failure_ratio) -> f64 = |own| own.failure_ratio.unwrap_or(FAILURE_RATIO);
        get_minimum_volume(minimum_volume) -> u32 = |own| own.minimum_volume.unwrap_or(MINIMUM_VOLUME);
        get_consecutive_failures(consecutive_failures) -> Option<u32> = |own| own.consecutive_failures;
        get_slow_calls(slow_calls) -> Option<(Duration, f64)>
            = |own| Some((own.slow_limit?, own.slow_ratio.unwrap_or(FAILURE_RATIO)));
        get_open_for(open_for) -> Duration = |own| own.open_for.unwrap_or(OPEN_FOR);
        get_open_factor(open_factor) -> f64 = |own| own.open_factor.unwrap_or(OPEN_FACTOR);
        get_open_by(open_by) -> Option<&[Duration]> = |own| own.open_times.as_deref();
        get_open_at_most(open_at_most) -> Duration = |own| own.open_at_most.unwrap_or(OPEN_AT_MOST);
        get_recovery(recovery) -> Recovery = |own| own.recovery.unwrap_or(Recovery::Successes(PROBES));
        get_throttled_counts(throttled_counts) -> bool = |own| own.throttled_counts.unwrap_or(false);
        get_observe_only(observe_only) -> bool = |own| own.observe_only.unwrap_or(false);
    }

    /// Returns [`window`](Self::window) for attempts under these limits, as set or by default.
    #[must_use]
    pub fn get_window(&self, timeouts: &Timeouts) -> Window {
        let longest = || SHORTEST_WINDOW.max(timeouts.attempt().get() * 2);
        self.window.unwrap_or_else(|| Window::Time(longest()))
    }

    /// Returns these settings, with missing values taken from the surrounding config. Open times by a function and by
    /// a factor exclude each other, so if one is set, the other is not taken over.
    pub(crate) fn over(self, around: &Self) -> Self {
        let by_factor = self.open_for.is_some() || self.open_factor.is_some();
        let by_times = self.open_times.is_some();
        Self {
            failure_ratio: self.failure_ratio.or(around.failure_ratio),
            minimum_volume: self.minimum_volume.or(around.minimum_volume),
            window: self.window.or(around.window),
            consecutive_failures: self.consecutive_failures.or(around.consecutive_failures),
            slow_limit: self.slow_limit.or(around.slow_limit),
            slow_ratio: self.slow_ratio.or(around.slow_ratio),
            open_for: self
                .open_for
                .or_else(|| around.open_for.filter(|_| !by_times)),
            open_factor: (self.open_factor).or_else(|| around.open_factor.filter(|_| !by_times)),
            open_times: (self.open_times)
                .or_else(|| around.open_times.clone().filter(|_| !by_factor)),
            open_at_most: self.open_at_most.or(around.open_at_most),
            recovery: self.recovery.or(around.recovery),
            throttled_counts: self.throttled_counts.or(around.throttled_counts),
            observe_only: self.observe_only.or(around.observe_only),
        }
    }

    /// Returns these settings with every default that does not depend on the limits.
    pub(crate) fn written_out(&self) -> Self {
        let by_factor = self.open_times.is_none();
        Self {
            failure_ratio: Some(self.get_failure_ratio()),
            minimum_volume: Some(self.get_minimum_volume()),
            open_for: by_factor.then(|| self.get_open_for()),
            open_factor: by_factor.then(|| self.get_open_factor()),
            open_at_most: Some(self.get_open_at_most()),
            recovery: Some(self.get_recovery()),
            throttled_counts: Some(self.get_throttled_counts()),
            observe_only: Some(self.get_observe_only()),
            ..self.clone()
        }
    }

    /// Returns the rules of a circuit for attempts under these limits.
    pub(crate) fn rules(&self, timeouts: &Timeouts) -> Rules {
        Rules {
            failure_ratio: self.get_failure_ratio(),
            minimum_volume: self.get_minimum_volume(),
            window: self.get_window(timeouts),
            consecutive_failures: self.consecutive_failures,
            slow_ratio: self.get_slow_calls().map(|(_, ratio)| ratio),
            open_for: self.get_open_for(),
            open_factor: self.get_open_factor(),
            open_times: self.open_times.clone(),
            open_at_most: self.get_open_at_most(),
            recovery: self.get_recovery(),
            shortest_lease: timeouts.attempt().get(),
        }
    }

    /// Returns the judge of attempts under these limits.
    pub(crate) fn judge(&self, timeouts: &Timeouts) -> Judge {
        Judge {
            slow: self.slow_limit,
            throttled_counts: self.get_throttled_counts(),
            observe_only: self.get_observe_only(),
            attempt: timeouts.attempt().get(),
        }
    }
}

/// At this ratio half of the attempts fail. That is more than noise.
pub(super) const FAILURE_RATIO: f64 = 0.5;
/// A small client must be able to open the circuit; noise must not.
pub(super) const MINIMUM_VOLUME: u32 = 20;
/// The window is at least this long, and at least twice the attempt limit. Otherwise attempts that hang until the
/// limit leave the window before there are enough of them.
pub(super) const SHORTEST_WINDOW: Duration = Duration::from_secs(10);
/// A quick restart is over after this time.
pub(super) const OPEN_FOR: Duration = Duration::from_secs(5);
/// No caller waits longer than this for a service that has recovered.
pub(super) const OPEN_AT_MOST: Duration = Duration::from_secs(2 * 60);
/// Each failed probe shows that the outage takes longer than expected.
pub(super) const OPEN_FACTOR: f64 = 2.0;
/// With an open time of one minute, this many openings take more than half an hour.
const OPENINGS: u32 = 32;
/// One probe is enough to decide, and causes no burst.
pub(super) const PROBES: u32 = 1;

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
