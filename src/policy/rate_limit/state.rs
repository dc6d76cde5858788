//! The bucket of a destination.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use super::decide::{Rate, Reserved, counted, informed, last_due, rescaled, reserve};
use super::quota::{Quota, quota};
use crate::clock;
use crate::destination::Destination;
use crate::policy::Versioned;
use crate::registry::Entry;

/// The bucket of a destination, shared between threads.
#[derive(Debug)]
pub(super) struct Shared {
    destination: Destination,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    rate: Versioned<Rate>,
    /// How often the rate has changed.
    changes: u32,
    /// When it will be full again.
    full_at: Instant,
    /// Nothing may be sent earlier, by the word of the server.
    not_before: Instant,
    /// The slots that were given back before they were due, except for the last ones of the queue.
    freed: BTreeSet<Instant>,
}

impl Shared {
    pub(super) fn new(destination: Destination, rate: Versioned<Rate>, now: Instant) -> Self {
        let bucket = Bucket {
            rate,
            changes: 0,
            full_at: now,
            not_before: now,
            freed: BTreeSet::new(),
        };
        Self {
            destination,
            bucket: Mutex::new(bucket),
        }
    }

    pub(super) fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Returns until when nothing may be sent, by the word of the server.
    pub(super) fn not_before(&self) -> Instant {
        self.bucket().not_before
    }

    /// Reserves a slot for a call that waits `longest` at most.
    ///
    /// # Errors
    ///
    /// Fails with the time until the next slot.
    pub(super) fn reserve(
        self: Arc<Self>,
        rate: Versioned<Rate>,
        now: Instant,
        (longest, is_informed): (Duration, bool),
    ) -> Result<Slot, Duration> {
        let mut bucket = self.bucket();
        bucket.follow(rate, now);
        let due = bucket.take(now, longest)?;
        let changes = bucket.changes;
        drop(bucket);
        Ok(Slot {
            shared: self,
            changes: Some(changes),
            due,
            is_informed,
            is_share: false,
        })
    }

    /// Returns the slot that the store granted after a wait. It counts for the local share, too: an outage of the store
    /// does not begin with another burst.
    pub(super) fn granted(
        self: Arc<Self>,
        (share, wait): (Versioned<Rate>, Duration),
        now: Instant,
        is_informed: bool,
    ) -> Slot {
        let mut bucket = self.bucket();
        bucket.follow(share, now);
        bucket.full_at = counted(bucket.full_at, &bucket.rate.rules, now);
        let due = clock::after(now, wait).max(bucket.not_before);
        drop(bucket);
        Slot {
            shared: self,
            changes: None,
            due,
            is_informed,
            is_share: false,
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    /// Follows a newer rate: as many requests as before have to pass until it is full. The slots of calls that wait
    /// stay as they are.
    fn follow(&mut self, rate: Versioned<Rate>, now: Instant) {
        let Some(before) = self.rate.follow(rate) else {
            return;
        };
        let rate = &self.rate.rules;
        self.full_at = rescaled(self.full_at, (&before, rate), now);
        if self.not_before > now {
            let held = clock::after(self.not_before, rate.tolerance());
            self.full_at = self.full_at.max(held);
        }
        self.changes = self.changes.wrapping_add(1);
        self.freed.clear();
    }

    /// Takes the first slot. All that were given back are earlier than the next one of the queue.
    fn take(&mut self, now: Instant, longest: Duration) -> Result<Instant, Duration> {
        self.freed = self.freed.split_off(&now);
        let freed = self.freed.range(self.not_before.max(now)..).next().copied();
        if let Some(due) = freed {
            let wait = due.saturating_duration_since(now);
            if wait > longest {
                return Err(wait);
            }
            self.freed.remove(&due);
            return Ok(due);
        }
        let Reserved { due, full_at } = reserve(self.full_at, &self.rate.rules, now, longest)?;
        self.full_at = full_at;
        Ok(due)
    }

    /// Takes a slot back that is not due yet. If it was the last one, the queue becomes shorter.
    fn give_back(&mut self, due: Instant, now: Instant) {
        self.freed.insert(due);
        let rate = &self.rate.rules;
        let earliest = self.not_before.max(now);
        while let Some(last) = last_due(self.full_at, rate)
            && last >= earliest
            && self.freed.remove(&last)
        {
            self.full_at -= rate.interval;
        }
    }
}

impl Entry for Shared {
    /// A bucket that is not full is kept: a new one would allow another burst.
    fn is_pinned(&self, now: Instant) -> bool {
        self.bucket().full_at > now
    }
}

/// A reserved slot. If it is dropped before it is due, the next call gets it. One of a store is lost.
#[derive(Debug)]
pub(crate) struct Slot {
    shared: Arc<Shared>,
    /// How often the rate had changed before. `None` for a slot of a store.
    changes: Option<u32>,
    due: Instant,
    /// Whether the bucket follows the word of the server.
    is_informed: bool,
    /// Whether the bucket has the local share of a rate.
    is_share: bool,
}

impl Slot {
    /// Returns this slot of the local share.
    pub(super) fn of_share(self) -> Self {
        let mut own = self;
        own.is_share = true;
        own
    }

    /// Returns whether it is one of the local share, because the store is away.
    pub(crate) fn is_share(&self) -> bool {
        self.is_share
    }

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
        bucket.full_at = informed(bucket.full_at, &bucket.rate.rules, quota, now);
        if quota.left == 0 {
            bucket.not_before = bucket.not_before.max(clock::after(now, quota.reset));
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // After its time the bucket may have been full meanwhile: then the slot is lost, and the rate still holds. So is
        // a slot of another rate: it lies between those of the current one.
        let now = clock::now();
        if now < self.due {
            let mut bucket = self.shared.bucket();
            if self.changes == Some(bucket.changes) {
                bucket.give_back(self.due, now);
            }
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
