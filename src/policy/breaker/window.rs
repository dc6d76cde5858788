//! The outcomes of the recent attempts. They are counted, not listed, so memory does not grow with load.

use std::time::Duration;

use tokio::time::Instant;

use super::rules::FailureWindow;
use crate::clock::nanos_of;
use crate::hop::Hop;

/// How one attempt ended, in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(u8);

impl Mark {
    pub(super) const SUCCESS: Self = Self(0);
    /// A 503 without a hint: overloaded or down. The other attempts decide which.
    pub(super) const OVERLOADED: Self = Self(1);

    /// Returns the mark of a failure at a hop; `None` for an operation without an observed hop.
    pub(super) fn failure(hop: Option<Hop>) -> Self {
        Self(u8::try_from(place(hop)).map_or(u8::MAX, |place| 2 + place) & !SLOW)
    }

    /// Returns this mark, with the slow bit set if `is_slow`.
    pub(super) const fn slow(self, is_slow: bool) -> Self {
        match is_slow {
            true => Self(self.0 | SLOW),
            false => self,
        }
    }

    const fn is_slow(self) -> bool {
        self.0 & SLOW != 0
    }
}

/// The bit of a slow attempt.
const SLOW: u8 = 0x80;

/// The outcomes of the attempts in a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) attempts: u32,
    /// The slow ones among successes, failures and overloads.
    pub(super) slow: u32,
    pub(super) overloaded: u32,
    /// The failures by hop: see [`place`].
    failed: [u32; PLACES],
}

impl Tally {
    fn add(&mut self, mark: Mark) {
        self.change(mark, |count| *count = count.saturating_add(1));
    }

    fn remove(&mut self, mark: Mark) {
        self.change(mark, |count| *count = count.saturating_sub(1));
    }

    fn change(&mut self, mark: Mark, change: impl Fn(&mut u32)) {
        change(&mut self.attempts);
        if mark.is_slow() {
            change(&mut self.slow);
        }
        match mark.0 & !SLOW {
            0 => {}
            1 => change(&mut self.overloaded),
            place => {
                if let Some(count) = self.failed.get_mut(usize::from(place - 2)) {
                    change(count);
                }
            }
        }
    }

    fn merge(mut self, other: &Self) -> Self {
        self.attempts = self.attempts.saturating_add(other.attempts);
        self.slow = self.slow.saturating_add(other.slow);
        self.overloaded = self.overloaded.saturating_add(other.overloaded);
        for (sum, more) in self.failed.iter_mut().zip(other.failed) {
            *sum = sum.saturating_add(more);
        }
        self
    }

    /// Returns how many failed, without overloads.
    pub(super) fn failures(&self) -> u32 {
        self.failed
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Returns whether the destination is down and not only overloaded: less than 10 % of the attempts succeeded.
    pub(super) fn is_down(&self) -> bool {
        let failed = self.failures().saturating_add(self.overloaded);
        let succeeded = u64::from(self.attempts.saturating_sub(failed));
        succeeded * 10 < u64::from(self.attempts)
    }

    /// Counts overloads as failures at a hop, if the destination is down.
    pub(super) fn judged(mut self, hop: Option<Hop>) -> Self {
        if self.is_down()
            && let Some(count) = self.failed.get_mut(place(hop))
        {
            *count = count.saturating_add(std::mem::take(&mut self.overloaded));
        }
        self
    }

    /// Returns the hop with the most failures, and their number. Of two equal hops it returns the earlier one.
    pub(super) fn worst(&self) -> Option<(Option<Hop>, u32)> {
        let hops: [_; PLACES] = std::array::from_fn(|at| Hop::ALL.get(at).copied());
        let failed = hops.into_iter().zip(self.failed);
        failed
            .filter(|(_, count)| *count > 0)
            .rev()
            .max_by_key(|(_, count)| *count)
    }
}

/// The attempts that a breaker judges by.
#[derive(Debug)]
pub(super) enum Recent {
    Time(Buckets),
    Count(Box<Ring>),
}

impl Recent {
    pub(super) fn new(window: FailureWindow, now: Instant) -> Self {
        match window {
            FailureWindow::Time(length) => Self::Time(Buckets::new(length, now)),
            FailureWindow::Count(most) => Self::Count(Box::new(Ring::new(most))),
        }
    }

    pub(super) fn record(&mut self, mark: Mark, now: Instant) {
        match self {
            Self::Time(buckets) => buckets.record(mark, now),
            Self::Count(ring) => ring.record(mark),
        }
    }

