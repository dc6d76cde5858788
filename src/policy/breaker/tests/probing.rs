//! Tests of the probes of an open circuit, and of the verdicts that count.

use std::time::Duration;

use super::super::attempt::{Verdict, Weight};
use super::super::rules::{CircuitRules, Recovery};
use super::super::state::CircuitState;
use super::{BREAK_DURATION, NANO, RULES, SECS, Script, failed, refused};
use crate::hop::{Hop, Kind};

#[test]
fn open_until_the_open_time_after_the_opening_failure_then_exactly_one_probe() {
    let mut script = Script::opened(RULES, SECS(1));
    assert!(script.admit(SECS(1) + BREAK_DURATION - NANO).is_err());
    let probe = script.admit(SECS(1) + BREAK_DURATION).unwrap();
    assert!(probe.is_probe());
    assert_eq!(script.state(), CircuitState::HalfOpen);
    assert!(script.admit(SECS(1) + BREAK_DURATION).is_err());
    assert_eq!(
        script.settle(probe, Verdict::Success, SECS(32)),
        CircuitState::Closed
    );
    assert!(!script.admit(SECS(32)).unwrap().is_probe());
}

#[test]
fn probe_that_never_settles_loses_its_lease_after_one_more_open_time() {
    let mut script = Script::opened(RULES, SECS(0));
    let lost = script.admit(SECS(30)).unwrap();
    assert!(script.admit(SECS(60) - NANO).is_err());
    let next = script.admit(SECS(60)).unwrap();
    assert!(next.is_probe());

    assert_eq!(
        script.settle(lost, Verdict::Success, SECS(61)),
        CircuitState::HalfOpen
    );
    assert_eq!(
        script.settle(next, Verdict::Success, SECS(62)),
        CircuitState::Closed
    );
}

#[test]
fn lost_probes_late_failure_is_ignored_too() {
    let mut script = Script::opened(RULES, SECS(0));
    let lost = script.admit(SECS(30)).unwrap();
    let _next = script.admit(SECS(60)).unwrap();
    assert_eq!(
        script.settle(lost, refused(), SECS(61)),
        CircuitState::HalfOpen
    );
}

#[test]
fn lease_lasts_for_an_attempt_where_that_takes_longer_than_the_open_time() {
    let rules = CircuitRules {
        shortest_lease: SECS(45),
        ..RULES
    };
    let mut script = Script::opened(rules, SECS(0));
    let slow = script.admit(SECS(30)).unwrap();
    assert_eq!(script.retry_after(SECS(60)), SECS(15));
    assert_eq!(
        script.settle(slow, Verdict::Success, SECS(74)),
        CircuitState::Closed
    );
}

#[test]
fn probe_whose_body_outlasts_its_lease_was_successful() {
    let mut script = Script::opened(RULES, SECS(0));
    let probe = script.admit(SECS(30)).unwrap();
    script.circuit.answered(&probe);
    assert!(script.admit(SECS(60) - NANO).is_err());
    assert!(!script.admit(SECS(60)).unwrap().is_probe());
    // Its verdict comes too late.
    assert_eq!(
        script.settle(probe, refused(), SECS(61)),
        CircuitState::Closed
    );
}

#[test]
fn dropped_probe_gives_its_permit_back_at_once() {
    let mut script = Script::opened(RULES, SECS(0));
    let probe = script.admit(SECS(30)).unwrap();
    script.circuit.release(&probe);
    let next = script.admit(SECS(30)).unwrap();
    assert_eq!(
        script.settle(next, Verdict::Success, SECS(30)),
        CircuitState::Closed
    );
}

#[test]
fn probe_that_says_nothing_of_the_destination_makes_room_at_once() {
    let mut script = Script::opened(RULES, SECS(0));
    assert_eq!(
        script.one(Verdict::Ignored, SECS(30)),
        CircuitState::HalfOpen
    );
    assert!(script.admit(SECS(30)).is_ok());
}

#[test]
fn success_from_before_the_outage_does_not_close_the_circuit() {
    let mut script = Script::new(RULES);
    let straggler = script.admit(SECS(0)).unwrap();
    script.play("FFFF", SECS(0));
    let _probe = script.admit(SECS(30)).unwrap();
    assert_eq!(
        script.settle(straggler, Verdict::Success, SECS(31)),
        CircuitState::HalfOpen
    );
}

#[test]
fn failure_from_before_the_outage_neither_extends_nor_reports_it_again() {
    let mut script = Script::new(RULES);
    let (open, probing, over) = (
        script.admit(SECS(0)).unwrap(),
        script.admit(SECS(0)).unwrap(),
        script.admit(SECS(0)).unwrap(),
    );
    script.play("FFFF", SECS(0));
    let before = script.circuit.position();
    script.settle(open, refused(), SECS(20));
    assert_eq!(script.circuit.position(), before);
    assert_eq!(script.retry_after(SECS(20)), SECS(10));

    let probe = script.admit(SECS(30)).unwrap();
    let before = script.circuit.position();
    script.settle(probing, refused(), SECS(31));
    assert_eq!(script.circuit.position(), before);

    script.settle(probe, Verdict::Success, SECS(32));
    script.play("FFF", SECS(32));
    assert_eq!(
        script.settle(over, refused(), SECS(32)),
        CircuitState::Closed
    );
}

