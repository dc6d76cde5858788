//! One query for many lookups: a lookup that comes while a query is in progress waits for that query.
//!
//! Cache and queries are under one lock, so that no query begins for a result that has just come. Results that need no
//! query are on the [`HotCache`] beside them, which has no lock. The query runs in its own task. If a lookup is
//! dropped, the others are not affected, and the result reaches the cache even if no lookup waits any more. A query
//! whose runtime stands still is lost, and the next lookup begins another one.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::cache::{Cache, Recorded};
use super::dual_stack::{DualStack, FamilyLookup, LookupTerms, QueryHandle, Readiness};
use super::error::{DnsErrorReason, LookupFailure};
use super::hot_cache::{Hit, HotCache};
use super::merge::NoAnswer;
use super::query::{QueryOutcome, QuerySource};
use super::query_slots::QueryLimiter;
use super::record::CachedRecord;
use super::{Answer, AnswerOrigin, Family, NameHold, Question};
use crate::clock;
use crate::luck::luck;
use crate::timeout::Timeout;

/// The results, the queries in progress, and the servers.
#[derive(Debug)]
pub(crate) struct QueryPool {
    shelf: HotCache,
    memory: Mutex<PoolMemory>,
    limit: Timeout,
    turns: Arc<QueryLimiter>,
}

#[derive(Debug)]
struct PoolMemory {
    cache: Cache,
    flights: [HashMap<Arc<str>, QueryInFlight>; 2],
    source: Arc<dyn QuerySource>,
    /// The time after which a query counts as lost: its runtime stands still, or was busy for too long.
    lost_after: Duration,
}

/// A query in progress.
#[derive(Debug)]
struct QueryInFlight {
    since: Instant,
    hoped: bool,
    failing: bool,
    landing: QueryHandle,
}

/// Sends a query's result to the lookups that wait for it.
type QuerySender = watch::Sender<Option<CachedRecord>>;

/// A query to be started after the lock is released.
type QueryToStart = (Question, QuerySender, Arc<dyn QuerySource>);

/// The state of a name: resolved, or to be waited for.
#[derive(Debug)]
pub(crate) enum PoolAnswer {
    Known(Result<Answer, NoAnswer>),
    Wait(Box<DualStack>),
}

/// The reason for a query in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshReason {
    /// The result expires soon, or its refresh failed and may be tried again.
    Due,
    /// A connection to one of its addresses failed.
    Doubted,
}

impl QueryPool {
    pub(crate) fn new(cache: Cache, source: Arc<dyn QuerySource>, limit: Timeout) -> Self {
        let memory = Mutex::new(PoolMemory {
            cache,
            flights: Default::default(),
            source,
            lost_after: limit.get() + LATE,
        });
        Self {
            shelf: HotCache::default(),
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
        (now, errand): (Instant, LookupTerms),
        runtime: &Handle,
    ) -> PoolAnswer {
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
            begun.extend(memory.renew(name, (RefreshReason::Due, now)));
            DualStack::new(legs, errand)
        };
        self.begin(begun, runtime);
        match pair.verdict(now) {
            Readiness::Ready => {
                let composed = pair.answer(now);
                PoolAnswer::Known(
                    composed.map(|c| Answer::composed(&c, (now, AnswerOrigin::Memory))),
                )
            }
            Readiness::Until(_) | Readiness::Open => PoolAnswer::Wait(Box::new(pair)),
        }
    }

    /// Begins a query for a cached `name` while lookups still use the cached result.
    pub(crate) fn refresh(
        self: &Arc<Self>,
        name: &str,
        (why, now): (RefreshReason, Instant),
        runtime: &Handle,
    ) {
        let begun = self.memory().renew(name, (why, now));
        if why == RefreshReason::Due {
            self.shelf.claim(name, now);
        }
        self.begin(begun, runtime);
    }

    /// Keeps the cached results of `name` from being evicted, as long as the returned value lives.
    pub(crate) fn hold(&self, name: &str) -> Option<NameHold> {
        self.memory().cache.hold(name)
    }

    /// Returns the receivers for the results of the queries in progress for `name`.
    pub(crate) fn out(&self, name: &str, now: Instant) -> Vec<QueryHandle> {
        let memory = self.memory();
        let flights = Family::BOTH.into_iter();
        let flights = flights.filter_map(|family| memory.out(name, family, now));
        flights.map(|flight| flight.landing.clone()).collect()
    }

