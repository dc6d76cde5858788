//! The recent attempts of a circuit, and whether they are a reason to open.

use tokio::time::Instant;

use super::attempt::{CountedFailure, Verdict, Weight};
use super::cause::{FailureSite, OpeningReason, RejectionCause};
use super::rules::{CircuitRules, FailureWindow};
use super::window::{PLACES, Recent, Tally, place};
use crate::hop::{Hop, Kind};

/// The recent attempts of a circuit.
#[derive(Debug)]
pub(super) struct Health {
    recent: Recent,
    in_a_row: u32,
    /// The latest kind of failure at each hop.
    kinds: [Kind; PLACES],
    /// The hop of the latest overload.
    overloaded_at: Option<Hop>,
}

impl Health {
    pub(super) fn new(window: FailureWindow, now: Instant) -> Self {
        Self {
            recent: Recent::new(window, now),
            in_a_row: 0,
            kinds: [Kind::Other; PLACES],
            overloaded_at: None,
        }
    }

    /// Changes the window. The new one begins empty.
    pub(super) fn look_back(&mut self, window: FailureWindow, now: Instant) {
        self.recent = Recent::new(window, now);
    }

    /// Records how an attempt ended, without judging the circuit.
    pub(super) fn note(&mut self, verdict: Verdict, now: Instant) {
        if let Some(mark) = verdict.mark() {
            self.recent.record(mark, now);
        }
    }

    /// Records how an attempt ended. Returns why the circuit has to open, if it has to. Only a failed or slow attempt
    /// opens it. Ratios count from `volume` attempts on.
    pub(super) fn judge(
        &mut self,
        verdict: Verdict,
        (rules, volume): (&CircuitRules, u32),
        now: Instant,
    ) -> Option<RejectionCause> {
        self.note(verdict, now);
        let (last, tally) = match verdict {
            Verdict::Throttled | Verdict::Ignored => return None,
            Verdict::Success => {
                self.in_a_row = 0;
                return None;
            }
            Verdict::Slow => {
                self.in_a_row = 0;
                (None, self.recent.tally(now))
            }
            Verdict::Failure(CountedFailure {
                weight: Weight::Never,
                ..
            }) => return None,
            Verdict::Failure(CountedFailure {
                failure, weight, ..
            }) => {
                if weight == Weight::IfDown {
                    self.overloaded_at = failure.hop;
                }
                let tally = self.recent.tally(now).judged(self.overloaded_at);
                // Otherwise the destination is up but overloaded.
                let counts = weight == Weight::Always || tally.overloaded == 0;
                if let Some(cause) = self.too_many(failure, (rules, counts)) {
                    return Some(cause);
                }
                (Some(failure), tally)
            }
        };
        if tally.attempts < volume {
            return None;
        }
        let by_failures = last.and_then(|_| self.failed_share(&tally, rules.failure_ratio));
        let why = by_failures.or_else(|| slow_share(&tally, rules.slow_ratio));
        why.map(|why| RejectionCause { why, last })
    }

    /// Counts consecutive failures. Returns the cause if there are too many.
    fn too_many(
        &mut self,
        failure: FailureSite,
        (rules, counts): (&CircuitRules, bool),
    ) -> Option<RejectionCause> {
        if let Some(kind) = self.kinds.get_mut(place(failure.hop)) {
            *kind = failure.kind;
        }
        if !counts {
            return None;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        let failed = self.in_a_row;
        let timeout = rules.consecutive_failures;
        let (why, last) = (OpeningReason::InARow { failed }, Some(failure));
        timeout
            .is_some_and(|most| failed >= most)
            .then_some(RejectionCause { why, last })
    }

    fn failed_share(&self, tally: &Tally, ratio: f64) -> Option<OpeningReason> {
        let (failed, attempts) = (tally.failures(), tally.attempts);
        if share(failed, attempts) < ratio {
            return None;
        }
        let (hop, count) = tally.worst()?;
        let kind = self.kinds.get(place(hop)).copied()?;
        Some(OpeningReason::Failed {
            failed,
            attempts,
            worst: (count, FailureSite { hop, kind }),
        })
    }

    pub(super) fn tally(&mut self, now: Instant) -> Tally {
        self.recent.tally(now)
    }

    pub(super) fn clear(&mut self) {
        self.recent.clear();
        self.in_a_row = 0;
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.recent.heap_bytes()
    }
}

fn slow_share(tally: &Tally, ratio: Option<f64>) -> Option<OpeningReason> {
    let Tally { slow, attempts, .. } = *tally;
    let reached = ratio.is_some_and(|ratio| share(slow, attempts) >= ratio);
    reached.then_some(OpeningReason::Slow { slow, attempts })
}

/// Divides instead of multiplying: 3 of 30 is then exactly a configured ratio of 0.1.
pub(super) fn share(count: u32, of: u32) -> f64 {
    f64::from(count) / f64::from(of)
}
