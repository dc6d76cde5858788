//! The window of a destination: its attempts, and those that it accepted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::decide::{Rules, Spread, probability};
use crate::clock;
use crate::policy::Versioned;
use crate::registry::Entry;

/// The window of a destination, shared between threads.
#[derive(Debug)]
pub(super) struct Shared(Mutex<Window>);

/// A sliding window in slices.
#[derive(Debug)]
struct Window {
    rules: Versioned<Rules>,
    slices: [Counts; SLICES],
    /// The sum of the slices.
    all: Counts,
    /// The number of the current slice, counted from `epoch`.
    current: u64,
    /// How often the window has begun empty.
    changes: u32,
    epoch: Instant,
    /// The server asked not to send before this instant.
    retry_at: Option<Instant>,
    spread: Spread,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) accepts: u64,
}

/// An attempt that the throttle let through, until its response is here. It counts from then on, so that a burst of
/// attempts in flight does not look like an overload. If it is dropped unsettled, it does not count.
#[derive(Debug)]
pub(super) struct Permit {
    shared: Arc<Shared>,
    /// How often the window had begun empty.
    changes: u32,
}

/// The throttle rejects the attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rejection {
    pub(super) counts: Counts,
    /// The time until which the server asked not to send.
    pub(super) retry_after: Option<Duration>,
}

impl Shared {
    pub(super) fn new(rules: Versioned<Rules>, now: Instant) -> Self {
        Self(Mutex::new(Window {
            rules,
            slices: [Counts::default(); SLICES],
            all: Counts::default(),
            current: 0,
            changes: 0,
            epoch: now,
            retry_at: None,
            spread: Spread::default(),
        }))
    }

    /// Decides whether an attempt may be sent. A rejected one counts. `luck` is drawn only if the window has too few
    /// accepted attempts.
    pub(super) fn admit(
        self: Arc<Self>,
        rules: Versioned<Rules>,
        now: Instant,
        luck: impl FnOnce() -> f64,
    ) -> Result<Permit, Rejection> {
        let mut window = self.window();
        window.follow(rules, now);
        window.advance(now);
        let counts = window.all;
        let multiplier = window.rules.rules.multiplier;
        let probability = probability(counts.requests, counts.accepts, multiplier);
        if probability > 0.0 && window.spread.rejects(probability, luck()) {
            window.count(|counts| counts.requests += 1);
            let left = |at: Instant| at.saturating_duration_since(now);
            let retry_after = window.retry_at.map(left).filter(|left| !left.is_zero());
            return Err(Rejection {
                counts,
                retry_after,
            });
        }
        let changes = window.changes;
        drop(window);
        Ok(Permit {
            shared: self,
            changes,
        })
    }

