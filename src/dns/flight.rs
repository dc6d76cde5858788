//! One query for many lookups: a lookup that comes while a query is in progress waits for that query.
//!
//! Cache and queries are under one lock, so that no query begins for a result that has just come. Results that need no
//! query are on the [`Shelf`] beside them, which has no lock. The query runs in its own task. If a lookup is dropped,
//! the others are not affected, and the result reaches the cache even if no lookup waits any more. A query whose
//! runtime stands still is lost, and the next lookup begins another one.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::cache::{Cache, Recorded};
use super::compose::Nothing;
use super::error::{DnsErrorReason, Failure};
use super::heard::Heard;
use super::pair::{Errand, Landing, Leg, Pair, Verdict};
use super::query::{Outcome, Source};
use super::shelf::{Hit, Shelf};
use super::turns::Turns;
use super::{Answer, Family, NameHold, Origin, Question};
use crate::clock;
use crate::luck::luck;
use crate::timeout::Timeout;

/// The results, the queries in progress, and the servers.
#[derive(Debug)]
pub(crate) struct Board {
    shelf: Shelf,
    memory: Mutex<Memory>,
    limit: Timeout,
    turns: Arc<Turns>,
}

#[derive(Debug)]
struct Memory {
    cache: Cache,
    flights: [HashMap<Arc<str>, Flight>; 2],
    source: Arc<dyn Source>,
    /// The time after which a query counts as lost: its runtime stands still, or was busy for too long.
    lost_after: Duration,
}

/// A query in progress.
#[derive(Debug)]
struct Flight {
    since: Instant,
    hoped: bool,
    failing: bool,
    landing: Landing,
}

/// Sends a query's result to the lookups that wait for it.
type Tower = watch::Sender<Option<Heard>>;

/// A query to be started after the lock is released.
type Begun = (Question, Tower, Arc<dyn Source>);

/// The state of a name: resolved, or to be waited for.
#[derive(Debug)]
pub(crate) enum Boarding {
    Known(Result<Answer, Nothing>),
    Wait(Box<Pair>),
}

/// The reason for a query in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The result expires soon, or its refresh failed and may be tried again.
    Due,
    /// A connection to one of its addresses failed.
    Doubted,
}

impl Board {
    pub(crate) fn new(cache: Cache, source: Arc<dyn Source>, limit: Timeout) -> Self {
        let memory = Mutex::new(Memory {
            cache,
            flights: Default::default(),
            source,
            lost_after: limit.get() + LATE,
        });
        Self {
            shelf: Shelf::default(),
            memory,
            limit,
            turns: Arc::default(),
        }
    }

    /// Returns the DNS answer for `name`, if it needs no query. This is the hot path: it takes no lock.
    pub(crate) fn answer(&self, name: &str, now: Instant) -> Option<Hit> {
        self.shelf.find(name, now)
    }

    /// Returns the state of `name`, and begins the queries that it needs.
    pub(crate) fn board(
        self: &Arc<Self>,
        name: &str,
        (now, errand): (Instant, Errand),
        runtime: &Handle,
    ) -> Boarding {
        let mut begun = Vec::new();
        let pair = {
            let mut memory = self.memory();
            let legs = Family::BOTH.map(|family| {
                let (leg, new) = memory.leg(name, family, now);
                begun.extend(new);
                leg
            });
            if begun.is_empty()
                && self.shelf.find(name, now).is_none()
                && let Some(shown) = memory.cache.show(name, now)
            {
                // The old result has become another valid one, such as old addresses.
                self.shelf.put(&name.into(), Some(shown), None);
            }
            begun.extend(memory.renew(name, (Why::Due, now)));
            Pair::new(legs, errand)
        };
        self.begin(begun, runtime);
        match pair.verdict(now) {
            Verdict::Ready => {
                let composed = pair.answer(now);
                Boarding::Known(composed.map(|c| Answer::composed(&c, (now, Origin::Memory))))
            }
            Verdict::Until(_) | Verdict::Open => Boarding::Wait(Box::new(pair)),
        }
    }

