//! The calls that are kept of one destination. This file only decides: times are arguments.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::nanos_of;
use crate::hop::{Hop, Kind};

/// The last failed calls and the slowest other calls of one destination.
#[derive(Debug)]
pub(super) struct KeptCalls<T> {
    /// In the order of their ends.
    failed: Vec<KeptCall<T>>,
    /// In no order.
    slowest: Vec<KeptCall<T>>,
}

/// A call that has ended, and the facts that decide whether it stays.
#[derive(Debug)]
pub(super) struct KeptCall<T> {
    pub(super) call: T,
    /// The memory that it takes.
    pub(super) bytes: usize,
    pub(super) took: Duration,
    pub(super) ended: Instant,
    /// `None` if it did not fail.
    pub(super) failure: Option<Failure>,
}

/// Where and how a call failed.
pub(super) type Failure = (Option<Hop>, Kind);

/// The successful calls that need no look: they took less than `took`, and ended before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gate {
    /// In nanoseconds.
    pub(super) took: u64,
    /// `None` if no call is replaced because of its age.
    pub(super) until: Option<Instant>,
}

impl<T> KeptCalls<T> {
    pub(super) fn new() -> Self {
        Self {
            failed: Vec::with_capacity(MOST_FAILED),
            slowest: Vec::with_capacity(MOST_SLOWEST),
        }
    }

    /// Keeps the call if it failed or is among the slowest. Returns the calls that do not stay: they are to be dropped
    /// outside of any lock.
    pub(super) fn keep(&mut self, call: KeptCall<T>) -> Vec<T> {
        if call.bytes > MOST_BYTES {
            return vec![call.call];
        }
        let mut gone = Vec::new();
        match call.failure {
            Some(failure) if self.failed.len() == MOST_FAILED => {
                let most_common = self.most_common(failure);
                gone.push(self.failed.remove(most_common).call);
            }
            None if self.slowest.len() == MOST_SLOWEST => match self.replaceable(&call) {
                Some(at) => gone.push(self.slowest.swap_remove(at).call),
                None => return vec![call.call],
            },
            _ => {}
        }
        while self.bytes() + call.bytes > MOST_BYTES {
            gone.extend(self.remove_largest());
        }
        match call.failure {
            Some(_) => self.failed.push(call),
            None => self.slowest.push(call),
        }
        gone
    }

    /// Returns which calls need no look from now on.
    pub(super) fn gate(&self) -> Gate {
        let is_full = self.slowest.len() == MOST_SLOWEST;
        let fastest = self.slowest.iter().map(|call| call.took).min();
        let oldest = self.slowest.iter().map(|call| call.ended).min();
        Gate {
            took: fastest
                .filter(|_| is_full)
                .map_or(0, |took| nanos_of(took) + 1),
            until: oldest.filter(|_| is_full).map(|ended| ended + WINDOW),
        }
    }

    /// Returns the failed calls, the newest first.
    pub(super) fn failed(&self) -> impl Iterator<Item = &T> {
        self.failed.iter().rev().map(|kept| &kept.call)
    }

    /// Returns the slowest calls, the slowest first.
    pub(super) fn slowest(&self) -> impl Iterator<Item = &T> {
        let mut slowest: Vec<_> = self.slowest.iter().collect();
        slowest.sort_by_key(|kept| std::cmp::Reverse(kept.took));
        slowest.into_iter().map(|kept| &kept.call)
    }

    /// Returns the oldest of the most common failures, the new one included. So a flood of one failure does not remove
    /// a rare one.
    fn most_common(&self, new: Failure) -> usize {
        let count = |failure: Option<Failure>| {
            let same = self.failed.iter().filter(|kept| kept.failure == failure);
            same.count() + usize::from(failure == Some(new))
        };
        let counts: Vec<_> = self.failed.iter().map(|kept| count(kept.failure)).collect();
        let most = counts.iter().max();
        let first = counts.iter().position(|count| Some(count) == most);
        first.unwrap_or(0)
    }

    /// Returns the call that a new one replaces: one that is too old, or else the fastest one if it is faster.
    fn replaceable(&self, new: &KeptCall<T>) -> Option<usize> {
        let mut kept = self.slowest.iter();
        if let Some(expired) = kept.position(|kept| kept.ended + WINDOW <= new.ended) {
            return Some(expired);
        }
        let numbered = self.slowest.iter().enumerate();
        let (at, fastest) = numbered.min_by_key(|(_, kept)| kept.took)?;
        (fastest.took < new.took).then_some(at)
    }

    fn bytes(&self) -> usize {
        let all = self.failed.iter().chain(&self.slowest);
        all.map(|kept| kept.bytes).sum()
    }

