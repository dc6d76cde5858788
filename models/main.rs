//! Tests the breaker's circuit and the record of an attempt with several threads, in every possible order.
//!
//! Both are compiled into this test by their paths, with loom's primitives in place of the standard ones. A global
//! `--cfg loom` would also change tokio, which does not support it.

#[cfg(test)]
mod hop {
    pub(crate) use sevenhops::{Hop, Kind, hop::Stage};
}

#[cfg(test)]
mod clock {
    pub(crate) fn now() -> tokio::time::Instant {
        tokio::time::Instant::now()
    }

    pub(crate) fn nanos_of(duration: std::time::Duration) -> u64 {
        u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod box_error {
    pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
}

#[cfg(test)]
mod record {
    pub(crate) use crate::attempts::record::Tracker;
}

#[cfg(test)]
mod messages_tests {
    /// The library checks these sentences.
    macro_rules! list {
        ($of:ident: $($sentence:expr),* $(,)?) => {
            fn listed() -> Vec<$of> {
                vec![$($sentence),*]
            }
        };
    }
    pub(crate) use list;
}

#[cfg(test)]
#[path = "attempts.rs"]
mod attempts;

#[cfg(test)]
#[path = "lane.rs"]
mod lane;

#[cfg(test)]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the library uses the rest; the models use only the shared parts"
)]
#[path = "../src/policy/breaker"]
mod breaker {
    pub(crate) mod attempt;
    pub(crate) mod cause;
    pub(crate) mod circuit;
    mod health;
    mod probes;
    mod ramp;
    pub(crate) mod rules;
    pub(crate) mod shared;
    pub(crate) mod state;
    mod window;

    /// Loom's primitives, in place of the standard library's.
    mod sync {
        pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
        pub(super) use loom::sync::{Arc, Mutex};
        pub(super) use std::sync::PoisonError;

        use super::state::{CircuitState, Position};

        /// No transport reports addresses.
        #[derive(Debug, Default)]
        pub(super) struct Opened {}

        /// The value that was published last, by the library's rule.
        #[derive(Debug)]
        pub(super) struct CircuitPublisher(Mutex<Position>);

        impl CircuitPublisher {
            pub(super) fn new() -> Self {
                Self(Mutex::new(Position {
                    generation: 0,
                    state: CircuitState::Closed,
                    opened: None,
                }))
            }

            pub(super) fn publish(&self, position: Position) {
                let mut known = self.0.lock().unwrap();
                if known.generation < position.generation {
                    *known = position;
                }
            }

            pub(super) fn known(&self) -> Position {
                *self.0.lock().unwrap()
            }
        }
    }

    impl shared::SharedCircuit {
        pub(crate) fn published(&self) -> state::Position {
            self.watch.known()
        }
    }

