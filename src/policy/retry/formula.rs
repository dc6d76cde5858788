//! The length of a wait: pure, in whole nanoseconds.
//!
//! Luck on seconds and nanoseconds apart would be none at all where the base is a whole second.

use std::time::Duration;

use super::backoff::{Backoff, Growth, Jitter};

/// Which wait is to be found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// How many retries there were before, from 0.
    pub(crate) retry: u32,
    /// Our own wait before the last one, without what a server's hint added to it.
    pub(crate) previous: Option<Duration>,
    /// The base in this call, after this failure.
    pub(crate) base: Duration,
}

impl Backoff {
    /// Returns the wait before a retry.
    pub(crate) fn wait(&self, step: &Step, luck: f64) -> Duration {
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
                // Below zero if the base has grown since: a 429 came.
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

    /// Returns the wait before a retry in a call with so much time left. A draw that takes more than half of it
    /// is drawn again within that half, as far as the jitter allows. The result may not fit for all that.
    pub(crate) fn wait_within(
        &self,
        step: &Step,
        left: Duration,
        mut luck: impl FnMut() -> f64,
    ) -> Duration {
        let first = self.wait(step, luck());
        let half = left / 2;
        if first <= half {
            return first;
        }
        if self.function.is_some() {
            // Where such a draw could begin is known to the function alone.
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
    /// Returns the wait that `base` has grown to.
    fn of(self, base: u64, retry: u32) -> u64 {
        match self {
            Self::Exponential(factor) => {
                let power = factor.powi(i32::try_from(retry).unwrap_or(i32::MAX));
                // Saturates where it is more than can be counted.
                (base as f64 * power) as u64
            }
            Self::Linear => base.saturating_mul(u64::from(retry).saturating_add(1)),
            Self::Constant => base,
        }
    }
}

/// Returns the wait where the server may have said when to come back: never earlier than that, never earlier
/// than our own wait. What is added keeps apart those that were told the same.
pub(crate) fn after_hint(own: Duration, hint: Option<Duration>, luck: f64) -> Duration {
    let Some(hint) = hint else { return own };
    let wait = hint.max(own);
    let spread = nanos((wait / 10).min(MOST_HINT_JITTER));
    wait.saturating_add(Duration::from_nanos(share(spread, luck)))
}

fn between(least: Duration, most: Duration, luck: f64) -> Duration {
    least + Duration::from_nanos(share(nanos(most.saturating_sub(least)), luck))
}

/// Returns a share of `nanos`: as much as luck has it, and never more, whatever luck is.
fn share(nanos: u64, luck: f64) -> u64 {
    // A float holds a hundred days in nanoseconds without rounding; no validated wait is longer.
    ((nanos as f64 * luck) as u64).min(nanos)
}

/// In nanoseconds, or 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Clients of a minute's hint come back over five seconds, and none waits longer for the others' sake.
const MOST_HINT_JITTER: Duration = Duration::from_secs(5);

#[cfg(test)]
#[path = "formula_tests.rs"]
mod tests;
