use std::time::Duration;

/// How far back a breaker looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Window {
    /// The attempts that ended within the last so long, to a tenth of it.
    Time(Duration),
    /// The last so many attempts, whenever they were.
    Count(u32),
}

/// What a circuit goes by: settings that were checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rules {
    pub(super) failure_ratio: f64,
    pub(super) minimum_volume: u32,
    pub(super) window: Window,
    pub(super) consecutive_failures: Option<u32>,
    pub(super) slow_ratio: Option<f64>,
    pub(super) open_for: Duration,
    pub(super) open_at_most: Duration,
    pub(super) probes: u32,
    /// A probe keeps its lease for as long as an attempt may take, even if that is longer than the
    /// circuit was open: else one that is slow, and well, would never be heard.
    pub(super) shortest_lease: Duration,
}

impl Rules {
    /// How long to stay open for the `openings`th time in a row.
    ///
    /// Twice as long each time, then 0–20 % longer, never longer than the longest. What it doubles
    /// to stops short of that by the jitter, so that those who wait longest do not come back all at
    /// once. A server's hint is not undercut.
    pub(super) fn open_time(&self, openings: u32, hint: Option<Duration>, luck: f64) -> Duration {
        let longest = self.open_at_most;
        let room = longest.mul_f64(1.0 / (1.0 + JITTER)).max(self.open_for);
        let doubled = 2_u32.checked_pow(openings.saturating_sub(1));
        let base = doubled
            .and_then(|factor| self.open_for.checked_mul(factor))
            .map_or(room, |base| base.min(room));
        let base = base.max(hint.unwrap_or_default()).min(longest);
        base.mul_f64(1.0 + JITTER * luck).min(longest)
    }
}

/// The share by which luck makes an open time longer.
pub(super) const JITTER: f64 = 0.2;
