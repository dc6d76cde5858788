//! The circuit of one destination: a pure state machine.
//!
//! ```text
//!            too many failed, or were slow         open time over, or new addresses
//!   Closed ──────────────────────────────▶ Open ──────────────────▶ HalfOpen
//!     ▲                                     ▲                         │  │
//!     │                                     ├────── the probes failed ┘  │
//!     │                                     └── too many failed ── Ramp ◀┤
//!     └────────────────────────────────── the probes succeeded ── (Ramp) ┘
//!
//!   any ── isolate ──▶ Isolated       any ── close ──▶ Closed
//! ```
//!
//! Time and luck are arguments. Each change of state begins a new generation. Permits of earlier generations no
//! longer count.

use std::time::Duration;

use tokio::time::Instant;

use super::attempt::{Moment, Permit, PermitKind, Refusal, Verdict};
use super::cause::{OpeningReason, RejectionCause};
use super::health::{Health, share};
use super::probes::Probes;
use super::ramp::{Ramp, VOLUME};
use super::rules::{Recovery, SharedRules};
use super::state::{CircuitState, Counts, Position};

/// The circuit of one destination. It is not thread-safe: its owner has the lock and the clock.
#[derive(Debug)]
pub(crate) struct Circuit {
    rules: SharedRules,
    phase: Phase,
    /// Incremented by every transition, so that a verdict from before it is recognized as stale.
    generation: u64,
    health: Health,
    /// `None` if the circuit is closed and was not opened since. Boxed, because most circuits are closed.
    outage: Option<Box<Outage>>,
}

/// The openings of a circuit.
#[derive(Debug)]
struct Outage {
    /// The number of openings since the circuit was last closed.
    openings: u32,
    /// The length of the last open time.
    open_time: Duration,
    cause: RejectionCause,
}

#[derive(Debug)]
enum Phase {
    Closed,
    Open { until: Instant },
    // Boxed, because most circuits are closed.
    HalfOpen { probes: Box<Probes>, since: Instant },
    Ramp(Box<Ramp>),
    Isolated,
}

impl Circuit {
    /// Creates a closed circuit.
    pub(crate) fn new(rules: impl Into<SharedRules>, now: Instant) -> Self {
        let rules = rules.into();
        Self {
            phase: Phase::Closed,
            generation: 0,
            health: Health::new(rules.window, now),
            outage: None,
            rules,
        }
    }

    fn outage(&mut self) -> &mut Outage {
        let open_time = self.rules.break_duration;
        self.outage.get_or_insert_with(|| {
            Box::new(Outage {
                openings: 0,
                open_time,
                cause: ISOLATED,
            })
        })
    }

    fn open_time(&self) -> Duration {
        let outage = self.outage.as_ref();
        outage.map_or(self.rules.break_duration, |outage| outage.open_time)
    }

    fn cause(&self) -> RejectionCause {
        self.outage.as_ref().map_or(ISOLATED, |outage| outage.cause)
    }

    /// Applies new rules. An open circuit keeps its current open time. The next open time follows the new rules. If
    /// the window changes, it begins empty. If the recovery changes, a half-open circuit begins its probes anew: the
    /// results of earlier ones have no meaning under the new rules.
    pub(crate) fn follow(&mut self, rules: impl Into<SharedRules>, now: Instant) {
        let rules = rules.into();
        if rules.window != self.rules.window {
            self.health.look_back(rules.window, now);
        }
        let is_recovering = matches!(self.phase, Phase::HalfOpen { .. });
        let probes_anew = is_recovering && rules.recovery != self.rules.recovery;
        self.rules = rules;
        if probes_anew {
            self.half_open(now);
        }
    }

