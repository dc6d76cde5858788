use std::time::Duration;

use crate::config_error::SettingError;

/// How many repeats a destination's calls can afford, all of them together.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::policy::retry::Budget;
///
/// let tight = Budget::new()
///     .ratio(0.1) // one repeat for ten calls
///     .at_least_per_second(1) // so that a quiet client may repeat at all
///     .over(Duration::from_secs(30));
/// assert_ne!(tight, Budget::default());
/// ```
///
/// # What it protects from
///
/// Three attempts a call are three times the load, and they come when the far side is on its knees.
/// Under a budget 1,000 calls a second on a dead service are about 1,210 requests, not 3,000.
///
/// # Defaults
///
/// | setting | default | why |
/// |---|---|---|
/// | ratio | 0.2 | Finagle's: a service that lost a fifth of its answers gets by |
/// | at least per second | 10 | a quiet client has no calls to save up from |
/// | over | 10 s | a burst may spend what was saved for so long, and no longer |
///
/// # Trade-offs
///
/// A budget knows no call: those that come first in an outage have it, the others fail at their
/// first attempt.
///
/// # How people get it wrong
///
/// They give each call, or each client of one destination, a budget of its own: each then spends
/// its reserve, and together they multiply the load all the same.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Written", into = "Written"))]
pub struct Budget(Option<Terms>);

/// A budget as it stands in a file.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    unlimited: bool,
    ratio: f64,
    at_least_per_second: u32,
    #[serde(with = "crate::file::duration")]
    over: Duration,
}

#[cfg(feature = "serde")]
impl Default for Written {
    fn default() -> Self {
        Budget::new().into()
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Written> for Budget {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let terms = Terms {
            ratio: written.ratio,
            at_least_per_second: written.at_least_per_second,
            over: written.over,
        };
        match written.unlimited {
            false => Ok(Self(Some(terms))),
            true if terms == Terms::DEFAULT => Ok(Self::unlimited()),
            true => Err("budget: unlimited, and ratio, at_least_per_second or over beside it"),
        }
    }
}

#[cfg(feature = "serde")]
impl From<Budget> for Written {
    fn from(budget: Budget) -> Self {
        let terms = budget.or_default();
        Self {
            unlimited: budget.0.is_none(),
            ratio: terms.ratio,
            at_least_per_second: terms.at_least_per_second,
            over: terms.over,
        }
    }
}

/// The terms of a budget that is not unlimited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Terms {
    pub(super) ratio: f64,
    pub(super) at_least_per_second: u32,
    pub(super) over: Duration,
}

impl Budget {
    /// One repeat for five calls, and ten a second in any case, saved up over ten seconds.
    #[must_use]
    pub const fn new() -> Self {
        Self(Some(Terms::DEFAULT))
    }

