//! One destination's budget between threads.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::bucket::Bucket;
use super::budget::{Budget, Kind};
use super::reserve::{Throttling, Tokens};
use crate::registry::Entry;

/// One destination's budget, shared by its retries; a budget without limits keeps no count.
#[derive(Debug)]
pub(crate) struct SharedBudget(Option<Mutex<Counter>>);

#[derive(Debug)]
enum Counter {
    Rate(Bucket),
    Reserve(Tokens),
    Throttle(Throttling),
}

/// What was paid for a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payment {
    at: Instant,
    tokens: u32,
}

impl SharedBudget {
    pub(crate) fn new(budget: Budget, now: Instant) -> Self {
        let counter = match budget.0 {
            Kind::Unlimited => return Self(None),
            Kind::Rate(terms) => Counter::Rate(Bucket::new(&terms, now)),
            Kind::Reserve(terms) => Counter::Reserve(Tokens::new(terms)),
            Kind::Throttle(terms) => Counter::Throttle(Throttling::new(terms)),
        };
        Self(Some(Mutex::new(counter)))
    }

    /// A call pays in.
    pub(crate) fn deposit(&self, now: Instant) {
        if let Some(Counter::Rate(bucket)) = self.counter().as_deref_mut() {
            bucket.deposit(now);
        }
    }

    /// Takes the price of one retry, if it is there.
    pub(crate) fn withdraw(&self, after_timeout: bool, now: Instant) -> Option<Payment> {
        let tokens = match self.counter().as_deref_mut() {
            None => Some(0),
            Some(Counter::Rate(bucket)) => bucket.withdraw(now).then_some(1),
            Some(Counter::Reserve(tokens)) => tokens.withdraw(after_timeout),
            Some(Counter::Throttle(throttling)) => throttling.allows().then_some(0),
        };
        tokens.map(|tokens| Payment { at: now, tokens })
    }

    /// A call that paid in was not made after all.
    pub(crate) fn take_back(&self, now: Instant) {
        if let Some(Counter::Rate(bucket)) = self.counter().as_deref_mut() {
            bucket.take_back(now);
        }
    }

    /// Gives the price of a retry back that was paid and not made.
    pub(crate) fn give_back(&self, paid: Payment, now: Instant) {
        match self.counter().as_deref_mut() {
            Some(Counter::Rate(bucket)) => bucket.give_back(paid.at, now),
            Some(Counter::Reserve(tokens)) => tokens.give_back(paid.tokens),
            Some(Counter::Throttle(_)) | None => {}
        }
    }

    /// An attempt failed.
    pub(crate) fn fail(&self) {
        if let Some(Counter::Throttle(throttling)) = self.counter().as_deref_mut() {
            throttling.fail();
        }
    }

    /// A call succeeded, by a retry that was paid for or at once.
    pub(crate) fn succeed(&self, paid: Option<Payment>) {
        match self.counter().as_deref_mut() {
            Some(Counter::Reserve(tokens)) => tokens.give_back(paid.map_or(1, |paid| paid.tokens)),
            Some(Counter::Throttle(throttling)) => throttling.succeed(),
            Some(Counter::Rate(_)) | None => {}
        }
    }

    /// How many retries are affordable; `None` if there is no limit.
    pub(crate) fn balance(&self, now: Instant) -> Option<i64> {
        let balance = match &mut *self.counter()? {
            Counter::Rate(bucket) => bucket.balance(now),
            Counter::Reserve(tokens) => tokens.balance(),
            Counter::Throttle(throttling) => throttling.balance(),
        };
        Some(balance)
    }

    /// A panic under the lock leaves numbers that are right to one entry: good enough to go on.
    fn counter(&self) -> Option<MutexGuard<'_, Counter>> {
        let counter = self.0.as_ref()?;
        Some(counter.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entry for SharedBudget {
    /// Never: a budget that was not used for minutes is full again, or as good as forgotten.
    fn is_pinned(&self, _now: Instant) -> bool {
        false
    }
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
