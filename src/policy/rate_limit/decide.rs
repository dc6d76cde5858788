//! The generic cell rate algorithm (GCRA): pure.
//!
//! The state of a bucket is one instant, at which it would be full again. Each request moves it by one interval. A
//! request may come as early as a burst allows.

use std::time::Duration;

use tokio::time::Instant;

use super::quota::Quota;
use crate::clock::after;

/// A rate: one request for each interval, and a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) interval: Duration,
    pub(super) burst: u32,
}

impl Rate {
    /// How long before its regular time a request may come.
    pub(super) fn tolerance(&self) -> Duration {
        self.interval.saturating_mul(self.burst - 1)
    }

    /// Returns the share of one process. Its burst is at least one request.
    pub(super) fn share(&self, processes: u32) -> Self {
        Self {
            interval: self.interval.saturating_mul(processes),
            burst: (self.burst / processes).max(1),
        }
    }
}

/// A reservation: when the request may be sent, and when the bucket will be full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reserved {
    pub(super) due: Instant,
    pub(super) full_at: Instant,
}

/// Reserves a slot for a request that waits `longest` at most.
///
/// # Errors
///
/// Fails with the time until the next slot, if that is longer. Nothing is reserved then.
pub(super) fn reserve(
    full_at: Instant,
    rate: &Rate,
    now: Instant,
    longest: Duration,
) -> Result<Reserved, Duration> {
    let full_at = full_at.max(now);
    let ahead = full_at.saturating_duration_since(now);
    let wait = ahead.saturating_sub(rate.tolerance());
    if wait > longest {
        return Err(wait);
    }
    Ok(Reserved {
        due: after(now, wait),
        full_at: after(full_at, rate.interval),
    })
}

/// Returns when the last slot of the queue is due, if there is one.
pub(super) fn last_due(full_at: Instant, rate: &Rate) -> Option<Instant> {
    let ahead = rate.tolerance().saturating_add(rate.interval);
    full_at.checked_sub(ahead)
}

/// Returns when a bucket will be full under another rate, if it needs as many requests as before for that.
pub(super) fn rescaled(full_at: Instant, (before, rate): (&Rate, &Rate), now: Instant) -> Instant {
    let ahead = full_at.saturating_duration_since(now).as_nanos();
    let scaled = ahead.saturating_mul(rate.interval.as_nanos()) / before.interval.as_nanos().max(1);
    let scaled = u64::try_from(scaled).unwrap_or(u64::MAX);
    after(now, Duration::from_nanos(scaled))
}

/// Returns when a bucket will be full after a request that it did not decide about. It becomes empty at most.
pub(super) fn counted(full_at: Instant, rate: &Rate, now: Instant) -> Instant {
    let empty = after(now, rate.tolerance().saturating_add(rate.interval));
    let counted = after(full_at.max(now), rate.interval);
    full_at.max(counted.min(empty))
}

