use std::time::Duration;

use tokio::time::Instant;

use super::budget::{TOKEN, Terms};

/// What calls paid in and repeats took out, each for as long as the budget says.
///
/// Finagle's semantics: the reserve is a constant, and a withdrawal is a negative entry that
/// expires as a deposit does. So a repeat's price comes back after that time, and "at least ten a
/// second" needs no clockwork that drips.
///
/// ```text
///              now
///               │      a slot is a tenth of the time an entry lives
///  ┌──┬──┬──┬──┬┴─┬──┬──┬──┬──┬──┐
///  │ 7│ 8│ 9│10│11│ 2│ 3│ 4│ 5│ 6│   balance = reserve + sum of all slots
///  └──┴──┴──┴──┴──┴──┴──┴──┴──┴──┘
///                  └ emptied when its turn comes: what is in it is then as old as that
/// ```
#[derive(Debug)]
pub(crate) struct Bucket {
    reserve: i64,
    deposit: i64,
    slots: [i64; SLOTS],
    /// The reserve and all slots, so that nobody has to add them up.
    balance: i64,
    current: usize,
    /// When the current slot began.
    since: Instant,
    /// When it ends.
    until: Instant,
    slot: Duration,
}

impl Bucket {
    pub(super) fn new(terms: &Terms, now: Instant) -> Self {
        // Settings are validated before; still, no division by zero.
        let slot = (terms.over() / SLOTS as u32).max(Duration::from_nanos(1));
        Self {
            reserve: terms.reserve(),
            deposit: terms.deposit(),
            slots: [0; SLOTS],
            balance: terms.reserve(),
            current: 0,
            since: now,
            until: now + slot,
            slot,
        }
    }

    /// Follows other terms from now on; all entries stay.
    pub(super) fn follow(&mut self, terms: &Terms, now: Instant) {
        self.turn(now);
        let fresh = Self::new(terms, now);
        if fresh.slot != self.slot {
            (self.since, self.until, self.slot) = (fresh.since, fresh.until, fresh.slot);
        }
        let more = fresh.reserve.saturating_sub(self.reserve);
        self.balance = self.balance.saturating_add(more);
        (self.reserve, self.deposit) = (fresh.reserve, fresh.deposit);
    }

    /// A call pays in.
    pub(crate) fn deposit(&mut self, now: Instant) {
        self.turn(now);
        self.enter(self.deposit);
    }

    /// Takes the price of one repeat, if it is there.
    pub(crate) fn withdraw(&mut self, now: Instant) -> bool {
        self.turn(now);
        let affordable = self.balance >= TOKEN;
        if affordable {
            self.enter(-TOKEN);
        }
        affordable
    }

    /// A call that paid in was not made after all.
    pub(crate) fn take_back(&mut self, now: Instant) {
        self.turn(now);
        self.enter(-self.deposit);
    }

    /// Gives the price of a repeat back that was paid and not made. What was paid so long ago that it
    /// has come back by itself is not given a second time.
    pub(crate) fn give_back(&mut self, paid: Instant, now: Instant) {
        self.turn(now);
        let lives = self.slot * (SLOTS as u32 - 1);
        if now.saturating_duration_since(paid) < lives {
            self.enter(TOKEN);
        }
    }

    /// How many repeats are affordable; below zero where calls were taken back.
    pub(crate) fn balance(&mut self, now: Instant) -> i64 {
        self.turn(now);
        self.balance.div_euclid(TOKEN)
    }

    fn enter(&mut self, units: i64) {
        let slot = &mut self.slots[self.current];
        *slot = slot.saturating_add(units);
        self.balance = self.balance.saturating_add(units);
    }

    /// Moves on to the slot of `now` and empties those that lie between.
    fn turn(&mut self, now: Instant) {
        // Callers that raced for the lock may come a little late: they do not set the clock back.
        if now < self.until {
            return;
        }
        let behind = now.saturating_duration_since(self.since);
        let (behind, slot) = (behind.as_nanos(), self.slot.as_nanos());
        for _ in 0..(behind / slot).min(SLOTS as u128) {
            self.current = (self.current + 1) % SLOTS;
            self.slots[self.current] = 0;
        }
        let into_slot = u64::try_from(behind % slot).unwrap_or(0);
        let since = now.checked_sub(Duration::from_nanos(into_slot));
        self.since = since.unwrap_or(now);
        self.until = self.since + self.slot;
        // Once a slot, so that it costs a call nothing, and no sum that saturated stays wrong.
        let entries = self
            .slots
            .iter()
            .fold(0, |sum: i64, slot| sum.saturating_add(*slot));
        self.balance = self.reserve.saturating_add(entries);
    }
}

/// Entries live a tenth of their time too short at most.
const SLOTS: usize = 10;

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
