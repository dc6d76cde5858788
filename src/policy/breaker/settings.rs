use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::rules::{Recovery, Rules, Window};
use super::verdict::Judge;
use crate::callback::{Site, ask};
use crate::config_error::SettingError;
use crate::limit::{Limit, Limits};

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
///     "breaker window of 8s is less than twice the attempt limit of 5s"
/// );
/// # Ok::<(), sevenhops::SettingError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Settings {
    failure_ratio: f64,
    minimum_volume: u32,
    window: Option<Window>,
    consecutive_failures: Option<u32>,
    #[cfg_attr(feature = "serde", serde(with = "crate::file::optional_duration"))]
    slow_limit: Option<Duration>,
    slow_ratio: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::file::duration"))]
    open_for: Duration,
    open_factor: f64,
    #[cfg_attr(feature = "serde", serde(with = "super::written::durations"))]
    open_times: Option<Arc<[Duration]>>,
    #[cfg_attr(feature = "serde", serde(with = "crate::file::duration"))]
    open_at_most: Duration,
    recovery: Recovery,
    throttled_counts: bool,
    observe_only: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

impl Settings {
    /// Leaves everything to the defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            failure_ratio: FAILURE_RATIO,
            minimum_volume: MINIMUM_VOLUME,
            window: None,
            consecutive_failures: None,
            slow_limit: None,
            slow_ratio: FAILURE_RATIO,
            open_for: OPEN_FOR,
            open_factor: OPEN_FACTOR,
            open_times: None,
            open_at_most: OPEN_AT_MOST,
            recovery: Recovery::Successes(PROBES),
            throttled_counts: false,
            observe_only: false,
        }
    }

    /// Opens when so large a share of the attempts in the window failed: more than 0, at most 1.
    #[must_use]
    pub const fn failure_ratio(mut self, ratio: f64) -> Self {
        self.failure_ratio = ratio;
        self
    }

    /// Judges by a ratio only when so many attempts are in the window: from 1 on.
    #[must_use]
    pub const fn minimum_volume(mut self, attempts: u32) -> Self {
        self.minimum_volume = attempts;
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
        self.slow_ratio = ratio;
        self
    }

    /// Stays open for so long the first time, and longer each time that the probes fail.
    #[must_use]
    pub const fn open_for(mut self, open_for: Duration) -> Self {
        self.open_for = open_for;
        self
    }

    /// Multiplies the open time by this factor each time that the probes fail: 1 to 100.
    #[must_use]
    pub const fn open_factor(mut self, factor: f64) -> Self {
        self.open_factor = factor;
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
        self.open_at_most = longest;
        self
    }

    /// Sets how a half-open circuit closes.
    #[must_use]
    pub const fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// Counts 429 as a failure. It asks for patience, not for a broken circuit; say so where a
    /// destination means "I am down" by it.
    #[must_use]
    pub const fn throttled_counts(mut self, counts: bool) -> Self {
        self.throttled_counts = counts;
        self
    }

    /// Judges, changes state and tells of it, and refuses nothing.
    #[must_use]
    pub const fn observe_only(mut self, observe_only: bool) -> Self {
        self.observe_only = observe_only;
        self
    }

    pub(super) const fn is_observe_only(&self) -> bool {
        self.observe_only
    }

    /// What follows from the settings where an attempt takes as long as these limits allow.
    pub(super) fn resolve(&self, limits: &Limits) -> (Rules, Judge) {
        let attempt = limits.attempt().get();
        let rules = Rules {
            failure_ratio: self.failure_ratio,
            minimum_volume: self.minimum_volume,
            window: self
                .window
                .unwrap_or_else(|| Window::Time(SHORTEST_WINDOW.max(attempt * 2))),
            consecutive_failures: self.consecutive_failures,
            slow_ratio: self.slow_limit.map(|_| self.slow_ratio),
            open_for: self.open_for,
            open_factor: self.open_factor,
            open_times: self.open_times.clone(),
            open_at_most: self.open_at_most,
            recovery: self.recovery,
            shortest_lease: attempt,
        };
        let judge = Judge {
            slow: self.slow_limit,
            throttled_counts: self.throttled_counts,
            attempt,
        };
        (rules, judge)
    }

    pub(crate) fn check(&self, limits: &Limits) -> Result<(), SettingError> {
        ratio("failure ratio", self.failure_ratio)?;
        count("minimum volume", self.minimum_volume, 1..=u32::MAX)?;
        self.check_recovery()?;
        if let Some(attempts) = self.consecutive_failures {
            count("consecutive failures", attempts, 1..=u32::MAX)?;
        }
        if let Some(limit) = self.slow_limit {
            duration("slow limit", limit, Limit::MAX.get())?;
        }
        ratio("slow ratio", self.slow_ratio)?;
        duration("open time", self.open_for, Limit::MAX.get())?;
        duration("longest open time", self.open_at_most, Limit::MAX.get())?;
        if self.open_for > self.open_at_most {
            return Err(SettingError::contradiction(
                ("open time", self.open_for),
                ("longest open time", self.open_at_most),
            ));
        }
        self.check_growth()?;
        self.check_window(limits.attempt().get())
    }

    fn check_recovery(&self) -> Result<(), SettingError> {
        count("probes", self.recovery.probes(), 1..=MOST_PROBES)?;
        match self.recovery {
            Recovery::Ratio { failure_ratio, .. } => ratio("probe failure ratio", failure_ratio),
            Recovery::Ramp { step } => duration("ramp step", step, Limit::MAX.get()),
            Recovery::Successes(_) => Ok(()),
        }
    }

    fn check_growth(&self) -> Result<(), SettingError> {
        if !(1.0..=MOST_FACTOR).contains(&self.open_factor) {
            let factor = self.open_factor;
            return Err(SettingError::out_of_range(
                "open factor",
                factor,
                "1 to 100",
            ));
        }
        let Some(times) = &self.open_times else {
            return Ok(());
        };
        if self.open_for != OPEN_FOR || self.open_factor != OPEN_FACTOR {
            let (field, range) = ("open times", "what goes without an open time or a factor");
            return Err(SettingError::out_of_range(field, times, range));
        }
        if times.is_empty() {
            let range = "a time for each opening, and the function panicked";
            return Err(SettingError::out_of_range("open times", times, range));
        }
        for time in times.iter() {
            duration("open time", *time, Limit::MAX.get())?;
            if *time > self.open_at_most {
                let than = ("longest open time", self.open_at_most);
                return Err(SettingError::contradiction(("open time", *time), than));
            }
        }
        Ok(())
    }

    fn check_window(&self, attempt: Duration) -> Result<(), SettingError> {
        match self.window {
            None => Ok(()),
            Some(Window::Time(length)) => {
                duration("breaker window", length, Limit::MAX.get() * 2)?;
                if length < attempt * 2 {
                    let than = ("twice the attempt limit", attempt);
                    return Err(SettingError::less_than(("breaker window", length), than));
                }
                Ok(())
            }
            Some(Window::Count(attempts)) => {
                count("breaker window", attempts, 1..=LONGEST_COUNT)?;
                if attempts < self.minimum_volume {
                    let than = ("the minimum volume", self.minimum_volume);
                    return Err(SettingError::less_than(("breaker window", attempts), than));
                }
                Ok(())
            }
        }
    }
}

