use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::formula::BackoffStep;
use crate::callback::{Site, ask};
use crate::config_error::{ConfigError, expected};
use crate::getters::getters;

/// The wait before a retry.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::policy::retry::{Backoff, Growth, Jitter};
///
/// let patient = Backoff::new()
///     .growth(Growth::Exponential(1.5))
///     .jitter(Jitter::Equal) // never less than half of the wait
///     .base(Duration::from_millis(200))
///     .cap(Duration::from_secs(20));
/// assert_ne!(patient, Backoff::default());
/// ```
///
/// # Protects from
///
/// Callers that failed together retry together, and fail together again. Jitter spreads them out. Growth gives a slow
/// service the time to recover.
///
/// # The formula
///
/// `n` counts the retries before this one, from 0. `d` is `min(cap, base · growth)`. Jitter draws from `d`. The
/// result is at least the minimum. It is at most the cap, except with [`Jitter::Proportional`].
///
/// # Defaults
///
/// D is the time of the whole call, from its start to its deadline.
///
/// | field | default | why |
/// |---|---|---|
/// | `growth` | [`Growth::Exponential`], factor 2 | a longer outage gets fewer retries |
/// | `jitter` | [`Jitter::Full`] | spreads a herd widest |
/// | `base` | min(100 ms, D / 50) | three attempts fit into any deadline |
/// | `cap` | 5 s | half of a usual deadline |
/// | `minimum` | 0 | |
/// | `first_at_once` | no | |
///
/// After a 429 without a hint the base is at least min(1 s, D / 5): the service has asked for fewer requests.
///
/// # A draw that does not fit
///
/// If a draw would take more than half of the time left, it is drawn again within that half, as far as the jitter
/// allows. A server's hint is not shortened: if it does not fit, the call ends at once.
///
/// # Trade-offs
///
/// Full jitter may draw almost zero, so a retry can follow at once. [`Jitter::Equal`] or a [`minimum`](Self::minimum)
/// prevents that, and spreads retries less.
///
/// # How people get it wrong
///
/// They set [`Jitter::None`] to make tests deterministic. Tests on a paused clock do not need it.
#[derive(Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Backoff {
    pub(super) growth: Growth,
    pub(super) jitter: Jitter,
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::serde_forms::optional_duration")
    )]
    pub(super) base: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_forms::duration"))]
    pub(super) cap: Duration,
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_forms::duration"))]
    pub(super) minimum: Duration,
    pub(super) first_at_once: bool,
    #[cfg_attr(
        feature = "serde",
        serde(skip_deserializing, skip_serializing_if = "Option::is_none")
    )]
    pub(super) function: Option<Function>,
}

/// How the wait grows from retry to retry. `n` counts the earlier retries, from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Growth {
    /// The wait is `base · factor^n`. The factor is 1 to 100.
    Exponential(f64),
    /// The wait is `base · (n + 1)`.
    Linear,
    /// The wait is `base`.
    Constant,
}

/// How the wait is randomized. `d` is the wait after growth and cap.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Jitter {
    /// A random wait from zero to `d`.
    #[default]
    Full,
    /// A random wait from `d / 2` to `d`.
    Equal,
    /// A random wait from the base to three times the previous wait, whatever `n` is.
    Decorrelated,
    /// A random wait from `d · (1 − spread)` to `d · (1 + spread)`, so it may exceed the cap by the spread. The
    /// spread is more than 0 and at most 1.
    Proportional(f64),
    /// Exactly `d`, without randomness. Callers that failed together retry together.
    None,
}