    /// Removes the call that takes the most memory.
    fn remove_largest(&mut self) -> Option<T> {
        let largest = |calls: &[KeptCall<T>]| {
            let numbered = calls.iter().enumerate();
            numbered
                .map(|(at, kept)| (kept.bytes, at))
                .max_by_key(|(bytes, _)| *bytes)
        };
        let (failed, slowest) = (largest(&self.failed), largest(&self.slowest));
        let (calls, (_, at)) =
            match failed.map(|(bytes, _)| bytes) >= slowest.map(|(bytes, _)| bytes) {
                true => (&mut self.failed, failed?),
                false => (&mut self.slowest, slowest?),
            };
        Some(calls.remove(at).call)
    }
}

/// One failure in a row is often like the other: eight show whether they differ.
pub(super) const MOST_FAILED: usize = 8;
/// More of the slowest calls say the same.
pub(super) const MOST_SLOWEST: usize = 4;
/// The bound of the memory of a destination's calls. A call of three attempts takes about 4 KiB.
pub(super) const MOST_BYTES: usize = 32 << 10;
/// After this time, a slow call gives its place to any newer one: an operator asks about the last minutes.
pub(super) const WINDOW: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const REFUSED: Option<Failure> = Some((Some(Hop::Connect), Kind::Refused));
    const TIMEOUT: Option<Failure> = Some((Some(Hop::Server), Kind::Timeout));

    fn call(name: u32, took: u64, failure: Option<Failure>) -> KeptCall<u32> {
        KeptCall {
            call: name,
            bytes: 1_000,
            took: Duration::from_millis(took),
            ended: clock::now(),
            failure,
        }
    }

    fn failed(calls: &KeptCalls<u32>) -> Vec<u32> {
        calls.failed().copied().collect()
    }

    fn slowest(calls: &KeptCalls<u32>) -> Vec<u32> {
        calls.slowest().copied().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn last_failed_calls_are_kept_the_newest_first() {
        let mut calls = KeptCalls::new();
        for name in 0..10 {
            calls.keep(call(name, 1, REFUSED));
        }
        assert_eq!(failed(&calls), [9, 8, 7, 6, 5, 4, 3, 2]);
        assert!(slowest(&calls).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn flood_of_one_failure_does_not_remove_a_rare_one() {
        let mut calls = KeptCalls::new();
        calls.keep(call(100, 1, TIMEOUT));
        let gone: Vec<_> = (0..100)
            .flat_map(|name| calls.keep(call(name, 1, REFUSED)))
            .collect();
        assert_eq!(failed(&calls), [99, 98, 97, 96, 95, 94, 93, 100]);
        assert_eq!(gone, (0..93).collect::<Vec<_>>());
        // Of two kinds that are as common, the older call goes.
        for name in 101..105 {
            calls.keep(call(name, 1, TIMEOUT));
        }
        assert_eq!(failed(&calls), [104, 103, 102, 101, 99, 98, 97, 96]);
    }

    #[tokio::test(start_paused = true)]
    async fn slowest_calls_are_kept_the_slowest_first_and_the_gate_shows_which_need_no_look() {
        let mut calls = KeptCalls::new();
        let open = Gate {
            took: 0,
            until: None,
        };
        assert_eq!(calls.gate(), open);
        for (name, took) in [(0, 5), (1, 30), (2, 10)] {
            assert!(calls.keep(call(name, took, None)).is_empty());
            assert_eq!(calls.gate(), open);
        }
        calls.keep(call(3, 20, None));
        let until = Some(clock::now() + WINDOW);
        let took = 5_000_001;
        assert_eq!(calls.gate(), Gate { took, until });
        assert_eq!(calls.keep(call(4, 5, None)), [4], "it is not slower");
        assert_eq!(calls.keep(call(5, 25, None)), [0]);
        assert_eq!(slowest(&calls), [1, 5, 3, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn old_slow_call_gives_its_place_to_any_newer_one() {
        let mut calls = KeptCalls::new();
        for name in 0..4 {
            calls.keep(call(name, 1_000, None));
        }
        let until = calls.gate().until.unwrap();
        tokio::time::advance(WINDOW - Duration::from_millis(1)).await;
        assert!(until > clock::now());
        assert_eq!(calls.keep(call(4, 1, None)), [4]);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(until <= clock::now());
        assert_eq!(calls.keep(call(5, 1, None)), [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_of_a_destination_have_a_bound_in_bytes() {
        let sized = |name, bytes, failure| KeptCall {
            bytes,
            ..call(name, 1, failure)
        };
        let mut calls = KeptCalls::new();
        assert_eq!(calls.keep(sized(0, MOST_BYTES + 1, TIMEOUT)), [0]);
        calls.keep(sized(1, 20_000, TIMEOUT));
        calls.keep(sized(2, 12_000, None));
        assert_eq!(
            calls.keep(sized(3, 3_000, REFUSED)),
            [1],
            "the largest goes"
        );
        assert_eq!(calls.keep(sized(4, 20_000, None)), [2]);
        assert_eq!((failed(&calls), slowest(&calls)), (vec![3], vec![4]));
        assert_eq!(calls.keep(sized(5, MOST_BYTES, None)), [4, 3]);
        assert!(calls.bytes() <= MOST_BYTES);
    }
}
