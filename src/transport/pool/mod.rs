//! The connections to one address, as far as they can take another request.

pub(super) mod bounds;
mod checkout;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use self::bounds::Bounds;
pub(super) use self::checkout::{Checkout, ConnectionLease, Queue};
use super::dial::Connected;
use super::wire::http1::{Home, Http1, Leased};
use super::wire::http2::{Http2, StreamLease, Watcher};
use crate::clock;

/// A pool. Its connections are used last in, first out: those that are not needed grow idle and end.
#[derive(Debug)]
pub(super) struct Pool {
    inside: Mutex<PoolState>,
    /// A connection became idle, or an HTTP/2 connection has another number of streams.
    change: Notify,
    bounds: Bounds,
    /// How many connections are open, idle and in use.
    open: Arc<AtomicUsize>,
    /// How many calls wait for room for another connection.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct PoolState {
    idle: Vec<Arc<Http1>>,
    http2: Vec<Arc<Http2>>,
    /// How many calls dial.
    dialing: usize,
    /// How many dials have failed.
    failed: u64,
    /// The server chose HTTP/2 when it was asked last.
    speaks_http2: bool,
    /// How many dials go on whose calls have other connections.
    left: usize,
    /// Nothing rests here any more.
    is_closed: bool,
}

impl Pool {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            inside: Mutex::default(),
            change: Notify::new(),
            bounds,
            open: Arc::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// How many connections are open.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Closes what is idle, and lets the rest end with what is under way.
    pub(super) fn close(&self) {
        self.close_before(None);
        self.inside().is_closed = true;
    }

    /// The same for the connections that were made before.
    pub(super) fn close_before(&self, made: Option<Instant>) {
        let is_meant = |at: Instant| made.is_none_or(|made| at <= made);
        let (idle, http2) = {
            let mut inside = self.inside();
            let idle = inside.idle.extract_if(.., |one| is_meant(one.life.made));
            let idle: Vec<_> = idle.collect();
            let http2 = inside.http2.extract_if(.., |one| is_meant(one.life.made));
            (idle, http2.collect::<Vec<_>>())
        };
        idle.iter().for_each(|connection| connection.close());
        http2.iter().for_each(|connection| connection.close());
    }

    /// Since when the connection has been idle that was used least recently.
    pub(super) fn idlest(&self) -> Option<Instant> {
        let inside = self.inside();
        let http2 = inside
            .http2
            .iter()
            .filter(|connection| connection.is_idle());
        let http2 = http2.map(|connection| connection.life.idle_since());
        let idle = inside
            .idle
            .iter()
            .map(|connection| connection.life.idle_since());
        idle.chain(http2).min()
    }

    /// Closes a connection that has been idle since then. False if there is none any more.
    pub(super) fn close_idlest(&self, since: Instant) -> bool {
        let mut inside = self.inside();
        let is_it = |connection: &Arc<Http1>| connection.life.idle_since() <= since;
        let idle = inside.idle.iter().position(is_it);
        let idle = idle.map(|at| inside.idle.remove(at));
        let is_it = |one: &Arc<Http2>| one.is_idle() && one.life.idle_since() <= since;
        let http2 = inside
            .http2
            .iter()
            .position(is_it)
            .filter(|_| idle.is_none());
        let http2 = http2.map(|at| inside.http2.remove(at));
        drop(inside);
        idle.iter().for_each(|connection| connection.close());
        http2.iter().for_each(|connection| connection.close());
        idle.is_some() || http2.is_some()
    }

    /// A stream of a connection that has room.
    fn stream(&self, now: Instant) -> Option<StreamLease> {
        let mut inside = self.inside();
        if inside.http2.is_empty() {
            return None;
        }
        inside.http2.retain(|connection| !connection.is_closed());
        let mut leases = inside.http2.iter().map(|connection| connection.lease(now));
        leases.find_map(|lease| lease)
    }

