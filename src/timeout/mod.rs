//! The [`Timeouts`] of a call, and the [`TimeoutKind`] that names the one that expired.
//!
//! A *timeout* is a duration that ends a wait. It is never zero and never endless. A *deadline* is that of the whole
//! call: it is set as a duration, and is an instant once the call has begun.

mod config;
mod kind;
mod timeouts;

use std::time::Duration;

pub use self::config::TimeoutsConfig;
pub use self::kind::TimeoutKind;
pub use self::timeouts::Timeouts;
use crate::config_error::ConfigError;

/// The longest timeout: a day, as long as the longest deadline.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Below 10 ms the derived timeouts come under a timer's resolution of one millisecond.
const SHORTEST_DEADLINE: Duration = Duration::from_millis(10);

/// The range of deadlines, in words.
pub(crate) const DEADLINES: &str = "10ms..=86400s";

/// Refuses a deadline that is too short or too long.
pub(crate) fn check_deadline(path: &'static str, deadline: Duration) -> Result<(), ConfigError> {
    match is_deadline(deadline) {
        true => Ok(()),
        false => Err(ConfigError::invalid(path, deadline, DEADLINES)),
    }
}

/// Returns whether a call may have this deadline.
pub(crate) fn is_deadline(deadline: Duration) -> bool {
    (SHORTEST_DEADLINE..=LONGEST).contains(&deadline)
}
