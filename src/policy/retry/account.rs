//! What one call pays into its destination's budget, and takes out of it.

use std::sync::Arc;

use tokio::time::Instant;

use super::bucket::SharedBudget;
use crate::call::Call;
use crate::clock;

/// The account of one call. Dropped, it gives back what was taken for a repeat that was not begun.
pub(crate) struct Account {
    budget: Arc<SharedBudget>,
    /// When the repeat that comes next was paid for.
    paid: Option<Instant>,
    /// Whether that repeat is under way.
    is_begun: bool,
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
            is_begun: false,
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
        self.is_begun = true;
    }

    /// The attempt ended, and came to the wire, as far as anybody can tell.
    pub(crate) fn end(&mut self, call: &Call) {
        call.count_attempt(self.before);
        self.is_begun = false;
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
        self.is_begun = false;
        true
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some(paid) = self.paid.filter(|_| !self.is_begun) {
            self.budget.give_back(paid, clock::now());
        }
    }
}
