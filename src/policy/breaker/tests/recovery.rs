//! Tests of the ways from half-open to closed, and of the open time.

use std::sync::Arc;
use std::time::Duration;

use super::super::attempt::{Verdict, Weight};
use super::super::rules::{CircuitRules, Recovery};
use super::super::state::CircuitState;
use super::{RULES, SECS, Script, failed, refused};
use crate::hop::{Hop, Kind};

const RATIO: Recovery = Recovery::Ratio {
    probes: 4,
    failure_ratio: 0.5,
};
const RAMP: Recovery = Recovery::Ramp {
    step: Duration::from_secs(10),
};

fn half_open(recovery: Recovery) -> Script {
    let rules = CircuitRules { recovery, ..RULES };
    Script::opened(rules, SECS(0))
}

#[test]
fn probes_that_are_judged_together_may_fail_below_the_ratio() {
    for (letters, expected) in [
        ("SSSF", CircuitState::Closed),
        ("FSSS", CircuitState::Closed),
        ("SFF", CircuitState::Open),
        ("FF", CircuitState::Open),
        ("SSS", CircuitState::HalfOpen),
        ("SF", CircuitState::HalfOpen),
    ] {
        let mut script = half_open(RATIO);
        assert_eq!(script.play(letters, SECS(30)), expected, "{letters}");
    }
    let mut script = half_open(RATIO);
    script.play("FF", SECS(30));
    let cause = script.admit(SECS(30)).unwrap_err().cause;
    assert_eq!(cause.to_string(), "2 of 4 probes failed");
}

#[test]
fn no_more_probes_are_judged_together_than_there_are() {
    let mut script = half_open(RATIO);
    let mut probes: Vec<_> = (0..4).map(|_| script.admit(SECS(30)).unwrap()).collect();
    assert!(script.admit(SECS(30)).is_err());
    script.settle(probes.remove(0), refused(), SECS(31));
    assert!(script.admit(SECS(31)).is_err(), "one of four has ended");
    // A lost probe makes room for another.
    let lost = probes.remove(0);
    script.circuit.release(&lost);
    assert!(script.admit(SECS(31)).is_ok());
}

#[test]
fn slow_probe_counts_as_a_failure_among_others() {
    let mut script = half_open(RATIO);
    assert_eq!(script.one(Verdict::Slow, SECS(30)), CircuitState::HalfOpen);
    assert_eq!(script.one(Verdict::Slow, SECS(30)), CircuitState::Open);
}

/// Returns how many of `calls` calls go through at this time. Each of them succeeds.
fn admitted(script: &mut Script, calls: u32, at: Duration) -> u32 {
    let through = (0..calls).filter(|_| match script.admit(at) {
        Ok(permit) => {
            script.settle(permit, Verdict::Success, at);
            true
        }
        Err(_) => false,
    });
    u32::try_from(through.count()).unwrap()
}

#[test]
fn ramp_lets_a_growing_share_of_the_calls_through() {
    let mut script = half_open(RAMP);
    script.one(Verdict::Success, SECS(30));
    for (at, through) in [(30, 10), (40, 25), (50, 50), (59, 50), (60, 100)] {
        let admitted = admitted(&mut script, 100, SECS(at));
        assert_eq!(admitted, through, "at {at} s");
    }
    assert_eq!(script.state(), CircuitState::Closed);
}

#[test]
fn refusal_on_a_ramp_says_when_all_calls_go_through() {
    let mut script = half_open(RAMP);
    script.one(Verdict::Success, SECS(30));
    assert_eq!(
        admitted(&mut script, 1, SECS(35)),
        1,
        "the first one of a share"
    );
    assert_eq!(script.retry_after(SECS(35)), SECS(25));
    assert_eq!(script.state(), CircuitState::HalfOpen);
    assert!(script.admit(SECS(60)).is_ok());
}

#[test]
fn failures_on_a_ramp_open_it_again_for_longer() {
    let mut script = half_open(RAMP);
    script.one(Verdict::Success, SECS(30));
    let mut failed = 0;
    while script.state() == CircuitState::HalfOpen {
        if let Ok(permit) = script.admit(SECS(31)) {
            script.settle(permit, refused(), SECS(31));
            failed += 1;
        }
    }
    // Four is the minimum volume of these rules: a single failure may be chance.
    assert_eq!(failed, 4);
    assert_eq!(script.retry_after(SECS(31)), SECS(60));
}

#[test]
fn ramp_that_is_left_alone_is_forgotten() {
    let mut script = half_open(RAMP);
    script.one(Verdict::Success, SECS(30));
    let needed = |script: &Script, at| script.circuit.is_needed(script.at(at), SECS(600));
    assert!(needed(&script, SECS(659)));
    assert!(!needed(&script, SECS(660)));
}