    /// Begins a query for a cached `name` while lookups still use the cached result.
    pub(crate) fn refresh(
        self: &Arc<Self>,
        name: &str,
        (why, now): (Why, Instant),
        runtime: &Handle,
    ) {
        let begun = self.memory().renew(name, (why, now));
        if why == Why::Due {
            self.shelf.claim(name, now);
        }
        self.begin(begun, runtime);
    }

    /// Keeps the cached results of `name` from being evicted, as long as the returned value lives.
    pub(crate) fn hold(&self, name: &str) -> Option<NameHold> {
        self.memory().cache.hold(name)
    }

    /// Returns the receivers for the results of the queries in progress for `name`.
    pub(crate) fn out(&self, name: &str, now: Instant) -> Vec<Landing> {
        let memory = self.memory();
        let flights = Family::BOTH.into_iter();
        let flights = flights.filter_map(|family| memory.out(name, family, now));
        flights.map(|flight| flight.landing.clone()).collect()
    }

    /// Uses another source from now on. The results of the earlier one expire.
    pub(crate) fn turn_to(&self, source: Arc<dyn Source>, now: Instant) {
        let before = {
            let mut memory = self.memory();
            memory.cache.expire(now);
            // Their results are only for the lookups that wait for them.
            memory.flights = Default::default();
            self.shelf.clear();
            std::mem::replace(&mut memory.source, source)
        };
        drop(before); // not under the lock: it may close sockets
    }

    /// Starts queries, not under the lock. A runtime that is shutting down drops the task at once, and the end of the
    /// query takes the lock.
    fn begin(self: &Arc<Self>, begun: Vec<Begun>, runtime: &Handle) {
        for (question, landing, source) in begun {
            runtime.spawn(Arc::clone(self).query(question, landing, source));
        }
    }

    fn query(
        self: Arc<Self>,
        question: Question,
        landing: Tower,
        source: Arc<dyn Source>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let approach = Approach {
            board: self,
            question,
            landing,
            source,
        };
        async move {
            let board = &approach.board;
            let outcome = timeout(board.limit.get(), approach.ask());
            let outcome = outcome.await.unwrap_or_else(|elapsed| {
                Outcome::failed(Failure::because(DnsErrorReason::Timeout, elapsed))
            });
            approach.land(outcome);
        }
    }

    // No code that can panic runs under the lock, so a poisoned one holds nothing half done.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Returns the valid result for one family of `name`. Without one, returns the query in progress, or a new one,
    /// which the caller must begin.
    fn leg(&mut self, name: &str, family: Family, now: Instant) -> (Leg, Option<Begun>) {
        let heard = self.cache.heard(name, family).cloned();
        let before = match heard {
            Some(heard) if heard.stands(now) => {
                self.cache.mark_used(name);
                return (Leg::Heard(heard), None);
            }
            before => before,
        };
        if before.is_some() {
            self.cache.mark_used(name);
        }
        if let Some(flight) = self.out(name, family, now) {
            return (flight.leg(before), None);
        }
        let (flight, begun) = self.flight(name, family, now);
        let leg = flight.leg(before);
        self.flights[family.index()].insert(name.into(), flight);
        (leg, Some(begun))
    }

    /// Returns new queries for a name that is still served from the cache.
    fn renew(&mut self, name: &str, (why, now): (Why, Instant)) -> Vec<Begun> {
        let mut all = Vec::new();
        if why == Why::Doubted && !self.cache.may_doubt(name, now) {
            return all;
        }
        for family in Family::BOTH {
            let wanted = self
                .cache
                .heard(name, family)
                .is_some_and(|heard| match why {
                    Why::Due => heard.is_due(now),
                    Why::Doubted => heard.may_be_doubted(now),
                });
            if !wanted || self.out(name, family, now).is_some() {
                continue;
            }
            let (flight, begun) = self.flight(name, family, now);
            self.flights[family.index()].insert(name.into(), flight);
            all.push(begun);
        }
        if why == Why::Doubted && !all.is_empty() {
            self.cache.doubt(name, now);
        }
        all
    }

