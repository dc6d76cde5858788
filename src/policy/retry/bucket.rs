use std::time::Duration;

use tokio::time::Instant;

use super::budget::{TOKEN, Terms};
use crate::clock::nanos_of;

/// The deposits of calls and the withdrawals of retries. Each entry expires after the budget's time.
///
/// This follows Finagle. The reserve is a constant, and a withdrawal is a negative entry that expires as a deposit
/// does. So the price of a retry comes back after that time. "At least ten a second" therefore needs no timer.
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
    slots: [i64; SLOTS],
    /// The sum of the reserve and all slots, kept so that it need not be computed.
    balance: i64,
    /// The end of the current slot.
    until: Instant,
    /// The length of a slot, in nanoseconds.
    slot: u64,
    /// At most that of a ratio of 1,000, which fits.
    deposit: u32,
    current: u8,
}

impl Bucket {
    pub(super) fn new(terms: &Terms, now: Instant) -> Self {
        // The config was validated before. This still rules out a division by zero.
        let slot = (terms.window() / SLOTS as u32).max(Duration::from_nanos(1));
        Self {
            reserve: terms.reserve(),
            slots: [0; SLOTS],
            balance: terms.reserve(),
            until: now + slot,
            slot: nanos_of(slot),
            deposit: u32::try_from(terms.deposit()).unwrap_or(u32::MAX),
            current: 0,
        }
    }

    /// Applies new terms. All entries stay.
    pub(super) fn follow(&mut self, terms: &Terms, now: Instant) {
        self.turn(now);
        let fresh = Self::new(terms, now);
        if fresh.slot != self.slot {
            (self.until, self.slot) = (fresh.until, fresh.slot);
        }
        let more = fresh.reserve.saturating_sub(self.reserve);
        self.balance = self.balance.saturating_add(more);
        (self.reserve, self.deposit) = (fresh.reserve, fresh.deposit);
    }

    /// Pays in for a call.
    pub(crate) fn deposit(&mut self, now: Instant) {
        self.turn(now);
        self.enter(i64::from(self.deposit));
    }

    /// Withdraws the price of one retry. Returns false if the balance is too low.
    pub(crate) fn withdraw(&mut self, now: Instant) -> bool {
        self.turn(now);
        let affordable = self.balance >= TOKEN;
        if affordable {
            self.enter(-TOKEN);
        }
        affordable
    }

    /// Takes back the deposit of a call that was not sent.
    pub(crate) fn take_back(&mut self, now: Instant) {
        self.turn(now);
        self.enter(-i64::from(self.deposit));
    }

    /// Gives back the price of a retry that was paid and not made. A payment that has already expired is not given
    /// back a second time.
    pub(crate) fn give_back(&mut self, paid: Instant, now: Instant) {
        self.turn(now);
        let lives = Duration::from_nanos(self.slot) * (SLOTS as u32 - 1);
        if now.saturating_duration_since(paid) < lives {
            self.enter(TOKEN);
        }
    }

    /// Returns how many retries are affordable. The number is negative if deposits were taken back after they were
    /// spent.
    pub(crate) fn balance(&mut self, now: Instant) -> i64 {
        self.turn(now);
        self.balance.div_euclid(TOKEN)
    }

    fn enter(&mut self, units: i64) {
        let slot = &mut self.slots[usize::from(self.current)];
        *slot = slot.saturating_add(units);
        self.balance = self.balance.saturating_add(units);
    }

    /// Moves on to the slot of `now`, and empties the slots in between.
    fn turn(&mut self, now: Instant) {
        // A caller that waited for the lock may have an older `now`. It does not turn the clock back.
        if now < self.until {
            return;
        }
        let behind = now.saturating_duration_since(self.until);
        let behind = nanos_of(behind);
        for _ in 0..(behind / self.slot).saturating_add(1).min(SLOTS as u64) {
            self.current = (self.current + 1) % SLOTS as u8;
            self.slots[usize::from(self.current)] = 0;
        }
        self.until = now + Duration::from_nanos(self.slot - behind % self.slot);
        // Recomputed once a slot. That costs almost nothing for each call, and corrects a sum that saturated.
        let entries = self
            .slots
            .iter()
            .fold(0, |sum: i64, slot| sum.saturating_add(*slot));
        self.balance = self.reserve.saturating_add(entries);
    }
}

/// An entry lives at most a tenth of its time too short.
const SLOTS: usize = 10;

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
