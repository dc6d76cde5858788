//! What is known about names: bounded, and pure. No lock, no clock; time and luck are arguments.
//!
//! What has expired stays until its room is needed. It tells whether a family is worth waiting for, and what an
//! answer has to differ from to be a change; and while nobody can be asked, it is better than nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::compose::{Composed, Said, compose};
use super::heard::{Heard, Rules};
use super::query::Outcome;
use super::{Family, Question};

/// A bounded memory of names.
#[derive(Debug)]
pub(crate) struct Cache {
    rules: Rules,
    entries: HashMap<Arc<str>, Entry>,
    /// Names by when they are of no more use, so that room is made without a search.
    by_end: BTreeMap<(Instant, u64), Arc<str>>,
    /// Tells apart names that end in the same instant.
    next_id: u64,
}

impl Cache {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            entries: HashMap::new(),
            by_end: BTreeMap::new(),
            next_id: 0,
        }
    }

    /// What was last heard of one family of `name`, fresh or not.
    pub(crate) fn heard(&self, name: &str, family: Family) -> Option<&Heard> {
        self.entries.get(name)?.families[family.index()].as_ref()
    }

    /// Whether an answer about one family of `name` is worth waiting for.
    pub(crate) fn is_hoped(&self, name: &str, family: Family, now: Instant) -> bool {
        self.rules.is_hoped(self.heard(name, family), now)
    }

    /// Whether `name` may be asked for because somebody doubts it: at most once a second. When it was last
    /// heard does not count: the word that came just before the addresses moved is the one to be doubted.
    pub(crate) fn may_doubt(&self, name: &str, now: Instant) -> bool {
        let entry = self.entries.get(name);
        entry.is_some_and(|entry| entry.doubted.is_none_or(|at| at + DOUBT <= now))
    }

    /// `name` is asked for because somebody doubts it.
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

    /// The answer for `name` that can be given without asking, and how long it can: `None` if one of its
    /// families has to be asked for, or if it has no address.
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
        })
    }

    /// What an answer says to those who wait for it; `luck` is in `[0, 1)`.
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

    /// Ends everything at `now`: whoever said it is not to be asked any more. It is still better than nothing.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.by_end.clear();
        for (name, entry) in &mut self.entries {
            for heard in entry.families.iter_mut().flatten() {
                heard.expire(now);
            }
            entry.rank.0 = entry.end();
            self.by_end.insert(entry.rank, Arc::clone(name));
        }
    }

    fn keep(&mut self, name: &Arc<str>, family: Family, heard: Heard) -> Option<Arc<str>> {
        let mut evicted = None;
        if let Some(entry) = self.entries.get(name) {
            self.by_end.remove(&entry.rank);
        } else if self.entries.len() >= self.rules.capacity
            && let Some((_, ended)) = self.by_end.pop_first()
        {
            self.entries.remove(&ended);
            evicted = Some(ended);
        }
        let id = self.next_id;
        self.next_id += 1;
        let entry = self.entries.entry(Arc::clone(name));
        let entry = entry.or_insert_with(|| Entry::new(heard.until));
        entry.families[family.index()] = Some(heard);
        entry.rank = (entry.end(), id);
        self.by_end.insert(entry.rank, Arc::clone(name));
        evicted
    }
}

/// What [`Cache::record`] made of an outcome.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) heard: Heard,
    /// Whether the addresses are others than before. The order does not count, servers shuffle it.
    pub(crate) changed: bool,
    /// The name that is forgotten to make room.
    pub(crate) evicted: Option<Arc<str>>,
}

/// An answer to be given until something happens.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) composed: Composed,
    /// From then on it is another one, or somebody has to be asked.
    pub(crate) until: Instant,
    /// From then on the name is asked for on the side.
    pub(crate) refresh: Instant,
}

#[derive(Debug)]
struct Entry {
    families: [Option<Heard>; 2],
    /// When it was last asked for because somebody doubted it.
    doubted: Option<Instant>,
    rank: (Instant, u64),
}

impl Entry {
    fn new(end: Instant) -> Self {
        Self {
            families: [None, None],
            doubted: None,
            rank: (end, 0),
        }
    }

    fn end(&self) -> Instant {
        let ends = self.families.iter().flatten().map(|heard| heard.until);
        ends.max().unwrap_or(self.rank.0)
    }
}

/// A name in doubt is asked for at most so often.
const DOUBT: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
