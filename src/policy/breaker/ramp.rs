//! A circuit that has recovered lets a growing share of the calls through.

use std::time::Duration;

use tokio::time::Instant;

/// The way from one probe to all calls.
#[derive(Debug)]
pub(super) struct Ramp {
    length: Duration,
    /// When the first share began.
    since: Instant,
    at: usize,
    /// How many calls asked and were let through at this share.
    asked: u64,
    admitted: u64,
}

impl Ramp {
    pub(super) const fn new(length: Duration, now: Instant) -> Self {
        Self {
            length,
            since: now,
            at: 0,
            asked: 0,
            admitted: 0,
        }
    }

    /// Lets the time pass. Returns whether all calls go through again.
    pub(super) fn pass(&mut self, now: Instant) -> bool {
        let at = self.ends().iter().filter(|end| **end <= now).count();
        if at > self.at {
            (self.at, self.asked, self.admitted) = (at, 0, 0);
        }
        at >= SHARES.len()
    }

    /// Lets a call through, if it is within the share: the first one, then each tenth, fourth or second.
    ///
    /// # Errors
    ///
    /// Says when the ramp is over.
    pub(super) fn admit(&mut self) -> Result<(), Instant> {
        let percent = SHARES.get(self.at).copied().unwrap_or(100);
        self.asked += 1;
        if self.asked.saturating_mul(percent).div_ceil(100) > self.admitted {
            self.admitted += 1;
            return Ok(());
        }
        Err(self.end())
    }

    /// When all calls go through again.
    pub(super) fn end(&self) -> Instant {
        let [.., last] = self.ends();
        last
    }

    /// When each share ends.
    fn ends(&self) -> [Instant; SHARES.len()] {
        let mut end = self.since;
        SHARES.map(|_| {
            end += self.length;
            end
        })
    }
}

/// Percent of the calls; after the last one, all.
const SHARES: [u64; 3] = [10, 25, 50];
/// Fewer attempts than this do not open a circuit on its ramp: at a tenth of the calls one failure may be chance.
pub(super) const VOLUME: u32 = 5;
