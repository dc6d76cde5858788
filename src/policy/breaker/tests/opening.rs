//! Tests of the conditions that open a circuit, and of the reported cause.

use std::error::Error as _;
use std::time::Duration;

use super::super::attempt::Verdict;
use super::super::rules::{CircuitRules, FailureWindow};
use super::super::state::CircuitState;
use super::{BREAK_DURATION, NANO, RULES, SECS, Script, failure, refused};
use crate::hop::{Hop, Kind};

fn play(script: &[(&str, Duration)]) -> CircuitState {
    let mut circuit = Script::new(RULES);
    for (letters, at) in script {
        circuit.play(letters, *at);
    }
    circuit.state()
}

#[test]
fn never_opens_on_a_success() {
    assert_eq!(play(&[("FFFS", SECS(0))]), CircuitState::Closed);
}

#[test]
fn opens_at_the_fourth_failure_and_refuses_the_next() {
    let mut script = Script::new(RULES);
    assert_eq!(script.play("FFF", SECS(0)), CircuitState::Closed);
    let last = failure(Hop::Server, Kind::Unavailable);
    assert_eq!(script.one(last, SECS(0)), CircuitState::Open);
    let cause = script.admit(SECS(0)).unwrap_err().cause;
    assert_eq!(cause.source().unwrap().to_string(), "server: unavailable");
}

#[test]
fn opens_at_the_fourth_within_the_window() {
    assert_eq!(play(&[("FFF", SECS(0))]), CircuitState::Closed);
    assert_eq!(
        play(&[("FFF", SECS(0)), ("F", SECS(6))]),
        CircuitState::Open
    );
}

#[test]
fn opens_at_the_fourth_after_a_success() {
    assert_eq!(play(&[("SFF", SECS(0))]), CircuitState::Closed);
    assert_eq!(play(&[("SFFF", SECS(0))]), CircuitState::Open);
}

#[test]
fn half_of_them_reaches_the_threshold() {
    assert_eq!(play(&[("SSFF", SECS(0))]), CircuitState::Open);
}

#[test]
fn what_was_long_ago_does_not_count() {
    assert_eq!(
        play(&[("SSF", SECS(0)), ("F", SECS(20))]),
        CircuitState::Closed
    );
}

#[test]
fn age_of_the_window_is_out() {
    assert_eq!(
        play(&[("SSF", SECS(0)), ("F", SECS(10))]),
        CircuitState::Closed
    );
}

#[test]
fn age_just_below_the_window_is_in() {
    let just_before = SECS(10) - NANO;
    assert_eq!(
        play(&[("FFF", SECS(0)), ("F", just_before)]),
        CircuitState::Open
    );
}

#[test]
fn quarter_of_them_is_not_enough() {
    assert_eq!(play(&[("SSSF", SECS(0))]), CircuitState::Closed);
}

#[test]
fn success_that_fell_out_does_not_hold_it_shut() {
    let just_before = SECS(10) - NANO;
    let script = [("S", SECS(0)), ("SSF", just_before), ("F", SECS(10))];
    assert_eq!(play(&script), CircuitState::Open);
}

#[test]
fn too_few_left_in_the_window() {
    let just_before = SECS(10) - NANO;
    let script = [("S", SECS(0)), ("FF", just_before), ("F", SECS(10))];
    assert_eq!(play(&script), CircuitState::Closed);
}

#[test]
fn ratio_is_reached_exactly_as_it_was_written() {
    let rules = CircuitRules {
        failure_ratio: 0.1,
        min_attempts: 30,
        ..RULES
    };
    let mut script = Script::new(rules);
    script.play(&"S".repeat(27), SECS(0));
    assert_eq!(script.play("FF", SECS(0)), CircuitState::Closed);
    assert_eq!(script.play("F", SECS(0)), CircuitState::Open);
}

#[test]
fn ten_thousand_successes_then_failures_open_within_the_windows_worth() {
    for (window, most) in [(FailureWindow::Count(100), 50), (RULES.window, 10_000)] {
        let mut script = Script::new(CircuitRules { window, ..RULES });
        script.play(&"S".repeat(10_000), SECS(0));
        let mut failures = 0;
        while script.one(refused(), SECS(0)) == CircuitState::Closed {
            failures += 1;
        }
        assert_eq!(failures + 1, most);
    }
    let mut script = Script::new(RULES);
    script.play(&"S".repeat(10_000), SECS(0));
    assert_eq!(script.play("FFFF", SECS(10)), CircuitState::Open);
}

#[test]
fn failures_in_a_row_open_it_where_that_is_wanted() {
    let rules = CircuitRules {
        consecutive_failures: Some(3),
        min_attempts: 1_000,
        ..RULES
    };
    let mut script = Script::new(rules);
    assert_eq!(script.play("FFSFF", SECS(0)), CircuitState::Closed);
    assert_eq!(script.play("F", SECS(60)), CircuitState::Open);
    let cause = script.admit(SECS(60)).unwrap_err().cause;
    assert_eq!(cause.to_string(), "3 attempts in a row failed");
    assert_eq!(cause.source().unwrap().to_string(), "connect: refused");
}

