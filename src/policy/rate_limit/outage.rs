//! Whether the store is asked: pure. After a failure it is asked again only after a pause.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::after;

/// The health of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// `None` while the store responds.
    outage: Option<Outage>,
    silence: Silence,
    /// How often the store has failed or come back.
    changes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outage {
    /// One call asks the store at this instant.
    ask_at: Instant,
    pause: Duration,
}

/// The waits of calls that had less time than the store's timeout, and got no response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Silence {
    /// How long such calls have waited since the latest response. Waits at the same time count once.
    waited: Duration,
    until: Option<Instant>,
}

/// Permits a call to ask the store. A result that came too late changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoreTicket(u32);

/// A change of the health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The store failed: the local share holds from now on.
    Away,
    /// The store responds again.
    Back,
}

impl Change {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Back => "back",
        }
    }
}

impl Health {
    /// Permits a call to ask the store. In an outage only one call does, after each pause. `luck` is in `[0, 1)`.
    pub(super) fn ask(&mut self, now: Instant, luck: f64) -> Option<StoreTicket> {
        if let Some(outage) = &mut self.outage {
            if now < outage.ask_at {
                return None;
            }
            // If the call is dropped, another one asks after this pause.
            let pause = outage.pause.saturating_mul(2).min(LONGEST_PAUSE);
            *outage = Outage::new(pause, now, luck);
        }
        Some(StoreTicket(self.changes))
    }

    /// Records that the store responded.
    pub(super) fn succeed(&mut self, ticket: StoreTicket) -> Option<Change> {
        if ticket.0 != self.changes {
            return None;
        }
        self.silence = Silence::default();
        self.outage.take()?;
        self.changes = self.changes.wrapping_add(1);
        Some(Change::Back)
    }

    /// Records that a call had no more time for the store. One such call says nothing about it. The store counts as away
    /// when such calls have waited as long as its timeout without any response.
    pub(super) fn give_up(
        &mut self,
        ticket: StoreTicket,
        (asked, now): (Instant, Instant),
        (timeout, luck): (Duration, f64),
    ) -> Option<Change> {
        if ticket.0 != self.changes {
            return None;
        }
        let since = self.silence.until.map_or(asked, |until| until.max(asked));
        let wait = now.saturating_duration_since(since);
        self.silence = Silence {
            waited: self.silence.waited.saturating_add(wait),
            until: Some(now),
        };
        match self.silence.waited >= timeout {
            true => self.fail(ticket, now, luck),
            false => None,
        }
    }

    /// Records that the store failed. Only the first failure begins an outage.
    pub(super) fn fail(&mut self, ticket: StoreTicket, now: Instant, luck: f64) -> Option<Change> {
        if ticket.0 != self.changes || self.outage.is_some() {
            return None;
        }
        self.silence = Silence::default();
        self.outage = Some(Outage::new(FIRST_PAUSE, now, luck));
        self.changes = self.changes.wrapping_add(1);
        Some(Change::Away)
    }
}

impl Outage {
    /// The processes of a fleet lose their store at the same time. They must not ask it again at the same time.
    fn new(pause: Duration, now: Instant, luck: f64) -> Self {
        let spread = pause.mul_f64(0.5 + luck / 2.0);
        Self {
            ask_at: after(now, spread),
            pause,
        }
    }
}

