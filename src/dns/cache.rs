//! The cache of names: bounded and pure. It has no lock and no clock; time and random numbers are arguments.
//!
//! Expired entries stay until their place is needed. They show whether a family is worth waiting for, and whether a new
//! response is a change. While the servers fail, they are better than nothing.
//!
//! Names are evicted by use. They are in a queue, and the first one is evicted. If it was used since it came to the
//! front, it goes to the back instead. Names that a live destination holds also go to the back; they are evicted only
//! if all names are held.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::error::LookupFailure;
use super::merge::{FamilyState, MergedAnswer, compose};
use super::query::QueryOutcome;
use super::record::{CachePolicy, CachedRecord};
use super::{Family, NameHold, Question};

/// A bounded cache of names.
#[derive(Debug)]
pub(crate) struct Cache {
    rules: CachePolicy,
    entries: HashMap<Arc<str>, CacheEntry>,
    /// All names. The next one to be evicted is in front.
    queue: VecDeque<Arc<str>>,
}

impl Cache {
    pub(crate) fn new(rules: CachePolicy) -> Self {
        Self {
            rules,
            entries: HashMap::new(),
            queue: VecDeque::new(),
        }
    }

    /// Returns the last result for one family of `name`, fresh or not.
    pub(crate) fn latest(&self, name: &str, family: Family) -> Option<&CachedRecord> {
        self.entries.get(name)?.families[family.index()].as_ref()
    }

    /// Returns whether `name` has addresses of either family that a lookup may use, fresh or old.
    pub(crate) fn has_addresses(&self, name: &str, now: Instant) -> bool {
        let latest = Family::BOTH.map(|family| self.latest(name, family));
        let mut latest = latest.into_iter().flatten();
        latest.any(|latest| latest.has_addresses(now))
    }

    /// Records that a known name was looked up again.
    pub(crate) fn mark_used(&self, name: &str) {
        if let Some(entry) = self.entries.get(name) {
            entry.used.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn hold(&self, name: &str) -> Option<NameHold> {
        let entry = self.entries.get(name)?;
        Some(NameHold::new(Arc::clone(&entry.token)))
    }

    /// Returns whether a result for one family of `name` is worth waiting for.
    pub(crate) fn is_worth_waiting(&self, name: &str, family: Family, now: Instant) -> bool {
        self.rules.is_worth_waiting(self.latest(name, family), now)
    }

    /// Returns whether `name` may be queried because of doubt: at most once a second. The age of the last result does
    /// not matter: it may come from the moment just before the addresses changed.
    pub(crate) fn may_doubt(&self, name: &str, now: Instant) -> bool {
        let entry = self.entries.get(name);
        entry.is_some_and(|entry| entry.doubted.is_none_or(|at| at + DOUBT <= now))
    }

    /// Records that `name` is queried because of doubt.
    pub(crate) fn doubt(&mut self, name: &str, now: Instant) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.doubted = Some(now);
        }
    }

    /// Returns whether the last query for one family of `name` failed recently.
    pub(crate) fn is_failing(&self, name: &str, family: Family, now: Instant) -> bool {
        let latest = self.latest(name, family);
        latest.is_some_and(|latest| self.rules.is_failing(latest, now))
    }

    /// Returns the DNS answer for `name` that needs no query, and how long it is valid. `None` if one of its families
    /// must be queried, or if it has no address.
    pub(crate) fn show(&self, name: &str, now: Instant) -> Option<ServedAnswer> {
        let entry = self.entries.get(name)?;
        let [Some(six), Some(four)] = &entry.families else {
            return None;
        };
        if !six.is_valid(now) || !four.is_valid(now) {
            return None;
        }
        let composed = compose([FamilyState::of(six, now), FamilyState::of(four, now)]).ok()?;
        Some(ServedAnswer {
            composed,
            until: six.changes_at(now).min(four.changes_at(now)),
            refresh: six.refresh.min(four.refresh),
            used: Arc::clone(&entry.used),
        })
    }

