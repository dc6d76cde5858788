use std::sync::Arc;
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

/// How a circuit goes from half-open to closed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Recovery {
    /// So many successful probes (1 to 64) close it, and one that fails opens it again. As many may be out at
    /// once.
    Successes(u32),
    /// So many probes (1 to 64) are judged together: a smaller share of failures closes the circuit, a larger or
    /// equal one opens it again. Slow probes count as failures.
    Ratio {
        /// How many probes.
        probes: u32,
        /// The share of failures from which on it opens: more than 0, at most 1.
        failure_ratio: f64,
    },
    /// One successful probe lets 10 % of the calls through, then 25 % and 50 %, for `step` each, then all. The
    /// circuit opens again if its failure ratio is reached on the way.
    Ramp {
        /// How long each share lasts.
        step: Duration,
    },
}

impl Recovery {
    /// Returns how many probes may be out at once.
    pub(super) const fn probes(self) -> u32 {
        match self {
            Self::Successes(probes) | Self::Ratio { probes, .. } => probes,
            Self::Ramp { .. } => 1,
        }
    }
}

/// The settings of a circuit, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules {
    pub(super) failure_ratio: f64,
    pub(super) minimum_volume: u32,
    pub(super) window: Window,
    pub(super) consecutive_failures: Option<u32>,
    pub(super) slow_ratio: Option<f64>,
    pub(super) open_for: Duration,
    pub(super) open_factor: f64,
    /// The open times one after the other, in place of a factor. The last one holds for all that follow.
    pub(super) open_times: Option<Arc<[Duration]>>,
    pub(super) open_at_most: Duration,
    pub(super) recovery: Recovery,
    /// A probe keeps its lease for as long as an attempt may take, even if that is longer than the
    /// circuit was open: else one that is slow, and well, would never be heard.
    pub(super) shortest_lease: Duration,
}

impl Rules {
    /// How long to stay open for the `openings`th time in a row.
    ///
    /// Longer each time, then 0–20 % longer by luck, never longer than the longest. The growth stops short
    /// of that by the jitter, so that those who wait longest do not come back all at once. A server's hint is
    /// not undercut.
    pub(super) fn open_time(&self, openings: u32, hint: Option<Duration>, luck: f64) -> Duration {
        let longest = self.open_at_most;
        let room = longest.mul_f64(1.0 / (1.0 + JITTER)).max(self.open_for);
        let base = self.grown(openings.saturating_sub(1)).unwrap_or(room);
        let base = base.min(room).max(hint.unwrap_or_default()).min(longest);
        base.mul_f64(1.0 + JITTER * luck).min(longest)
    }

    /// The open time after so many openings in a row; none if it cannot be counted.
    fn grown(&self, before: u32) -> Option<Duration> {
        if let Some(times) = &self.open_times {
            let nth = usize::try_from(before).ok().and_then(|nth| times.get(nth));
            return nth.or_else(|| times.last()).copied();
        }
        let factor = self.open_factor.powi(i32::try_from(before).ok()?);
        Duration::try_from_secs_f64(self.open_for.as_secs_f64() * factor).ok()
    }
}

/// The share by which luck makes an open time longer.
pub(super) const JITTER: f64 = 0.2;
