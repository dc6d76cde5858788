//! The connections to one address that can take another request.

pub(super) mod bounds;
mod checkout;
mod idle;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use tokio::time::Instant;

use self::bounds::Bounds;
pub(super) use self::checkout::{Checkout, ConnectionLease, Queue};
use self::idle::{IdleState, Listed};
use super::dial::Connected;
use super::wire::http1::{Home, Http1, Leased};
use super::wire::http2::{Http2, StreamLease, Watcher};
use super::wire::socket::Sight;
use crate::clock;

/// A pool. The connection that was used last is used first, so surplus connections become idle and are closed.
#[derive(Debug)]
pub(super) struct Pool {
    this: Weak<Self>,
    inside: Mutex<PoolState>,
    /// Notified when a connection becomes idle, or the number of streams of an HTTP/2 connection changes.
    change: Notify,
    /// Notified when a dial ends, or when a new connection may have announced its streams. `change` wakes one waiting
    /// call at a time, which may be one that cannot dial. This wakes all calls that can dial.
    dialed: Notify,
    /// The number of calls that found no connection at once.
    in_need: AtomicUsize,
    bounds: Bounds,
    /// The number of open connections, idle or in use.
    open: Arc<AtomicUsize>,
    /// The number of calls that wait for a permit for another connection.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct PoolState {
    idle: Vec<Arc<Http1>>,
    http2: Vec<Arc<Http2>>,
    /// The number of calls that dial.
    dialing: usize,
    /// The number of failed dials.
    failed: u64,
    /// Whether the server chose HTTP/2 in the latest handshake.
    speaks_http2: bool,
    /// The number of dials that continue although their calls have other connections.
    left: usize,
    /// Whether the pool is closed: it does not keep connections any more.
    is_closed: bool,
}

impl Pool {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            inside: Mutex::default(),
            change: Notify::new(),
            dialed: Notify::new(),
            in_need: AtomicUsize::new(0),
            bounds,
            open: Arc::default(),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Returns the number of open connections.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Returns how many connections carry requests, and how many are idle.
    #[cfg(feature = "otel")]
    pub(super) fn states(&self) -> [u64; 2] {
        let idle = {
            let inside = self.inside();
            let http2 = inside.http2.iter();
            let http2 = http2.filter(|one| one.is_idle() && !one.is_closed());
            inside.idle.len() + http2.count()
        };
        // Read later: a connection may have ended meanwhile.
        let open = self.open();
        let idle = idle.min(open);
        [open - idle, idle].map(|count| count as u64)
    }

    /// Closes the idle connections. The others end after their requests in flight.
    pub(super) fn close(&self) {
        self.close_before(None);
        self.inside().is_closed = true;
    }

    /// Does the same for the connections that existed at `made`, and for all connections if it is `None`.
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

    /// Removes a connection from the pool if it has been idle since then.
    fn take_http1(&self, connection: &Arc<Http1>, since: Instant) -> IdleState {
        let mut inside = self.inside();
        let mut idle = inside.idle.iter();
        let Some(at) = idle.position(|idle| Arc::ptr_eq(idle, connection)) else {
            connection.life.unlist();
            return IdleState::Busy;
        };
        let now_since = connection.life.idle_since();
        if now_since > since {
            return IdleState::IdleSince(now_since);
        }
        inside.idle.remove(at);
        IdleState::Removed
    }

    /// Does the same for an HTTP/2 connection.
    fn take_http2(&self, connection: &Arc<Http2>, since: Instant) -> IdleState {
        let mut inside = self.inside();
        let mut http2 = inside.http2.iter();
        let at = http2.position(|other| Arc::ptr_eq(other, connection));
        let Some(at) = at.filter(|_| connection.is_idle()) else {
            connection.life.unlist();
            return IdleState::Busy;
        };
        let now_since = connection.life.idle_since();
        if now_since > since {
            return IdleState::IdleSince(now_since);
        }
        inside.http2.remove(at);
        IdleState::Removed
    }

    /// Lists the HTTP/2 connections that have become idle, so that they can be closed for other connections.
    fn list_idle(&self) {
        let idle: Vec<_> = {
            let inside = self.inside();
            let http2 = inside.http2.iter();
            let idle = http2.filter(|one| one.is_idle() && one.life.list());
            idle.map(|one| Listed::http2(&self.this, one)).collect()
        };
        for listed in idle {
            self.bounds.idle().list(listed);
        }
    }

    /// Offers the idle HTTP/2 connections to calls that wait for a permit for another connection.
    fn let_go(&self) {
        // Listed before the check: a call that begins to wait from now on finds it.
        self.list_idle();
        if self.is_in_the_way() {
            self.close_idle();
        }
    }

