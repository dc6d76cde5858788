//! One destination's budget, shared between threads.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::bucket::Bucket;
use super::budget::{Budget, BudgetKind};
use super::reserve::{Throttling, Tokens};
use crate::registry::Entry;

/// The budget of one destination. An unlimited budget keeps no count.
#[derive(Debug)]
pub(crate) struct SharedBudget(Mutex<Counter>);

#[derive(Debug)]
enum Counter {
    Unlimited,
    Rate(Bucket),
    Reserve(Tokens),
    Throttle(Throttling),
}

/// The payment for a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payment {
    at: Instant,
    tokens: u32,
}

impl SharedBudget {
    pub(crate) fn new(budget: Budget, now: Instant) -> Self {
        Self(Mutex::new(Counter::new(budget, now)))
    }

    /// Applies new terms. Spent tokens stay spent, but a budget of another kind begins anew.
    pub(crate) fn follow(&self, budget: Budget, now: Instant) {
        match (&mut *self.counter(), budget.0) {
            (Counter::Unlimited, BudgetKind::Unlimited) => {}
            (Counter::Rate(bucket), BudgetKind::Rate(terms)) => bucket.follow(&terms, now),
            (Counter::Reserve(tokens), BudgetKind::Reserve(terms)) => tokens.follow(terms),
            (Counter::Throttle(throttling), BudgetKind::Throttle(terms)) => {
                throttling.follow(terms)
            }
            (counter, _) => *counter = Counter::new(budget, now),
        }
    }

    /// Pays in for a call. Returns whether the success of the call has to be recorded, too.
    pub(crate) fn deposit(&self, now: Instant) -> bool {
        match &mut *self.counter() {
            Counter::Rate(bucket) => {
                bucket.deposit(now);
                false
            }
            Counter::Unlimited => false,
            Counter::Reserve(_) | Counter::Throttle(_) => true,
        }
    }

    /// Withdraws the price of one retry; `None` if the balance is too low.
    pub(crate) fn withdraw(&self, after_timeout: bool, now: Instant) -> Option<Payment> {
        let tokens = match &mut *self.counter() {
            Counter::Unlimited => Some(0),
            Counter::Rate(bucket) => bucket.withdraw(now).then_some(1),
            Counter::Reserve(tokens) => tokens.withdraw(after_timeout),
            Counter::Throttle(throttling) => throttling.allows().then_some(0),
        };
        tokens.map(|tokens| Payment { at: now, tokens })
    }

    /// Takes back the deposit of a call that was not sent.
    pub(crate) fn take_back(&self, now: Instant) {
        if let Counter::Rate(bucket) = &mut *self.counter() {
            bucket.take_back(now);
        }
    }

    /// Gives back the price of a retry that was paid and not made.
    pub(crate) fn give_back(&self, paid: Payment, now: Instant) {
        match &mut *self.counter() {
            Counter::Rate(bucket) => bucket.give_back(paid.at, now),
            Counter::Reserve(tokens) => tokens.give_back(paid.tokens),
            Counter::Throttle(_) | Counter::Unlimited => {}
        }
    }

    /// Records a failed attempt.
    pub(crate) fn fail(&self) {
        if let Counter::Throttle(throttling) = &mut *self.counter() {
            throttling.fail();
        }
    }

    /// Records a successful call. `paid` is the payment of the retry that succeeded, if it was one.
    pub(crate) fn succeed(&self, paid: Option<Payment>) {
        match &mut *self.counter() {
            Counter::Reserve(tokens) => tokens.give_back(paid.map_or(1, |paid| paid.tokens)),
            Counter::Throttle(throttling) => throttling.succeed(),
            Counter::Rate(_) | Counter::Unlimited => {}
        }
    }

    /// Returns how many retries are affordable; `None` if the budget is unlimited.
    pub(crate) fn balance(&self, now: Instant) -> Option<i64> {
        let balance = match &mut *self.counter() {
            Counter::Unlimited => return None,
            Counter::Rate(bucket) => bucket.balance(now),
            Counter::Reserve(tokens) => tokens.balance(),
            Counter::Throttle(throttling) => throttling.balance(),
        };
        Some(balance)
    }

    /// A panic under the lock leaves counts that are wrong by at most one entry, which is acceptable.
    fn counter(&self) -> MutexGuard<'_, Counter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counter {
    fn new(budget: Budget, now: Instant) -> Self {
        match budget.0 {
            BudgetKind::Unlimited => Self::Unlimited,
            BudgetKind::Rate(terms) => Self::Rate(Bucket::new(&terms, now)),
            BudgetKind::Reserve(terms) => Self::Reserve(Tokens::new(terms)),
            BudgetKind::Throttle(terms) => Self::Throttle(Throttling::new(terms)),
        }
    }
}

/// Never pinned: a budget that was unused for minutes is full again, or almost forgotten.
impl Entry for SharedBudget {}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