    /// Returns the result of an outcome for the lookups that wait for it. `luck` is in `[0, 1)`.
    pub(crate) fn weigh(
        &self,
        question: &Question,
        outcome: QueryOutcome,
        at: (Instant, f64),
    ) -> CachedRecord {
        let before = self.latest(&question.name, question.family);
        self.rules.weigh(outcome, before, at)
    }

    /// Records the outcome of a query at an instant. `luck` is in `[0, 1)`.
    ///
    /// Returns whether it is a change, and which name was evicted for it. The caller acts on both.
    pub(crate) fn record(
        &mut self,
        question: &Question,
        outcome: QueryOutcome,
        (now, luck): (Instant, f64),
    ) -> Recorded {
        let Question { name, family } = question;
        let latest = self.weigh(question, outcome, (now, luck));
        let before = self.latest(name, *family);
        let changed = before.is_some_and(|before| latest.differs_from(before));
        let known = self.entries.get_mut(name);
        let is_local = latest.failure().is_some_and(LookupFailure::is_local);
        let evicted = match known {
            // The earlier result stays.
            Some(known) if is_local => {
                let before = known.families[family.index()].as_mut();
                before.into_iter().for_each(|before| before.postpone(now));
                None
            }
            None if !latest.is_valid(now) => None,
            Some(_) | None => self.keep(name, *family, latest.clone()),
        };
        Recorded {
            latest,
            changed,
            evicted,
        }
    }

    /// Expires everything at `now`, because the servers that sent it are no longer used. Expired results are still
    /// better than nothing.
    pub(crate) fn expire(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            for latest in entry.families.iter_mut().flatten() {
                latest.expire(now);
            }
        }
    }

    fn keep(&mut self, name: &Arc<str>, family: Family, latest: CachedRecord) -> Option<Arc<str>> {
        let mut evicted = None;
        if !self.entries.contains_key(name) {
            if self.entries.len() >= self.rules.capacity {
                evicted = self.evict();
            }
            self.queue.push_back(Arc::clone(name));
        }
        let entry = self.entries.entry(Arc::clone(name)).or_default();
        entry.families[family.index()] = Some(latest);
        evicted
    }

    /// Evicts a name. Two passes through the queue clear all marks of use; then all remaining names are held.
    fn evict(&mut self) -> Option<Arc<str>> {
        for _ in 0..2 * self.queue.len() {
            let name = self.queue.pop_front()?;
            let entry = self.entries.get(&name);
            if entry
                .is_some_and(|entry| entry.is_held() || entry.used.swap(false, Ordering::Relaxed))
            {
                self.queue.push_back(name);
                continue;
            }
            self.entries.remove(&name);
            return Some(name);
        }
        let name = self.queue.pop_front()?;
        self.entries.remove(&name);
        Some(name)
    }
}

/// The effects of an outcome on the cache.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) latest: CachedRecord,
    /// Whether the addresses changed. Their order does not count, because servers shuffle it.
    pub(crate) changed: bool,
    /// The name that was evicted.
    pub(crate) evicted: Option<Arc<str>>,
}

/// A DNS answer that is valid until something changes.
#[derive(Debug)]
pub(crate) struct ServedAnswer {
    pub(crate) composed: MergedAnswer,
    /// From this instant on, the addresses may change, or a query is needed.
    pub(crate) until: Instant,
    /// From this instant on, a query runs in the background.
    pub(crate) refresh: Instant,
    /// Set when a lookup uses it.
    pub(crate) used: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct CacheEntry {
    families: [Option<CachedRecord>; 2],
    /// When it was last queried because of doubt.
    doubted: Option<Instant>,
    /// Whether it was used since it last came to the front of the queue.
    used: Arc<AtomicBool>,
    /// Shared with each [`NameHold`].
    token: Arc<()>,
}

impl CacheEntry {
    fn is_held(&self) -> bool {
        Arc::strong_count(&self.token) > 1
    }
}

/// The shortest time between two queries for a name in doubt.
const DOUBT: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
