//! One destination's circuit, shared between threads. This is the only part of the breaker with a lock.

use std::time::Duration;

use tokio::time::Instant;

use super::attempt::{Moment, Permit, Refusal, Verdict};
use super::circuit::Circuit;
use super::rules::SharedRules;
use super::state::{CircuitState, Counts, Position};
use super::sync::{Arc, AtomicU64, CircuitPublisher, Mutex, Opened, Ordering, PoisonError};

/// A circuit and its watchers.
#[derive(Debug)]
pub(crate) struct SharedCircuit {
    circuit: Mutex<Circuit>,
    /// The generation while the circuit is closed, otherwise [`NOT_CLOSED`]. Written under the lock.
    closed: AtomicU64,
    pub(super) watch: CircuitPublisher,
    pub(super) opened: Opened,
}

impl SharedCircuit {
    pub(crate) fn new(rules: impl Into<SharedRules>, now: Instant) -> Self {
        Self {
            circuit: Mutex::new(Circuit::new(rules, now)),
            closed: AtomicU64::new(0),
            watch: CircuitPublisher::new(),
            opened: Opened::default(),
        }
    }

    /// Requests a permit for one attempt. The ticket settles by itself. If the circuit changed state when it gave the
    /// permit, the new position is returned too.
    ///
    /// # Errors
    ///
    /// Returns the circuit with its rejection.
    pub(crate) fn admit(
        shared: Arc<Self>,
        now: Instant,
    ) -> Result<(Ticket, Option<Position>), Rejection> {
        // A closed circuit lets everything through and does not count permits, so it needs no lock. A thread that
        // read the value a moment too early gets a permit of an earlier generation, which does not count.
        let (permit, entered) = match shared.closed.load(Ordering::Acquire) {
            NOT_CLOSED => {
                let (admitted, entered) = shared.change(|circuit| circuit.admit(now));
                match admitted {
                    Ok(permit) => (permit, entered),
                    Err(refusal) => return Err((refusal, shared)),
                }
            }
            generation => (Permit::of(generation), None),
        };
        let permit = Some(permit);
        Ok((Ticket { shared, permit }, entered))
    }

    /// Returns a ticket for an attempt that is made although the circuit rejects it.
    pub(crate) fn observe(shared: Arc<Self>) -> Ticket {
        let (permit, _) = shared.change(|circuit| circuit.observe());
        Ticket {
            shared,
            permit: Some(permit),
        }
    }

    /// Makes an open circuit half-open at once, whatever is left of its open time.
    pub(crate) fn half_open_early(&self, now: Instant) -> Option<Position> {
        self.change(|circuit| circuit.half_open_early(now)).1
    }

    /// Makes the circuit half-open, if it has not changed since this opening.
    pub(crate) fn half_open_since(&self, opening: u64, now: Instant) -> Option<Position> {
        let half_open = |circuit: &mut Circuit| {
            if circuit.generation() == opening {
                circuit.half_open_early(now);
            }
        };
        self.change(half_open).1
    }

    /// Applies new rules.
    pub(crate) fn follow(&self, rules: &SharedRules, now: Instant) {
        self.change(|circuit| circuit.follow(SharedRules::clone(rules), now));
    }

    pub(crate) fn isolate(&self) -> Option<Position> {
        self.change(Circuit::isolate).1
    }

    pub(crate) fn close(&self) -> Option<Position> {
        self.change(Circuit::close).1
    }

    pub(crate) fn position(&self) -> Position {
        self.change(|circuit| circuit.position()).0
    }

    pub(crate) fn counts(&self, now: Instant) -> Counts {
        self.change(|circuit| circuit.counts(now)).0
    }

    pub(crate) fn is_needed(&self, now: Instant, grace: Duration) -> bool {
        self.change(|circuit| circuit.is_needed(now, grace)).0
    }

    /// Changes the circuit under its lock, and publishes the change after the lock is released. Two concurrent
    /// changes may be published in the wrong order, so the watch compares generations. Also returns the new position,
    /// if there is one.
    fn change<T>(&self, with: impl FnOnce(&mut Circuit) -> T) -> (T, Option<Position>) {
        let (result, after) = {
            let mut circuit = self.circuit.lock().unwrap_or_else(PoisonError::into_inner);
            let before = circuit.generation();
            let result = with(&mut circuit);
            if circuit.generation() == before {
                return (result, None);
            }
            let after = circuit.position();
            let closed = match after.state {
                CircuitState::Closed => after.generation,
                CircuitState::Open | CircuitState::HalfOpen | CircuitState::Isolated => NOT_CLOSED,
            };
            self.closed.store(closed, Ordering::Release);
            (result, after)
        };
        self.watch.publish(after);
        (result, Some(after))
    }
}

/// Why a circuit rejects an attempt, and the circuit.
type Rejection = (Refusal, Arc<SharedCircuit>);

/// The permit of an attempt in flight. If it is dropped unsettled, the permit returns and nothing is counted.
#[must_use = "a dropped ticket does not count"]
#[derive(Debug)]
pub(crate) struct Ticket {
    shared: Arc<SharedCircuit>,
    permit: Option<Permit>,
}

impl Ticket {
    /// Applies the verdict of the attempt. Returns the circuit and its new position, if it changed.
    pub(crate) fn settle(
        mut self,
        verdict: Verdict,
        at: Moment,
    ) -> Option<(Arc<SharedCircuit>, Position)> {
        let permit = self.permit.take()?;
        let settle = |circuit: &mut Circuit| circuit.settle(permit, verdict, at);
        let position = self.shared.change(settle).1?;
        Some((Arc::clone(&self.shared), position))
    }

    /// Returns the ticket if the attempt may keep it while it waits for another policy. A probe gives it back: other
    /// calls wait for the result of the probe.
    pub(crate) fn kept(self) -> Option<Self> {
        let is_probe = self.permit.as_ref().is_none_or(Permit::is_probe);
        (!is_probe).then_some(self)
    }

    /// Returns the ticket if the circuit has not changed since it gave it.
    pub(crate) fn if_valid(self) -> Option<Self> {
        let generation = self.shared.change(|circuit| circuit.generation()).0;
        let is_valid = self.permit.as_ref()?.generation == generation;
        is_valid.then_some(self)
    }

    /// Returns the circuit.
    pub(crate) fn shared(&self) -> &Arc<SharedCircuit> {
        &self.shared
    }

    /// Records that the response has begun successfully. This matters for a probe only.
    pub(crate) fn answered(&self) {
        if let Some(permit) = self.permit.as_ref().filter(|permit| permit.is_probe()) {
            self.shared.change(|circuit| circuit.answered(permit));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.shared.change(|circuit| circuit.release(&permit));
        }
    }
}

/// Not a generation: a circuit cannot make this many transitions.
const NOT_CLOSED: u64 = u64::MAX;
