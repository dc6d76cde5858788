//! The connections of a transport in the order of their last use, so that the idlest one is found without a walk over
//! all destinations.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;

use super::Pool;
use crate::transport::wire::http1::Http1;
use crate::transport::wire::http2::Http2;

/// A heap of connections by the time since when each is idle.
///
/// The use of a connection does not update its entry, so most calls do not take this lock. When an entry is the first
/// one and its connection was used since, it goes back with the later time. Times only grow, so the first entry whose
/// time is up to date belongs to the idlest connection. A connection in use leaves the heap. Its pool lists it again
/// when it becomes idle.
#[derive(Debug, Default)]
pub(super) struct IdleOrder(Mutex<IdleHeap>);

#[derive(Debug, Default)]
struct IdleHeap {
    entries: BinaryHeap<Reverse<Listed>>,
    /// The length at which the entries of ended connections are removed.
    sweep_at: usize,
}

/// The entry of a connection.
#[derive(Debug)]
pub(super) struct Listed {
    since: Instant,
    pool: Weak<Pool>,
    connection: ListedConnection,
}

#[derive(Debug)]
enum ListedConnection {
    Http1(Weak<Http1>),
    Http2(Weak<Http2>),
}

/// The state of the connection of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdleState {
    /// It was idle since the time of the entry. The pool has removed it.
    Removed,
    /// It has been used since, and is idle again since this time.
    IdleSince(Instant),
    /// It is in use, or has ended.
    Busy,
}

impl IdleOrder {
    /// Adds a connection. The pool ensures that no connection has two entries.
    pub(super) fn list(&self, listed: Listed) {
        let mut heap = self.heap();
        if heap.entries.len() >= heap.sweep_at {
            heap.entries.retain(|Reverse(listed)| listed.is_alive());
            heap.sweep_at = (2 * heap.entries.len()).max(LEAST_SWEEP);
        }
        heap.entries.push(Reverse(listed));
    }

    /// Closes the connection that has been idle for longest, if there is one.
    pub(super) fn close_idlest(&self) {
        loop {
            let first = self.heap().entries.pop();
            let Some(Reverse(mut listed)) = first else {
                return;
            };
            match listed.take() {
                IdleState::Removed => return,
                IdleState::IdleSince(since) => {
                    listed.since = since;
                    self.heap().entries.push(Reverse(listed));
                }
                IdleState::Busy => {}
            }
        }
    }

    fn heap(&self) -> MutexGuard<'_, IdleHeap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    pub(super) fn http1(pool: &Weak<Pool>, connection: &Arc<Http1>) -> Self {
        Self {
            since: connection.life.idle_since(),
            pool: Weak::clone(pool),
            connection: ListedConnection::Http1(Arc::downgrade(connection)),
        }
    }

    pub(super) fn http2(pool: &Weak<Pool>, connection: &Arc<Http2>) -> Self {
        Self {
            since: connection.life.idle_since(),
            pool: Weak::clone(pool),
            connection: ListedConnection::Http2(Arc::downgrade(connection)),
        }
    }

    /// Closes the connection if it has been idle since the time of the entry.
    fn take(&self) -> IdleState {
        let Some(pool) = self.pool.upgrade() else {
            return IdleState::Busy;
        };
        match &self.connection {
            ListedConnection::Http1(connection) => match connection.upgrade() {
                Some(connection) => {
                    let state = pool.take_http1(&connection, self.since);
                    if state == IdleState::Removed {
                        connection.evict();
                    }
                    state
                }
                None => IdleState::Busy,
            },
            ListedConnection::Http2(connection) => match connection.upgrade() {
                Some(connection) => {
                    let state = pool.take_http2(&connection, self.since);
                    if state == IdleState::Removed {
                        connection.evict();
                    }
                    state
                }
                None => IdleState::Busy,
            },
        }
    }

    fn is_alive(&self) -> bool {
        match &self.connection {
            ListedConnection::Http1(connection) => connection.strong_count() > 0,
            ListedConnection::Http2(connection) => connection.strong_count() > 0,
        }
    }
}

impl PartialEq for Listed {
    fn eq(&self, other: &Self) -> bool {
        self.since == other.since
    }
}

impl Eq for Listed {}

impl PartialOrd for Listed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Listed {
    fn cmp(&self, other: &Self) -> Ordering {
        self.since.cmp(&other.since)
    }
}

/// Fewer entries are not worth a sweep.
const LEAST_SWEEP: usize = 64;
