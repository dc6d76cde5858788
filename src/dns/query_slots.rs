//! Limits how many queries run at a time, and how many for each domain.
//!
//! A query holds a socket, so the number of queries is bounded; others wait. A domain may run as many queries as there
//! are free slots. So a domain with silent servers takes at most half of the slots and leaves the others free. If many
//! domains are silent and no slot is free, the domain with the most queries loses its oldest one to a domain without any. Only a query that has
//! run for long is dropped. Queries that get a response soon are not dropped.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::clock;

/// The slots for queries, and the queue for them.
#[derive(Debug, Default)]
pub(crate) struct QueryLimiter(Mutex<QuerySlots>);

/// A permission to run a query. When it is dropped, another query gets it.
#[derive(Debug)]
pub(crate) struct QuerySlot {
    limiter: Arc<QueryLimiter>,
    domain: Box<str>,
    id: u64,
    dropped: oneshot::Receiver<()>,
}

/// The error of a query that lost its slot, or its place in the queue, to others.
#[derive(Debug)]
pub(crate) struct Dropped;

impl QueryLimiter {
    /// Waits for a slot to query `name`. Dropping the future gives up its place.
    pub(crate) async fn slot(self: &Arc<Self>, name: &str) -> Result<QuerySlot, Dropped> {
        let mut place = self.room().wait(domain(name));
        loop {
            self.hand_out();
            // After a while, a running query may be dropped.
            if let Ok(slot) = timeout(PATIENCE, &mut place).await {
                return slot.map_err(|_| Dropped);
            }
        }
    }

    fn hand_out(self: &Arc<Self>) {
        let now = clock::now();
        loop {
            let next = self.room().next(now);
            let Some((place, domain, id)) = next else {
                return;
            };
            let (sender, dropped) = oneshot::channel();
            self.room().begin(
                &domain,
                ActiveQuery {
                    id,
                    since: now,
                    _dropped: sender,
                },
            );
            let limiter = Arc::clone(self);
            // Not under the lock: a slot that is not taken is passed to the next query.
            let _ = place.send(QuerySlot {
                limiter,
                domain,
                id,
                dropped,
            });
        }
    }

    fn room(&self) -> MutexGuard<'_, QuerySlots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QuerySlot {
    /// Waits until this slot is needed for another query.
    pub(crate) async fn dropped(&mut self) -> Dropped {
        // The sender is dropped only if the slot was taken away.
        let _ = (&mut self.dropped).await;
        Dropped
    }
}

impl Drop for QuerySlot {
    fn drop(&mut self) {
        self.limiter.room().end(&self.domain, self.id);
        self.limiter.hand_out();
    }
}

/// The queries that run, and those that wait.
#[derive(Debug, Default)]
struct QuerySlots {
    domains: HashMap<Box<str>, Domain>,
    running: usize,
    waiting: usize,
    next_id: u64,
}

#[derive(Debug, Default)]
struct Domain {
    running: VecDeque<ActiveQuery>,
    waiting: VecDeque<(u64, QueuePlace)>,
}

#[derive(Debug)]
struct ActiveQuery {
    id: u64,
    since: Instant,
    _dropped: oneshot::Sender<()>,
}

/// The place of a query that waits for a slot.
type QueuePlace = oneshot::Sender<QuerySlot>;

/// The query that comes next: its place, its domain and its number.
type QueuedQuery = (QueuePlace, Box<str>, u64);

impl QuerySlots {
    /// Adds a query to the queue. If the queue is full, the oldest query of the domain with the most is dropped.
    fn wait(&mut self, domain: &str) -> oneshot::Receiver<QuerySlot> {
        if self.waiting >= WAITING {
            let largest = self.domains.values_mut().max_by_key(|d| d.waiting.len());
            if largest.is_some_and(|largest| largest.waiting.pop_front().is_some()) {
                self.waiting -= 1;
            }
        }
        let (place, receiver) = oneshot::channel();
        self.next_id += 1;
        self.waiting += 1;
        let domain = self.domains.entry(domain.into()).or_default();
        domain.waiting.push_back((self.next_id, place));
        receiver
    }

