use std::sync::Arc;
use std::time::Duration;

use super::rules::{Recovery, Rules, Window};
use super::verdict::Judge;
use crate::callback::{Site, ask};
use crate::getters::getters;
use crate::limit::Limits;

/// What a breaker goes by; what is left open is derived from the attempt limit.
///
/// Plain values: they are checked once, by [`BreakerLayer::with`](crate::BreakerLayer::with).
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::BreakerLayer;
/// use sevenhops::policy::breaker::{Settings, Window};
/// use sevenhops::limit::Limits;
///
/// let limits = Limits::new(Duration::from_secs(10))?; // 5 s for an attempt
/// let settings = Settings::new().window(Window::Time(Duration::from_secs(8)));
/// let refused = BreakerLayer::with(limits, settings).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "breaker.window.time: 8s is invalid: expected at least twice limits.attempt (5s)"
/// );
/// # Ok::<(), sevenhops::SettingError>(())
/// ```
///
/// A setting that is not made is the default. In the config of a destination it is that of the config around it.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Settings {
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

impl Settings {
    /// Leaves everything to the defaults.
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

    /// Opens when so large a share of the attempts in the window failed: more than 0, at most 1.
    #[must_use]
    pub const fn failure_ratio(mut self, ratio: f64) -> Self {
        self.failure_ratio = Some(ratio);
        self
    }

    /// Judges by a ratio only when so many attempts are in the window: from 1 on.
    #[must_use]
    pub const fn minimum_volume(mut self, attempts: u32) -> Self {
        self.minimum_volume = Some(attempts);
        self
    }

    /// Looks back so far: a time of at least twice the attempt limit, or a count of 1 to 10,000.
    #[must_use]
    pub const fn window(mut self, window: Window) -> Self {
        self.window = Some(window);
        self
    }

    /// Opens also when so many attempts failed one after the other, whatever the ratio: from 1 on.
    #[must_use]
    pub const fn consecutive_failures(mut self, attempts: u32) -> Self {
        self.consecutive_failures = Some(attempts);
        self
    }

    /// Opens also when so large a share of the attempts in the window took longer than `limit`, to the response
    /// head or to their failure: more than 0, at most 1.
    #[must_use]
    pub const fn slow_calls(mut self, limit: Duration, ratio: f64) -> Self {
        self.slow_limit = Some(limit);
        self.slow_ratio = Some(ratio);
        self
    }

    /// Stays open for so long the first time, and longer each time that the probes fail.
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

    /// Stays open by this function of the number of openings in a row, from 1, in place of
    /// [`open_for`](Self::open_for) and [`open_factor`](Self::open_factor).
    ///
    /// The function is asked here and now, for 1 to 32 openings; the last time holds for all that follow. If it
    /// panics, the settings are refused when the layer is built.
    #[must_use]
    pub fn open_by(mut self, time: impl Fn(u32) -> Duration) -> Self {
        let site = Site::new("breaker::Settings::open_by");
        let times = (1..=OPENINGS).map(|nth| ask(&site, || Some(time(nth))));
        self.open_times = Some(times.map_while(|time| time).collect());
        self
    }

    /// Never stays open for longer, whatever it grew to, luck added or the server asked for.
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

    /// Counts 429 as a failure. It asks for patience, not for a broken circuit; say so where a
    /// destination means "I am down" by it.
    #[must_use]
    pub const fn throttled_counts(mut self, counts: bool) -> Self {
        self.throttled_counts = Some(counts);
        self
    }

    /// Judges, changes state and tells of it, and refuses nothing.
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

    /// Returns [`window`](Self::window), as set or by default, for attempts under these limits.
    #[must_use]
    pub fn get_window(&self, limits: &Limits) -> Window {
        let longest = || SHORTEST_WINDOW.max(limits.attempt().get() * 2);
        self.window.unwrap_or_else(|| Window::Time(longest()))
    }

    /// The same settings, and where one is missing, that of the config around. Open times by a function and by
    /// a factor exclude each other, so either keeps the other from being taken over.
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

    /// The same settings, with the defaults written out that do not follow from the limits.
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

    /// The rules of a circuit whose attempts take as long as these limits allow.
    pub(crate) fn rules(&self, limits: &Limits) -> Rules {
        Rules {
            failure_ratio: self.get_failure_ratio(),
            minimum_volume: self.get_minimum_volume(),
            window: self.get_window(limits),
            consecutive_failures: self.consecutive_failures,
            slow_ratio: self.get_slow_calls().map(|(_, ratio)| ratio),
            open_for: self.get_open_for(),
            open_factor: self.get_open_factor(),
            open_times: self.open_times.clone(),
            open_at_most: self.get_open_at_most(),
            recovery: self.get_recovery(),
            shortest_lease: limits.attempt().get(),
        }
    }

    /// Judges attempts under these limits.
    pub(crate) fn judge(&self, limits: &Limits) -> Judge {
        Judge {
            slow: self.slow_limit,
            throttled_counts: self.get_throttled_counts(),
            observe_only: self.get_observe_only(),
            attempt: limits.attempt().get(),
        }
    }
}

/// Half of it fails: more than noise, and it cannot be told from being down.
pub(super) const FAILURE_RATIO: f64 = 0.5;
/// Small clients must be able to trip it, noise must not.
pub(super) const MINIMUM_VOLUME: u32 = 20;
/// At least so long, and twice the attempt limit: else the attempts that hang until then fall out
/// of the window before there are enough of them.
pub(super) const SHORTEST_WINDOW: Duration = Duration::from_secs(10);
/// A quick restart is over by then.
pub(super) const OPEN_FOR: Duration = Duration::from_secs(5);
/// A caller does not wait longer for a service that is back.
pub(super) const OPEN_AT_MOST: Duration = Duration::from_secs(2 * 60);
/// Each failed probe says that it will take longer than was thought.
pub(super) const OPEN_FACTOR: f64 = 2.0;
/// So many openings in a row take more than half an hour with an open time of a minute.
const OPENINGS: u32 = 32;
/// One is enough to tell, and no herd.
pub(super) const PROBES: u32 = 1;

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
