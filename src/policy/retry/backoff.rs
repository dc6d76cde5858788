use std::time::Duration;

use crate::config_error::SettingError;
use crate::limit::Limit;

/// How long to wait before a repeat.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::policy::retry::{Backoff, Jitter};
///
/// let patient = Backoff::new()
///     .jitter(Jitter::Equal) // never less than half of the wait
///     .base(Duration::from_millis(200))
///     .cap(Duration::from_secs(20));
/// assert_ne!(patient, Backoff::default());
/// ```
///
/// # What it protects from
///
/// Callers that failed together come back together, and fail together once more. Luck spreads them
/// out; growth gives a service that needs longer the time it needs.
///
/// # Defaults
///
/// | setting | default | why |
/// |---|---|---|
/// | jitter | [`Jitter::Full`] | spreads a herd widest |
/// | base | 100 ms | fits an SDK's deadline |
/// | cap | 5 s | half of a usual deadline |
///
/// A 429 that does not say when to come back starts at one second: the service has asked for less,
/// and a tenth of a second is not less.
///
/// # Trade-offs
///
/// Full jitter may draw next to nothing, so a repeat can follow at once; [`Jitter::Equal`] costs
/// half of the spread to rule that out.
///
/// # How people get it wrong
///
/// They take [`Jitter::None`] because tests like it: on a paused clock tests need no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Backoff {
    jitter: Jitter,
    #[cfg_attr(feature = "serde", serde(with = "crate::file::duration"))]
    base: Duration,
    #[cfg_attr(feature = "serde", serde(with = "crate::file::duration"))]
    cap: Duration,
}

/// What luck does to a wait; `d` is `min(cap, base * 2^i)` before the repeat `i`, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Jitter {
    /// Anything from zero to `d`.
    #[default]
    Full,
    /// Anything from `d / 2` to `d`.
    Equal,
    /// Anything from the base to three times the wait before, whatever `i` is.
    Decorrelated,
    /// The base each time: no growth and no luck.
    Constant,
    /// `d` itself: growth without luck. Callers that failed together come back together.
    None,
}

impl Backoff {
    /// Full jitter from a base of 100 ms to a cap of 5 s.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            jitter: Jitter::Full,
            base: BASE,
            cap: CAP,
        }
    }

    /// Sets what luck does to a wait.
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets the wait before the first repeat, before luck.
    #[must_use]
    pub const fn base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// Sets the longest wait, luck included.
    #[must_use]
    pub const fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// The same after a 429 without a hint: it starts at a second at least, and ends at the cap.
    pub(crate) fn throttled(self) -> Self {
        self.base(self.base.max(THROTTLED_BASE))
    }

    /// The wait before the repeat `repeat`, counted from 0, whose predecessor waited `previous`.
    ///
    /// `previous` is our own wait, without what a server's hint added to it.
    pub(crate) fn wait(&self, repeat: u32, previous: Option<Duration>, luck: f64) -> Duration {
        // Whole nanoseconds throughout: luck on seconds and nanoseconds apart is none at all when
        // the base is a whole second.
        let (base, cap) = (nanos(self.base), nanos(self.cap));
        let grown = match 1_u64.checked_shl(repeat) {
            Some(factor) => base.saturating_mul(factor).min(cap),
            None => cap,
        };
        let wait = match self.jitter {
            Jitter::Full => share(grown, luck),
            Jitter::Equal => grown / 2 + share(grown / 2, luck),
            Jitter::Decorrelated => {
                let previous = previous.map_or(base, nanos);
                // Below zero when the base has grown since: a 429 came.
                let span = previous.saturating_mul(3).saturating_sub(base);
                base.saturating_add(share(span, luck))
            }
            Jitter::Constant => base,
            Jitter::None => grown,
        };
        Duration::from_nanos(wait.min(cap))
    }

    /// Refuses a base or a cap that is no limit, and a base beyond the cap.
    pub(crate) fn validate(&self) -> Result<(), SettingError> {
        for (field, value) in [(BASE_NAME, self.base), (CAP_NAME, self.cap)] {
            Limit::new(value).map_err(|_| {
                SettingError::out_of_range(field, value, "0s (not included) to 86400s")
            })?;
        }
        if self.base > self.cap {
            return Err(SettingError::contradiction(
                (BASE_NAME, self.base),
                (CAP_NAME, self.cap),
            ));
        }
        Ok(())
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// The wait when the server may have said when to come back: never earlier than it said, never
/// earlier than our own wait, and up to a tenth later, for it told everybody the same.
pub(crate) fn after_hint(own: Duration, hint: Option<Duration>, luck: f64) -> Duration {
    let Some(hint) = hint else { return own };
    let wait = hint.max(own);
    wait.saturating_add(Duration::from_nanos(share(nanos(wait / 10), luck)))
}

/// As much of `nanos` as luck has it, and never more, whatever luck is.
fn share(nanos: u64, luck: f64) -> u64 {
    // A float holds a hundred days in nanoseconds without rounding; no validated wait is longer.
    ((nanos as f64 * luck) as u64).min(nanos)
}

/// In nanoseconds, or 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Three attempts with two such waits fit into an SDK's deadline of a few seconds.
pub(super) const BASE: Duration = Duration::from_millis(100);
/// Half of a usual deadline: a longer wait would be the last thing the call did.
pub(super) const CAP: Duration = Duration::from_secs(5);
/// Most rate limits count by the second.
pub(super) const THROTTLED_BASE: Duration = Duration::from_secs(1);
const BASE_NAME: &str = "back-off base";
const CAP_NAME: &str = "back-off cap";

#[cfg(test)]
#[path = "backoff_tests.rs"]
mod tests;