    /// The idle connection that was used last.
    async fn idle(&self, now: Instant) -> Option<Arc<Http1>> {
        for round in 0..=PATIENCE {
            let mut later = Vec::new();
            let found = self.fit(now, round < PATIENCE, &mut later);
            let waits = !later.is_empty();
            for connection in later {
                if !self.rest(&connection) {
                    connection.close();
                }
            }
            if found.is_some() || !waits {
                return found;
            }
            // Their tasks read meanwhile.
            tokio::task::yield_now().await;
        }
        None
    }

    fn fit(&self, now: Instant, patience: bool, later: &mut Vec<Arc<Http1>>) -> Option<Arc<Http1>> {
        loop {
            let connection = self.inside().idle.pop()?;
            match connection.lease(now, patience) {
                Leased::Yes => return Some(connection),
                Leased::Later => later.push(connection),
                Leased::No => {}
            }
        }
    }

    /// Keeps a connection that has just been made. The lease is the caller's.
    fn adopt(&self, connection: &Arc<Http2>) -> Option<StreamLease> {
        let now = clock::now();
        let mut inside = self.inside();
        inside.speaks_http2 = true;
        inside.http2.retain(|connection| !connection.is_closed());
        let lease = connection.lease(now);
        // Calls that dialed at once have made several. One is enough, until it is known to be full.
        let is_needed = inside.http2.iter().all(|other| other.is_full());
        if is_needed && !inside.is_closed {
            inside.http2.push(Arc::clone(connection));
        } else {
            drop(inside);
            connection.close();
        }
        lease
    }

    /// Keeps the connection of a dial that its call has left.
    fn keep(&self, connected: &Connected) {
        match connected {
            Connected::Http1(connection) => {
                if !connection.release() || !self.rest(connection) {
                    connection.close();
                }
            }
            Connected::Http2(connection) => {
                drop(self.adopt(connection));
                self.changed();
            }
        }
    }

    /// Whether a call had better wait for the dial of another one: it may bring a stream for both.
    fn is_awaited(&self, failed: u64) -> bool {
        let inside = self.inside();
        let is_dialing = inside.dialing > 0 && inside.failed == failed;
        inside.speaks_http2 && (is_dialing || inside.http2.iter().any(|one| one.is_new()))
    }

    /// A call that has waited has a stream: if there is another one, so has the next call that waits.
    fn pass_on(&self, lease: &ConnectionLease) {
        let has_room = || self.inside().http2.iter().any(|one| one.has_room());
        if matches!(lease, ConnectionLease::Http2(_)) && has_room() {
            self.change.notify_one();
        }
    }

    /// The server has chosen HTTP/1: calls that wait for a stream need connections of their own.
    fn speaks_http1(&self) {
        let was_http2 = std::mem::take(&mut self.inside().speaks_http2);
        if was_http2 {
            self.change.notify_waiters();
        }
    }

    /// Whether calls to other addresses wait for room, which an idle connection of this one takes.
    fn is_in_the_way(&self) -> bool {
        self.bounds.waiting() > self.waiting.load(Ordering::SeqCst)
    }

    fn failed(&self) -> u64 {
        self.inside().failed
    }

    fn inside(&self) -> MutexGuard<'_, PoolState> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Home for Pool {
    fn rest(&self, connection: &Arc<Http1>) -> bool {
        {
            let mut inside = self.inside();
            if inside.is_closed {
                return false;
            }
            inside.idle.push(Arc::clone(connection));
        }
        // Asked now that it can be found: a call that begins to wait from here on finds it.
        if self.is_in_the_way() && self.expire(connection) {
            return false;
        }
        // The one that hears of it may not be the one that can use it, if several wait for different things.
        self.change.notify_waiters();
        self.change.notify_one();
        true
    }

    fn expire(&self, connection: &Arc<Http1>) -> bool {
        let mut inside = self.inside();
        let at = inside
            .idle
            .iter()
            .position(|idle| Arc::ptr_eq(idle, connection));
        at.map(|at| inside.idle.remove(at)).is_some()
    }
}

impl Watcher for Pool {
    fn changed(&self) {
        self.change.notify_one();
        if self.is_in_the_way() {
            self.close_idlest(clock::now());
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

/// How often a TLS connection with unread bytes is given the time to read them.
const PATIENCE: usize = 3;
