//! The scripts of the breaker, on a virtual clock: F failure, S success, seconds by addition.

use std::error::Error as _;
use std::time::Duration;

use tokio::time::Instant;

use super::cause::Failure;
use super::circuit::{Circuit, Moment, Permit, Refusal, State, Verdict};
use super::rules::{Rules, Window};
use crate::clock;
use crate::hop::{Hop, Kind};

const OPEN_FOR: Duration = Duration::from_secs(30);
const SECS: fn(u64) -> Duration = Duration::from_secs;
const NANO: Duration = Duration::from_nanos(1);

/// Ratio 0.5, window 10 s, at least 4 calls, open for 30 s.
const RULES: Rules = Rules {
    failure_ratio: 0.5,
    minimum_volume: 4,
    window: Window::Time(Duration::from_secs(10)),
    consecutive_failures: None,
    slow_ratio: None,
    open_for: Duration::from_secs(30),
    open_at_most: Duration::from_secs(120),
    probes: 1,
    shortest_lease: Duration::from_secs(5),
};

fn failure(hop: Hop, kind: Kind) -> Verdict {
    let failure = Failure { hop, kind };
    Verdict::Failure {
        failure,
        hint: None,
    }
}

fn refused() -> Verdict {
    failure(Hop::Connect, Kind::Refused)
}

/// A circuit, and the instant its clock counts from.
struct Script {
    circuit: Circuit,
    start: Instant,
}

