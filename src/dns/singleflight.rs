//! One query for many lookups: a lookup that comes while a query is in progress waits for that query.
//!
//! Cache and queries are under one lock, so that no query begins for a result that has just come. Results that need no
//! query are also in the [`HotCache`], which has no lock. The query runs in its own task. If a lookup is dropped, the
//! others are not affected, and the result reaches the cache even if no lookup waits any more. A query whose runtime is
//! not running is lost, and the next lookup begins another one.

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

/// The results, the queries in progress, and the servers.
#[derive(Debug)]
pub(crate) struct QueryPool {
    hot: HotCache,
    memory: Mutex<PoolMemory>,
    limit: Duration,
    limiter: Arc<QueryLimiter>,
}

#[derive(Debug)]
struct PoolMemory {
    cache: Cache,
    flights: [HashMap<Arc<str>, QueryInFlight>; 2],
    source: Arc<dyn QuerySource>,
    /// The time after which a query counts as lost: its runtime is not running, or was busy for too long.
    lost_after: Duration,
}

/// A query in progress.
#[derive(Debug)]
struct QueryInFlight {
    since: Instant,
    worth_waiting: bool,
    failing: bool,
    result: QueryHandle,
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
    pub(crate) fn new(cache: Cache, source: Arc<dyn QuerySource>, limit: Duration) -> Self {
        let memory = Mutex::new(PoolMemory {
            cache,
            flights: Default::default(),
            source,
            lost_after: limit + LATE,
        });
        Self {
            hot: HotCache::default(),
            memory,
            limit,
            limiter: Arc::default(),
        }
    }

    /// Returns the DNS answer for `name`, if it needs no query. This is the hot path: it takes no lock.
    pub(crate) fn answer(&self, name: &str, now: Instant) -> Option<Hit> {
        self.hot.find(name, now)
    }

