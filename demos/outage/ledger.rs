//! The counts of a run, and the figures that follow from them.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sevenhops::policy::breaker::CircuitState;
use tokio::time::Instant;

/// Counts of one run, by the tenth of a second in which they began.
pub(crate) struct Ledger {
    start: Instant,
    /// When the service is failing, since the start.
    failing: Range<Duration>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    slots: Vec<Slot>,
    /// When the breaker changed its state, and to which.
    turns: Vec<(Duration, CircuitState)>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slot {
    /// Calls that were made, and those of them that succeeded.
    pub(crate) calls: u32,
    pub(crate) succeeded: u32,
    /// Requests that reached the service, and those of them that it failed.
    pub(crate) requests: u32,
    pub(crate) failed: u32,
}

impl Slot {
    fn is_full(&self) -> bool {
        let enough = |count: u32| u64::from(count) * 100 >= u64::from(self.calls) * 99;
        enough(self.succeeded) && enough(self.requests)
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            succeeded: self.succeeded + other.succeeded,
            requests: self.requests + other.requests,
            failed: self.failed + other.failed,
        }
    }

    /// Requests for each call.
    pub(crate) fn load(&self) -> f64 {
        f64::from(self.requests) / f64::from(self.calls)
    }
}

impl Ledger {
    /// Creates the counts of a run in which the service is well for a while and then fails for this time.
    pub(crate) fn new(failing_for: Duration) -> Self {
        Self {
            start: Instant::now(),
            failing: WELL..WELL + failing_for,
            counts: Mutex::default(),
        }
    }

    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// Whether the service is failing now.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.contains(&self.start.elapsed())
    }

    /// When the service recovers, since the start.
    pub(crate) fn recovers(&self) -> Duration {
        self.failing.end
    }

    /// Counts a call. Returns its time, which is passed again if the call succeeds.
    pub(crate) fn called(&self) -> Duration {
        let at = self.start.elapsed();
        self.count(at, |slot| slot.calls += 1);
        at
    }

    /// Counts the success of the call that was made then.
    pub(crate) fn succeeded(&self, called: Duration) {
        self.count(called, |slot| slot.succeeded += 1);
    }

    /// Counts a request that reached the service.
    pub(crate) fn arrived(&self, fails: bool) {
        self.count(self.start.elapsed(), |slot| {
            slot.requests += 1;
            slot.failed += u32::from(fails);
        });
    }

    /// Notes a new state of the breaker.
    pub(crate) fn turned(&self, state: CircuitState) {
        let at = self.start.elapsed();
        self.counts().turns.push((at, state));
    }

    /// The sum over the failing phase.
    pub(crate) fn failing_phase(&self) -> Slot {
        let counts = self.counts();
        sum(&counts.slots[self.failing_slots()])
    }

    /// The largest load of any second of the failing phase.
    pub(crate) fn busiest(&self) -> f64 {
        let counts = self.counts();
        let seconds = counts.slots[self.failing_slots()].chunks(SLOTS_A_SECOND);
        let loads = seconds.map(|second| sum(second).load());
        loads.fold(0.0, f64::max)
    }

    /// Returns the end of the last slot that was not full, as time since the recovery.
    pub(crate) fn full_again(&self) -> Duration {
        let counts = self.counts();
        let after = &counts.slots[self.failing_slots().end..];
        let last = after.iter().rposition(|slot| !slot.is_full());
        last.map_or(Duration::ZERO, |last| SLOT * (last as u32 + 1))
    }

    /// Returns whether the traffic has been full for this time. The slot with calls in flight does not count.
    pub(crate) fn is_full_for(&self, slots: usize) -> bool {
        let counts = self.counts();
        let over = counts.slots.len().saturating_sub(1);
        let after = &counts.slots[self.failing_slots().end.min(over)..over];
        let full = after.iter().rev().take_while(|slot| slot.is_full());
        full.count() >= slots
    }

    /// Returns how long the breaker stayed open, if it was open when the service recovered. A response may have been on
    /// its way then. If it opened the breaker, the outage is the cause.
    pub(crate) fn open_time(&self) -> Option<Duration> {
        let counts = self.counts();
        let opened = counts
            .turns
            .iter()
            .rposition(|(at, _)| *at <= self.failing.end + SLOT)?;
        let (from, state) = counts.turns[opened];
        let (until, _) = counts.turns.get(opened + 1)?;
        (state == CircuitState::Open).then(|| *until - from)
    }

    fn failing_slots(&self) -> Range<usize> {
        slot(self.failing.start)..slot(self.failing.end)
    }

    fn count(&self, at: Duration, with: impl FnOnce(&mut Slot)) {
        let slot = slot(at);
        let mut counts = self.counts();
        if counts.slots.len() <= slot {
            counts.slots.resize(slot + 1, Slot::default());
        }
        with(&mut counts.slots[slot]);
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sum(slots: &[Slot]) -> Slot {
    slots.iter().fold(Slot::default(), Slot::plus)
}

fn slot(at: Duration) -> usize {
    (at.as_millis() / SLOT.as_millis()) as usize
}

/// How long the service is well before it fails.
const WELL: Duration = Duration::from_secs(5);
/// A hundred calls: one of them is the 1 % that may be missing.
pub(crate) const SLOT: Duration = Duration::from_millis(100);
const SLOTS_A_SECOND: usize = 10;