    /// Requests a permit for one attempt at `now`.
    ///
    /// # Errors
    ///
    /// Rejects while the circuit is open or isolated, or while all its probes are in flight. A caller that asks again
    /// after `retry_after` is not rejected for the same reason.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<Permit, Refusal> {
        self.pass(now);
        let lease = self.open_time().max(self.rules.shortest_lease);
        let most = self.rules.recovery.probes();
        let until = match &mut self.phase {
            Phase::Closed => return Ok(Permit::of(self.generation)),
            Phase::Open { until } => Some(*until),
            Phase::HalfOpen { probes, .. } => match probes.grant(most, now + lease) {
                Ok(id) => {
                    return Ok(Permit {
                        generation: self.generation,
                        kind: PermitKind::Probe(id),
                    });
                }
                Err(first_end) => first_end,
            },
            Phase::Ramp(ramp) => match ramp.admit() {
                Ok(()) => return Ok(Permit::of(self.generation)),
                Err(end) => Some(end),
            },
            Phase::Isolated => None,
        };
        Err(Refusal {
            retry_after: until.map(|until| until.saturating_duration_since(now)),
            cause: self.cause(),
        })
    }

    /// Returns a permit for an attempt that is made although the circuit rejects it. Only its verdict is recorded.
    pub(crate) fn observe(&self) -> Permit {
        Permit {
            generation: self.generation,
            kind: PermitKind::Observed,
        }
    }

    /// Advances the circuit to `now`: it ends open times and leases, and advances the ramp.
    fn pass(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Open { until } if *until <= now => self.half_open(now),
            Phase::HalfOpen { probes, .. } => {
                probes.expire(now);
                self.recover(now);
            }
            Phase::Ramp(ramp) => {
                if ramp.pass(now) {
                    self.close();
                }
            }
            Phase::Closed | Phase::Open { .. } | Phase::Isolated => {}
        }
    }

    /// Makes an open circuit half-open at once, whatever is left of its open time.
    pub(crate) fn half_open_early(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Open { .. }) {
            self.half_open(now);
        }
    }

    fn half_open(&mut self, now: Instant) {
        self.enter(Phase::HalfOpen {
            probes: Box::default(),
            since: now,
        });
    }

    /// Leaves the half-open state if enough probes have succeeded.
    fn recover(&mut self, now: Instant) {
        let Phase::HalfOpen { probes, .. } = &self.phase else {
            return;
        };
        let (succeeded, failed) = probes.ended();
        match self.rules.recovery {
            Recovery::Successes(most) if succeeded >= most => self.close(),
            Recovery::Ratio { probes, .. } if succeeded.saturating_add(failed) >= probes => {
                self.close();
            }
            Recovery::Ramp { step } if succeeded > 0 => {
                self.enter(Phase::Ramp(Box::new(Ramp::new(step, now))));
            }
            Recovery::Successes(_) | Recovery::Ratio { .. } | Recovery::Ramp { .. } => {}
        }
    }

    /// Applies the verdict of a permitted attempt.
    ///
    /// A verdict from an earlier generation is ignored. An attempt that began before the outage knows nothing about
    /// whether the outage is over, and its failure is already known. The same holds for a probe whose lease ran out.
    pub(crate) fn settle(&mut self, permit: Permit, verdict: Verdict, at: Moment) {
        if permit.generation != self.generation {
            return;
        }
        match (&mut self.phase, permit.kind) {
            (_, PermitKind::Observed) => {
                self.health.note(verdict, at.now);
            }
            (Phase::Closed | Phase::Ramp(_), _) => self.judge(verdict, at),
            (Phase::HalfOpen { probes, .. }, _) => {
                // In this generation only probes got permits.
                if probes.end(permit.probe().unwrap_or_default()) {
                    self.judge_probe(verdict, at);
                }
            }
            // These states give no permits, so no permit has their generation.
            (Phase::Open { .. } | Phase::Isolated, _) => {}
        }
    }

    /// Gives back the permit of an abandoned attempt, which proves nothing. If it was a probe, another probe may start
    /// at once.
    pub(crate) fn release(&mut self, permit: &Permit) {
        if let Some((probes, id)) = self.probe(permit) {
            probes.end(id);
        }
    }

    /// Records that the response to a probe has begun successfully. Its lease may run out while the body is received.
    pub(crate) fn answered(&mut self, permit: &Permit) {
        if let Some((probes, id)) = self.probe(permit) {
            probes.answer(id);
        }
    }

    /// Returns the probe of a permit, if its generation still lasts.
    fn probe(&mut self, permit: &Permit) -> Option<(&mut Probes, u64)> {
        match &mut self.phase {
            Phase::HalfOpen { probes, .. } if permit.generation == self.generation => {
                Some((&mut **probes, permit.probe()?))
            }
            _ => None,
        }
    }

    /// Judges an attempt of a closed circuit or of a ramp.
    fn judge(&mut self, verdict: Verdict, at: Moment) {
        let volume = match self.phase {
            Phase::Ramp(_) => self.rules.min_attempts.min(VOLUME),
            _ => self.rules.min_attempts,
        };
        if let Some(cause) = self.health.judge(verdict, (&self.rules, volume), at.now) {
            self.open(cause, verdict.hint(), at);
        }
    }

    fn judge_probe(&mut self, verdict: Verdict, at: Moment) {
        let Phase::HalfOpen { probes, .. } = &mut self.phase else {
            return;
        };
        let (cause, hint) = match verdict {
            Verdict::Ignored => return,
            Verdict::Success | Verdict::Throttled => {
                probes.succeed();
                return self.recover(at.now);
            }
            Verdict::Slow => (SLOW_PROBE, None),
            Verdict::Failure(failed) => {
                let (why, last) = (OpeningReason::Probe, Some(failed.failure));
                (RejectionCause { why, last }, failed.hint)
            }
        };
        let Recovery::Ratio {
            probes: most,
            failure_ratio,
        } = self.rules.recovery
        else {
            return self.open(cause, hint, at);
        };
        probes.fail();
        let (_, failed) = probes.ended();
        if share(failed, most) >= failure_ratio {
            let (why, last) = (
                OpeningReason::Probes {
                    failed,
                    probes: most,
                },
                cause.last,
            );
            return self.open(RejectionCause { why, last }, hint, at);
        }
        self.recover(at.now);
    }

    fn open(&mut self, cause: RejectionCause, hint: Option<Duration>, at: Moment) {
        let openings = self.outage().openings.saturating_add(1);
        let open_time = self.rules.open_time(openings, hint, at.luck);
        *self.outage() = Outage {
            openings,
            open_time,
            cause,
        };
        let until = at.now + open_time;
        self.enter(Phase::Open { until });
    }

    /// Rejects every attempt until [`close`](Self::close).
    pub(crate) fn isolate(&mut self) {
        self.outage().cause = ISOLATED;
        self.enter(Phase::Isolated);
    }

    /// Closes the circuit and clears its history.
    pub(crate) fn close(&mut self) {
        self.outage = None;
        self.enter(Phase::Closed);
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation += 1;
        self.health.clear();
    }

    /// Returns the number of changes of state so far.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn position(&self) -> Position {
        let is_open = matches!(self.phase, Phase::Open { .. });
        Position {
            generation: self.generation,
            state: match self.phase {
                Phase::Closed => CircuitState::Closed,
                Phase::Open { .. } => CircuitState::Open,
                Phase::HalfOpen { .. } | Phase::Ramp(_) => CircuitState::HalfOpen,
                Phase::Isolated => CircuitState::Isolated,
            },
            opened: is_open.then(|| (self.cause(), self.open_time())),
        }
    }

    /// Returns the counts of the window.
    pub(crate) fn counts(&mut self, now: Instant) -> Counts {
        let tally = self.health.tally(now);
        Counts {
            attempts: tally.attempts,
            failures: tally.failures(),
            overloaded: tally.overloaded,
            slow: tally.slow,
            open_left: match self.phase {
                Phase::Open { until } => Some(until.saturating_duration_since(now)),
                _ => None,
            },
        }
    }

    /// Returns the size of the memory of the window and the leases, outside of the circuit.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        let leases = match &self.phase {
            Phase::HalfOpen { probes, .. } => probes.heap_bytes(),
            _ => 0,
        };
        leases + self.health.heap_bytes()
    }

    /// Returns whether the circuit must be kept. An isolated one always is. An open one is kept until `grace` after its
    /// open time. A half-open one is kept until `grace` after it began, and after its last lease. A ramp is kept until
    /// `grace` after its end.
    pub(crate) fn is_needed(&self, now: Instant, grace: Duration) -> bool {
        match &self.phase {
            Phase::Closed => false,
            Phase::Open { until } => now < *until + grace,
            Phase::HalfOpen { probes, since } => {
                now < *since + grace || probes.any_since(now, grace)
            }
            Phase::Ramp(ramp) => now < ramp.end() + grace,
            Phase::Isolated => true,
        }
    }
}

const SLOW_PROBE: RejectionCause = RejectionCause {
    why: OpeningReason::SlowProbe,
    last: None,
};
const ISOLATED: RejectionCause = RejectionCause {
    why: OpeningReason::Isolated,
    last: None,
};