    pub(super) fn counts(&self) -> Counts {
        self.window().all
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry for Shared {}

impl Window {
    /// Follows newer rules. A window of another length begins empty.
    fn follow(&mut self, rules: Versioned<Rules>, now: Instant) {
        let before = self.rules.follow(rules);
        if before.is_some_and(|before| before.window != rules.rules.window) {
            (self.slices, self.all) = ([Counts::default(); SLICES], Counts::default());
            (self.epoch, self.current) = (now, 0);
            self.changes = self.changes.wrapping_add(1);
        }
    }

    /// Moves to the slice of `now`.
    fn advance(&mut self, now: Instant) {
        let slice = self.rules.rules.window / SLICES_IN_WINDOW;
        let since = now.saturating_duration_since(self.epoch);
        let current = clock::nanos_of(since) / clock::nanos_of(slice).max(1);
        // After more slices than there are, each one is cleared once.
        for next in (self.current + 1..=current).take(SLICES) {
            let old = std::mem::take(&mut self.slices[index(next)]);
            self.all.requests -= old.requests;
            self.all.accepts -= old.accepts;
        }
        self.current = self.current.max(current);
    }

    fn count(&mut self, count: impl Fn(&mut Counts)) {
        count(&mut self.slices[index(self.current)]);
        count(&mut self.all);
    }
}

impl Permit {
    /// Counts the attempt as accepted.
    pub(super) fn accept(self, now: Instant) {
        self.count(now, |counts| {
            counts.requests += 1;
            counts.accepts += 1;
        });
    }

    /// Counts the attempt as one that was not accepted. The server asked not to send before `retry_at`.
    pub(super) fn overloaded(self, retry_at: Option<Instant>, now: Instant) {
        self.count(now, |counts| counts.requests += 1);
        let mut window = self.shared.window();
        window.retry_at = window.retry_at.max(retry_at);
    }

    /// Counts the attempt in the current slice, unless the window is another one.
    fn count(&self, now: Instant, count: impl Fn(&mut Counts)) {
        let mut window = self.shared.window();
        if self.changes == window.changes {
            window.advance(now);
            window.count(count);
        }
    }
}

/// Returns where a slice is kept.
fn index(slice: u64) -> usize {
    usize::try_from(slice % SLICES as u64).unwrap_or_default()
}

/// With twelve slices, an attempt is forgotten at most a twelfth of the window too early.
const SLICES_IN_WINDOW: u32 = 12;
const SLICES: usize = SLICES_IN_WINDOW as usize;

#[cfg(test)]
mod tests {
    use super::*;

    const SECS: fn(u64) -> Duration = Duration::from_secs;
    /// Never rejected.
    const LUCKY: fn() -> f64 = || f64::INFINITY;
    const UNLUCKY: fn() -> f64 = || 0.0;

    /// The rules of the config with this generation, with a window of this length.
    fn rules(generation: u64, secs: u64) -> Versioned<Rules> {
        let rules = Rules {
            multiplier: 2.0,
            window: SECS(secs),
        };
        Versioned { generation, rules }
    }

    fn shared(now: Instant) -> Arc<Shared> {
        Arc::new(Shared::new(rules(0, 120), now))
    }

    fn admit(shared: &Arc<Shared>, now: Instant, luck: fn() -> f64) -> Result<Permit, Rejection> {
        Arc::clone(shared).admit(rules(0, 120), now, luck)
    }

    fn counts(requests: u64, accepts: u64) -> Counts {
        Counts { requests, accepts }
    }

    #[test]
    fn attempt_counts_once_its_response_is_here() {
        let now = clock::now();
        let shared = shared(now);
        // A burst in flight says nothing yet.
        let burst: Vec<_> = (0..100).map(|_| admit(&shared, now, UNLUCKY)).collect();
        let mut burst = burst.into_iter().map(Result::unwrap);
        assert_eq!(shared.counts(), counts(0, 0));
        burst.next().unwrap().overloaded(None, now);
        assert_eq!(shared.counts(), counts(1, 0));
        let rejected = admit(&shared, now, UNLUCKY).unwrap_err();
        assert_eq!(rejected.counts, counts(1, 0));
        // A rejection here counts, too: a client that is throttled sends even less.
        assert_eq!(shared.counts(), counts(2, 0));
        burst.for_each(|permit| permit.accept(now));
        assert_eq!(shared.counts(), counts(101, 99));
        assert!(admit(&shared, now, UNLUCKY).is_ok());
    }

    #[test]
    fn attempt_counts_when_it_ends_however_long_it_took() {
        let now = clock::now();
        let shared = shared(now);
        drop(admit(&shared, now, LUCKY).unwrap());
        assert_eq!(shared.counts(), counts(0, 0));
        let permit = admit(&shared, now, LUCKY).unwrap();
        // The window has passed meanwhile.
        permit.overloaded(None, now + SECS(119));
        let other = admit(&shared, now + SECS(121), LUCKY).unwrap();
        assert_eq!(shared.counts(), counts(1, 0));
        other.accept(now + SECS(121));
        assert_eq!(shared.counts(), counts(2, 1));
    }

    #[test]
    fn attempts_leave_the_window_by_slices() {
        let start = clock::now();
        let shared = shared(start);
        for second in [0, 5, 15, 70] {
            let at = start + SECS(second);
            let permit = admit(&shared, at, LUCKY).unwrap();
            permit.overloaded(None, at);
        }
        assert_eq!(shared.counts(), counts(4, 0));
        for (second, left) in [(119, 4), (120, 2), (130, 1), (189, 1), (190, 0), (5_000, 0)] {
            let now = start + SECS(second);
            drop(admit(&shared, now, LUCKY).unwrap());
            assert_eq!(shared.counts(), counts(left, 0), "{second}");
        }
    }

    #[test]
    fn window_of_another_length_begins_empty_and_ignores_old_permits() {
        let now = clock::now();
        let shared = shared(now);
        let old = admit(&shared, now, LUCKY).unwrap();
        let shorter = rules(1, 10);
        drop(Arc::clone(&shared).admit(shorter, now, LUCKY).unwrap());
        old.accept(now);
        assert_eq!(shared.counts(), counts(0, 0));
    }

    #[test]
    fn call_that_began_before_a_reload_does_not_bring_the_old_window_back() {
        let now = clock::now();
        let shared = shared(now);
        let count = |rules| {
            let permit = Arc::clone(&shared).admit(rules, now, LUCKY).unwrap();
            permit.accept(now);
        };
        count(rules(1, 10));
        count(rules(0, 120));
        count(rules(1, 10));
        assert_eq!(shared.counts(), counts(3, 3));
    }

    #[test]
    fn rejection_says_when_the_server_asked_to_return() {
        let now = clock::now();
        let shared = shared(now);
        let permit = admit(&shared, now, LUCKY).unwrap();
        permit.overloaded(Some(now + SECS(7)), now);
        let after = |second| {
            admit(&shared, now + SECS(second), UNLUCKY)
                .unwrap_err()
                .retry_after
        };
        assert_eq!(after(3), Some(SECS(4)));
        assert_eq!(after(7), None);
    }
}
