//! Tests of attempts that do not always count: overloads, 503 with a hint, slow attempts, observed attempts.

use std::time::Duration;

use super::super::attempt::{CountedFailure, Verdict, Weight};
use super::super::rules::CircuitRules;
use super::super::state::CircuitState;
use super::{RULES, SECS, Script, failed, refused};
use crate::hop::{Hop, Kind};

/// A 503 without a hint.
fn overload() -> Verdict {
    failed(Hop::Server, Kind::Unavailable, Weight::IfDown, None)
}

fn play(script: &mut Script, verdicts: &[(u32, Verdict)]) -> CircuitState {
    for (count, verdict) in verdicts {
        for _ in 0..*count {
            if script.state() != CircuitState::Closed {
                return script.state();
            }
            script.one(*verdict, SECS(0));
        }
    }
    script.state()
}

#[test]
fn overload_counts_only_while_less_than_a_tenth_succeeds() {
    for (succeeded, overloads, expected) in [
        (0, 4, CircuitState::Open),
        (1, 9, CircuitState::Closed),
        (1, 10, CircuitState::Open),
        (10, 90, CircuitState::Closed),
        (10, 91, CircuitState::Open),
        (30, 60, CircuitState::Closed),
    ] {
        let mut script = Script::new(RULES);
        let verdicts = [(succeeded, Verdict::Success), (overloads, overload())];
        let state = play(&mut script, &verdicts);
        assert_eq!(state, expected, "{succeeded} of {overloads}");
    }
    let mut script = Script::new(RULES);
    play(&mut script, &[(4, overload())]);
    let cause = script.admit(SECS(0)).unwrap_err().cause;
    let expected = "4 of 4 attempts failed, 4 at server (unavailable)";
    assert_eq!(cause.to_string(), expected);
}

#[test]
fn overloads_do_not_hide_other_failures() {
    let mut script = Script::new(RULES);
    let verdicts = [(2, Verdict::Success), (2, overload()), (4, refused())];
    assert_eq!(play(&mut script, &verdicts), CircuitState::Open);
}

#[test]
fn overloads_in_a_row_count_only_where_the_destination_is_down() {
    let rules = CircuitRules {
        min_attempts: 1_000,
        consecutive_failures: Some(3),
        ..RULES
    };
    let mut down = Script::new(rules.clone());
    assert_eq!(play(&mut down, &[(3, overload())]), CircuitState::Open);
    let mut busy = Script::new(rules);
    let verdicts = [(1, Verdict::Success), (8, overload())];
    assert_eq!(play(&mut busy, &verdicts), CircuitState::Closed);
}

#[test]
fn call_for_patience_and_throttling_count_nothing_in_a_closed_circuit() {
    let patience = failed(Hop::Server, Kind::Unavailable, Weight::Never, Some(SECS(1)));
    let mut script = Script::new(RULES);
    let verdicts = [(100, patience), (100, Verdict::Throttled), (3, refused())];
    assert_eq!(play(&mut script, &verdicts), CircuitState::Closed);
    let now = script.at(SECS(0));
    assert_eq!(script.circuit.counts(now).attempts, 3);
}

#[test]
fn slow_failure_is_slow_and_a_failure() {
    let slow = |verdict| match verdict {
        Verdict::Failure(failed) => Verdict::Failure(CountedFailure {
            is_slow: true,
            ..failed
        }),
        other => other,
    };
    let rules = || CircuitRules {
        min_attempts: 10,
        slow_ratio: Some(0.5),
        ..RULES
    };
    // Ten attempts: eight are slow, and half of those fail. So 40 % failed and 80 % were slow.
    let mut script = Script::new(rules());
    let verdicts = [
        (2, Verdict::Success),
        (4, slow(refused())),
        (4, Verdict::Slow),
    ];
    assert_eq!(play(&mut script, &verdicts), CircuitState::Open);
    let cause = script.admit(SECS(0)).unwrap_err().cause;
    assert_eq!(cause.to_string(), "8 of 10 attempts were slow");
    // The same, with a failure as the last attempt.
    let mut script = Script::new(rules());
    let verdicts = [
        (2, Verdict::Success),
        (4, Verdict::Slow),
        (4, slow(refused())),
    ];
    assert_eq!(play(&mut script, &verdicts), CircuitState::Open);
    let mut script = Script::new(rules());
    let verdicts = [(6, Verdict::Success), (4, refused())];
    assert_eq!(
        play(&mut script, &verdicts),
        CircuitState::Closed,
        "none was slow"
    );
}

#[test]
fn observed_attempts_are_counted_and_change_nothing() {
    let mut script = Script::opened(RULES, SECS(0));
    let before = script.circuit.position();
    for verdict in [Verdict::Success, refused(), overload(), Verdict::Ignored] {
        let permit = script.circuit.observe();
        script.settle(permit, verdict, SECS(1));
    }
    assert_eq!(script.circuit.position(), before);
    let now = script.at(SECS(1));
    let counts = script.circuit.counts(now);
    assert_eq!(
        (counts.attempts, counts.failures, counts.overloaded),
        (3, 1, 1)
    );
    assert_eq!(counts.open_left, Some(SECS(29)));
    // A permit of an earlier generation does not count.
    let stale = script.circuit.observe();
    script.circuit.close();
    script.settle(stale, refused(), SECS(1));
    let counts = script.circuit.counts(now);
    assert_eq!((counts.attempts, counts.open_left), (0, None::<Duration>));
}
