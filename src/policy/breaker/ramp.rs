//! Lets a growing share of the calls through after a circuit has recovered.

use std::time::Duration;

use tokio::time::Instant;

/// The progress from one probe to all calls.
#[derive(Debug)]
pub(super) struct Ramp {
    length: Duration,
    /// The start of the first share.
    since: Instant,
    at: usize,
    /// The number of calls that arrived, and the number that were let through, at this share.
    arrived: u64,
    admitted: u64,
}

impl Ramp {
    pub(super) const fn new(length: Duration, now: Instant) -> Self {
        Self {
            length,
            since: now,
            at: 0,
            arrived: 0,
            admitted: 0,
        }
    }

    /// Advances the ramp to `now`. Returns whether it is over, so that all calls go through again.
    pub(super) fn pass(&mut self, now: Instant) -> bool {
        let at = self.ends().iter().filter(|end| **end <= now).count();
        if at > self.at {
            (self.at, self.arrived, self.admitted) = (at, 0, 0);
        }
        at >= SHARES.len()
    }

    /// Lets a call through if the share permits it: the first call, then every tenth, fourth or second one.
    ///
    /// # Errors
    ///
    /// Returns when the ramp is over.
    pub(super) fn admit(&mut self) -> Result<(), Instant> {
        let percent = SHARES.get(self.at).copied().unwrap_or(100);
        self.arrived += 1;
        if self.arrived.saturating_mul(percent).div_ceil(100) > self.admitted {
            self.admitted += 1;
            return Ok(());
        }
        Err(self.end())
    }

    /// Returns when all calls go through again.
    pub(super) fn end(&self) -> Instant {
        let [.., last] = self.ends();
        last
    }

    /// Returns when each share ends.
    fn ends(&self) -> [Instant; SHARES.len()] {
        let mut end = self.since;
        SHARES.map(|_| {
            end += self.length;
            end
        })
    }
}

/// The shares in percent of the calls. After the last one, all calls go through.
const SHARES: [u64; 3] = [10, 25, 50];
/// On a ramp, fewer attempts than this do not open a circuit. At 10 % of the calls, one failure may be chance.
pub(super) const VOLUME: u32 = 5;
