//! The memory of names: bounded, and pure. No lock, no clock; time and luck are arguments.
//!
//! Entries that have expired stay until their room is needed. They tell whether a family is worth waiting for, and
//! what a response has to differ from to be a change; and while the servers fail, they are better than nothing.
//!
//! Room is made by use. Names stand in a queue. The one in front is forgotten, unless it was used since it came
//! there: then it goes to the back. So do names that a live destination holds; they go only if all are held.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::compose::{Composed, Said, compose};
use super::heard::{Heard, Rules};
use super::query::Outcome;
use super::{Family, Hold, Question};

/// A bounded memory of names.
#[derive(Debug)]
pub(crate) struct Cache {
    rules: Rules,
    entries: HashMap<Arc<str>, Entry>,
    /// All the names, the next one to be forgotten in front.
    queue: VecDeque<Arc<str>>,
}

impl Cache {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            entries: HashMap::new(),
            queue: VecDeque::new(),
        }
    }

    /// The last result for one family of `name`, fresh or not.
    pub(crate) fn heard(&self, name: &str, family: Family) -> Option<&Heard> {
        self.entries.get(name)?.families[family.index()].as_ref()
    }

    /// A name that is known is asked for again.
    pub(crate) fn mark_used(&self, name: &str) {
        if let Some(entry) = self.entries.get(name) {
            entry.used.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn hold(&self, name: &str) -> Option<Hold> {
        let entry = self.entries.get(name)?;
        Some(Hold::new(Arc::clone(&entry.token)))
    }

    /// Whether a result for one family of `name` is worth waiting for.
    pub(crate) fn is_hoped(&self, name: &str, family: Family, now: Instant) -> bool {
        self.rules.is_hoped(self.heard(name, family), now)
    }

    /// Whether `name` may be asked for because it is in doubt: at most once a second. When it was last
    /// heard does not count: the word that came just before the addresses moved is the one to be doubted.
    pub(crate) fn may_doubt(&self, name: &str, now: Instant) -> bool {
        let entry = self.entries.get(name);
        entry.is_some_and(|entry| entry.doubted.is_none_or(|at| at + DOUBT <= now))
    }

    /// `name` is asked for because it is in doubt.
    pub(crate) fn doubt(&mut self, name: &str, now: Instant) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.doubted = Some(now);
        }
    }

    /// Whether the last question about one family of `name` failed, and not long ago.
    pub(crate) fn is_failing(&self, name: &str, family: Family, now: Instant) -> bool {
        let heard = self.heard(name, family);
        heard.is_some_and(|heard| self.rules.is_failing(heard, now))
    }

    /// The DNS answer for `name` that needs no query, and how long it is valid. `None` if one of its families has to be
    /// asked for, or if it has no address.
    pub(crate) fn show(&self, name: &str, now: Instant) -> Option<Shown> {
        let entry = self.entries.get(name)?;
        let [Some(six), Some(four)] = &entry.families else {
            return None;
        };
        if !six.stands(now) || !four.stands(now) {
            return None;
        }
        let composed = compose([Said::of(six, now), Said::of(four, now)]).ok()?;
        Some(Shown {
            composed,
            until: six.turns(now).min(four.turns(now)),
            refresh: six.refresh.min(four.refresh),
            used: Arc::clone(&entry.used),
        })
    }

    /// The result of an outcome for the lookups that wait for it; `luck` is in `[0, 1)`.
    pub(crate) fn weigh(&self, question: &Question, outcome: Outcome, at: (Instant, f64)) -> Heard {
        let before = self.heard(&question.name, question.family);
        self.rules.weigh(outcome, before, at)
    }

    /// Takes in what was answered at an instant; `luck` is in `[0, 1)`.
    ///
    /// Whether it is a change, and whose room was needed, is returned for the caller to act on.
    pub(crate) fn record(
        &mut self,
        question: &Question,
        outcome: Outcome,
        (now, luck): (Instant, f64),
    ) -> Recorded {
        let Question { name, family } = question;
        let heard = self.weigh(question, outcome, (now, luck));
        let before = self.heard(name, *family);
        let changed = before.is_some_and(|before| heard.differs_from(before));
        let known = self.entries.contains_key(name);
        let evicted = match known || heard.stands(now) {
            true => self.keep(name, *family, heard.clone()),
            false => None,
        };
        Recorded {
            heard,
            changed,
            evicted,
        }
    }

    /// Ends everything at `now`: the servers that said it are not to be asked any more. It is still better than
    /// nothing.
    pub(crate) fn expire(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            for heard in entry.families.iter_mut().flatten() {
                heard.expire(now);
            }
        }
    }

    fn keep(&mut self, name: &Arc<str>, family: Family, heard: Heard) -> Option<Arc<str>> {
        let mut evicted = None;
        if !self.entries.contains_key(name) {
            if self.entries.len() >= self.rules.capacity {
                evicted = self.evict();
            }
            self.queue.push_back(Arc::clone(name));
        }
        let entry = self.entries.entry(Arc::clone(name)).or_default();
        entry.families[family.index()] = Some(heard);
        evicted
    }

    /// Forgets a name. Twice around the queue takes the marks of use away; what is left then is held.
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
    pub(crate) heard: Heard,
    /// Whether the addresses are others than before. The order does not count, servers shuffle it.
    pub(crate) changed: bool,
    /// The name that is forgotten to make room.
    pub(crate) evicted: Option<Arc<str>>,
}

/// A DNS answer to be given until something changes.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) composed: Composed,
    /// From then on it is another one, or the servers have to be asked.
    pub(crate) until: Instant,
    /// From then on the name is asked for on the side.
    pub(crate) refresh: Instant,
    /// Set when it is given.
    pub(crate) used: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Entry {
    families: [Option<Heard>; 2],
    /// When it was last asked for because it was doubted.
    doubted: Option<Instant>,
    /// Whether it was used since it last came to the front of the queue.
    used: Arc<AtomicBool>,
    /// Shared with each [`Hold`].
    token: Arc<()>,
}

impl Entry {
    fn is_held(&self) -> bool {
        Arc::strong_count(&self.token) > 1
    }
}

/// A name in doubt is asked for at most so often.
const DOUBT: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
