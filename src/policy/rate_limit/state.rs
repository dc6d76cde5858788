//! The bucket of a destination.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use super::decide::{Rate, Reserved, informed, reserve};
use super::quota::{Quota, quota};
use crate::clock;
use crate::registry::Entry;

/// The bucket of a destination, shared between threads.
#[derive(Debug)]
pub(super) struct Shared(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    /// When it will be full again.
    full_at: Instant,
    /// It is not full earlier, by the word of the server.
    not_before: Instant,
}

impl Shared {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Bucket {
            full_at: now,
            not_before: now,
        }))
    }

    /// Reserves a slot for a call that waits `longest` at most.
    ///
    /// # Errors
    ///
    /// Fails with the time until the next slot.
    pub(super) fn reserve(
        self: Arc<Self>,
        rate: Rate,
        now: Instant,
        (longest, is_informed): (Duration, bool),
    ) -> Result<Slot, Duration> {
        let mut bucket = self.bucket();
        let Reserved { due, full_at } = reserve(bucket.full_at, &rate, now, longest)?;
        bucket.full_at = full_at;
        drop(bucket);
        Ok(Slot {
            shared: self,
            rate,
            due,
            is_informed,
        })
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry for Shared {
    /// A bucket that is not full is kept: a new one would allow another burst.
    fn is_pinned(&self, now: Instant) -> bool {
        self.bucket().full_at > now
    }
}

/// A reserved slot. If it is dropped before it is due, the next call gets it.
#[derive(Debug)]
pub(crate) struct Slot {
    shared: Arc<Shared>,
    rate: Rate,
    due: Instant,
    /// Whether the bucket follows the word of the server.
    is_informed: bool,
}

impl Slot {
    /// Returns when the request may be sent.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Handles the response head: the server may say how many requests are left.
    pub(crate) fn head(&self, headers: &HeaderMap, now: Instant) {
        if self.is_informed
            && let Some(quota) = quota(headers, clock::wall)
        {
            self.informed(quota, now);
        }
    }

    fn informed(&self, quota: Quota, now: Instant) {
        let mut bucket = self.shared.bucket();
        bucket.full_at = informed(bucket.full_at, &self.rate, quota, now);
        bucket.not_before = bucket.full_at;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // A slot that is not due yet lies in a queue without gaps, so all later slots move up by one interval. After
        // its time the bucket may have been full meanwhile: then the slot is lost, and the rate still holds.
        if clock::now() < self.due {
            let mut bucket = self.shared.bucket();
            let earlier = bucket.full_at.checked_sub(self.rate.interval);
            bucket.full_at = earlier.unwrap_or(bucket.full_at).max(bucket.not_before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const EVEN: Rate = Rate {
        interval: Duration::from_millis(100),
        burst: 1,
    };

    fn take(shared: &Arc<Shared>, now: Instant) -> Slot {
        Arc::clone(shared)
            .reserve(EVEN, now, (Duration::MAX, false))
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn slot_of_a_call_that_is_gone_is_given_to_the_next_one() {
        let now = clock::now();
        let shared = Arc::new(Shared::new(now));
        let slots = [(); 3].map(|()| take(&shared, now));
        assert_eq!(
            slots.each_ref().map(|slot| slot.due() - now),
            [MS(0), MS(100), MS(200)]
        );
        let [sent, gone, kept] = slots;
        drop(sent);
        assert_eq!(
            take(&shared, now).due() - now,
            MS(300),
            "a slot that is due is used"
        );
        drop(gone);
        let next = take(&shared, now);
        assert_eq!(next.due() - now, MS(200));
        drop(kept);
    }

    #[tokio::test(start_paused = true)]
    async fn bucket_is_kept_until_it_is_full() {
        let now = clock::now();
        let shared = Arc::new(Shared::new(now));
        drop(take(&shared, now));
        assert!(shared.is_pinned(now + MS(99)));
        assert!(!shared.is_pinned(now + MS(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn word_of_the_server_outlasts_a_slot_that_is_given_back() {
        let now = clock::now();
        let shared = Arc::new(Shared::new(now));
        let (sent, gone) = (take(&shared, now), take(&shared, now));
        let quota = Quota {
            left: 0,
            reset: MS(5_000),
        };
        sent.informed(quota, now);
        drop(gone);
        assert_eq!(take(&shared, now).due() - now, MS(5_000));
    }

    #[tokio::test(start_paused = true)]
    async fn steady_flood_gets_the_burst_and_the_rate() {
        let start = clock::now();
        let shared = Arc::new(Shared::new(start));
        let rate = Rate {
            interval: MS(100),
            burst: 10,
        };
        let ask = |at: u64| {
            Arc::clone(&shared)
                .reserve(rate, start + MS(at), (MS(0), false))
                .ok()
        };
        let sent: Vec<_> = (0..10_000).filter_map(ask).collect();
        assert_eq!(sent.len(), 10 + 99);
    }
}