/// A restart of the store takes about this long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The quota is not shared until the store is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SECS: fn(u64) -> Duration = Duration::from_secs;
    /// No pause is shortened.
    const UNLUCKY: f64 = 1.0;

    fn away(now: Instant) -> Health {
        let mut health = Health::default();
        let ticket = health.ask(now, UNLUCKY).unwrap();
        assert_eq!(health.fail(ticket, now, UNLUCKY), Some(Change::Away));
        health
    }

    #[test]
    fn store_that_responds_is_asked_by_every_call() {
        let (mut health, now) = (Health::default(), clock::now());
        for _ in 0..3 {
            let ticket = health.ask(now, 0.0).unwrap();
            assert_eq!(health.succeed(ticket), None);
        }
        assert_eq!(health, Health::default());
    }

    #[test]
    fn one_call_asks_after_each_pause_and_the_pauses_grow() {
        let start = clock::now();
        let (mut health, mut now) = (away(start), start);
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            let just_before = now + SECS(pause) - Duration::from_nanos(1);
            assert_eq!(health.ask(just_before, UNLUCKY), None, "{pause}");
            now += SECS(pause);
            let ticket = health.ask(now, UNLUCKY).unwrap();
            assert_eq!(health.ask(now, UNLUCKY), None, "another call at {pause}");
            assert_eq!(health.fail(ticket, now, UNLUCKY), None, "one outage");
        }
    }

    #[test]
    fn pause_is_shortened_by_luck_to_no_less_than_its_half() {
        let now = clock::now();
        let mut health = Health::default();
        let ticket = health.ask(now, 0.0).unwrap();
        health.fail(ticket, now, 0.0);
        assert_eq!(health.ask(now + Duration::from_millis(499), 0.0), None);
        assert!(health.ask(now + Duration::from_millis(500), 0.0).is_some());
    }

    #[test]
    fn response_ends_the_outage_and_the_next_one_begins_anew() {
        let start = clock::now();
        let mut health = away(start);
        let ticket = health.ask(start + SECS(1), UNLUCKY).unwrap();
        assert_eq!(health.succeed(ticket), Some(Change::Back));
        let ticket = health.ask(start + SECS(1), UNLUCKY).unwrap();
        let failed = health.fail(ticket, start + SECS(1), UNLUCKY);
        assert_eq!(failed, Some(Change::Away));
        assert!(health.ask(start + SECS(2), UNLUCKY).is_some());
    }

    #[test]
    fn store_is_away_when_short_calls_have_waited_for_its_timeout() {
        let start = clock::now();
        let at = |ms| start + Duration::from_millis(ms);
        let timeout = Duration::from_millis(100);
        let mut health = Health::default();
        // When a call asks and when it gives up, and whether the store then counts as away. Hours between the calls
        // do not count, and neither do waits at the same time.
        let hours = 7_200_000;
        for (asked, gave_up, is_away) in [
            (0, 40, false),
            (10, 50, false),
            (20, 60, false),
            (hours, hours + 30, false),
            (hours + 40, hours + 60, true),
        ] {
            let ticket = health.ask(at(asked), UNLUCKY).unwrap();
            let change = health.give_up(ticket, (at(asked), at(gave_up)), (timeout, UNLUCKY));
            assert_eq!(change, is_away.then_some(Change::Away), "{asked} {gave_up}");
        }
        assert_eq!(health.ask(at(hours + 61), UNLUCKY), None);
    }

    #[test]
    fn response_ends_the_silence() {
        let start = clock::now();
        let at = |ms| start + Duration::from_millis(ms);
        let timeout = Duration::from_millis(100);
        let mut health = Health::default();
        for round in [0, 1_000, 2_000] {
            let ticket = health.ask(at(round), UNLUCKY).unwrap();
            let waits = (at(round), at(round + 90));
            assert_eq!(health.give_up(ticket, waits, (timeout, UNLUCKY)), None);
            assert_eq!(health.succeed(ticket), None);
        }
    }

    #[test]
    fn late_results_of_earlier_calls_change_nothing() {
        let start = clock::now();
        let mut health = Health::default();
        let early = health.ask(start, UNLUCKY).unwrap();
        let ticket = health.ask(start, UNLUCKY).unwrap();
        assert_eq!(health.fail(ticket, start, UNLUCKY), Some(Change::Away));
        assert_eq!(health.succeed(early), None);
        assert_eq!(health.fail(early, start, UNLUCKY), None);
        assert_eq!(health.ask(start, UNLUCKY), None, "still away");
        let probe = health.ask(start + SECS(1), UNLUCKY).unwrap();
        assert_eq!(health.succeed(probe), Some(Change::Back));
        assert_eq!(health.fail(early, start, UNLUCKY), None);
        assert!(health.ask(start, UNLUCKY).is_some(), "still back");
    }
}
