//! One query for many: whoever asks while a query is out waits for that one.
//!
//! Cache and flights are under one lock, so that a query is never begun for what has just landed. The query
//! runs in a task of its own: an asker that gives up takes nothing away from the others, and the answer
//! gets into the cache even if nobody waits any more.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::cache::{Cache, Heard, Recorded};
use super::error::{Failure, Reason};
use super::pair::{Leg, Pair, Verdict};
use super::source::{Outcome, Source};
use super::{Answer, Family, Question};
use crate::clock;
use crate::limit::Limit;

/// What is known, what is being asked, and whom to ask.
#[derive(Debug)]
pub(crate) struct Board {
    memory: RwLock<Memory>,
    source: Arc<dyn Source>,
    limit: Limit,
    /// A query holds a socket: as many as there are turns, however many names are asked for.
    turns: Semaphore,
}

#[derive(Debug)]
struct Memory {
    cache: Cache,
    flights: [HashMap<Arc<str>, Flight>; 2],
}

/// A query that is out.
#[derive(Debug)]
struct Flight {
    since: Instant,
    hoped: bool,
    landing: Landing,
}

/// Where those who wait hear what has landed.
pub(crate) type Landing = watch::Receiver<Option<Heard>>;

/// Where they are told.
type Tower = watch::Sender<Option<Heard>>;

/// How a name stands: answered, or to be waited for.
#[derive(Debug)]
pub(crate) enum Boarding {
    Known(Result<Answer, Failure>),
    Wait(Pair),
}

impl Board {
    pub(crate) fn new(cache: Cache, source: Arc<dyn Source>, limit: Limit) -> Self {
        let memory = RwLock::new(Memory {
            cache,
            flights: Default::default(),
        });
        Self {
            memory,
            source,
            limit,
            turns: Semaphore::new(QUERIES),
        }
    }

    /// The answer for `name`, if all of it is fresh. The hot path.
    pub(crate) fn answer(&self, name: &str, now: Instant) -> Option<Answer> {
        self.read().cache.answer(name, now)
    }

    /// Finds out how `name` stands, and begins what queries it needs.
    pub(crate) fn board(self: &Arc<Self>, name: &str, now: Instant, runtime: &Handle) -> Boarding {
        let mut begun = Vec::new();
        let pair = {
            let mut memory = self.write();
            Pair::new(Family::BOTH.map(|family| {
                let (leg, landing) = memory.leg(name, family, now);
                begun.extend(landing.map(|landing| (family, landing)));
                leg
            }))
        };
        // Not under the lock: a runtime that is shutting down drops the task on the spot, and its landing
        // takes the lock.
        for (family, landing) in begun {
            let name = name.into();
            let question = Question { name, family };
            runtime.spawn(Arc::clone(self).query(question, landing));
        }
        match pair.verdict(now) {
            Verdict::Ready => Boarding::Known(pair.answer(now).map(Answer::into_cached)),
            Verdict::Until(_) | Verdict::Open => Boarding::Wait(pair),
        }
    }

    fn query(
        self: Arc<Self>,
        question: Question,
        landing: Tower,
    ) -> impl Future<Output = ()> + Send + 'static {
        let approach = Approach {
            board: self,
            question,
            landing,
        };
        async move {
            let board = &approach.board;
            let outcome = timeout(board.limit.get(), async {
                let _turn = board.turns.acquire().await;
                board.source.ask(&approach.question).await
            });
            let outcome = outcome.await.unwrap_or_else(|elapsed| {
                Outcome::failed(Failure::because(Reason::Timeout, elapsed))
            });
            approach.land(outcome);
        }
    }

    // No code that can panic runs under the lock, so a poisoned one holds nothing half done.
    fn read(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Memory> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// What is known of one family of `name`; if that is nothing fresh, the query that is out for it; if
    /// there is none, a new one, whose landing the caller has to see to.
    fn leg(&mut self, name: &str, family: Family, now: Instant) -> (Leg, Option<Tower>) {
        let heard = self.cache.heard(name, family);
        if let Some(heard) = heard.filter(|heard| heard.is_fresh(now)) {
            return (Leg::Heard(heard.clone()), None);
        }
        let hoped = heard.is_none_or(|heard| heard.addresses().is_some());
        let flights = &mut self.flights[family.index()];
        if let Some(flight) = flights.get(name) {
            return (flight.leg(), None);
        }
        let (sender, landing) = watch::channel(None);
        let flight = Flight {
            since: now,
            hoped,
            landing,
        };
        let leg = flight.leg();
        flights.insert(name.into(), flight);
        (leg, Some(sender))
    }

    fn end(&mut self, question: &Question) {
        self.flights[question.family.index()].remove(&question.name);
    }
}

impl Flight {
    fn leg(&self) -> Leg {
        Leg::Out {
            since: self.since,
            hoped: self.hoped,
            landing: self.landing.clone(),
        }
    }
}

/// A query's way home. However its task ends, the flight is over, and nobody waits for it any longer.
struct Approach {
    board: Arc<Board>,
    question: Question,
    landing: Tower,
}

impl Approach {
    fn land(self, outcome: Outcome) {
        let (now, question) = (clock::now(), &self.question);
        let Recorded { heard, changed } = {
            let mut memory = self.board.write();
            memory.end(question);
            memory.cache.record(question, outcome, now)
        };
        if changed {
            tracing::debug!(name = %question.name, family = ?question.family, "addresses changed");
        }
        self.landing.send_replace(Some(heard));
    }
}

impl Drop for Approach {
    fn drop(&mut self) {
        if self.landing.borrow().is_none() {
            self.board.write().end(&self.question);
        }
    }
}

/// The task that asked was dropped, by a runtime that shut down, or by a panic.
#[derive(Debug)]
pub(crate) struct Abandoned;

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task that asked the name server was dropped")
    }
}

impl std::error::Error for Abandoned {}

/// Queries out at a time: far above what a healthy server leaves waiting, well below the 1,024 files that a
/// process may commonly open.
pub(crate) const QUERIES: usize = 256;
