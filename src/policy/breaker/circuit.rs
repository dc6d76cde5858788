//! The circuit of one destination: a pure state machine.
//!
//! ```text
//!            too many failed, or were slow         open time over
//!   Closed ──────────────────────────────▶ Open ──────────────────▶ HalfOpen
//!     ▲                                     ▲                         │  │
//!     │                                     └────── a probe failed ───┘  │
//!     └───────────────────────────────────────── every probe succeeded ──┘
//!
//!   any ── isolate ──▶ Isolated       any ── close ──▶ Closed
//! ```
//!
//! Time and luck are arguments. Each change of state begins a new generation; what was permitted in
//! an earlier one has no say any more.

use std::time::Duration;

use tokio::time::Instant;

use super::cause::{Cause, Failure, Why};
use super::probes::Probes;
use super::rules::Rules;
use super::state::{Position, State};
use super::window::{Mark, PLACES, Recent, place};
use crate::hop::Kind;

/// Leave to make one attempt.
#[must_use = "an unsettled permit teaches the circuit nothing"]
#[derive(Debug)]
pub(crate) struct Permit {
    generation: u64,
    /// Its place among the probes of its generation, if it is one.
    probe: Option<u64>,
}

impl Permit {
    /// Leave that a closed circuit gives.
    pub(crate) fn of(generation: u64) -> Self {
        Self {
            generation,
            probe: None,
        }
    }

    pub(crate) fn is_probe(&self) -> bool {
        self.probe.is_some()
    }
}

/// How an attempt ended, as far as the destination's health goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The destination did its part, whatever the status.
    Success,
    /// It did, and took too long.
    Slow,
    /// It failed us; it may have said when to come back.
    Failure {
        failure: Failure,
        hint: Option<Duration>,
    },
    /// This says nothing about the destination.
    Ignored,
}

/// When a verdict is given, and with what luck: a number in `[0, 1)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    pub(crate) luck: f64,
}

/// The circuit does not let an attempt through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What is left until the reason is gone; none if only a hand can end it.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) cause: Cause,
}

/// One destination's circuit. Not thread-safe on purpose: its owner has the lock and the clock.
#[derive(Debug)]
pub(crate) struct Circuit {
    rules: Rules,
    phase: Phase,
    /// Bumped by every transition, so that a verdict from before it is recognised as stale.
    generation: u64,
    recent: Recent,
    in_a_row: u32,
    /// How each hop failed last.
    kinds: [Kind; PLACES],
    /// How often it has opened since it was closed.
    openings: u32,
    /// How long it was opened for the last time.
    open_time: Duration,
    cause: Cause,
}

#[derive(Debug)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { probes: Probes, since: Instant },
    Isolated,
}

impl Circuit {
    /// A closed circuit.
    pub(crate) fn new(rules: Rules, now: Instant) -> Self {
        Self {
            rules,
            phase: Phase::Closed,
            generation: 0,
            recent: Recent::new(rules.window, now),
            in_a_row: 0,
            kinds: [Kind::Other; PLACES],
            openings: 0,
            open_time: rules.open_for,
            cause: ISOLATED,
        }
    }

