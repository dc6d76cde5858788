//! The permits of a destination, and the queue for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::decide::{Estimate, Rules, Sample};
use super::permit::{Granted, Permit, Rejection, Waiter};
use super::queue::{Queue, expected_wait};
use crate::options::Priority;
use crate::policy::Versioned;
use crate::registry::Entry;

/// The permits of a destination, shared between threads.
#[derive(Debug)]
pub(super) struct Shared(Mutex<Gate>);

#[derive(Debug)]
struct Gate {
    rules: Versioned<Rules>,
    estimate: Estimate,
    in_flight: u32,
    /// How long a permit is held, as the geometric mean in seconds: a stream of hours hardly changes it.
    hold: Option<f64>,
    queue: Queue<Turn>,
}

/// The way to a waiting call.
pub(super) type Turn = oneshot::Sender<Result<Permit, Rejection>>;

/// The terms on which a call asks for a permit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) rules: Versioned<Rules>,
    pub(super) max_queued: u32,
    /// How long the call may wait.
    pub(super) longest: Duration,
    pub(super) priority: Priority,
}

/// A permit, or a place in the queue.
#[derive(Debug)]
pub(crate) enum Admitted {
    Permit(Permit),
    Waiter(Waiter),
}

impl Shared {
    pub(super) fn new(rules: Versioned<Rules>) -> Self {
        Self(Mutex::new(Gate {
            estimate: Estimate::new(&rules.rules),
            rules,
            in_flight: 0,
            hold: None,
            queue: Queue::new(),
        }))
    }

    /// Returns a permit if one is free, else a place in the queue.
    pub(super) fn admit(
        self: &Arc<Self>,
        terms: &Terms,
        now: Instant,
    ) -> Result<Admitted, Rejection> {
        let mut gate = self.gate_under(terms.rules, now);
        if let Some(in_flight) = gate.take() {
            drop(gate);
            return Ok(Admitted::Permit(Permit::new(self, in_flight, now)));
        }
        let queued = gate.enqueue(terms, now)?;
        drop(gate);
        if let Some(turn) = queued.shed {
            let _ = turn.send(Err(Rejection::Shed));
        }
        let waiter = Waiter::new(self, (queued.id, queued.receiver), (now, terms.longest));
        Ok(Admitted::Waiter(waiter))
    }

    /// Returns a permit if one is free.
    pub(super) fn try_admit(
        self: &Arc<Self>,
        rules: Versioned<Rules>,
        now: Instant,
    ) -> Result<Permit, Rejection> {
        let mut gate = self.gate_under(rules, now);
        let taken = gate.take().ok_or_else(|| gate.full());
        drop(gate);
        taken.map(|in_flight| Permit::new(self, in_flight, now))
    }

    /// Takes a permit back that was not used, and gives it to the next call.
    pub(super) fn give_back(self: &Arc<Self>, now: Instant) {
        let mut gate = self.gate();
        gate.in_flight = gate.in_flight.saturating_sub(1);
        drop(gate);
        self.serve(now);
    }

    /// Takes a permit back, which was held for this time, and gives it to the next call.
    pub(super) fn release(self: &Arc<Self>, held: Duration, now: Instant) {
        let mut gate = self.gate();
        gate.in_flight = gate.in_flight.saturating_sub(1);
        let held = held.max(SHORTEST_HOLD).as_secs_f64();
        let mean = gate.hold.unwrap_or(held);
        gate.hold = Some(mean * (held / mean).powf(HOLD_WEIGHT));
        drop(gate);
        self.serve(now);
    }

    /// Learns from the end of an attempt.
    pub(super) fn learn(self: &Arc<Self>, sample: Sample, now: Instant) {
        let mut gate = self.gate();
        let (before, rules) = (gate.estimate.limit(), gate.rules.rules);
        gate.estimate.learn(&rules, sample);
        let has_more = gate.estimate.limit() > before;
        drop(gate);
        if has_more {
            self.serve(now);
        }
    }

    /// Removes a call that does not wait any more.
    pub(super) fn leave(&self, id: u64) {
        let turn = self.gate().queue.remove(id);
        // Dropped without the lock: that may wake a task.
        drop(turn);
    }

    /// Returns the limit, the attempts in flight, and the calls that wait.
    pub(super) fn counts(&self) -> (u32, u32, usize) {
        let gate = self.gate();
        (gate.estimate.limit(), gate.in_flight, gate.queue.len())
    }

    /// Gives free permits to the calls that wait.
    fn serve(self: &Arc<Self>, now: Instant) {
        loop {
            let mut gate = self.gate();
            if gate.queue.len() == 0 || gate.in_flight >= gate.estimate.limit() {
                return;
            }
            let Some(turn) = gate.queue.pop(now) else {
                return;
            };
            gate.in_flight += 1;
            let permit = Permit::new(self, gate.in_flight, now);
            drop(gate);
            // A call that is gone in this moment takes no permit. Its permit is for the next one.
            if let Err(Ok(permit)) = turn.send(Ok(permit)) {
                permit.forget();
                let mut gate = self.gate();
                gate.in_flight = gate.in_flight.saturating_sub(1);
            }
        }
    }

    /// Returns the gate under these rules, or under newer ones.
    fn gate_under(self: &Arc<Self>, rules: Versioned<Rules>, now: Instant) -> MutexGuard<'_, Gate> {
        let mut gate = self.gate();
        if gate.rules.follow(rules).is_some() {
            gate.estimate.follow(&rules.rules);
            drop(gate);
            // There may be more permits now, for calls that came before this one.
            self.serve(now);
            gate = self.gate();
        }
        gate
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new place in the queue.
struct Queued {
    id: u64,
    receiver: Granted,
    /// The call whose place it took.
    shed: Option<Turn>,
}

impl Gate {
    /// Takes a free permit, unless other calls wait for one. Returns the number of attempts in flight.
    fn take(&mut self) -> Option<u32> {
        if self.queue.len() > 0 || self.in_flight >= self.estimate.limit() {
            return None;
        }
        self.in_flight += 1;
        Some(self.in_flight)
    }

    /// Returns the rejection of a call that finds no place.
    fn full(&self) -> Rejection {
        Rejection::Full {
            in_flight: self.in_flight,
            queued: self.queue.len(),
        }
    }

    fn enqueue(&mut self, terms: &Terms, now: Instant) -> Result<Queued, Rejection> {
        let longest = terms.longest;
        if let Some(hold) = self.hold {
            let ahead = self.queue.ahead_of(terms.priority, now);
            let hold = Duration::try_from_secs_f64(hold).unwrap_or_default();
            let expected = expected_wait(ahead, self.estimate.limit(), hold);
            if expected >= longest {
                return Err(Rejection::TooLong { expected, longest });
            }
        }
        let (turn, receiver) = oneshot::channel();
        let most = usize::try_from(terms.max_queued).unwrap_or(usize::MAX);
        let queued = self.queue.push((terms.priority, turn), most, now);
        let queued = queued.ok_or_else(|| self.full())?;
        Ok(Queued {
            id: queued.id,
            receiver,
            shed: queued.shed,
        })
    }
}

/// Never pinned: permits and waiting calls hold it, and the learned limit may be learned again.
impl Entry for Shared {}

/// The mean follows the latest ten permits or so.
const HOLD_WEIGHT: f64 = 0.1;
/// A mean of times above zero stays above zero.
const SHORTEST_HOLD: Duration = Duration::from_micros(1);

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