impl Script {
    fn new(rules: Rules) -> Self {
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

    fn settle(&mut self, permit: Permit, verdict: Verdict, at: Duration) -> State {
        let now = self.at(at);
        self.circuit
            .settle(permit, verdict, Moment { now, luck: 0.0 });
        self.state()
    }

    fn one(&mut self, verdict: Verdict, at: Duration) -> State {
        let permit = self.admit(at).unwrap();
        self.settle(permit, verdict, at)
    }

    /// Plays `"FFS"`, each letter an attempt, all at the same time.
    fn play(&mut self, letters: &str, at: Duration) -> State {
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

    fn state(&self) -> State {
        self.circuit.position().state
    }

    fn retry_after(&mut self, at: Duration) -> Duration {
        self.admit(at).unwrap_err().retry_after.unwrap()
    }

    /// Open since `at`.
    fn opened(rules: Rules, at: Duration) -> Self {
        let mut script = Self::new(rules);
        assert_eq!(script.play("FFFF", at), State::Open);
        script
    }
}

fn play(script: &[(&str, Duration)]) -> State {
    let mut circuit = Script::new(RULES);
    for (letters, at) in script {
        circuit.play(letters, *at);
    }
    circuit.state()
}

#[test]
fn a1_never_opens_on_a_success() {
    assert_eq!(play(&[("FFFS", SECS(0))]), State::Closed);
}

#[test]
fn a3_opens_at_the_fourth_failure_and_refuses_the_next() {
    let mut script = Script::new(RULES);
    assert_eq!(script.play("FFF", SECS(0)), State::Closed);
    let last = failure(Hop::Server, Kind::Unavailable);
    assert_eq!(script.one(last, SECS(0)), State::Open);
    let cause = script.admit(SECS(0)).unwrap_err().cause;
    assert_eq!(cause.source().unwrap().to_string(), "server: unavailable");
}

#[test]
fn a4_opens_at_the_fourth_within_the_window() {
    assert_eq!(play(&[("FFF", SECS(0))]), State::Closed);
    assert_eq!(play(&[("FFF", SECS(0)), ("F", SECS(6))]), State::Open);
}

#[test]
fn a5_opens_at_the_fourth_after_a_success() {
    assert_eq!(play(&[("SFF", SECS(0))]), State::Closed);
    assert_eq!(play(&[("SFFF", SECS(0))]), State::Open);
}

#[test]
fn a6_half_of_them_reaches_the_threshold() {
    assert_eq!(play(&[("SSFF", SECS(0))]), State::Open);
}

#[test]
fn a7_what_was_long_ago_does_not_count() {
    assert_eq!(play(&[("SSF", SECS(0)), ("F", SECS(20))]), State::Closed);
}

#[test]
fn a8_age_of_the_window_is_out() {
    assert_eq!(play(&[("SSF", SECS(0)), ("F", SECS(10))]), State::Closed);
}

#[test]
fn a10_age_just_below_the_window_is_in() {
    let just_before = SECS(10) - NANO;
    assert_eq!(play(&[("FFF", SECS(0)), ("F", just_before)]), State::Open);
}

#[test]
fn a12_quarter_of_them_is_not_enough() {
    assert_eq!(play(&[("SSSF", SECS(0))]), State::Closed);
}

#[test]
fn a13_success_that_fell_out_does_not_hold_it_shut() {
    let just_before = SECS(10) - NANO;
    let script = [("S", SECS(0)), ("SSF", just_before), ("F", SECS(10))];
    assert_eq!(play(&script), State::Open);
}

#[test]
fn a14_too_few_left_in_the_window() {
    let just_before = SECS(10) - NANO;
    let script = [("S", SECS(0)), ("FF", just_before), ("F", SECS(10))];
    assert_eq!(play(&script), State::Closed);
}

#[test]
fn ratio_is_reached_exactly_as_it_was_written() {
    let rules = Rules {
        failure_ratio: 0.1,
        minimum_volume: 30,
        ..RULES
    };
    let mut script = Script::new(rules);
    script.play(&"S".repeat(27), SECS(0));
    assert_eq!(script.play("FF", SECS(0)), State::Closed);
    assert_eq!(script.play("F", SECS(0)), State::Open);
}

#[test]
fn open_until_the_open_time_after_the_opening_failure_then_exactly_one_probe() {
    let mut script = Script::opened(RULES, SECS(1));
    assert!(script.admit(SECS(1) + OPEN_FOR - NANO).is_err());
    let probe = script.admit(SECS(1) + OPEN_FOR).unwrap();
    assert!(probe.is_probe());
    assert_eq!(script.state(), State::HalfOpen);
    assert!(script.admit(SECS(1) + OPEN_FOR).is_err());
    assert_eq!(
        script.settle(probe, Verdict::Success, SECS(32)),
        State::Closed
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
        State::HalfOpen
    );
    assert_eq!(
        script.settle(next, Verdict::Success, SECS(62)),
        State::Closed
    );
}

#[test]
fn lost_probes_late_failure_is_ignored_too() {
    let mut script = Script::opened(RULES, SECS(0));
    let lost = script.admit(SECS(30)).unwrap();
    let _next = script.admit(SECS(60)).unwrap();
    assert_eq!(script.settle(lost, refused(), SECS(61)), State::HalfOpen);
}

#[test]
fn lease_lasts_for_an_attempt_where_that_takes_longer_than_the_open_time() {
    let rules = Rules {
        shortest_lease: SECS(45),
        ..RULES
    };
    let mut script = Script::opened(rules, SECS(0));
    let slow = script.admit(SECS(30)).unwrap();
    assert_eq!(script.retry_after(SECS(60)), SECS(15));
    assert_eq!(
        script.settle(slow, Verdict::Success, SECS(74)),
        State::Closed
    );
}

#[test]
fn probe_whose_body_outlasts_its_lease_was_successful() {
    let mut script = Script::opened(RULES, SECS(0));
    let probe = script.admit(SECS(30)).unwrap();
    script.circuit.answered(&probe);
    assert!(script.admit(SECS(60) - NANO).is_err());
    assert!(!script.admit(SECS(60)).unwrap().is_probe());
    // What it says in the end is late.
    assert_eq!(script.settle(probe, refused(), SECS(61)), State::Closed);
}

#[test]
fn dropped_probe_gives_its_permit_back_at_once() {
    let mut script = Script::opened(RULES, SECS(0));
    let probe = script.admit(SECS(30)).unwrap();
    script.circuit.release(&probe);
    let next = script.admit(SECS(30)).unwrap();
    assert_eq!(
        script.settle(next, Verdict::Success, SECS(30)),
        State::Closed
    );
}

#[test]
fn probe_that_says_nothing_of_the_destination_makes_room_at_once() {
    let mut script = Script::opened(RULES, SECS(0));
    assert_eq!(script.one(Verdict::Ignored, SECS(30)), State::HalfOpen);
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
        State::HalfOpen
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
    assert_eq!(script.settle(over, refused(), SECS(32)), State::Closed);
}

#[test]
fn refusal_tells_the_truth() {
    let mut script = Script::opened(RULES, SECS(0));
    let wait = script.retry_after(SECS(7));
    assert_eq!(wait, SECS(23));
    assert!(script.admit(SECS(7) + wait - NANO).is_err());
    let _probe = script.admit(SECS(7) + wait).unwrap();

    // With the probe out, what is left until its lease ends.
    let wait = script.retry_after(SECS(40));
    assert_eq!(wait, SECS(20));
    assert!(script.admit(SECS(40) + wait).is_ok());
}

#[test]
fn each_reopening_lasts_twice_as_long_up_to_the_cap_and_closing_resets_it() {
    let rules = Rules {
        open_for: SECS(5),
        ..RULES
    };
    let mut script = Script::opened(rules, SECS(0));
    let mut now = SECS(0);
    let mut waits = vec![];
    for _ in 0..8 {
        let wait = script.retry_after(now);
        waits.push(wait.as_secs());
        now += wait;
        assert_eq!(script.one(refused(), now), State::Open);
    }
    // 120 s less the jitter that could be added.
    assert_eq!(waits, [5, 10, 20, 40, 80, 100, 100, 100]);

    now += script.retry_after(now);
    assert_eq!(script.one(Verdict::Success, now), State::Closed);
    script.play("FFFF", now);
    assert_eq!(script.retry_after(now), SECS(5));
}

#[test]
fn jitter_makes_it_up_to_a_fifth_longer_and_never_longer_than_the_cap() {
    let rules = Rules {
        open_for: SECS(5),
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
    // It is spread over the whole range.
    assert!(seen.0 < Duration::from_millis(5_010), "{seen:?}");
    assert!(seen.1 > Duration::from_millis(5_990), "{seen:?}");
}

#[test]
fn open_time_that_is_the_cap_is_kept_whatever_the_luck() {
    let rules = Rules {
        open_for: SECS(120),
        ..RULES
    };
    assert_eq!(rules.open_time(1, None, 0.0), SECS(120));
    assert_eq!(rules.open_time(9, None, 0.999), SECS(120));
}

#[test]
fn servers_hint_on_the_opening_answer_is_honoured_up_to_the_cap() {
    for (hint, expected) in [(10, 30), (45, 45), (120, 120), (86_400, 120)] {
        let mut script = Script::new(RULES);
        script.play("FFF", SECS(0));
        let failure = Failure {
            hop: Hop::Server,
            kind: Kind::Unavailable,
        };
        let hint = Some(SECS(hint));
        script.one(Verdict::Failure { failure, hint }, SECS(0));
        assert_eq!(script.retry_after(SECS(0)), SECS(expected));
    }
    let never_earlier = RULES.open_time(1, Some(SECS(45)), 0.999);
    assert!((SECS(45)..=SECS(54)).contains(&never_earlier));
}

#[test]
fn ten_thousand_successes_then_failures_open_within_the_windows_worth() {
    for (window, most) in [(Window::Count(100), 50), (RULES.window, 10_000)] {
        let mut script = Script::new(Rules { window, ..RULES });
        script.play(&"S".repeat(10_000), SECS(0));
        let mut failures = 0;
        while script.one(refused(), SECS(0)) == State::Closed {
            failures += 1;
        }
        assert_eq!(failures + 1, most);
    }
    let mut script = Script::new(RULES);
    script.play(&"S".repeat(10_000), SECS(0));
    assert_eq!(script.play("FFFF", SECS(10)), State::Open);
}

#[test]
fn failures_in_a_row_open_it_where_that_is_wanted() {
    let rules = Rules {
        consecutive_failures: Some(3),
        minimum_volume: 1_000,
        ..RULES
    };
    let mut script = Script::new(rules);
    assert_eq!(script.play("FFSFF", SECS(0)), State::Closed);
    assert_eq!(script.play("F", SECS(60)), State::Open);
    let cause = script.admit(SECS(60)).unwrap_err().cause;
    assert_eq!(cause.to_string(), "3 attempts in a row failed");
    assert_eq!(cause.source().unwrap().to_string(), "connect: refused");
}

#[test]
fn slow_calls_open_it_over_the_same_window() {
    let rules = Rules {
        slow_ratio: Some(0.75),
        ..RULES
    };
    let mut script = Script::new(rules);
    script.play("S", SECS(0));
    script.one(Verdict::Slow, SECS(0));
    script.one(Verdict::Slow, SECS(0));
    assert_eq!(script.play("S", SECS(1)), State::Closed);
    // The first two have fallen out: 3 of 4.
    let mut script = Script::new(rules);
    script.play("S", SECS(0));
    for _ in 0..3 {
        script.one(Verdict::Slow, SECS(5));
    }
    assert_eq!(script.state(), State::Open);
    let cause = script.admit(SECS(5)).unwrap_err().cause;
    assert_eq!(cause.to_string(), "3 of 4 attempts were slow");
    assert_eq!(script.one(Verdict::Slow, SECS(35)), State::Open);
    let cause = script.admit(SECS(35)).unwrap_err().cause;
    assert_eq!(cause.to_string(), "the probe was slow");
}

#[test]
fn refusal_names_the_hops_that_broke_it() {
    let rules = Rules {
        minimum_volume: 20,
        ..RULES
    };
    let mut script = Script::new(rules);
    script.play("SSSSSSSS", SECS(0));
    script.one(failure(Hop::Server, Kind::Failed), SECS(0));
    for _ in 0..10 {
        script.one(failure(Hop::Connect, Kind::Timeout), SECS(0));
    }
    assert_eq!(script.play("F", SECS(0)), State::Open);
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
fn so_many_probes_are_out_at_once_and_so_many_close() {
    let rules = Rules { probes: 3, ..RULES };
    let mut script = Script::opened(rules, SECS(0));
    let mut probes: Vec<_> = (30..33)
        .map(|second| script.admit(SECS(second)).unwrap())
        .collect();
    // The first lease to end is the first that was given.
    assert_eq!(script.retry_after(SECS(40)), SECS(20));
    for _ in 0..2 {
        let state = script.settle(probes.remove(0), Verdict::Success, SECS(41));
        assert_eq!(state, State::HalfOpen);
        // Only what is still missing may be out.
        assert!(script.admit(SECS(41)).is_err());
    }
    let state = script.settle(probes.remove(0), Verdict::Success, SECS(42));
    assert_eq!(state, State::Closed);
}

#[test]
fn any_probe_that_fails_opens_again() {
    let rules = Rules { probes: 2, ..RULES };
    let mut script = Script::opened(rules, SECS(0));
    let (first, second) = (
        script.admit(SECS(30)).unwrap(),
        script.admit(SECS(30)).unwrap(),
    );
    script.settle(first, Verdict::Success, SECS(31));
    assert_eq!(script.settle(second, refused(), SECS(31)), State::Open);
    assert_eq!(script.retry_after(SECS(31)), SECS(60));
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
        State::Isolated
    );

    script.circuit.close();
    assert!(script.admit(SECS(86_400)).is_ok());
}

#[test]
fn closing_by_hand_forgets_everything() {
    let mut script = Script::new(RULES);
    script.play("FFF", SECS(0));
    script.circuit.close();
    assert_eq!(script.play("FFF", SECS(0)), State::Closed);
    script.play("F", SECS(0));
    script.one(refused(), SECS(30));
    assert_eq!(script.retry_after(SECS(30)), SECS(60));
    script.circuit.close();
    script.play("FFFF", SECS(30));
    assert_eq!(script.retry_after(SECS(30)), OPEN_FOR);
}

#[test]
fn hundred_thousand_transitions_leak_nothing() {
    let mut script = Script::opened(RULES, SECS(0));
    let mut now = SECS(0);
    for _ in 0..50_000 {
        now += script.retry_after(now);
        script.one(refused(), now);
        // Nothing is counted while it is not closed, and the leases are gone.
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