    /// Returns the next query, of the domain with the fewest, if a slot is free for it.
    fn next(&mut self, now: Instant) -> Option<QueuedQuery> {
        self.forget_given_up();
        if self.waiting == 0 {
            return None;
        }
        let waiting = self.domains.iter().filter(|(_, d)| !d.waiting.is_empty());
        let first = |domain: &Domain| domain.waiting.front().map(|(id, _)| *id);
        let (name, domain) = waiting.min_by_key(|(_, d)| (d.running.len(), first(d)))?;
        let (name, running) = (name.clone(), domain.running.len());
        // One slot more is of use only to a domain that runs no query.
        if self.running >= QUERIES && !(running == 0 && self.take_away(now)) {
            return None;
        }
        if running >= QUERIES - self.running {
            return None;
        }
        let (id, place) = self.domains.get_mut(&name)?.waiting.pop_front()?;
        self.waiting -= 1;
        Some((place, name, id))
    }

    /// Removes the queries in front that no longer wait.
    fn forget_given_up(&mut self) {
        let waiting = &mut self.waiting;
        self.domains.retain(|_, domain| {
            while domain
                .waiting
                .front()
                .is_some_and(|(_, place)| place.is_closed())
            {
                domain.waiting.pop_front();
                *waiting -= 1;
            }
            !domain.is_empty()
        });
    }

    fn begin(&mut self, domain: &str, query: ActiveQuery) {
        self.running += 1;
        let domain = self.domains.entry(domain.into()).or_default();
        domain.running.push_back(query);
    }

    /// Takes the slot of the oldest query of the domain with the most, if it has run for long.
    fn take_away(&mut self, now: Instant) -> bool {
        let oldest = |domain: &Domain| domain.running.front().map(|query| Reverse(query.id));
        let domains = self.domains.values_mut();
        let Some(largest) = domains.max_by_key(|d| (d.running.len(), oldest(d))) else {
            return false;
        };
        let is_long = |query: &ActiveQuery| query.since + PATIENCE <= now;
        let is_long = largest.running.front().is_some_and(is_long);
        if is_long && largest.running.pop_front().is_some() {
            self.running -= 1;
        }
        is_long
    }

    fn end(&mut self, name: &str, id: u64) {
        let Some(domain) = self.domains.get_mut(name) else {
            return;
        };
        if let Some(place) = domain.running.iter().position(|query| query.id == id) {
            domain.running.remove(place);
            self.running -= 1;
        }
        if domain.is_empty() {
            self.domains.remove(name);
        }
    }
}

impl Domain {
    fn is_empty(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }
}

/// Returns the part of a name that usually belongs to one owner: `corp.test`, but `corp.co.uk`.
fn domain(name: &str) -> &str {
    let mut dots = name.rmatch_indices('.').map(|(place, _)| place);
    let (Some(top), Some(second)) = (dots.next(), dots.next()) else {
        return name;
    };
    let is_short = name.len() - top == ".uk".len() && top - second <= ".com".len();
    match dots.next() {
        None if is_short => name,
        Some(third) if is_short => &name[third + 1..],
        _ => &name[second + 1..],
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{QUERIES} queries run at the same time; this one was dropped to let others run"
        )
    }
}

impl std::error::Error for Dropped {}

