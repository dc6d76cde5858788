//! How the attempts of late ended: counted, not listed, in memory that does not grow with load.

use std::time::Duration;

use tokio::time::Instant;

use super::rules::Window;
use crate::hop::Hop;

/// How one attempt ended, in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(u8);

impl Mark {
    pub(super) const SUCCESS: Self = Self(0);
    /// The destination is overloaded, or down: the others tell.
    pub(super) const OVERLOADED: Self = Self(1);

    /// A failure at a hop; none for an operation in which no hop was seen.
    pub(super) fn failure(hop: Option<Hop>) -> Self {
        Self(u8::try_from(place(hop)).map_or(u8::MAX, |place| 2 + place) & !SLOW)
    }

    /// The same, and it took too long.
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

/// What the attempts of a stretch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) attempts: u32,
    /// Of successes, failures and overloads alike.
    pub(super) slow: u32,
    pub(super) overloaded: u32,
    /// By the hop at which they failed: see [`place`].
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

    /// How many failed, overloads aside.
    pub(super) fn failures(&self) -> u32 {
        self.failed
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Whether the destination is down, not overloaded: less than a tenth of the attempts succeeded.
    pub(super) fn is_down(&self) -> bool {
        let failed = self.failures().saturating_add(self.overloaded);
        let succeeded = u64::from(self.attempts.saturating_sub(failed));
        succeeded * 10 < u64::from(self.attempts)
    }

    /// Takes overloads for failures at a hop, where the destination is down.
    pub(super) fn judged(mut self, hop: Option<Hop>) -> Self {
        if self.is_down()
            && let Some(count) = self.failed.get_mut(place(hop))
        {
            *count = count.saturating_add(std::mem::take(&mut self.overloaded));
        }
        self
    }

    /// The hop at which most failed, and how many; the earlier one of two that are even.
    pub(super) fn worst(&self) -> Option<(Option<Hop>, u32)> {
        let hops: [_; PLACES] = std::array::from_fn(|at| Hop::ALL.get(at).copied());
        let failed = hops.into_iter().zip(self.failed);
        failed
            .filter(|(_, count)| *count > 0)
            .rev()
            .max_by_key(|(_, count)| *count)
    }
}

/// The attempts a breaker looks back on.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every window is one of time; a count may waste what that takes"
)]
#[derive(Debug)]
pub(super) enum Recent {
    Time(Buckets),
    Count(Ring),
}

impl Recent {
    pub(super) fn new(window: Window, now: Instant) -> Self {
        match window {
            Window::Time(length) => Self::Time(Buckets::new(length, now)),
            Window::Count(most) => Self::Count(Ring::new(most)),
        }
    }

    pub(super) fn record(&mut self, mark: Mark, now: Instant) {
        match self {
            Self::Time(buckets) => buckets.record(mark, now),
            Self::Count(ring) => ring.record(mark),
        }
    }

    /// What is in the window now.
    pub(super) fn tally(&mut self, now: Instant) -> Tally {
        match self {
            Self::Time(buckets) => buckets.tally(now),
            Self::Count(ring) => ring.tally,
        }
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Time(_) => 0,
            Self::Count(ring) => ring.marks.capacity() * size_of::<Mark>(),
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Self::Time(buckets) => buckets.tallies = [Tally::default(); BUCKETS],
            Self::Count(ring) => ring.clear(),
        }
    }
}

/// A stretch of time in tenths: the eldest tenth is dropped as a whole.
#[derive(Debug)]
pub(super) struct Buckets {
    tallies: [Tally; BUCKETS],
    at: usize,
    /// When the bucket that is being filled is full.
    ends: Instant,
    width: Duration,
}

impl Buckets {
    fn new(length: Duration, now: Instant) -> Self {
        let width = length / BUCKETS_U32;
        Self {
            tallies: [Tally::default(); BUCKETS],
            at: 0,
            ends: now + width,
            width,
        }
    }

    fn record(&mut self, mark: Mark, now: Instant) {
        self.advance(now);
        if let Some(tally) = self.tallies.get_mut(self.at) {
            tally.add(mark);
        }
    }

    fn tally(&mut self, now: Instant) -> Tally {
        self.advance(now);
        let sum = |sum: Tally, tally| sum.merge(tally);
        self.tallies.iter().fold(Tally::default(), sum)
    }

    /// Moves on to the bucket of `now`. A `now` that was read before another's is taken for that
    /// one: buckets are never gone back to.
    fn advance(&mut self, now: Instant) {
        let mut left = BUCKETS;
        while self.ends <= now {
            if left == 0 {
                // Nothing of the old stretch is left: a new one begins here.
                self.ends = now + self.width;
                return;
            }
            left -= 1;
            self.at = (self.at + 1) % BUCKETS;
            self.ends += self.width;
            if let Some(tally) = self.tallies.get_mut(self.at) {
                *tally = Tally::default();
            }
        }
    }
}

/// The last so many attempts, one byte each: the eldest makes room for the newest.
#[derive(Debug)]
pub(super) struct Ring {
    marks: Vec<Mark>,
    most: usize,
    /// The eldest, once the ring is full.
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

/// Where failures at a hop are counted; behind the hops stand those in which nobody saw one.
pub(super) fn place(hop: Option<Hop>) -> usize {
    hop.map_or(Hop::ALL.len(), |hop| hop as usize)
}

pub(super) const PLACES: usize = Hop::ALL.len() + 1;
/// Fine enough to forget in time, few enough to add up.
const BUCKETS: usize = 10;
const BUCKETS_U32: u32 = BUCKETS as u32;