    /// Asks leave to make one attempt at `now`.
    ///
    /// # Errors
    ///
    /// Refuses while the circuit is open or isolated, or while its probes are out. Who asks again
    /// after `retry_after` is not refused for the same reason.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<Permit, Refusal> {
        self.pass(now);
        let lease = self.open_time.max(self.rules.shortest_lease);
        let until = match &mut self.phase {
            Phase::Closed => return Ok(Permit::of(self.generation)),
            Phase::Open { until } => Some(*until),
            Phase::HalfOpen { probes, .. } => match probes.grant(self.rules.probes, now + lease) {
                Ok(id) => {
                    return Ok(Permit {
                        generation: self.generation,
                        probe: Some(id),
                    });
                }
                Err(first_end) => first_end,
            },
            Phase::Isolated => None,
        };
        Err(Refusal {
            retry_after: until.map(|until| until.saturating_duration_since(now)),
            cause: self.cause,
        })
    }

    /// Lets the time pass until `now`: an open time ends, leases run out.
    fn pass(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Open { until } if *until <= now => self.enter(Phase::HalfOpen {
                probes: Probes::default(),
                since: now,
            }),
            Phase::HalfOpen { probes, .. } => {
                if probes.expire(now) >= self.rules.probes {
                    self.close();
                }
            }
            Phase::Closed | Phase::Open { .. } | Phase::Isolated => {}
        }
    }

    /// Learns how a permitted attempt ended.
    ///
    /// A verdict from an earlier generation is ignored: an attempt that left before the outage
    /// knows nothing about whether the outage is over, and its failure is no news. So is that of a
    /// probe whose lease ran out.
    pub(crate) fn settle(&mut self, permit: Permit, verdict: Verdict, at: Moment) {
        if permit.generation != self.generation {
            return;
        }
        match &mut self.phase {
            Phase::Closed => self.judge(verdict, at),
            Phase::HalfOpen { probes, .. } => {
                // Of this generation only probes were permitted.
                if probes.end(permit.probe.unwrap_or_default()) {
                    self.judge_probe(verdict, at);
                }
            }
            // No permit carries a generation that permits nothing.
            Phase::Open { .. } | Phase::Isolated => {}
        }
    }

    /// The attempt was abandoned: it says nothing, and a probe makes room for another at once.
    pub(crate) fn release(&mut self, permit: &Permit) {
        if let Some((probes, id)) = self.probe(permit) {
            probes.end(id);
        }
    }

    /// The answer to a probe has begun, and well: its lease may run out while the body is received.
    pub(crate) fn answered(&mut self, permit: &Permit) {
        if let Some((probes, id)) = self.probe(permit) {
            probes.answer(id);
        }
    }

    /// The probe that a permit is, while its generation lasts.
    fn probe(&mut self, permit: &Permit) -> Option<(&mut Probes, u64)> {
        match &mut self.phase {
            Phase::HalfOpen { probes, .. } if permit.generation == self.generation => {
                Some((probes, permit.probe?))
            }
            Phase::Closed | Phase::Open { .. } | Phase::HalfOpen { .. } | Phase::Isolated => None,
        }
    }

    /// Judges an attempt of a closed circuit. Only a bad one opens it, never a good one.
    fn judge(&mut self, verdict: Verdict, at: Moment) {
        let now = at.now;
        let (opened, hint) = match verdict {
            Verdict::Ignored => return,
            Verdict::Success => {
                self.in_a_row = 0;
                return self.recent.record(Mark::Success, now);
            }
            Verdict::Slow => {
                self.in_a_row = 0;
                self.recent.record(Mark::Slow, now);
                (self.too_slow(now), None)
            }
            Verdict::Failure { failure, hint } => {
                self.in_a_row = self.in_a_row.saturating_add(1);
                self.recent.record(Mark::Failure(failure.hop), now);
                if let Some(kind) = self.kinds.get_mut(place(failure.hop)) {
                    *kind = failure.kind;
                }
                (self.too_many(failure, now), hint)
            }
        };
        if let Some(cause) = opened {
            self.open(cause, hint, at);
        }
    }

    fn judge_probe(&mut self, verdict: Verdict, at: Moment) {
        match verdict {
            Verdict::Ignored => {}
            Verdict::Success => {
                if let Phase::HalfOpen { probes, .. } = &mut self.phase
                    && probes.succeed() >= self.rules.probes
                {
                    self.close();
                }
            }
            Verdict::Slow => {
                let why = Why::SlowProbe;
                self.open(Cause { why, last: None }, None, at);
            }
            Verdict::Failure { failure, hint } => {
                let (why, last) = (Why::Probe, Some(failure));
                self.open(Cause { why, last }, hint, at);
            }
        }
    }

    fn too_many(&mut self, failure: Failure, now: Instant) -> Option<Cause> {
        let last = Some(failure);
        let failed = self.in_a_row;
        if self
            .rules
            .consecutive_failures
            .is_some_and(|most| failed >= most)
        {
            let why = Why::InARow { failed };
            return Some(Cause { why, last });
        }
        let tally = self.recent.tally(now);
        let (failed, attempts) = (tally.failures(), tally.attempts);
        if !self.reaches(failed, attempts, self.rules.failure_ratio) {
            return None;
        }
        let (hop, count) = tally.worst()?;
        let kind = self.kinds.get(place(hop)).copied()?;
        let why = Why::Failed {
            failed,
            attempts,
            worst: (count, Failure { hop, kind }),
        };
        Some(Cause { why, last })
    }

    fn too_slow(&mut self, now: Instant) -> Option<Cause> {
        let ratio = self.rules.slow_ratio?;
        let tally = self.recent.tally(now);
        let (slow, attempts) = (tally.slow, tally.attempts);
        let why = Why::Slow { slow, attempts };
        self.reaches(slow, attempts, ratio)
            .then_some(Cause { why, last: None })
    }

    /// Divided and not multiplied: 3 of 30 is then exactly the 0.1 that somebody wrote.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of attempts are far below 2^53"
    )]
    fn reaches(&self, count: u64, attempts: u64, ratio: f64) -> bool {
        attempts >= u64::from(self.rules.minimum_volume) && count as f64 / attempts as f64 >= ratio
    }

    fn open(&mut self, cause: Cause, hint: Option<Duration>, at: Moment) {
        self.openings = self.openings.saturating_add(1);
        self.open_time = self.rules.open_time(self.openings, hint, at.luck);
        self.cause = cause;
        let until = at.now + self.open_time;
        self.enter(Phase::Open { until });
    }

    /// Refuses everything until [`close`](Self::close).
    pub(crate) fn isolate(&mut self) {
        self.cause = ISOLATED;
        self.enter(Phase::Isolated);
    }

    /// Closes, and forgets everything.
    pub(crate) fn close(&mut self) {
        self.openings = 0;
        self.enter(Phase::Closed);
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation += 1;
        self.recent.clear();
        self.in_a_row = 0;
    }

    pub(crate) fn position(&self) -> Position {
        Position {
            generation: self.generation,
            state: match self.phase {
                Phase::Closed => State::Closed,
                Phase::Open { .. } => State::Open,
                Phase::HalfOpen { .. } => State::HalfOpen,
                Phase::Isolated => State::Isolated,
            },
        }
    }

    /// What it holds beside itself.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        let leases = match &self.phase {
            Phase::HalfOpen { probes, .. } => probes.heap_bytes(),
            Phase::Closed | Phase::Open { .. } | Phase::Isolated => 0,
        };
        leases + self.recent.heap_bytes()
    }

    /// Whether it protects anybody: isolated, or open, or half-open and asked within `grace`.
    pub(crate) fn is_needed(&self, now: Instant, grace: Duration) -> bool {
        match &self.phase {
            Phase::Closed => false,
            Phase::Open { until } => now < *until + grace,
            Phase::HalfOpen { probes, since } => {
                now < *since + grace || probes.any_since(now, grace)
            }
            Phase::Isolated => true,
        }
    }
}

const ISOLATED: Cause = Cause {
    why: Why::Isolated,
    last: None,
};
