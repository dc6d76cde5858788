//! What is known about names, and until when: pure. No lock, no clock; time is an argument.
//!
//! ```text
//!  Outcome ──record──▶ Heard { held, at, until }      fresh while now < until
//!    addresses            ttl, clamped; 0 stays 0: good for this asking only
//!    missing              the SOA's, clamped; no SOA: the floor
//!    failed               back-off, doubled for each failure in a row
//! ```
//!
//! What has expired stays until its room is needed. Nobody is given it; it tells whether a family is worth
//! waiting for, and what an answer has to differ from to be a change.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::error::Failure;
use super::order::interleave;
use super::source::Outcome;
use super::{Answer, Family, Question};

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

    /// The answer for `name`, if both families are fresh and one of them has addresses. Allocates nothing.
    pub(crate) fn answer(&self, name: &str, now: Instant) -> Option<Answer> {
        let entry = self.entries.get(name)?;
        let mut ends = None;
        for heard in &entry.families {
            let heard = heard.as_ref().filter(|heard| heard.is_fresh(now))?;
            if heard.addresses().is_some() {
                ends = Some(ends.map_or(heard.until, |ends: Instant| ends.min(heard.until)));
            }
        }
        let ttl = ends?.saturating_duration_since(now);
        Some(Answer::remembered(Arc::clone(&entry.joined), ttl))
    }

    /// What was last heard of one family of `name`, fresh or not.
    pub(crate) fn heard(&self, name: &str, family: Family) -> Option<&Heard> {
        self.entries.get(name)?.families[family.index()].as_ref()
    }

    /// Takes in what was answered at `now`.
    ///
    /// Whether it is a change is returned, for the caller to report after letting go of its lock.
    pub(crate) fn record(
        &mut self,
        question: &Question,
        outcome: Outcome,
        now: Instant,
    ) -> Recorded {
        let Question { name, family } = question;
        let before = self.heard(name, *family);
        let heard = self.rules.weigh(outcome, before, now);
        let changed = before.is_some_and(|before| heard.differs_from(before));
        let known = self.entries.contains_key(name);
        if known || heard.is_fresh(now) {
            self.keep(name, *family, heard.clone());
        }
        Recorded { heard, changed }
    }

    fn keep(&mut self, name: &Arc<str>, family: Family, heard: Heard) {
        if let Some(entry) = self.entries.get(name) {
            self.by_end.remove(&entry.rank);
        } else if self.entries.len() >= self.rules.capacity
            && let Some((_, ended)) = self.by_end.pop_first()
        {
            self.entries.remove(&ended);
        }
        let id = self.next_id;
        self.next_id += 1;
        let entry = self.entries.entry(Arc::clone(name));
        let entry = entry.or_insert_with(|| Entry::new(heard.until));
        entry.families[family.index()] = Some(heard);
        entry.join();
        entry.rank = (entry.end(), id);
        self.by_end.insert(entry.rank, Arc::clone(name));
    }
}

/// What [`Cache::record`] made of an outcome.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) heard: Heard,
    /// Whether the addresses are others than before. The order does not count, servers shuffle it.
    pub(crate) changed: bool,
}

/// What was heard of one family of a name.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) held: Held,
    pub(crate) at: Instant,
    pub(crate) until: Instant,
    /// How many failures there were in a row.
    streak: u32,
}

/// Addresses, or why there are none.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    Addresses(Arc<[IpAddr]>),
    Nothing(Failure),
}