    /// Every repeat is affordable: what is left is the number of attempts.
    ///
    /// A setting made afterwards limits it again, with the defaults for the others.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self(None)
    }

    /// Sets how many repeats a call pays for, to six decimal places.
    #[must_use]
    pub const fn ratio(self, ratio: f64) -> Self {
        Self(Some(Terms {
            ratio,
            ..self.or_default()
        }))
    }

    /// Sets how many repeats a second are affordable however few calls there are.
    #[must_use]
    pub const fn at_least_per_second(self, repeats: u32) -> Self {
        Self(Some(Terms {
            at_least_per_second: repeats,
            ..self.or_default()
        }))
    }

    /// Sets how long what a call pays in can be spent, and what is spent is missing.
    #[must_use]
    pub const fn over(self, over: Duration) -> Self {
        Self(Some(Terms {
            over,
            ..self.or_default()
        }))
    }

    const fn or_default(self) -> Terms {
        match self.0 {
            Some(terms) => terms,
            None => Terms::DEFAULT,
        }
    }

    /// What there is to keep count of; `None` for a budget without limits.
    pub(super) const fn terms(self) -> Option<Terms> {
        self.0
    }

    /// Refuses a ratio that is none, and a time that is too short or too long to count over.
    pub(crate) fn validate(&self) -> Result<(), SettingError> {
        let Some(terms) = self.0 else { return Ok(()) };
        if !(0.0..=1_000.0).contains(&terms.ratio) {
            return Err(SettingError::out_of_range(
                "budget ratio",
                terms.ratio,
                "0 to 1000",
            ));
        }
        if !(OVER.0..=OVER.1).contains(&terms.over) {
            return Err(SettingError::out_of_range(
                "budget over",
                terms.over,
                "1s to 60s",
            ));
        }
        Ok(())
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

impl Terms {
    const DEFAULT: Self = Self {
        ratio: 0.2,
        at_least_per_second: 10,
        over: Duration::from_secs(10),
    };

    pub(super) const fn over(&self) -> Duration {
        self.over
    }

    /// What a call pays in, in units of [`TOKEN`].
    pub(super) fn deposit(&self) -> i64 {
        // Rounded, not cut: in floats 0.000249 of a million is a little less than 249.
        (self.ratio * TOKEN as f64).round() as i64
    }

    /// What is there before any call has paid, in units of [`TOKEN`].
    pub(super) fn reserve(&self) -> i64 {
        let micros = i64::try_from(self.over.as_micros()).unwrap_or(i64::MAX);
        // A token is a million units and a second a million microseconds: they cancel out.
        micros.saturating_mul(i64::from(self.at_least_per_second))
    }
}

/// The price of a repeat, in units small enough that every usual ratio is a whole number of them.
pub(super) const TOKEN: i64 = 1_000_000;
/// Shorter, and a slot of a tenth is about a round trip; longer, and a burst spends what the far
/// side's good minutes saved.
const OVER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

#[cfg(test)]
mod tests {
    use super::*;

    const SECS: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn every_ratio_of_six_decimal_places_is_a_whole_number_of_units() {
        for units in 0..=2_000_000 {
            let budget = Budget::new().ratio(f64::from(units) / 1_000_000.0);
            assert_eq!(budget.0.unwrap().deposit(), i64::from(units));
        }
        let most = Budget::new().ratio(1_000.0);
        assert_eq!(most.0.unwrap().deposit(), 1_000 * TOKEN);
    }

    #[test]
    fn reserve_is_the_rate_for_as_long_as_is_saved() {
        assert_eq!(Budget::new().0.unwrap().reserve(), 100 * TOKEN);
        let most = Budget::new().at_least_per_second(u32::MAX).over(SECS(60));
        assert_eq!(most.0.unwrap().reserve(), i64::from(u32::MAX) * 60 * TOKEN);
    }

    #[test]
    fn setting_made_on_an_unlimited_budget_limits_it() {
        assert_eq!(Budget::unlimited().terms(), None);
        assert_eq!(Budget::unlimited().ratio(0.2), Budget::new());
    }

    #[test]
    fn wrong_settings_are_refused_by_name_and_value() {
        let base = Budget::new();
        for (budget, refusal) in [
            (
                base.ratio(-0.1),
                "budget ratio of -0.1 is not within 0 to 1000",
            ),
            (
                base.ratio(1_000.1),
                "budget ratio of 1000.1 is not within 0 to 1000",
            ),
            (
                base.ratio(f64::NAN),
                "budget ratio of NaN is not within 0 to 1000",
            ),
            (
                base.ratio(f64::INFINITY),
                "budget ratio of inf is not within 0 to 1000",
            ),
            (
                base.over(SECS(0)),
                "budget over of 0ns is not within 1s to 60s",
            ),
            (
                base.over(SECS(61)),
                "budget over of 61s is not within 1s to 60s",
            ),
        ] {
            assert_eq!(budget.validate().unwrap_err().to_string(), refusal);
        }
    }

    #[test]
    fn limits_of_the_settings_are_within_them() {
        for budget in [
            Budget::new(),
            Budget::unlimited(),
            Budget::new().ratio(0.0).at_least_per_second(0),
            Budget::new().ratio(1_000.0).at_least_per_second(u32::MAX),
            Budget::new().over(SECS(1)),
            Budget::new().over(SECS(60)),
        ] {
            assert!(budget.validate().is_ok(), "{budget:?}");
        }
    }
}
