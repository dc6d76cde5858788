//! The books of the payments service: the charges, by order and by key. The client's results are compared with them.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// A charge.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Charge {
    pub(crate) order: u32,
    pub(crate) cents: u32,
}

impl Charge {
    /// Whether the card covers it. If not, no try charges anything.
    fn is_covered(&self) -> bool {
        !self.order.is_multiple_of(EVERY_DECLINED)
    }
}

/// The response to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// There is no charge of this order yet: make it now.
    Begin,
    /// It was charged before, for the same key.
    Replay(String),
    /// The first request with this key is still being worked on.
    InProgress,
    /// The key was used for another charge.
    KeyReused,
    /// The card does not cover it.
    Declined,
    /// The order is paid, or is being paid.
    Paid,
}

/// The service's treatment of a second request for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// It finds the first request by its key.
    Keyed,
    /// It refuses the second request.
    Refused,
    /// It charges again.
    Charged,
}

pub(crate) struct Ledger {
    repeats: Repeats,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    keys: HashMap<String, Keyed>,
    /// The charges that were made, in order.
    charges: HashMap<u32, Vec<String>>,
    /// The orders that were charged or are being charged.
    begun: HashSet<u32>,
    made: u32,
    visits: HashMap<u32, Visits>,
    counts: Counts,
}

struct Keyed {
    charge: Charge,
    /// Its charge; none while it is being worked on.
    id: Option<String>,
}

#[derive(Default)]
struct Visits {
    count: u32,
    keys: HashSet<Option<String>>,
}

/// The counts of the server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) slammed: u32,
    pub(crate) shut: u32,
    pub(crate) arrived: u32,
    pub(crate) reset: u32,
    pub(crate) unavailable: u32,
    pub(crate) silent: u32,
    pub(crate) in_progress: u32,
    pub(crate) key_reused: u32,
    pub(crate) declined: u32,
    pub(crate) paid: u32,
    pub(crate) charged: u32,
    /// Charged, and no byte of the response went out.
    pub(crate) lost: u32,
    /// Charged, and the response broke off.
    pub(crate) broken_off: u32,
    /// Answered with the charge that the key had led to before.
    pub(crate) replayed: u32,
}

impl Ledger {
    pub(crate) fn new(repeats: Repeats) -> Self {
        Self {
            repeats,
            book: Mutex::default(),
        }
    }

    /// Counts a request. Returns how many requests for its order came before it.
    pub(crate) fn arrive(&self, charge: &Charge, key: Option<&str>) -> u32 {
        let mut book = self.book();
        book.counts.arrived += 1;
        let visits = book.visits.entry(charge.order).or_default();
        visits.keys.insert(key.map(str::to_owned));
        visits.count += 1;
        visits.count - 1
    }

    /// Returns whether the charge is to be made now. The key is taken in the same step.
    pub(crate) fn begin(&self, charge: &Charge, key: Option<&str>) -> Word {
        let mut book = self.book();
        let key = key.filter(|_| self.repeats == Repeats::Keyed);
        if let Some(key) = key {
            match book.keys.get(key) {
                Some(keyed) if keyed.charge != *charge => {
                    book.counts.key_reused += 1;
                    return Word::KeyReused;
                }
                Some(Keyed { id: Some(id), .. }) => return Word::Replay(id.clone()),
                Some(_) => {
                    book.counts.in_progress += 1;
                    return Word::InProgress;
                }
                None => {}
            }
        }
        if !charge.is_covered() {
            book.counts.declined += 1;
            return Word::Declined;
        }
        if !book.begun.insert(charge.order) && self.repeats == Repeats::Refused {
            book.counts.paid += 1;
            return Word::Paid;
        }
        if let Some(key) = key {
            let charge = charge.clone();
            book.keys.insert(key.to_owned(), Keyed { charge, id: None });
        }
        Word::Begin
    }

    /// The money moves.
    pub(crate) fn charge(&self, charge: &Charge, key: Option<&str>) -> String {
        let mut book = self.book();
        book.made += 1;
        book.counts.charged += 1;
        let id = format!("ch_{}", book.made);
        book.charges
            .entry(charge.order)
            .or_default()
            .push(id.clone());
        if let Some(keyed) = key.and_then(|key| book.keys.get_mut(key)) {
            keyed.id = Some(id.clone());
        }
        id
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.book().counts);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.book().counts
    }

    /// Returns the charges that were made for an order.
    pub(crate) fn charges(&self, order: u32) -> Vec<String> {
        self.book().charges.get(&order).cloned().unwrap_or_default()
    }

    /// Returns how many orders were charged more than once.
    pub(crate) fn charged_twice(&self) -> usize {
        let book = self.book();
        book.charges.values().filter(|ids| ids.len() > 1).count()
    }

    /// Returns how many orders came with more than one key.
    pub(crate) fn with_many_keys(&self) -> usize {
        let book = self.book();
        book.visits.values().filter(|v| v.keys.len() > 1).count()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One card in this number is declined: the service says that it is not charged.
const EVERY_DECLINED: u32 = 25;