impl Heard {
    /// A failure that is told to whoever waits and then forgotten.
    pub(crate) fn passing(failure: Failure, now: Instant) -> Self {
        Self {
            held: Held::Nothing(failure),
            at: now,
            until: now,
            streak: 0,
        }
    }

    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        now < self.until
    }

    pub(crate) fn addresses(&self) -> Option<&Arc<[IpAddr]>> {
        match &self.held {
            Held::Addresses(addresses) => Some(addresses),
            Held::Nothing(_) => None,
        }
    }

    /// A failure says nothing about the addresses, so it is no change; nor is recovering from one.
    fn differs_from(&self, before: &Self) -> bool {
        let set = |heard: &Self| match &heard.held {
            Held::Addresses(addresses) => Some(sorted(addresses)),
            Held::Nothing(failure) => failure.reason.is_negative().then(Vec::new),
        };
        match (set(self), set(before)) {
            (Some(now), Some(before)) => now != before,
            (None, _) | (_, None) => false,
        }
    }
}

/// What a cache is told once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) floor: Duration,
    pub(crate) ceiling: Duration,
    pub(crate) negative_ceiling: Duration,
    pub(crate) backoff: (Duration, Duration),
    /// Names, not records: a name's two families share their room.
    pub(crate) capacity: usize,
}

impl Rules {
    fn weigh(&self, outcome: Outcome, before: Option<&Heard>, now: Instant) -> Heard {
        let mut streak = 0;
        let (held, good_for) = match outcome {
            Outcome::Addresses { mut addresses, ttl } => {
                addresses.truncate(ADDRESSES);
                (Held::Addresses(addresses.into()), self.positive(ttl))
            }
            Outcome::Nothing { failure, ttl } if failure.reason.is_negative() => {
                (Held::Nothing(failure), self.negative(ttl))
            }
            Outcome::Nothing { failure, .. } => {
                streak = self.streak(before, now) + 1;
                (Held::Nothing(failure), self.back_off(streak))
            }
        };
        let until = now + good_for;
        Heard {
            held,
            at: now,
            until,
            streak,
        }
    }

    /// A TTL of zero is a wish (RFC 1035 §3.2.1) and not a small number: the floor does not lift it. One
    /// with the highest bit set is a large number and not a negative one (RFC 8767 §4).
    fn positive(&self, ttl: Duration) -> Duration {
        if ttl.is_zero() {
            return ttl;
        }
        ttl.max(self.floor).min(self.ceiling)
    }

    /// Without an SOA nobody vouches for the absence, and it should not be cached (RFC 2308 §5); but
    /// asking anew for each request of a misspelt name helps nobody either.
    fn negative(&self, ttl: Option<Duration>) -> Duration {
        let ttl = ttl.map_or(self.floor, |ttl| ttl.max(self.floor));
        ttl.min(self.negative_ceiling)
    }

    /// Failures are in a row if the next try came soon after the wait for it was over.
    fn streak(&self, before: Option<&Heard>, now: Instant) -> u32 {
        before
            .filter(|before| now < before.until + self.backoff.1)
            .map_or(0, |before| before.streak)
    }

    fn back_off(&self, streak: u32) -> Duration {
        let (first, most) = self.backoff;
        let doubled = first.saturating_mul(1_u32.checked_shl(streak - 1).unwrap_or(u32::MAX));
        doubled.min(most)
    }
}

#[derive(Debug)]
struct Entry {
    families: [Option<Heard>; 2],
    /// The addresses of both families in the order to try them, so that a hit need not join them.
    joined: Arc<[IpAddr]>,
    rank: (Instant, u64),
}

impl Entry {
    fn new(end: Instant) -> Self {
        Self {
            families: [None, None],
            joined: Arc::default(),
            rank: (end, 0),
        }
    }

    fn join(&mut self) {
        let held = self.families.iter().flatten().filter_map(Heard::addresses);
        let held: Vec<_> = held
            .flat_map(|addresses| addresses.iter().copied())
            .collect();
        self.joined = interleave(&held);
    }

    fn end(&self) -> Instant {
        let ends = self.families.iter().flatten().map(|heard| heard.until);
        ends.max().unwrap_or(self.rank.0)
    }
}

fn sorted(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut addresses = addresses.to_vec();
    addresses.sort_unstable();
    addresses
}

/// How many addresses of one family are kept: more than any client tries, less than a hostile answer holds.
const ADDRESSES: usize = 128;

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