/// The maximum number of queries that run at a time. With healthy servers, far fewer run. It is well below the 1,024
/// files that a process may commonly open.
pub(crate) const QUERIES: usize = 256;
/// The maximum number of queries that wait: as many as the cache has names.
const WAITING: usize = 4_096;
/// If a query runs for longer, its server is silent or does not exist.
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod messages {
    crate::messages_tests::list!(Dropped: super::Dropped);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_is_the_part_with_one_owner() {
        for (name, expected) in [
            ("api.corp.test", "corp.test"),
            ("a.b.c.corp.test", "corp.test"),
            ("corp.test", "corp.test"),
            ("test", "test"),
            ("api.corp.co.uk", "corp.co.uk"),
            ("corp.co.uk", "corp.co.uk"),
            ("api.google.de", "google.de"),
        ] {
            assert_eq!(domain(name), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silent_domain_leaves_half_of_the_slots_to_others() {
        let limiter = Arc::new(QueryLimiter::default());
        let silent = fill(&limiter, 1_000, |n| format!("{n}.silent.test")).await;
        assert_eq!(silent.len(), QUERIES / 2);

        let good = fill(&limiter, 60, |n| format!("{n}.good.test")).await;
        assert_eq!(good.len(), 60);
        let other = fill(&limiter, 60, |n| format!("{n}.test")).await;
        assert_eq!(other.len(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn freed_slot_goes_to_the_domain_with_the_fewest_queries() {
        let limiter = Arc::new(QueryLimiter::default());
        let mut silent = fill(&limiter, QUERIES / 2, |n| format!("{n}.silent.test")).await;
        let waiting = tokio::spawn({
            let limiter = Arc::clone(&limiter);
            async move { limiter.slot("last.silent.test").await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());

        silent.pop();
        assert_eq!(&*waiting.await.unwrap().unwrap().domain, "silent.test");
    }

    #[tokio::test(start_paused = true)]
    async fn oldest_query_is_dropped_if_no_slot_is_free_and_it_ran_for_long() {
        let limiter = Arc::new(QueryLimiter::default());
        let mut all = fill(&limiter, QUERIES, |n| format!("{n}.test")).await;
        assert_eq!(all.len(), QUERIES);
        let begun = clock::now();

        let late = limiter.slot("late.test").await.unwrap();

        assert_eq!(clock::now() - begun, PATIENCE);
        all[0].dropped().await;
        assert!(timeout(PATIENCE / 2, all[1].dropped()).await.is_err());
        drop(late);
        assert_eq!(limiter.room().running, QUERIES - 1);
        all.clear();
        let room = limiter.room();
        assert_eq!((room.running, room.waiting, room.domains.len()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn no_query_is_dropped_for_a_domain_that_runs_one_already() {
        let limiter = Arc::new(QueryLimiter::default());
        let mut all = fill(&limiter, QUERIES, |n| format!("{n}.test")).await;

        let second = timeout(3 * PATIENCE, limiter.slot("api.7.test")).await;

        assert!(second.is_err());
        assert!(timeout(PATIENCE, all[0].dropped()).await.is_err());
        assert_eq!(limiter.room().running, QUERIES);
    }

    #[tokio::test(start_paused = true)]
    async fn place_of_the_domain_with_the_most_waiting_is_dropped_first() {
        let limiter = Arc::new(QueryLimiter::default());
        let mut room = limiter.room();
        let mut flood: Vec<_> = (0..WAITING - 1).map(|_| room.wait("silent.test")).collect();
        let mut good: Vec<_> = (0..10).map(|_| room.wait("good.test")).collect();

        let is_dropped = |place: &mut oneshot::Receiver<_>| {
            place.try_recv().unwrap_err() == oneshot::error::TryRecvError::Closed
        };
        assert_eq!(
            flood
                .iter_mut()
                .filter_map(|p| is_dropped(p).then_some(()))
                .count(),
            9
        );
        assert!(!good.iter_mut().any(is_dropped));
        assert_eq!(room.waiting, WAITING);
    }

    /// Returns the slots that are free immediately.
    async fn fill(
        limiter: &Arc<QueryLimiter>,
        count: usize,
        name: impl Fn(usize) -> String,
    ) -> Vec<QuerySlot> {
        let mut all = Vec::new();
        for n in 0..count {
            let name = name(n);
            tokio::select! {
                biased;
                slot = limiter.slot(&name) => all.push(slot.unwrap()),
                () = tokio::task::yield_now() => {}
            }
        }
        all
    }
}
