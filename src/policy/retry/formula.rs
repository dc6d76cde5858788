//! Computes the length of a wait: pure, in whole nanoseconds.
//!
//! Jitter on seconds and nanoseconds separately would be none at all if the base is a whole second.

use std::time::Duration;

use super::backoff::{Backoff, Growth, Jitter};

/// The inputs of a wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackoffStep {
    /// The number of earlier retries.
    pub(crate) retry: u32,
    /// The previous wait, without what a server's hint added to it.
    pub(crate) previous: Option<Duration>,
    /// The base for this call and this failure.
    pub(crate) base: Duration,
}

impl Backoff {
    /// Returns the wait before a retry.
    pub(crate) fn wait(&self, step: &BackoffStep, luck: f64) -> Duration {
        let by_function = self.function.as_ref();
        if let Some(wait) = by_function.and_then(|function| function.wait(step, luck)) {
            return wait.min(self.cap).max(self.minimum);
        }
        let retry = match (self.first_at_once, step.retry) {
            (true, 0) => return Duration::ZERO,
            (true, retry) => retry - 1,
            (false, retry) => retry,
        };
        let (base, cap) = (nanos(step.base), nanos(self.cap));
        let grown = self.growth.of(base, retry).min(cap);
        let wait = match self.jitter {
            Jitter::Full => share(grown, luck),
            Jitter::Equal => grown / 2 + share(grown / 2, luck),
            Jitter::Decorrelated => {
                let previous = step.previous.map_or(base, nanos);
                // Zero if the base has grown since, because a 429 came.
                let span = previous.saturating_mul(3).saturating_sub(base);
                base.saturating_add(share(span, luck)).min(cap)
            }
            Jitter::Proportional(spread) => {
                let spread = share(grown, spread);
                let least = grown - spread;
                least.saturating_add(share(spread.saturating_mul(2), luck))
            }
            Jitter::None => grown,
        };
        Duration::from_nanos(wait).max(self.minimum)
    }

    /// Returns the wait before a retry in a call with this much time left. A draw that takes more than half of it is
    /// drawn again within that half, as far as the jitter allows. The result may still not fit.
    pub(crate) fn wait_within(
        &self,
        step: &BackoffStep,
        left: Duration,
        mut luck: impl FnMut() -> f64,
    ) -> Duration {
        let first = self.wait(step, luck());
        let half = left / 2;
        if first <= half {
            return first;
        }
        if self.function.is_some() {
            // Only the function itself knows the range of its results.
            return match first < left {
                true => first,
                false => self.wait(step, luck()),
            };
        }
        let least = self.wait(step, 0.0);
        match least <= half {
            true => between(least, half, luck()),
            false if first < left => first,
            false => between(least, left.max(least), luck()),
        }
    }
}

impl Growth {
    /// Returns the wait after growth from `base`.
    fn of(self, base: u64, retry: u32) -> u64 {
        match self {
            Self::Exponential(factor) => {
                let power = factor.powi(i32::try_from(retry).unwrap_or(i32::MAX));
                // The cast saturates if the number is too large.
                (base as f64 * power) as u64
            }
            Self::Linear => base.saturating_mul(u64::from(retry).saturating_add(1)),
            Self::Constant => base,
        }
    }
}

/// Returns the wait, given the server's hint if there is one. The wait is never shorter than the hint or than our own
/// wait. Added jitter separates clients with the same hint.
pub(crate) fn after_hint(own: Duration, hint: Option<Duration>, luck: f64) -> Duration {
    let Some(hint) = hint else { return own };
    let wait = hint.max(own);
    let spread = nanos((wait / 10).min(MOST_HINT_JITTER));
    wait.saturating_add(Duration::from_nanos(share(spread, luck)))
}

fn between(least: Duration, most: Duration, luck: f64) -> Duration {
    least + Duration::from_nanos(share(nanos(most.saturating_sub(least)), luck))
}

/// Returns the share of `nanos` that luck chooses. It never exceeds `nanos`, whatever luck is.
fn share(nanos: u64, luck: f64) -> u64 {
    // A float holds a hundred days in nanoseconds without rounding. No validated wait is longer.
    ((nanos as f64 * luck) as u64).min(nanos)
}

/// Returns the duration in nanoseconds, at most 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Clients with a hint of a minute return spread over five seconds. No client waits longer to spread the load.
const MOST_HINT_JITTER: Duration = Duration::from_secs(5);

#[cfg(test)]
#[path = "formula_tests.rs"]
mod tests;
