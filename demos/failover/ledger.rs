//! The events of a run, with their times from its beginning.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::caller::Called;

/// The books that are kept during a run.
pub(crate) struct Ledger {
    began: Instant,
    books: Mutex<Books>,
}

/// The events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    /// The requests that arrived, by the servers' own count: the time, the address and the number.
    pub(crate) arrived: Vec<(Duration, IpAddr, usize)>,
    /// The attempts that the client reports: the time when each began, and the address. Some of them did not arrive.
    pub(crate) attempts: Vec<(Duration, IpAddr)>,
    /// The calls that failed: the time when each began, and the reason.
    pub(crate) failed: Vec<(Duration, String)>,
    pub(crate) calls: usize,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            books: Mutex::default(),
        }
    }

    /// The time of the run.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn arrived(&self, at: IpAddr, requests: usize) {
        if requests > 0 {
            let now = self.now();
            self.books().arrived.push((now, at, requests));
        }
    }

    pub(crate) fn called(&self, begun: Duration, called: Called) {
        let mut books = self.books();
        books.calls += 1;
        let attempts = called.attempts.into_iter();
        let attempts = attempts.map(|(start, peer)| (begun + start, peer));
        books.attempts.extend(attempts);
        let failure = called.failure.map(|failure| (begun, failure));
        books.failed.extend(failure);
    }

    pub(crate) fn close(&self) -> Books {
        std::mem::take(&mut self.books())
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// Returns when the last request that began between the two times went to `address`. Of the server's count and the
    /// client's report, the later one holds.
    pub(crate) fn last_to(&self, address: IpAddr, from: Duration, until: Duration) -> Duration {
        let arrived = self.arrived.iter().map(|(at, to, _)| (*at, *to));
        let sent = arrived.chain(self.attempts.iter().copied());
        let there = sent.filter(|(at, to)| *to == address && (from..until).contains(at));
        there.map(|(at, _)| at).max().unwrap_or(from)
    }

    pub(crate) fn arrived_at(&self, address: IpAddr, from: Duration, until: Duration) -> usize {
        let arrived = self.arrived.iter();
        let there = arrived.filter(|(at, to, _)| *to == address && (from..until).contains(at));
        there.map(|(_, _, requests)| requests).sum()
    }

    pub(crate) fn failed_in(&self, from: Duration, until: Duration) -> usize {
        let failed = self.failed.iter();
        failed.filter(|(at, _)| (from..until).contains(at)).count()
    }
}