#[test]
fn slow_calls_open_it_over_the_same_window() {
    let rules = CircuitRules {
        slow_ratio: Some(0.75),
        ..RULES
    };
    let mut script = Script::new(rules.clone());
    script.play("S", SECS(0));
    script.one(Verdict::Slow, SECS(0));
    script.one(Verdict::Slow, SECS(0));
    assert_eq!(script.play("S", SECS(1)), CircuitState::Closed);
    // The first two have left the window: 3 of 4 failed.
    let mut script = Script::new(rules);
    script.play("S", SECS(0));
    for _ in 0..3 {
        script.one(Verdict::Slow, SECS(5));
    }
    assert_eq!(script.state(), CircuitState::Open);
    let cause = script.admit(SECS(5)).unwrap_err().cause;
    assert_eq!(cause.to_string(), "3 of 4 attempts were slow");
    assert_eq!(script.one(Verdict::Slow, SECS(35)), CircuitState::Open);
    let cause = script.admit(SECS(35)).unwrap_err().cause;
    assert_eq!(cause.to_string(), "the probe was slow");
}

#[test]
fn refusal_names_the_hops_that_broke_it() {
    let rules = CircuitRules {
        min_attempts: 20,
        ..RULES
    };
    let mut script = Script::new(rules);
    script.play("SSSSSSSS", SECS(0));
    script.one(failure(Hop::Server, Kind::ServerError), SECS(0));
    for _ in 0..10 {
        script.one(failure(Hop::Connect, Kind::Timeout), SECS(0));
    }
    assert_eq!(script.play("F", SECS(0)), CircuitState::Open);
    let cause = script.admit(SECS(0)).unwrap_err().cause;
    assert_eq!(
        cause.to_string(),
        "12 of 20 attempts failed, 11 at connect (refused)"
    );
    script.one(failure(Hop::Receive, Kind::Incomplete), SECS(30));
    let cause = script.admit(SECS(30)).unwrap_err().cause;
    assert_eq!(cause.to_string(), "the probe failed");
    assert_eq!(cause.source().unwrap().to_string(), "receive: incomplete");
}

#[test]
fn isolated_circuit_refuses_until_it_is_closed_by_hand() {
    let mut script = Script::new(RULES);
    let straggler = script.admit(SECS(0)).unwrap();
    script.circuit.isolate();
    let refusal = script.admit(SECS(86_400)).unwrap_err();
    assert_eq!(refusal.retry_after, None);
    assert_eq!(refusal.cause.to_string(), "isolated by hand");
    assert!(refusal.cause.source().is_none());
    assert_eq!(
        script.settle(straggler, refused(), SECS(1)),
        CircuitState::Isolated
    );

    script.circuit.close();
    assert!(script.admit(SECS(86_400)).is_ok());
}

#[test]
fn closing_by_hand_forgets_everything() {
    let mut script = Script::new(RULES);
    script.play("FFF", SECS(0));
    script.circuit.close();
    assert_eq!(script.play("FFF", SECS(0)), CircuitState::Closed);
    script.play("F", SECS(0));
    script.one(refused(), SECS(30));
    assert_eq!(script.retry_after(SECS(30)), SECS(60));
    script.circuit.close();
    script.play("FFFF", SECS(30));
    assert_eq!(script.retry_after(SECS(30)), BREAK_DURATION);
}

#[test]
fn hundred_thousand_transitions_leak_nothing() {
    let mut script = Script::opened(RULES, SECS(0));
    let mut now = SECS(0);
    for _ in 0..50_000 {
        now += script.retry_after(now);
        script.one(refused(), now);
        // The circuit counts nothing while it is not closed, and the leases are gone.
        assert_eq!(script.circuit.heap_bytes(), 0);
    }
    assert!(script.circuit.position().generation > 100_000);
}

#[test]
fn circuit_is_needed_while_it_is_not_closed_and_somebody_asks() {
    let grace = SECS(600);
    let mut script = Script::opened(RULES, SECS(0));
    let needed = |script: &Script, at| script.circuit.is_needed(script.at(at), grace);
    assert!(needed(&script, SECS(0)));
    assert!(needed(&script, SECS(630) - NANO));
    assert!(!needed(&script, SECS(630)));
    let probe = script.admit(SECS(100)).unwrap();
    assert!(needed(&script, SECS(730) - NANO));
    assert!(!needed(&script, SECS(730)));
    script.settle(probe, Verdict::Success, SECS(101));
    assert!(!needed(&script, SECS(101)));
    script.circuit.isolate();
    assert!(needed(&script, SECS(86_400)));
}
