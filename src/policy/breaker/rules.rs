use std::sync::Arc;
use std::time::Duration;

/// The attempts that a breaker judges by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureWindow {
    /// The attempts that ended within this duration, with a resolution of a tenth of it.
    Time(Duration),
    /// The latest attempts, up to this number, however old they are.
    Count(u32),
}

/// How a half-open circuit closes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Recovery {
    /// This many successful probes (1 to 64) close the circuit. One failed probe opens it again. As many probes may
    /// be in flight at once.
    Successes(u32),
    /// A number of probes (1 to 64) are judged together. A smaller ratio of failures closes the circuit. An equal or
    /// larger one opens it again. Slow probes count as failures.
    Ratio {
        /// The number of probes.
        probes: u32,
        /// The ratio of failures that opens the circuit again: more than 0, at most 1.
        failure_ratio: f64,
    },
    /// One successful probe lets 10 % of the calls through, then 25 %, then 50 %, for `step` each. After that all
    /// calls go through. If the failure ratio is reached before, the circuit opens again.
    Ramp {
        /// The duration of each share.
        step: Duration,
    },
}

impl Recovery {
    /// Returns how many probes may be in flight at once.
    pub(super) const fn probes(self) -> u32 {
        match self {
            Self::Successes(probes) | Self::Ratio { probes, .. } => probes,
            Self::Ramp { .. } => 1,
        }
    }
}

/// The rules that circuits share.
pub(crate) type SharedRules = Arc<CircuitRules>;

/// The checked rules of a circuit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CircuitRules {
    pub(super) failure_ratio: f64,
    pub(super) min_attempts: u32,
    pub(super) window: FailureWindow,
    pub(super) consecutive_failures: Option<u32>,
    pub(super) slow_ratio: Option<f64>,
    pub(super) break_duration: Duration,
    pub(super) break_duration_factor: f64,
    /// The consecutive open times, in place of a factor. The last one holds for all that follow.
    pub(super) break_durations: Option<Arc<[Duration]>>,
    pub(super) max_break_duration: Duration,
    pub(super) recovery: Recovery,
    /// A probe's lease lasts at least as long as an attempt may take, even if the open time was shorter. Otherwise
    /// the result of a slow but successful probe would never count.
    pub(super) shortest_lease: Duration,
}

impl CircuitRules {
    /// Returns the open time of the `openings`th opening in a row.
    ///
    /// The open time grows with each opening. Jitter adds 0 to 20 %. The sum never exceeds the longest open time.
    /// Growth therefore stops before the longest open time, so that circuits that wait longest do not all probe at
    /// once. The open time is never shorter than a server's hint.
    pub(super) fn open_time(&self, openings: u32, hint: Option<Duration>, luck: f64) -> Duration {
        let longest = self.max_break_duration;
        let room = longest
            .mul_f64(1.0 / (1.0 + JITTER))
            .max(self.break_duration);
        let base = self.grown(openings.saturating_sub(1)).unwrap_or(room);
        let base = base.min(room).max(hint.unwrap_or_default()).min(longest);
        base.mul_f64(1.0 + JITTER * luck).min(longest)
    }

    /// Returns the open time after this many earlier openings in a row; `None` if it overflows.
    fn grown(&self, before: u32) -> Option<Duration> {
        if let Some(times) = &self.break_durations {
            let nth = usize::try_from(before).ok().and_then(|nth| times.get(nth));
            return nth.or_else(|| times.last()).copied();
        }
        let factor = self.break_duration_factor.powi(i32::try_from(before).ok()?);
        Duration::try_from_secs_f64(self.break_duration.as_secs_f64() * factor).ok()
    }
}

/// The most that jitter adds to an open time, as a share of it.
pub(super) const JITTER: f64 = 0.2;
