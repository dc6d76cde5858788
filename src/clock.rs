//! Reads clocks. No other module does.
//!
//! All other code gets the time as an argument. Edges read tokio's clock, so that tests can pause it. Wall time is only
//! for readers of logs, never for decisions.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Returns the current time on tokio's clock.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Returns the wall time, for a timeline that is read next to other logs.
#[expect(
    clippy::disallowed_methods,
    reason = "the only reader of wall time; no decision depends on it"
)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// Formats a wall time (RFC 3339) to the microsecond. Times outside the years 1970 to 9999 become the nearest time
/// inside.
#[cfg(any(feature = "har", feature = "serde"))]
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let time = time.clamp(SystemTime::UNIX_EPOCH, last);
    humantime::format_rfc3339_micros(time).to_string()
}

/// Returns the instant after this wait, or the latest instant that the clock can represent.
pub(crate) fn after(start: Instant, wait: Duration) -> Instant {
    start
        .checked_add(wait)
        .unwrap_or_else(|| start + Duration::from_secs(60 * 60 * 24 * 365))
}

/// Returns the nanoseconds, saturated to `u64`.
pub(crate) fn nanos_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, any(feature = "har", feature = "serde")))]
mod tests {
    use super::*;

    #[test]
    fn any_wall_time_can_be_written() {
        let epoch = SystemTime::UNIX_EPOCH;
        let far = Duration::from_secs(1 << 40);
        for (time, written) in [
            (epoch, "1970-01-01T00:00:00.000000Z"),
            (epoch - far, "1970-01-01T00:00:00.000000Z"),
            (
                epoch + Duration::from_micros(1_559_559_600_000_001),
                "2019-06-03T11:00:00.000001Z",
            ),
            (epoch + far, "9999-12-31T23:59:59.000000Z"),
        ] {
            assert_eq!(rfc3339(time), written);
        }
    }
}
