//! Limits of waits: [`Timeout`], and the [`Timeouts`] of a call.
//!
//! A *limit* is a duration, never zero and never endless. A *deadline* is an instant. A *timeout* is a limit that
//! expired, and [`TimeoutKind`] names it.

mod config;
mod kind;
mod timeouts;

use std::fmt;
use std::time::Duration;

pub use self::config::TimeoutsConfig;
pub use self::kind::TimeoutKind;
pub use self::timeouts::Timeouts;

/// The longest time of a wait: more than zero, at most [`Timeout::MAX`].
///
/// # Example
///
/// ```
/// use sevenhops::timeout::Timeout;
///
/// const CONNECT: Timeout = Timeout::from_millis(500); // checked while compiling
/// assert!(Timeout::new(std::time::Duration::ZERO).is_err());
/// # let _ = CONNECT;
/// ```
///
/// A wrong constant does not compile:
///
/// ```compile_fail
/// const NEVER: sevenhops::timeout::Timeout = sevenhops::timeout::Timeout::from_millis(0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timeout(Duration);

impl Timeout {
    /// The longest limit: a day, as long as the longest deadline.
    pub const MAX: Self = Self(Duration::from_secs(24 * 60 * 60));

    /// Creates a limit from a value known only at run time.
    ///
    /// # Errors
    ///
    /// Fails if `duration` is zero or longer than [`Timeout::MAX`].
    pub const fn new(duration: Duration) -> Result<Self, InvalidTimeout> {
        if duration.is_zero() || duration.as_nanos() > Self::MAX.0.as_nanos() {
            return Err(InvalidTimeout(duration));
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
            Ok(timeout) => timeout,
            Err(_) => Self::MAX,
        }
    }

    const fn known(duration: Duration) -> Self {
        match Self::new(duration) {
            Ok(timeout) => timeout,
            Err(_) => panic!("a limit must be more than zero and at most a day"),
        }
    }
}

/// A duration that cannot be a [`Timeout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTimeout(pub(crate) Duration);

impl fmt::Display for InvalidTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not more than zero and at most {:?}",
            self.0,
            Timeout::MAX.0
        )
    }
}

impl std::error::Error for InvalidTimeout {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_more_than_zero_and_at_most_a_day() {
        assert_eq!(
            Timeout::new(Duration::ZERO),
            Err(InvalidTimeout(Duration::ZERO))
        );
        assert!(Timeout::new(Duration::from_nanos(1)).is_ok());
        assert!(Timeout::new(Timeout::MAX.get()).is_ok());
        assert!(Timeout::new(Timeout::MAX.get() + Duration::from_nanos(1)).is_err());
    }
}