#[test]
fn new_addresses_half_open_it_at_once() {
    let mut script = Script::opened(RULES, SECS(0));
    let now = script.at(SECS(1));
    script.circuit.half_open_early(now);
    assert!(script.admit(SECS(1)).unwrap().is_probe());
    assert!(script.admit(SECS(1)).is_err());
    // A circuit in another state does not change.
    let mut closed = Script::new(RULES);
    let before = closed.circuit.position();
    let now = closed.at(SECS(0));
    closed.circuit.half_open_early(now);
    assert_eq!(closed.circuit.position(), before);
}

#[test]
fn open_time_grows_by_a_factor_or_by_a_list() {
    let times =
        |rules: CircuitRules| [1, 2, 3, 4, 99].map(|nth| rules.open_time(nth, None, 0.0).as_secs());
    let base = || CircuitRules {
        break_duration: SECS(5),
        ..RULES
    };
    assert_eq!(times(base()), [5, 10, 20, 40, 100]);
    let slower = CircuitRules {
        break_duration_factor: 1.0,
        ..base()
    };
    assert_eq!(times(slower), [5; 5]);
    let faster = CircuitRules {
        break_duration_factor: 3.0,
        ..base()
    };
    assert_eq!(times(faster), [5, 15, 45, 100, 100]);
    let listed: Arc<[Duration]> = [1, 2, 30].map(SECS).into();
    let listed = CircuitRules {
        break_durations: Some(listed),
        ..base()
    };
    assert_eq!(times(listed), [1, 2, 30, 30, 30]);
}

#[test]
fn half_open_closes_by_a_throttling_and_opens_by_every_failure() {
    let hint = Some(SECS(45));
    let patience = failed(Hop::Server, Kind::Unavailable, Weight::Never, hint);
    let overload = failed(Hop::Server, Kind::Unavailable, Weight::IfDown, None);
    for (verdict, expected, open) in [
        (Verdict::Throttled, CircuitState::Closed, None),
        (Verdict::Success, CircuitState::Closed, None),
        (overload, CircuitState::Open, Some(SECS(60))),
        (patience, CircuitState::Open, Some(SECS(60))),
        (Verdict::Ignored, CircuitState::HalfOpen, None),
    ] {
        let mut script = Script::opened(RULES, SECS(0));
        assert_eq!(script.one(verdict, SECS(30)), expected, "{verdict:?}");
        if let Some(open) = open {
            assert_eq!(script.retry_after(SECS(30)), open, "{verdict:?}");
        }
    }
    let long = failed(
        Hop::Server,
        Kind::Unavailable,
        Weight::Never,
        Some(SECS(90)),
    );
    let mut script = Script::opened(RULES, SECS(0));
    script.one(long, SECS(30));
    assert_eq!(
        script.retry_after(SECS(30)),
        SECS(90),
        "as long as the hint"
    );
}

#[test]
fn new_recovery_begins_its_probes_anew() {
    let lenient = CircuitRules {
        recovery: Recovery::Ratio {
            probes: 10,
            failure_ratio: 0.9,
        },
        ..RULES
    };
    let strict = Recovery::Ratio {
        probes: 5,
        failure_ratio: 0.5,
    };
    let ramp = Recovery::Ramp { step: SECS(1) };
    for recovery in [Recovery::Successes(3), strict, ramp] {
        let mut script = Script::opened(lenient.clone(), SECS(0));
        for _ in 0..5 {
            assert_eq!(script.one(refused(), SECS(30)), CircuitState::HalfOpen);
        }
        let old = script.admit(SECS(30)).unwrap();
        let rules = CircuitRules { recovery, ..RULES };
        script.circuit.follow(rules, script.at(SECS(31)));
        let probe = script
            .admit(SECS(31))
            .expect("a circuit without a timer probes");
        assert!(probe.is_probe(), "{recovery:?}");
        script.settle(old, refused(), SECS(31));
        assert_eq!(script.state(), CircuitState::HalfOpen, "{recovery:?}");
        script.settle(probe, refused(), SECS(31));
        let closed = script.state() == CircuitState::Closed;
        assert!(!closed, "{recovery:?}");
    }
    // The same recovery goes on.
    let mut script = Script::opened(lenient.clone(), SECS(0));
    let probe = script.admit(SECS(30)).unwrap();
    script.circuit.follow(lenient, script.at(SECS(31)));
    for _ in 0..9 {
        script.one(Verdict::Success, SECS(31));
    }
    assert_eq!(
        script.settle(probe, Verdict::Success, SECS(31)),
        CircuitState::Closed
    );
}