    /// Uses another source from now on. The results of the earlier one expire.
    pub(crate) fn turn_to(&self, source: Arc<dyn QuerySource>, now: Instant) {
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
    fn begin(self: &Arc<Self>, begun: Vec<QueryToStart>, runtime: &Handle) {
        for (question, landing, source) in begun {
            runtime.spawn(Arc::clone(self).query(question, landing, source));
        }
    }

    fn query(
        self: Arc<Self>,
        question: Question,
        landing: QuerySender,
        source: Arc<dyn QuerySource>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let approach = RunningQuery {
            board: self,
            question,
            landing,
            source,
        };
        async move {
            let board = &approach.board;
            let outcome = timeout(board.limit.get(), approach.ask());
            let outcome = outcome.await.unwrap_or_else(|elapsed| {
                QueryOutcome::failed(LookupFailure::because(DnsErrorReason::Timeout, elapsed))
            });
            approach.land(outcome);
        }
    }

    // No code that can panic runs under the lock, so a poisoned one holds nothing half done.
    fn memory(&self) -> MutexGuard<'_, PoolMemory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolMemory {
    /// Returns the valid result for one family of `name`. Without one, returns the query in progress, or a new one,
    /// which the caller must begin.
    fn leg(
        &mut self,
        name: &str,
        family: Family,
        now: Instant,
    ) -> (FamilyLookup, Option<QueryToStart>) {
        let heard = self.cache.heard(name, family).cloned();
        let before = match heard {
            Some(heard) if heard.stands(now) => {
                self.cache.mark_used(name);
                return (FamilyLookup::Heard(heard), None);
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
    fn renew(&mut self, name: &str, (why, now): (RefreshReason, Instant)) -> Vec<QueryToStart> {
        let mut all = Vec::new();
        if why == RefreshReason::Doubted && !self.cache.may_doubt(name, now) {
            return all;
        }
        for family in Family::BOTH {
            let wanted = self
                .cache
                .heard(name, family)
                .is_some_and(|heard| match why {
                    RefreshReason::Due => heard.is_due(now),
                    RefreshReason::Doubted => heard.may_be_doubted(now),
                });
            if !wanted || self.out(name, family, now).is_some() {
                continue;
            }
            let (flight, begun) = self.flight(name, family, now);
            self.flights[family.index()].insert(name.into(), flight);
            all.push(begun);
        }
        if why == RefreshReason::Doubted && !all.is_empty() {
            self.cache.doubt(name, now);
        }
        all
    }

    /// Returns the query in progress, unless it is lost: a wait for a lost query would never end.
    fn out(&self, name: &str, family: Family, now: Instant) -> Option<&QueryInFlight> {
        let flight = self.flights[family.index()].get(name)?;
        (now < flight.since + self.lost_after).then_some(flight)
    }

    fn flight(&self, name: &str, family: Family, now: Instant) -> (QueryInFlight, QueryToStart) {
        let (sender, landing) = watch::channel(None);
        let flight = QueryInFlight {
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
    fn end(&mut self, question: &Question, landing: &QuerySender, now: Instant) -> bool {
        let Question { name, family } = question;
        let is_own = |flight: &QueryInFlight| flight.landing.same_channel(&landing.subscribe());
        let counts = self.out(name, *family, now).is_some_and(is_own);
        let flights = &mut self.flights[family.index()];
        if flights.get(name).is_some_and(is_own) {
            flights.remove(name);
        }
        counts
    }
}

impl QueryInFlight {
    fn leg(&self, before: Option<CachedRecord>) -> FamilyLookup {
        FamilyLookup::Out {
            since: self.since,
            hoped: self.hoped,
            failing: self.failing,
            before,
            landing: self.landing.clone(),
        }
    }
}

/// Ends a query when its task ends for any reason, so that no lookup waits for it any longer.
struct RunningQuery {
    board: Arc<QueryPool>,
    question: Question,
    landing: QuerySender,
    source: Arc<dyn QuerySource>,
}

impl RunningQuery {
    async fn ask(&self) -> QueryOutcome {
        let dropped = |dropped| {
            QueryOutcome::failed(LookupFailure::because(DnsErrorReason::Timeout, dropped))
        };
        let mut turn = match self.board.turns.turn(&self.question.name).await {
            Ok(turn) => turn,
            Err(lost) => return dropped(lost),
        };
        tokio::select! {
            outcome = self.source.ask(&self.question) => outcome,
            lost = turn.dropped() => dropped(lost),
        }
    }

    fn land(self, outcome: QueryOutcome) {
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

impl Drop for RunningQuery {
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
#[path = "singleflight_tests.rs"]
mod tests;