    /// Returns the counts of the window at `now`.
    pub(super) fn tally(&mut self, now: Instant) -> Tally {
        match self {
            Self::Time(buckets) => buckets.tally(now),
            Self::Count(ring) => ring.tally,
        }
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Time(buckets) => buckets
                .others
                .as_ref()
                .map_or(0, |others| size_of_val(&**others)),
            Self::Count(ring) => ring.marks.capacity() * size_of::<Mark>(),
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Self::Time(buckets) => buckets.clear(),
            Self::Count(ring) => ring.clear(),
        }
    }
}

/// A stretch of time in ten buckets. The oldest bucket is dropped as a whole.
#[derive(Debug)]
pub(super) struct Buckets {
    /// The successes that were not slow.
    successes: [u32; BUCKETS],
    /// All other attempts. A destination that works well has none, so it takes no memory for them.
    others: Option<Box<[Tally; BUCKETS]>>,
    at: u8,
    /// The end of the current bucket.
    ends: Instant,
    /// In nanoseconds.
    width: u64,
}

impl Buckets {
    fn new(length: Duration, now: Instant) -> Self {
        let width = length / BUCKETS_U32;
        Self {
            successes: [0; BUCKETS],
            others: None,
            at: 0,
            ends: now + width,
            width: nanos_of(width),
        }
    }

    fn record(&mut self, mark: Mark, now: Instant) {
        self.advance(now);
        if mark == Mark::SUCCESS {
            if let Some(count) = self.successes.get_mut(usize::from(self.at)) {
                *count = count.saturating_add(1);
            }
            return;
        }
        let others = self.others.get_or_insert_default();
        if let Some(tally) = others.get_mut(usize::from(self.at)) {
            tally.add(mark);
        }
    }

    fn tally(&mut self, now: Instant) -> Tally {
        self.advance(now);
        let others = self.others.iter().flat_map(|others| &**others);
        let mut all = others.fold(Tally::default(), Tally::merge);
        let successes = self.successes.iter();
        all.attempts = successes.fold(all.attempts, |sum, count| sum.saturating_add(*count));
        all
    }

    fn clear(&mut self) {
        (self.successes, self.others) = ([0; BUCKETS], None);
    }

    /// Moves on to the bucket of `now`. If `now` is earlier than the current bucket, the current bucket is kept.
    fn advance(&mut self, now: Instant) {
        if now < self.ends {
            return;
        }
        let width = Duration::from_nanos(self.width);
        let mut left = BUCKETS;
        while self.ends <= now {
            if left == 0 {
                // Nothing of the old stretch is left, so a new one begins here.
                self.ends = now + width;
                break;
            }
            left -= 1;
            self.at = (self.at + 1) % BUCKETS_U8;
            self.ends += width;
            if let Some(count) = self.successes.get_mut(usize::from(self.at)) {
                *count = 0;
            }
            let others = self.others.as_deref_mut();
            if let Some(tally) = others.and_then(|others| others.get_mut(usize::from(self.at))) {
                *tally = Tally::default();
            }
        }
        self.others
            .take_if(|others| others.iter().all(|tally| tally.attempts == 0));
    }
}

/// The latest attempts, one byte each. The newest replaces the oldest.
#[derive(Debug)]
pub(super) struct Ring {
    marks: Vec<Mark>,
    most: usize,
    /// The index of the oldest attempt, once the ring is full.
    at: usize,
    tally: Tally,
}

impl Ring {
    fn new(most: u32) -> Self {
        Self {
            marks: Vec::new(),
            most: usize::try_from(most).unwrap_or(usize::MAX),
            at: 0,
            tally: Tally::default(),
        }
    }

    fn record(&mut self, mark: Mark) {
        if self.marks.len() < self.most {
            self.marks.push(mark);
        } else if let Some(eldest) = self.marks.get_mut(self.at) {
            self.tally.remove(*eldest);
            *eldest = mark;
            self.at = (self.at + 1) % self.most;
        }
        self.tally.add(mark);
    }

    fn clear(&mut self) {
        self.marks.clear();
        self.at = 0;
        self.tally = Tally::default();
    }
}

/// Returns the index of a hop's counter. Failures without an observed hop have the last index.
pub(super) fn place(hop: Option<Hop>) -> usize {
    hop.map_or(Hop::ALL.len(), |hop| hop as usize)
}

pub(super) const PLACES: usize = Hop::ALL.len() + 1;
/// Enough buckets to forget in time, and few enough to add up.
const BUCKETS: usize = 10;
const BUCKETS_U32: u32 = BUCKETS as u32;
const BUCKETS_U8: u8 = BUCKETS as u8;
