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

/// An instant that far away, or the farthest one the clock can hold.
pub(crate) fn after(start: Instant, wait: Duration) -> Instant {
    start
        .checked_add(wait)
        .unwrap_or_else(|| start + Duration::from_secs(60 * 60 * 24 * 365))
}