    /// Returns the state of `name`, and begins the queries that it needs.
    pub(crate) fn lookup(
        self: &Arc<Self>,
        name: &str,
        (now, terms): (Instant, LookupTerms),
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
                && self.hot.find(name, now).is_none()
                && let Some(shown) = memory.cache.show(name, now)
            {
                // The old result has become another valid one, such as old addresses.
                self.hot.put(&name.into(), Some(shown), None);
            }
            begun.extend(memory.renew(name, (RefreshReason::Due, now)));
            DualStack::new(legs, terms)
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
            self.hot.claim(name, now);
        }
        self.begin(begun, runtime);
    }

    /// Returns whether `name` has addresses that a lookup may use.
    pub(crate) fn has_addresses(&self, name: &str, now: Instant) -> bool {
        self.memory().cache.has_addresses(name, now)
    }

    /// Keeps the cached results of `name` from being evicted, as long as the returned value lives.
    pub(crate) fn hold(&self, name: &str) -> Option<NameHold> {
        self.memory().cache.hold(name)
    }

    /// Returns the receivers for the results of the queries in progress for `name`.
    pub(crate) fn pending(&self, name: &str, now: Instant) -> Vec<QueryHandle> {
        let memory = self.memory();
        let flights = Family::BOTH.into_iter();
        let flights = flights.filter_map(|family| memory.pending(name, family, now));
        flights.map(|flight| flight.result.clone()).collect()
    }

    /// Uses another source from now on. The results of the earlier one expire.
    pub(crate) fn use_source(&self, source: Arc<dyn QuerySource>, now: Instant) {
        let before = {
            let mut memory = self.memory();
            memory.cache.expire(now);
            // Their results are only for the lookups that wait for them.
            memory.flights = Default::default();
            self.hot.clear();
            std::mem::replace(&mut memory.source, source)
        };
        drop(before); // not under the lock: it may close sockets
    }

    /// Starts queries, not under the lock. A runtime that is shutting down drops the task immediately, and the end of
    /// the query takes the lock.
    fn begin(self: &Arc<Self>, begun: Vec<QueryToStart>, runtime: &Handle) {
        for (question, result, source) in begun {
            runtime.spawn(Arc::clone(self).query(question, result, source));
        }
    }

    fn query(
        self: Arc<Self>,
        question: Question,
        result: QuerySender,
        source: Arc<dyn QuerySource>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let running = RunningQuery {
            pool: self,
            question,
            result,
            source,
        };
        async move {
            let pool = &running.pool;
            let outcome = timeout(pool.limit, running.ask());
            let outcome = outcome.await.unwrap_or_else(|elapsed| {
                QueryOutcome::failed(LookupFailure::because(DnsErrorReason::Timeout, elapsed))
            });
            running.finish(outcome);
        }
    }

    // No code that can panic runs under the lock, so the content of a poisoned one is consistent.
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
        let latest = self.cache.latest(name, family).cloned();
        let before = match latest {
            Some(latest) if latest.is_valid(now) => {
                self.cache.mark_used(name);
                return (FamilyLookup::Resolved(latest), None);
            }
            before => before,
        };
        if before.is_some() {
            self.cache.mark_used(name);
        }
        if let Some(flight) = self.pending(name, family, now) {
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
                .latest(name, family)
                .is_some_and(|latest| match why {
                    RefreshReason::Due => latest.is_due(now),
                    RefreshReason::Doubted => latest.may_be_doubted(now),
                });
            if !wanted || self.pending(name, family, now).is_some() {
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
    fn pending(&self, name: &str, family: Family, now: Instant) -> Option<&QueryInFlight> {
        let flight = self.flights[family.index()].get(name)?;
        (now < flight.since + self.lost_after).then_some(flight)
    }

    fn flight(&self, name: &str, family: Family, now: Instant) -> (QueryInFlight, QueryToStart) {
        let (sender, result) = watch::channel(None);
        let flight = QueryInFlight {
            since: now,
            worth_waiting: self.cache.is_worth_waiting(name, family, now),
            failing: self.cache.is_failing(name, family, now),
            result,
        };
        let name = name.into();
        let question = Question { name, family };
        (flight, (question, sender, Arc::clone(&self.source)))
    }

    /// Ends the query with this sender, unless another query has replaced it. Returns whether its result counts. The
    /// result of a lost query is old, or comes from a source that is no longer used.
    fn end(&mut self, question: &Question, result: &QuerySender, now: Instant) -> bool {
        let Question { name, family } = question;
        let is_own = |flight: &QueryInFlight| flight.result.same_channel(&result.subscribe());
        let counts = self.pending(name, *family, now).is_some_and(is_own);
        let flights = &mut self.flights[family.index()];
        if flights.get(name).is_some_and(is_own) {
            flights.remove(name);
        }
        counts
    }
}

impl QueryInFlight {
    fn leg(&self, before: Option<CachedRecord>) -> FamilyLookup {
        FamilyLookup::Pending {
            since: self.since,
            worth_waiting: self.worth_waiting,
            failing: self.failing,
            before,
            result: self.result.clone(),
        }
    }
}

/// Ends a query when its task ends for any reason, so that no lookup waits for it any longer.
struct RunningQuery {
    pool: Arc<QueryPool>,
    question: Question,
    result: QuerySender,
    source: Arc<dyn QuerySource>,
}

impl RunningQuery {
    async fn ask(&self) -> QueryOutcome {
        let dropped = |dropped| {
            QueryOutcome::failed(LookupFailure::because(DnsErrorReason::Timeout, dropped))
        };
        let mut slot = match self.pool.limiter.slot(&self.question.name).await {
            Ok(slot) => slot,
            Err(lost) => return dropped(lost),
        };
        tokio::select! {
            outcome = self.source.ask(&self.question) => outcome,
            lost = slot.dropped() => dropped(lost),
        }
    }

    fn finish(self, outcome: QueryOutcome) {
        let (now, luck, question) = (clock::now(), luck(), &self.question);
        let Recorded {
            latest, changed, ..
        } = {
            let mut memory = self.pool.memory();
            if !memory.end(question, &self.result, now) {
                let latest = memory
                    .cache
                    .weigh(question, outcome, (now, luck))
                    .forgotten();
                drop(memory);
                self.result.send_replace(Some(latest));
                return;
            }
            let recorded = memory.cache.record(question, outcome, (now, luck));
            let shown = memory.cache.show(&question.name, now);
            // Under the lock, so that of two families that end at the same time, the later one is shown last.
            let hot = &self.pool.hot;
            hot.put(&question.name, shown, recorded.evicted.as_deref());
            recorded
        };
        if changed {
            tracing::debug!(name = %question.name, family = ?question.family, "addresses changed");
        }
        if let (Some(failure), Some(_)) = (latest.failure(), latest.old(now)) {
            let (name, reason) = (&question.name, failure.reason);
            tracing::debug!(%name, ?reason, "no newer addresses: expired ones are used");
        }
        self.result.send_replace(Some(latest));
    }
}

impl Drop for RunningQuery {
    fn drop(&mut self) {
        if self.result.borrow().is_none() {
            let now = clock::now();
            self.pool.memory().end(&self.question, &self.result, now);
        }
    }
}

/// How much later than its timeout a query may end on a busy runtime.
const LATE: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "singleflight_tests.rs"]
mod tests;
