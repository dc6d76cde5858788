//! Limits of waits: [`Limit`], and the [`Limits`] of a call.
//!
//! A *limit* is a duration, never zero and never endless. A *deadline* is an instant. A *timeout* is a limit that
//! expired, and [`Waited`] names it.

mod config;
mod limits;
mod waited;

use std::fmt;
use std::time::Duration;

pub use self::config::TimeoutsConfig;
pub use self::limits::Limits;
pub use self::waited::Waited;

/// The longest time of a wait: more than zero, at most [`Limit::MAX`].
///
/// # Example
///
/// ```
/// use sevenhops::limit::Limit;
///
/// const CONNECT: Limit = Limit::from_millis(500); // checked while compiling
/// assert!(Limit::new(std::time::Duration::ZERO).is_err());
/// # let _ = CONNECT;
/// ```
///
/// A wrong constant does not compile:
///
/// ```compile_fail
/// const NEVER: sevenhops::limit::Limit = sevenhops::limit::Limit::from_millis(0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limit(Duration);

impl Limit {
    /// The longest limit: a day, as long as the longest deadline.
    pub const MAX: Self = Self(Duration::from_secs(24 * 60 * 60));

    /// Creates a limit from a value known only at run time.
    ///
    /// # Errors
    ///
    /// Fails if `duration` is zero or longer than [`Limit::MAX`].
    pub const fn new(duration: Duration) -> Result<Self, OutOfRange> {
        if duration.is_zero() || duration.as_nanos() > Self::MAX.0.as_nanos() {
            return Err(OutOfRange(duration));
        }
        Ok(Self(duration))
    }

    /// Creates a limit from a value known at compile time.
    ///
    /// # Panics
    ///
    /// Panics if `millis` is out of range; in a `const`, that is a compile error.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self::known(Duration::from_millis(millis))
    }

    /// Creates a limit from a value known at compile time.
    ///
    /// # Panics
    ///
    /// Panics if `secs` is out of range; in a `const`, that is a compile error.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self::known(Duration::from_secs(secs))
    }

    /// Returns the limit as a plain duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Returns the limit for a duration that was derived from another limit. Only rounding can move it out of range.
    const fn derived(duration: Duration) -> Self {
        if duration.is_zero() {
            return Self(Duration::from_nanos(1));
        }
        match Self::new(duration) {
            Ok(limit) => limit,
            Err(_) => Self::MAX,
        }
    }

    const fn known(duration: Duration) -> Self {
        match Self::new(duration) {
            Ok(limit) => limit,
            Err(_) => panic!("a limit must be more than zero and at most a day"),
        }
    }
}

/// A duration that cannot be a [`Limit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange(pub(crate) Duration);

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not more than zero and at most {:?}",
            self.0,
            Limit::MAX.0
        )
    }
}

impl std::error::Error for OutOfRange {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_more_than_zero_and_at_most_a_day() {
        assert_eq!(Limit::new(Duration::ZERO), Err(OutOfRange(Duration::ZERO)));
        assert!(Limit::new(Duration::from_nanos(1)).is_ok());
        assert!(Limit::new(Limit::MAX.get()).is_ok());
        assert!(Limit::new(Limit::MAX.get() + Duration::from_nanos(1)).is_err());
    }
}