fn ratio(field: &'static str, ratio: f64) -> Result<(), SettingError> {
    if ratio > 0.0 && ratio <= 1.0 {
        return Ok(());
    }
    Err(SettingError::out_of_range(
        field,
        ratio,
        "0 (not included) to 1",
    ))
}

fn count(field: &'static str, count: u32, within: RangeInclusive<u32>) -> Result<(), SettingError> {
    if within.contains(&count) {
        return Ok(());
    }
    let range = match *within.end() {
        MOST_PROBES => "1 to 64",
        LONGEST_COUNT => "1 to 10000",
        _ => "1 and more",
    };
    Err(SettingError::out_of_range(field, count, range))
}

fn duration(field: &'static str, value: Duration, most: Duration) -> Result<(), SettingError> {
    if !value.is_zero() && value <= most {
        return Ok(());
    }
    let range = if most == Limit::MAX.get() {
        "0s (not included) to 86400s"
    } else {
        "0s (not included) to 172800s"
    };
    Err(SettingError::out_of_range(field, value, range))
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
/// Nobody wants to wait longer for a service that is back.
pub(super) const OPEN_AT_MOST: Duration = Duration::from_secs(2 * 60);
/// Each failed probe says that it will take longer than was thought.
pub(super) const OPEN_FACTOR: f64 = 2.0;
/// The second opening would last a hundred times as long.
const MOST_FACTOR: f64 = 100.0;
/// So many openings in a row take more than half an hour with an open time of a minute.
const OPENINGS: u32 = 32;
/// One is enough to tell, and no herd.
pub(super) const PROBES: u32 = 1;
/// A circuit keeps a lease for each.
const MOST_PROBES: u32 = 64;
/// A circuit keeps a byte for each.
const LONGEST_COUNT: u32 = 10_000;

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
