//! One call's payments into its destination's budget, and its withdrawals.

use std::sync::Arc;

use tokio::time::Instant;

use super::shared::{Payment, SharedBudget};
use crate::call::Call;
use crate::clock;

/// The account of one call. If it is dropped, it gives back the payment for a retry that was not begun.
pub(crate) struct Account {
    budget: Arc<SharedBudget>,
    /// The payment for the next retry.
    paid: Option<Payment>,
    /// The payment for the latest retry that ended.
    spent: Option<Payment>,
    /// Whether the paid retry is in flight.
    is_begun: bool,
    /// Whether a success changes the budget.
    counts_successes: bool,
    /// The number of attempts that had reached the wire before the current one.
    before: u32,
}

impl Account {
    /// Opens the account at the start of a call, and pays in.
    pub(crate) fn open(budget: Arc<SharedBudget>, call: &Call, now: Instant) -> Self {
        let mut account = Self::join(budget, call);
        account.counts_successes = account.budget.deposit(now);
        account
    }

    /// Opens another account of a call that has paid in already.
    pub(crate) fn join(budget: Arc<SharedBudget>, call: &Call) -> Self {
        Self {
            before: call.attempt_count(),
            budget,
            paid: None,
            spent: None,
            is_begun: false,
            counts_successes: true,
        }
    }

    /// Pays for a retry. If the retry goes to another destination, the budget there pays. Returns false if the budget
    /// does not allow it.
    pub(crate) fn withdraw(
        &mut self,
        elsewhere: Option<Arc<SharedBudget>>,
        after_timeout: bool,
        now: Instant,
    ) -> bool {
        let budget = elsewhere.as_ref().unwrap_or(&self.budget);
        let payment = budget.withdraw(after_timeout, now);
        if payment.is_some() {
            self.paid = payment;
            self.counts_successes |= elsewhere.is_some();
            self.budget = elsewhere.unwrap_or_else(|| Arc::clone(&self.budget));
        }
        payment.is_some()
    }

    /// Pays for an attempt beside the one in flight; `None` if the budget does not allow it.
    pub(crate) fn pay_beside(&self, now: Instant) -> Option<Payment> {
        self.budget.withdraw(false, now)
    }

    /// Returns the payment for an attempt that was not begun.
    pub(crate) fn give_back(&self, paid: Payment, now: Instant) {
        self.budget.give_back(paid, now);
    }

    /// Records that an attempt begins beside the one in flight.
    pub(crate) fn begin_beside(&mut self, call: &Call) {
        self.count(call);
        self.before = call.attempt_count();
    }

    /// Records that the attempt beside did not begin: the latest one is that before which this number of attempts began.
    pub(crate) fn take_back_beside(&mut self, before: u32) {
        self.before = before;
    }

    /// Counts an attempt that ended beside others, as far as no record has counted it.
    pub(crate) fn count(&self, call: &Call) {
        call.count_attempt(self.before);
    }

    /// Returns how many attempts of this leg have begun. The current one counts, even if nothing has counted it yet.
    pub(crate) fn begun(&self, call: &Call) -> u32 {
        let begun = call.attempt_count().max(self.before.saturating_add(1));
        begun.saturating_sub(call.attempts_before_leg())
    }

    /// Returns how many attempts of this leg were counted since the current one began: a layer below may send more.
    pub(crate) fn counted(&self, call: &Call) -> u32 {
        let before = self.before.max(call.attempts_before_leg());
        call.attempt_count().saturating_sub(before)
    }

    /// Records that the attempt with this payment is the one that counts.
    pub(crate) fn take_over(&mut self, paid: Payment) {
        self.paid = Some(paid);
        self.is_begun = true;
    }

    /// Moves to the budget of another destination, because a policy rejected the attempt at this one, and nothing was
    /// sent. Returns false if that budget does not allow the retry.
    pub(crate) fn pass_over(&mut self, to: Arc<SharedBudget>) -> bool {
        let now = clock::now();
        match self.paid {
            Some(paid) => {
                let Some(payment) = to.withdraw(false, now) else {
                    return false;
                };
                self.budget.give_back(paid, now);
                self.paid = Some(payment);
                self.counts_successes = true;
            }
            None => {
                self.budget.take_back(now);
                self.counts_successes = to.deposit(now);
            }
        }
        self.is_begun = false;
        self.budget = to;
        true
    }

    /// Records a failed attempt.
    pub(crate) fn fail(&self) {
        self.budget.fail();
    }

    /// Records that the call succeeded with its latest attempt.
    pub(crate) fn succeed(&mut self) {
        if self.counts_successes {
            self.budget.succeed(self.spent.take());
        }
    }

    /// Records that the next attempt asks the policies. It may still wait for them.
    pub(crate) fn prepare(&mut self, call: &Call) {
        self.before = call.attempt_count();
    }

    /// Records that the policies admitted the attempt.
    pub(crate) fn begin(&mut self) {
        self.is_begun = true;
    }

    /// Records that the attempt ended, and that it reached the wire as far as is known.
    pub(crate) fn end(&mut self, call: &Call) {
        call.count_attempt(self.before);
        self.is_begun = false;
        self.spent = self.paid.take();
    }

    /// Records that a policy below rejected the attempt. Returns false if something reached the wire nevertheless.
    pub(crate) fn refused(&mut self, call: &Call) -> bool {
        if call.attempt_count() > self.before {
            return false;
        }
        let now = clock::now();
        match self.paid.take() {
            Some(paid) => self.budget.give_back(paid, now),
            // The call sent nothing either, so its deposit goes back. Otherwise an open circuit would save up for a
            // burst.
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