#[test]
fn refusal_tells_the_truth() {
    let mut script = Script::opened(RULES, SECS(0));
    let wait = script.retry_after(SECS(7));
    assert_eq!(wait, SECS(23));
    assert!(script.admit(SECS(7) + wait - NANO).is_err());
    let _probe = script.admit(SECS(7) + wait).unwrap();

    // While the probe is in flight, the wait is the rest of its lease.
    let wait = script.retry_after(SECS(40));
    assert_eq!(wait, SECS(20));
    assert!(script.admit(SECS(40) + wait).is_ok());
}

#[test]
fn each_reopening_lasts_twice_as_long_up_to_the_cap_and_closing_resets_it() {
    let rules = CircuitRules {
        break_duration: SECS(5),
        ..RULES
    };
    let mut script = Script::opened(rules, SECS(0));
    let mut now = SECS(0);
    let mut waits = vec![];
    for _ in 0..8 {
        let wait = script.retry_after(now);
        waits.push(wait.as_secs());
        now += wait;
        assert_eq!(script.one(refused(), now), CircuitState::Open);
    }
    // 120 s minus the largest jitter.
    assert_eq!(waits, [5, 10, 20, 40, 80, 100, 100, 100]);

    now += script.retry_after(now);
    assert_eq!(script.one(Verdict::Success, now), CircuitState::Closed);
    script.play("FFFF", now);
    assert_eq!(script.retry_after(now), SECS(5));
}

#[test]
fn jitter_makes_it_up_to_a_fifth_longer_and_never_longer_than_the_cap() {
    let rules = CircuitRules {
        break_duration: SECS(5),
        ..RULES
    };
    let mut luck = fastrand::Rng::with_seed(7);
    let mut seen = (SECS(1_000), SECS(0));
    for _ in 0..10_000 {
        let first = rules.open_time(1, None, luck.f64());
        assert!((SECS(5)..SECS(6)).contains(&first), "{first:?}");
        seen = (seen.0.min(first), seen.1.max(first));
        let last = rules.open_time(u32::MAX, None, luck.f64());
        assert!((SECS(100) - NANO..=SECS(120)).contains(&last), "{last:?}");
    }
    // The jitter covers the whole range.
    assert!(seen.0 < Duration::from_millis(5_010), "{seen:?}");
    assert!(seen.1 > Duration::from_millis(5_990), "{seen:?}");
}

#[test]
fn open_time_that_is_the_cap_is_kept_whatever_the_luck() {
    let rules = CircuitRules {
        break_duration: SECS(120),
        ..RULES
    };
    assert_eq!(rules.open_time(1, None, 0.0), SECS(120));
    assert_eq!(rules.open_time(9, None, 0.999), SECS(120));
}

#[test]
fn servers_hint_on_the_opening_answer_is_honored_up_to_the_cap() {
    for (hint, expected) in [(10, 30), (45, 45), (120, 120), (86_400, 120)] {
        let mut script = Script::new(RULES);
        script.play("FFF", SECS(0));
        let hint = Some(SECS(hint));
        let opening = failed(Hop::Server, Kind::ServerError, Weight::Always, hint);
        script.one(opening, SECS(0));
        assert_eq!(script.retry_after(SECS(0)), SECS(expected));
    }
    let never_earlier = RULES.open_time(1, Some(SECS(45)), 0.999);
    assert!((SECS(45)..=SECS(54)).contains(&never_earlier));
}

#[test]
fn so_many_probes_are_out_at_once_and_so_many_close() {
    let rules = CircuitRules {
        recovery: Recovery::Successes(3),
        ..RULES
    };
    let mut script = Script::opened(rules, SECS(0));
    let mut probes: Vec<_> = (30..33)
        .map(|second| script.admit(SECS(second)).unwrap())
        .collect();
    // The first lease to end is the first that was given.
    assert_eq!(script.retry_after(SECS(40)), SECS(20));
    for _ in 0..2 {
        let state = script.settle(probes.remove(0), Verdict::Success, SECS(41));
        assert_eq!(state, CircuitState::HalfOpen);
        // Only as many probes as are still missing may be in flight.
        assert!(script.admit(SECS(41)).is_err());
    }
    let state = script.settle(probes.remove(0), Verdict::Success, SECS(42));
    assert_eq!(state, CircuitState::Closed);
}

#[test]
fn any_probe_that_fails_opens_again() {
    let rules = CircuitRules {
        recovery: Recovery::Successes(2),
        ..RULES
    };
    let mut script = Script::opened(rules, SECS(0));
    let (first, second) = (
        script.admit(SECS(30)).unwrap(),
        script.admit(SECS(30)).unwrap(),
    );
    script.settle(first, Verdict::Success, SECS(31));
    assert_eq!(
        script.settle(second, refused(), SECS(31)),
        CircuitState::Open
    );
    assert_eq!(script.retry_after(SECS(31)), SECS(60));
}
