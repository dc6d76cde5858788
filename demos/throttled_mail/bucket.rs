//! The quota of the mail API, a token bucket: a burst at once, then one token each interval.

use std::time::Duration;

use tokio::time::Instant;

/// Time is an argument.
pub(crate) struct Bucket {
    /// The instant at which it is full again, if nothing is taken from it.
    full: Instant,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(now: Instant) -> Self {
        Self { full: now }
    }

    /// Takes a token, and returns how many are left. Otherwise returns how long it takes until there is one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<u32, Duration> {
        let full = self.full.max(now) + EVERY;
        let room = EVERY * BURST;
        let empty_for = full.duration_since(now).saturating_sub(room);
        if !empty_for.is_zero() {
            return Err(empty_for);
        }
        self.full = full;
        let left = room.saturating_sub(full.duration_since(now));
        Ok((left.as_millis() / EVERY.as_millis()) as u32)
    }
}

/// The size of a burst.
pub(crate) const BURST: u32 = 20;
/// Twenty a second.
const EVERY: Duration = Duration::from_millis(50);
