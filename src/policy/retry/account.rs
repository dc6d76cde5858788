//! What one call pays into its destination's budget, and takes out of it.

use std::sync::Arc;

use tokio::time::Instant;

use super::shared::{Payment, SharedBudget};
use crate::call::Call;
use crate::clock;

/// The account of one call. Dropped, it gives back what was taken for a repeat that was not begun.
pub(crate) struct Account {
    budget: Arc<SharedBudget>,
    /// What was paid for the retry that comes next.
    paid: Option<Payment>,
    /// What was paid for the retry that ended last.
    spent: Option<Payment>,
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
            spent: None,
            is_begun: false,
        }
    }

    /// Pays for a repeat, if there is enough.
    pub(crate) fn withdraw(&mut self, after_timeout: bool, now: Instant) -> bool {
        let payment = self.budget.withdraw(after_timeout, now);
        if payment.is_some() {
            self.paid = payment;
        }
        payment.is_some()
    }

    /// An attempt failed.
    pub(crate) fn fail(&self) {
        self.budget.fail();
    }

    /// The call succeeded with the attempt that ended last.
    pub(crate) fn succeed(&mut self) {
        self.budget.succeed(self.spent.take());
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
        self.spent = self.paid.take();
    }

    /// A policy below let nothing through. False if something came to the wire all the same.
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
