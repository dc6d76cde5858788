//! What one call pays into its destination's budget, and takes out of it.

use std::sync::Arc;

use tokio::time::Instant;

use super::bucket::SharedBudget;
use crate::call::Call;
use crate::clock;
use crate::hop::Stage;

/// The account of one call. Dropped, it gives back what was taken for a repeat that was not begun.
pub(crate) struct Account {
    budget: Arc<SharedBudget>,
    /// When the repeat that comes next was paid for.
    paid: Option<Instant>,
    /// The call, while a repeat of it is under way.
    repeating: Option<Call>,
    /// How many attempts had reached the wire before the one that is under way.
    before: u32,
}

impl Account {
    /// A call begins, and pays in.
    pub(crate) fn open(budget: Arc<SharedBudget>, call: &Call, now: Instant) -> Self {
        budget.deposit(now);
        Self {
            before: call.attempt_count(),
            budget,
            paid: None,
            repeating: None,
        }
    }

    /// Pays for a repeat, if there is enough.
    pub(crate) fn withdraw(&mut self, now: Instant) -> bool {
        let affordable = self.budget.withdraw(now);
        if affordable {
            self.paid = Some(now);
        }
        affordable
    }

    /// The repeat begins.
    pub(crate) fn begin(&mut self, call: &Call) {
        self.before = call.attempt_count();
        self.repeating = Some(call.clone());
    }

    /// The attempt ended, and came to the wire, as far as anybody can tell.
    pub(crate) fn end(&mut self, call: &Call) {
        call.count_attempt(self.before);
        if self.repeating.take().is_some() {
            self.charge_connection(call);
        }
        self.paid = None;
    }

    /// A guard below let nothing through. False if something came to the wire all the same.
    pub(crate) fn refused(&mut self, call: &Call) -> bool {
        if call.attempt_count() > self.before {
            return false;
        }
        let now = clock::now();
        match self.paid.take() {
            Some(paid) => self.budget.give_back(paid, now),
            // Nor did the call come to anything: else an open circuit would save up for a storm.
            None => self.budget.take_back(now),
        }
        self.repeating = None;
        true
    }

    /// A connection that only a repeat needed is paid for like a repeat.
    fn charge_connection(&self, call: &Call) {
        if call.attempt_count() == self.before {
            return;
        }
        let last = call.last();
        if last.is_some_and(|tracker| tracker.has_entered(Stage::Connect)) {
            self.budget.charge(clock::now());
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        match (self.paid, self.repeating.take()) {
            (Some(_), Some(call)) => self.charge_connection(&call),
            (Some(paid), None) => self.budget.give_back(paid, clock::now()),
            (None, _) => {}
        }
    }
}