impl Backoff {
    /// Creates a backoff with full jitter, exponential growth, and a base that follows the deadline.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            growth: Growth::Exponential(FACTOR),
            jitter: Jitter::Full,
            base: None,
            cap: CAP,
            minimum: Duration::ZERO,
            first_at_once: false,
            function: None,
        }
    }

    /// Creates a backoff from a function. Its arguments are the number of earlier retries (from 0), the wait before the
    /// previous retry, and a random number in `[0, 1)`. Of the other fields only `cap` and `minimum` apply.
    ///
    /// If the function panics, the default backoff applies. A backoff from a function cannot be written to a file.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sevenhops::policy::retry::Backoff;
    ///
    /// // Envoy: full jitter over 25 ms · (2^(n+1) − 1), at most 250 ms.
    /// let envoy = Backoff::by(|n, _previous, random| {
    ///     let range = Duration::from_millis(25) * 2_u32.saturating_pow(n + 1).saturating_sub(1);
    ///     range.min(Duration::from_millis(250)).mul_f64(random)
    /// });
    /// # drop(envoy);
    /// ```
    #[must_use]
    pub fn by(
        wait: impl Fn(u32, Option<Duration>, f64) -> Duration + Send + Sync + 'static,
    ) -> Self {
        let site = Site::new("Backoff::by");
        let wait = move |step: &BackoffStep, luck: f64| {
            ask(&site, || Some(wait(step.retry, step.previous, luck)))
        };
        Self {
            function: Some(Function(Arc::new(wait))),
            ..Self::new()
        }
    }

    /// Sets how a wait grows from retry to retry.
    #[must_use]
    pub const fn growth(mut self, growth: Growth) -> Self {
        self.growth = growth;
        self
    }

    /// Sets how the wait is randomized.
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets the wait before the first retry, before jitter.
    #[must_use]
    pub const fn base(mut self, base: Duration) -> Self {
        self.base = Some(base);
        self
    }

    /// Sets the longest wait. Only the spread of [`Jitter::Proportional`] may exceed it.
    #[must_use]
    pub const fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Sets the shortest wait.
    #[must_use]
    pub const fn minimum(mut self, minimum: Duration) -> Self {
        self.minimum = minimum;
        self
    }

    /// Sets whether the first retry is made without a wait. The second retry then waits as the first one would have.
    #[must_use]
    pub const fn first_at_once(mut self, yes: bool) -> Self {
        self.first_at_once = yes;
        self
    }

    /// Returns the base in a call of this length, after a 429 without a hint or after another failure.
    pub(super) fn base_within(&self, deadline: Duration, is_throttled: bool) -> Duration {
        let own = self.base.unwrap_or_else(|| BASE.min(deadline / 50));
        let base = match is_throttled {
            true => own.max(THROTTLED_BASE.min(deadline / 5)),
            false => own,
        };
        base.min(self.cap)
    }

    getters! {
        get_growth(growth) -> Growth = |own| own.growth;
        get_jitter(jitter) -> Jitter = |own| own.jitter;
        get_cap(cap) -> Duration = |own| own.cap;
        get_minimum(minimum) -> Duration = |own| own.minimum;
        get_first_at_once(first_at_once) -> bool = |own| own.first_at_once;
    }

    /// Returns [`base`](Self::base), as set or by default, in a call of this length.
    #[must_use]
    pub fn get_base(&self, deadline: Duration) -> Duration {
        self.base_within(deadline, false)
    }

    /// Returns whether the wait is computed by a function: see [`by`](Self::by).
    #[must_use]
    pub const fn is_by_function(&self) -> bool {
        self.function.is_some()
    }

    /// Refuses times that are out of range, and fields that contradict each other or the deadline.
    pub(crate) fn validate(&self, deadline: Option<Duration>) -> Result<(), ConfigError> {
        if let Some(base) = self.base {
            expected::wait(BASE_PATH, base)?;
        }
        expected::wait(CAP_PATH, self.cap)?;
        let shorter = [(BASE_PATH, self.base), (MINIMUM_PATH, Some(self.minimum))];
        for (path, value) in shorter {
            let Some(value) = value else { continue };
            let bounds = [
                Some((CAP_PATH, self.cap)),
                deadline.map(|d| ("deadline", d)),
            ];
            let passed = |(_, bound): &(&str, Duration)| value > *bound;
            if let Some(bound) = bounds.into_iter().flatten().find(passed) {
                return Err(ConfigError::longer((path, value), bound));
            }
        }
        if let Growth::Exponential(factor) = self.growth
            && !(1.0..=MOST_FACTOR).contains(&factor)
        {
            let path = "retry.backoff.growth.exponential";
            return Err(ConfigError::invalid(path, factor, "1 to 100"));
        }
        if let Jitter::Proportional(spread) = self.jitter {
            expected::share("retry.backoff.jitter.proportional", spread)?;
        }
        self.check_ignored()
    }

    /// Refuses a field that another field would make ineffective.
    fn check_ignored(&self) -> Result<(), ConfigError> {
        if self.first_at_once && !self.minimum.is_zero() {
            let expected = "0ns beside first_at_once";
            return Err(ConfigError::invalid(MINIMUM_PATH, self.minimum, expected));
        }
        let default = Growth::Exponential(FACTOR);
        if self.jitter == Jitter::Decorrelated && self.growth != default {
            let (path, expected) = (
                "retry.backoff.growth",
                "no growth beside decorrelated jitter",
            );
            return Err(ConfigError::invalid(path, self.growth, expected));
        }
        let plain = Self {
            cap: self.cap,
            minimum: self.minimum,
            function: self.function.clone(),
            ..Self::new()
        };
        if self.function.is_some() && *self != plain {
            let expected = "only cap and minimum beside a function";
            return Err(ConfigError::invalid("retry.backoff", self, expected));
        }
        Ok(())
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff")
            .field("growth", &self.growth)
            .field("jitter", &self.jitter)
            .field("base", &self.base)
            .field("cap", &self.cap)
            .field("minimum", &self.minimum)
            .field("first_at_once", &self.first_at_once)
            .field("by_function", &self.function.is_some())
            .finish()
    }
}

/// A user's formula. After a panic it returns nothing.
#[derive(Clone)]
pub(super) struct Function(Arc<Wait>);

type Wait = dyn Fn(&BackoffStep, f64) -> Option<Duration> + Send + Sync;

impl Function {
    pub(super) fn wait(&self, step: &BackoffStep, luck: f64) -> Option<Duration> {
        (self.0)(step, luck)
    }
}

impl PartialEq for Function {
    /// A function is equal to itself and its clones.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Function {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(
            "a backoff by a function cannot be written to a file",
        ))
    }
}

/// Three attempts with two such waits fit into a deadline of a few seconds, as SDKs have it.
pub(super) const BASE: Duration = Duration::from_millis(100);
/// Half of a usual deadline. After a longer wait the call would have no time left.
pub(super) const CAP: Duration = Duration::from_secs(5);
/// Most rate limits count requests by the second.
pub(super) const THROTTLED_BASE: Duration = Duration::from_secs(1);
const FACTOR: f64 = 2.0;
/// With a larger factor the third wait would be more than ten thousand times the first.
const MOST_FACTOR: f64 = 100.0;
const BASE_PATH: &str = "retry.backoff.base";
const CAP_PATH: &str = "retry.backoff.cap";
const MINIMUM_PATH: &str = "retry.backoff.minimum";

#[cfg(test)]
#[path = "backoff_tests.rs"]
mod tests;