    /// Closes one of its idle connections.
    fn close_idle(&self) {
        let mut inside = self.inside();
        if !inside.idle.is_empty() {
            let idle = inside.idle.remove(0);
            drop(inside);
            return idle.evict();
        }
        let at = inside.http2.iter().position(|one| one.is_idle());
        let idle = at.map(|at| inside.http2.remove(at));
        drop(inside);
        idle.iter().for_each(|connection| connection.evict());
    }

    /// Returns a stream of a connection that has one free. The calls that were woken for the free streams run first: so
    /// many may be `ahead`. One of them that is not polled holds nothing up.
    async fn stream(&self, now: Instant, ahead: usize) -> Option<StreamLease> {
        for round in 0..=PATIENCE {
            let ahead = if round < PATIENCE { ahead } else { 0 };
            let mut waits = false;
            let found = self.free_stream(now, ahead, &mut waits);
            if found.is_some() || !waits {
                return found;
            }
            // Meanwhile their tasks read.
            tokio::task::yield_now().await;
        }
        None
    }

    /// Returns a stream of a connection whose task has nothing to read first.
    fn free_stream(&self, now: Instant, ahead: usize, waits: &mut bool) -> Option<StreamLease> {
        let mut inside = self.inside();
        if inside.http2.is_empty() {
            return None;
        }
        inside.http2.retain(|connection| !connection.is_closed());
        if ahead > 0 && (1..=ahead).contains(&inside.free_streams()) {
            *waits = true;
            return None;
        }
        inside
            .http2
            .iter()
            .find_map(|connection| match connection.look(now) {
                Sight::Quiet => connection.lease(now),
                Sight::Unread => {
                    *waits = true;
                    None
                }
                Sight::Over => None,
            })
    }

    /// Returns the idle connection that was used last.
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
            // Meanwhile their tasks read.
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

    /// Keeps a new connection. The returned lease is for the caller.
    fn adopt(&self, connection: &Arc<Http2>) -> Option<StreamLease> {
        let now = clock::now();
        let mut inside = self.inside();
        inside.speaks_http2 = true;
        inside.http2.retain(|connection| !connection.is_closed());
        let lease = connection.lease(now);
        // Calls that dialed at the same time have made several. One is enough, until it is known to be full.
        let is_needed = inside.http2.iter().all(|other| other.is_full());
        // Checked under the lock: a connection that ends from now on is removed by its task.
        if is_needed && !inside.is_closed && !connection.life.is_over() {
            inside.http2.push(Arc::clone(connection));
        } else {
            drop(inside);
            connection.close();
        }
        lease
    }

    /// Keeps the connection of a dial whose call has another connection.
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

    /// Returns whether a call should wait for the dial of another call, which may give streams to both.
    fn is_awaited(&self, failed: u64) -> bool {
        let inside = self.inside();
        let is_dialing = inside.dialing > 0 && inside.failed == failed;
        inside.speaks_http2 && (is_dialing || inside.http2.iter().any(|one| one.is_new()))
    }

    /// Returns the number of calls that found no connection at once.
    fn in_need(&self) -> usize {
        self.in_need.load(Ordering::SeqCst)
    }

    /// Wakes the call that waits first, if a stream is free.
    fn pass_on(&self) {
        if self.in_need() > 0 && self.inside().free_streams() > 0 {
            self.change.notify_one();
        }
    }

    /// Records that the server chose HTTP/1: calls that wait for a stream need their own connections.
    fn speaks_http1(&self) {
        let was_http2 = std::mem::take(&mut self.inside().speaks_http2);
        if was_http2 {
            self.change.notify_waiters();
        }
    }

    /// Returns whether calls to other addresses wait for a permit that an idle connection of this pool holds.
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

impl PoolState {
    fn free_streams(&self) -> usize {
        let each = self.http2.iter().map(|one| one.free_streams());
        each.fold(0, usize::saturating_add)
    }
}

impl Home for Pool {
    fn rest(&self, connection: &Arc<Http1>) -> bool {
        let is_new = {
            let mut inside = self.inside();
            // Checked under the lock: a connection that ends from now on is removed by its task.
            if inside.is_closed || connection.life.is_over() {
                return false;
            }
            inside.idle.push(Arc::clone(connection));
            connection.life.list()
        };
        if is_new {
            self.bounds
                .idle()
                .list(Listed::http1(&self.this, connection));
        }
        // Checked after the connection is in the pool: a call that begins to wait from now on finds it.
        if self.is_in_the_way() && self.expire(connection) {
            connection.evict();
            return false;
        }
        // Wakes all: if calls wait for different things, a single woken call may not be able to use it.
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
        self.dialed.notify_waiters();
        self.let_go();
    }

    fn ended(&self, connection: &Arc<Http2>) {
        let mut inside = self.inside();
        inside.http2.retain(|other| !Arc::ptr_eq(other, connection));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

/// How often the task of a connection over TLS or HTTP/2 gets time to read its unread bytes.
const PATIENCE: usize = 3;
