//! Tests of the breaker on a virtual clock. In a script F is a failure, S a success; times are in seconds.

mod opening;
mod probing;
mod recovery;
mod weights;
mod window;

use std::time::Duration;

use tokio::time::Instant;

use super::attempt::{CountedFailure, Moment, Permit, Refusal, Verdict, Weight};
use super::cause::FailureSite;
use super::circuit::Circuit;
use super::rules::{CircuitRules, FailureWindow, Recovery};
use super::state::CircuitState;
use crate::clock;
use crate::hop::{Hop, Kind};

const BREAK_DURATION: Duration = Duration::from_secs(30);
const SECS: fn(u64) -> Duration = Duration::from_secs;
const NANO: Duration = Duration::from_nanos(1);

/// Ratio 0.5, window 10 s, at least 4 calls, open for 30 s.
const RULES: CircuitRules = CircuitRules {
    failure_ratio: 0.5,
    min_attempts: 4,
    window: FailureWindow::Time(Duration::from_secs(10)),
    consecutive_failures: None,
    slow_ratio: None,
    break_duration: Duration::from_secs(30),
    break_duration_factor: 2.0,
    break_durations: None,
    max_break_duration: Duration::from_secs(120),
    recovery: Recovery::Successes(1),
    shortest_lease: Duration::from_secs(5),
};

fn failure(hop: Hop, kind: Kind) -> Verdict {
    failed(hop, kind, Weight::Always, None)
}

fn failed(hop: Hop, kind: Kind, weight: Weight, hint: Option<Duration>) -> Verdict {
    let hop = Some(hop);
    Verdict::Failure(CountedFailure {
        failure: FailureSite { hop, kind },
        hint,
        is_slow: false,
        weight,
    })
}

fn refused() -> Verdict {
    failure(Hop::Connect, Kind::Refused)
}

/// A circuit, and the start of its clock.
struct Script {
    circuit: Circuit,
    start: Instant,
}

impl Script {
    fn new(rules: CircuitRules) -> Self {
        let start = clock::now();
        let circuit = Circuit::new(rules, start);
        Self { circuit, start }
    }

    fn at(&self, since: Duration) -> Instant {
        self.start + since
    }

    fn admit(&mut self, at: Duration) -> Result<Permit, Refusal> {
        let now = self.at(at);
        self.circuit.admit(now)
    }

    fn settle(&mut self, permit: Permit, verdict: Verdict, at: Duration) -> CircuitState {
        let now = self.at(at);
        self.circuit
            .settle(permit, verdict, Moment { now, luck: 0.0 });
        self.state()
    }

    fn one(&mut self, verdict: Verdict, at: Duration) -> CircuitState {
        let permit = self.admit(at).unwrap();
        self.settle(permit, verdict, at)
    }

    /// Plays a script such as `"FFS"`. Each letter is an attempt, and all happen at the same time.
    fn play(&mut self, letters: &str, at: Duration) -> CircuitState {
        for letter in letters.chars() {
            let verdict = if letter == 'F' {
                refused()
            } else {
                Verdict::Success
            };
            self.one(verdict, at);
        }
        self.state()
    }

    fn state(&self) -> CircuitState {
        self.circuit.position().state
    }

    fn retry_after(&mut self, at: Duration) -> Duration {
        self.admit(at).unwrap_err().retry_after.unwrap()
    }

    /// Returns a circuit that has been open since `at`.
    fn opened(rules: CircuitRules, at: Duration) -> Self {
        let mut script = Self::new(rules);
        assert_eq!(script.play("FFFF", at), CircuitState::Open);
        script
    }
}