    /// Returns the rules of a circuit that opens at the first failure, for a second.
    pub(crate) fn rules(probes: u32) -> rules::CircuitRules {
        let second = std::time::Duration::from_secs(1);
        rules::CircuitRules {
            failure_ratio: 0.5,
            min_attempts: 1,
            window: rules::FailureWindow::Time(second * 10),
            consecutive_failures: None,
            slow_ratio: None,
            break_duration: second,
            break_duration_factor: 2.0,
            break_durations: None,
            max_break_duration: second * 120,
            recovery: rules::Recovery::Successes(probes),
            shortest_lease: second,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use loom::sync::Arc;
    use loom::thread;
    use tokio::time::Instant;

    use crate::breaker::attempt::{CountedFailure, Moment, Verdict, Weight};
    use crate::breaker::cause::FailureSite;
    use crate::breaker::rules;
    use crate::breaker::shared::{SharedCircuit, Ticket};
    use crate::breaker::state::CircuitState;
    use crate::hop::{Hop, Kind};

    const SECOND: Duration = Duration::from_secs(1);
    const FAILURE: Verdict = Verdict::Failure(CountedFailure {
        failure: FailureSite {
            hop: Some(Hop::Connect),
            kind: Kind::Refused,
        },
        hint: None,
        is_slow: false,
        weight: Weight::Always,
    });

    fn settle(ticket: Ticket, verdict: Verdict, now: Instant) {
        ticket.settle(verdict, Moment { now, luck: 0.0 });
    }

    fn admit(shared: &Arc<SharedCircuit>, now: Instant) -> Option<Ticket> {
        SharedCircuit::admit(Arc::clone(shared), now)
            .ok()
            .map(|(ticket, _)| ticket)
    }

    fn closed(probes: u32, now: Instant) -> Arc<SharedCircuit> {
        Arc::new(SharedCircuit::new(rules(probes), now))
    }

    /// Returns a circuit that is open since `now`.
    fn opened(probes: u32, now: Instant) -> Arc<SharedCircuit> {
        let shared = closed(probes, now);
        settle(admit(&shared, now).unwrap(), FAILURE, now);
        assert_eq!(shared.position().state, CircuitState::Open);
        shared
    }

    fn is_told(shared: &SharedCircuit) {
        assert_eq!(shared.published(), shared.position());
    }

    #[test]
    fn no_more_probes_are_in_flight_than_configured() {
        for probes in [1, 2] {
            loom::model(move || {
                let now = Instant::now();
                let shared = opened(probes, now);
                let asking: Vec<_> = (0..2)
                    .map(|_| {
                        let shared = Arc::clone(&shared);
                        thread::spawn(move || admit(&shared, now + SECOND))
                    })
                    .collect();
                let own = admit(&shared, now + SECOND);
                let others = asking.into_iter().map(|asking| asking.join().unwrap());
                let tickets: Vec<_> = others.chain([own]).flatten().collect();
                assert_eq!(tickets.len(), probes as usize, "probes out");
                is_told(&shared);
            });
        }
    }

    #[test]
    fn expired_lease_cannot_settle() {
        for late in [Verdict::Success, FAILURE] {
            loom::model(move || {
                let now = Instant::now();
                let shared = opened(1, now);
                let lost = admit(&shared, now + SECOND).unwrap();
                let next = admit(&shared, now + 2 * SECOND).unwrap();
                let settling = thread::spawn(move || settle(lost, late, now + 2 * SECOND));
                let asking = {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || admit(&shared, now + 2 * SECOND).is_some())
                };
                assert!(!asking.join().unwrap(), "the probe that took over is out");
                settling.join().unwrap();
                assert_eq!(
                    shared.position().state,
                    CircuitState::HalfOpen,
                    "late verdict"
                );
                settle(next, Verdict::Success, now + 2 * SECOND);
                assert_eq!(shared.position().state, CircuitState::Closed);
                is_told(&shared);
            });
        }
    }

    #[test]
    fn success_from_before_the_outage_never_closes() {
        loom::model(|| {
            let now = Instant::now();
            let shared = closed(1, now);
            let straggler = admit(&shared, now).unwrap();
            let failing = admit(&shared, now).unwrap();
            let late = thread::spawn(move || settle(straggler, Verdict::Success, now));
            // If the success comes first, one of two attempts has failed, which is half of them.
            settle(failing, FAILURE, now);
            let probe = admit(&shared, now + SECOND).unwrap();
            late.join().unwrap();
            assert_eq!(shared.position().state, CircuitState::HalfOpen, "straggler");
            settle(probe, FAILURE, now + SECOND);
            assert_eq!(shared.position().state, CircuitState::Open);
            is_told(&shared);
        });
    }

    #[test]
    fn dropped_permits_always_come_back() {
        for probes in [1, 2] {
            loom::model(move || {
                let now = Instant::now();
                let shared = opened(probes, now);
                let dropping: Vec<_> = (0..2)
                    .map(|_| {
                        let shared = Arc::clone(&shared);
                        thread::spawn(move || drop(admit(&shared, now + SECOND)))
                    })
                    .collect();
                for dropping in dropping {
                    dropping.join().unwrap();
                }
                // No lease has expired, and every probe is available again.
                let tickets: Vec<_> = (0..probes)
                    .filter_map(|_| admit(&shared, now + SECOND))
                    .collect();
                assert_eq!(tickets.len(), probes as usize, "permits that came back");
                for ticket in tickets {
                    settle(ticket, Verdict::Success, now + SECOND);
                }
                assert_eq!(shared.position().state, CircuitState::Closed);
                is_told(&shared);
            });
        }
    }

    #[test]
    fn half_open_is_never_stuck_whatever_its_probe_does() {
        loom::model(|| {
            let now = Instant::now();
            let shared = opened(1, now);
            let probe = admit(&shared, now + SECOND).unwrap();
            let answered = thread::spawn(move || {
                probe.answered();
                drop(probe);
            });
            let other = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || drop(admit(&shared, now + 2 * SECOND)))
            };
            answered.join().unwrap();
            other.join().unwrap();
            assert!(admit(&shared, now + 2 * SECOND).is_some(), "stuck");
            is_told(&shared);
        });
    }

    #[test]
    fn older_state_never_overwrites_a_newer_one() {
        loom::model(|| {
            let now = Instant::now();
            let shared = closed(1, now);
            let isolating = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.isolate())
            };
            let failing = admit(&shared, now);
            if let Some(ticket) = failing {
                settle(ticket, FAILURE, now);
            }
            shared.close();
            isolating.join().unwrap();
            is_told(&shared);
        });
    }
}