    /// Returns the query in progress, unless it is lost: a wait for a lost query would never end.
    fn out(&self, name: &str, family: Family, now: Instant) -> Option<&Flight> {
        let flight = self.flights[family.index()].get(name)?;
        (now < flight.since + self.lost_after).then_some(flight)
    }

    fn flight(&self, name: &str, family: Family, now: Instant) -> (Flight, Begun) {
        let (sender, landing) = watch::channel(None);
        let flight = Flight {
            since: now,
            hoped: self.cache.is_hoped(name, family, now),
            failing: self.cache.is_failing(name, family, now),
            landing,
        };
        let name = name.into();
        let question = Question { name, family };
        (flight, (question, sender, Arc::clone(&self.source)))
    }

    /// Ends the query of this landing, unless another one has replaced it. Returns whether its result counts. The
    /// result of a lost query is old, or comes from a source that is no longer used.
    fn end(&mut self, question: &Question, landing: &Tower, now: Instant) -> bool {
        let Question { name, family } = question;
        let is_own = |flight: &Flight| flight.landing.same_channel(&landing.subscribe());
        let counts = self.out(name, *family, now).is_some_and(is_own);
        let flights = &mut self.flights[family.index()];
        if flights.get(name).is_some_and(is_own) {
            flights.remove(name);
        }
        counts
    }
}

impl Flight {
    fn leg(&self, before: Option<Heard>) -> Leg {
        Leg::Out {
            since: self.since,
            hoped: self.hoped,
            failing: self.failing,
            before,
            landing: self.landing.clone(),
        }
    }
}

/// Ends a query when its task ends for any reason, so that no lookup waits for it any longer.
struct Approach {
    board: Arc<Board>,
    question: Question,
    landing: Tower,
    source: Arc<dyn Source>,
}

impl Approach {
    async fn ask(&self) -> Outcome {
        let dropped = |dropped| Outcome::failed(Failure::because(DnsErrorReason::Timeout, dropped));
        let mut turn = match self.board.turns.turn(&self.question.name).await {
            Ok(turn) => turn,
            Err(lost) => return dropped(lost),
        };
        tokio::select! {
            outcome = self.source.ask(&self.question) => outcome,
            lost = turn.dropped() => dropped(lost),
        }
    }

    fn land(self, outcome: Outcome) {
        let (now, luck, question) = (clock::now(), luck(), &self.question);
        let Recorded { heard, changed, .. } = {
            let mut memory = self.board.memory();
            if !memory.end(question, &self.landing, now) {
                let heard = memory
                    .cache
                    .weigh(question, outcome, (now, luck))
                    .forgotten();
                drop(memory);
                self.landing.send_replace(Some(heard));
                return;
            }
            let recorded = memory.cache.record(question, outcome, (now, luck));
            let shown = memory.cache.show(&question.name, now);
            // Under the lock, so that of two families that end at once, the later one is shown last.
            let shelf = &self.board.shelf;
            shelf.put(&question.name, shown, recorded.evicted.as_deref());
            recorded
        };
        if changed {
            tracing::debug!(name = %question.name, family = ?question.family, "addresses changed");
        }
        if let (Some(failure), Some(_)) = (heard.failure(), heard.old(now)) {
            let (name, reason) = (&question.name, failure.reason);
            tracing::debug!(%name, ?reason, "no newer addresses: expired ones are used");
        }
        self.landing.send_replace(Some(heard));
    }
}

impl Drop for Approach {
    fn drop(&mut self) {
        if self.landing.borrow().is_none() {
            let now = clock::now();
            self.board.memory().end(&self.question, &self.landing, now);
        }
    }
}

/// How much later than its limit a query may end on a busy runtime.
const LATE: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "flight_tests.rs"]
mod tests;
