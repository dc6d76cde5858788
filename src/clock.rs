//! The one place that reads clocks.
//!
//! Everything else is told the time. Edges read tokio's clock, so that a paused runtime stands
//! still; wall time is for people who read a log, never for a decision.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Now, on tokio's clock.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Wall time, for a timeline that is read next to other logs.
#[expect(
    clippy::disallowed_methods,
    reason = "the one reader of wall time; nothing is decided by it"
)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// Wall time as it is written (RFC 3339), to the microsecond; what the calendar of four-digit years from
/// 1970 on does not hold is written as the nearest that it does.
#[cfg(any(feature = "har", feature = "serde"))]
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let time = time.clamp(SystemTime::UNIX_EPOCH, last);
    humantime::format_rfc3339_micros(time).to_string()
}

/// An instant that far away, or the farthest one the clock can hold.
pub(crate) fn after(start: Instant, wait: Duration) -> Instant {
    start
        .checked_add(wait)
        .unwrap_or_else(|| start + Duration::from_secs(60 * 60 * 24 * 365))
}

/// In nanoseconds, as far as they fit.
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