/// Returns when the bucket will be full if the server says how many requests are left. The server can only make it
/// emptier.
pub(super) fn informed(full_at: Instant, rate: &Rate, quota: Quota, now: Instant) -> Instant {
    let ahead = match quota.left.checked_sub(1) {
        // Nothing may be sent before the reset.
        None => quota.reset.saturating_add(rate.tolerance()),
        Some(more) => {
            let left = rate
                .interval
                .saturating_mul(u32::try_from(more).unwrap_or(u32::MAX));
            rate.tolerance().saturating_sub(left)
        }
    };
    full_at.max(after(now, ahead))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    /// Ten a second, ten at once.
    const TEN: Rate = Rate {
        interval: Duration::from_millis(100),
        burst: 10,
    };

    /// Returns the waits of requests that all come at `now`.
    fn waits(mut full_at: Instant, rate: &Rate, now: Instant, requests: usize) -> Vec<Duration> {
        let wait = |_| {
            let reserved = reserve(full_at, rate, now, Duration::MAX).unwrap();
            full_at = reserved.full_at;
            reserved.due - now
        };
        (0..requests).map(wait).collect()
    }

    #[test]
    fn burst_passes_at_once_and_the_rest_at_the_rate() {
        let now = clock::now();
        let waits = waits(now, &TEN, now, 13);
        assert!(waits[..10].iter().all(Duration::is_zero));
        assert_eq!(waits[10..], [MS(100), MS(200), MS(300)]);
    }

    #[test]
    fn without_a_burst_requests_are_spaced_evenly() {
        let now = clock::now();
        let even = Rate { burst: 1, ..TEN };
        assert_eq!(waits(now, &even, now, 3), [MS(0), MS(100), MS(200)]);
    }

    #[test]
    fn wait_that_is_too_long_reserves_nothing() {
        let now = clock::now();
        let empty = now + MS(1_000);
        assert_eq!(reserve(empty, &TEN, now, MS(99)), Err(MS(100)));
        let reserved = reserve(empty, &TEN, now, MS(100)).unwrap();
        assert_eq!(
            (reserved.due, reserved.full_at),
            (now + MS(100), now + MS(1_100))
        );
    }

    #[test]
    fn bucket_is_not_fuller_than_full() {
        let now = clock::now();
        let long_ago = now - Duration::from_secs(3_600);
        let waits = waits(long_ago, &TEN, now, 11);
        assert_eq!(waits[10], MS(100));
    }

    #[test]
    fn no_rate_overflows() {
        let now = clock::now();
        let slow = Rate {
            interval: Duration::from_secs(86_400),
            burst: u32::MAX,
        };
        let reserved = reserve(now, &slow, now, Duration::ZERO).unwrap();
        assert_eq!(reserved.due, now);
    }

    #[test]
    fn another_rate_keeps_the_number_of_requests_that_are_missing() {
        let (now, hour) = (clock::now(), Duration::from_secs(3_600));
        let slow = Rate {
            interval: hour / 100,
            burst: 100,
        };
        assert_eq!(rescaled(now + hour, (&slow, &TEN), now), now + MS(10_000));
        assert_eq!(rescaled(now + MS(10_000), (&TEN, &slow), now), now + hour);
        assert_eq!(rescaled(now - hour, (&slow, &TEN), now), now);
        let slowest = Rate {
            interval: Duration::from_secs(86_400),
            ..slow
        };
        let fastest = Rate {
            interval: Duration::from_nanos(1),
            ..slow
        };
        assert!(rescaled(now + hour, (&fastest, &slowest), now) > now + hour);
    }

    #[test]
    fn processes_divide_the_rate_and_its_burst() {
        let of = |processes| {
            let Rate { interval, burst } = TEN.share(processes);
            (interval, burst)
        };
        assert_eq!(of(1), (MS(100), 10));
        assert_eq!(of(5), (MS(500), 2));
        assert_eq!(of(6), (MS(600), 1));
        assert_eq!(of(1_000), (MS(100_000), 1));
        assert_eq!(of(u32::MAX).1, 1);
    }

    #[test]
    fn requests_that_are_only_counted_empty_the_bucket_and_build_no_queue() {
        let now = clock::now();
        let mut full_at = now;
        for count in 1..=9 {
            full_at = counted(full_at, &TEN, now);
            assert_eq!(full_at, now + MS(100) * count);
        }
        for _ in 0..100 {
            full_at = counted(full_at, &TEN, now);
        }
        assert_eq!(waits(full_at, &TEN, now, 2), [MS(100), MS(200)]);
        let queued = now + MS(5_000);
        assert_eq!(counted(queued, &TEN, now), queued);
    }

    #[test]
    fn server_can_only_make_the_bucket_emptier() {
        let now = clock::now();
        let quota = |left, reset| Quota { left, reset };
        for (left, reset, at_once, next) in [
            (0, MS(3_000), 0, MS(3_000)),
            (1, MS(3_000), 1, MS(100)),
            (4, MS(3_000), 4, MS(100)),
            (10, MS(3_000), 10, MS(100)),
            (5_000, MS(3_000), 10, MS(100)),
        ] {
            let full_at = informed(now, &TEN, quota(left, reset), now);
            let waits = waits(full_at, &TEN, now, at_once + 1);
            assert!(waits[..at_once].iter().all(Duration::is_zero), "{left}");
            assert_eq!(waits[at_once], next, "{left}");
        }
        let empty = now + MS(1_000);
        assert_eq!(informed(empty, &TEN, quota(10, MS(0)), now), empty);
    }
}
