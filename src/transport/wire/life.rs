//! The life of a connection: its facts, its times, its end.

use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::socket::{Socket, SocketEnds};
use crate::box_error::BoxError;
use crate::clock::{self, nanos_of};
use crate::hop::{RuntimeGone, TlsSession, Unacknowledged};
use crate::luck::luck;
use crate::record::{Tickets, Tracker};
use crate::telemetry::Link;

/// The state that both protocols keep of a connection.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) socket: Socket,
    pub(crate) ends: SocketEnds,
    pub(crate) made: Instant,
    tls: Option<TlsSession>,
    tickets: Option<Tickets>,
    link: Option<Link>,
    /// The instant from which it is not used again.
    old_at: Instant,
    /// How long it may be idle, in nanoseconds.
    idle_timeout: AtomicU64,
    /// When it became idle, in nanoseconds since it was made.
    idle_since: AtomicU64,
    /// Whether it still belongs to the first call alone.
    is_used: AtomicBool,
    /// Whether it has an entry in the order of idle connections. Used under the lock of its pool.
    is_listed: AtomicBool,
    how: OnceLock<ConnectionEnd>,
    /// Until it is dropped, the connection counts as open.
    hold: Mutex<Option<Hold>>,
}

/// The permit of a connection.
type Hold = Box<dyn Any + Send>;

/// The facts of a new connection.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) socket: Socket,
    pub(crate) tls: Option<TlsSession>,
    pub(crate) tickets: Option<Tickets>,
    /// The link from later attempts to the setup.
    pub(crate) link: Option<Link>,
    pub(crate) idle_timeout: Duration,
}

impl Life {
    pub(crate) fn new(made: Made, hold: impl Send + 'static) -> Self {
        let now = clock::now();
        Self {
            ends: made.socket.ends(),
            socket: made.socket,
            made: now,
            tls: made.tls,
            tickets: made.tickets,
            link: made.link,
            old_at: now + YOUNGEST + (OLDEST - YOUNGEST).mul_f64(luck()),
            idle_timeout: AtomicU64::new(nanos_of(made.idle_timeout)),
            idle_since: AtomicU64::new(0),
            is_used: AtomicBool::new(false),
            is_listed: AtomicBool::new(false),
            how: OnceLock::new(),
            hold: Mutex::new(Some(Box::new(hold))),
        }
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    pub(crate) fn is_old(&self, now: Instant) -> bool {
        now >= self.old_at
    }

    /// Records that it becomes idle.
    pub(crate) fn rest(&self, now: Instant) {
        let since = nanos_of(now.saturating_duration_since(self.made));
        self.idle_since.store(since, Ordering::Release);
    }

    /// Records that it has an entry in the order of idle connections. Returns false if it had one before. The caller
    /// holds the lock of the pool.
    pub(crate) fn list(&self) -> bool {
        let is_new = !self.is_listed.load(Ordering::Relaxed);
        if is_new {
            self.is_listed.store(true, Ordering::Relaxed);
        }
        is_new
    }

    /// Records that it has no such entry any more. The caller holds the lock of the pool.
    pub(crate) fn unlist(&self) {
        self.is_listed.store(false, Ordering::Relaxed);
    }

    /// Returns how long it may be idle.
    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_nanos(self.idle_timeout.load(Ordering::Acquire))
    }

    /// Returns until when it may be idle.
    pub(crate) fn idle_until(&self) -> Instant {
        let since = self.idle_since.load(Ordering::Acquire);
        let limit = self.idle_timeout.load(Ordering::Acquire);
        let until = clock::after(self.made, Duration::from_nanos(since.saturating_add(limit)));
        until.min(self.old_at)
    }

    pub(crate) fn idle_since(&self) -> Instant {
        let since = self.idle_since.load(Ordering::Acquire);
        clock::after(self.made, Duration::from_nanos(since))
    }

    /// Takes over how long the server keeps the connection: this end closes it a second earlier. Returns false if that
    /// is too short to keep it.
    pub(crate) fn keep_alive(&self, timeout: Duration) -> bool {
        let limit = timeout.saturating_sub(BEFORE_SERVER);
        self.idle_timeout
            .fetch_min(nanos_of(limit), Ordering::AcqRel);
        !limit.is_zero()
    }

    /// Records in the attempt that it uses this connection.
    pub(crate) fn note(&self, tracker: &Tracker) {
        let is_own = !self.is_used.swap(true, Ordering::AcqRel) && tracker.is_own_connection();
        if let Some(peer) = self.ends.peer {
            tracker.spans().peer(peer);
        }
        if let Some(link) = self.link.as_ref().filter(|_| !is_own) {
            tracker.spans().tie(link);
        }
        let age = match is_own {
            true => Duration::ZERO,
            false => clock::now().saturating_duration_since(self.made),
        };
        tracker.facts(|facts| {
            facts.peer = self.ends.peer;
            facts.local = self.ends.local;
            facts.connection_age = Some(age);
            facts.tls = self.tls;
            if is_own {
                facts.tickets.clone_from(&self.tickets);
            }
        });
    }

    /// Closes its descriptor and returns its permit at once, so that another connection can be made. Its task may belong
    /// to a runtime that is not driven.
    pub(crate) fn evict(&self) {
        self.end(ConnectionEnd::Over);
        self.socket.close();
        self.release();
    }

    fn release(&self) {
        let hold = {
            let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
            hold.take()
        };
        drop(hold);
    }

    /// Ends it for this reason, unless it ended before.
    pub(crate) fn end(&self, how: ConnectionEnd) {
        let _ = self.how.set(how);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.how.get().is_some()
    }

    /// Returns why a request on it failed: the reason that the connection's task recorded, or else `error`.
    pub(crate) fn cause(&self, error: BoxError) -> BoxError {
        match self.how.get() {
            Some(ConnectionEnd::Dark) => {
                io::Error::new(io::ErrorKind::TimedOut, Unacknowledged).into()
            }
            Some(ConnectionEnd::Orphaned) => Box::new(RuntimeGone),
            Some(ConnectionEnd::Over) | None => error,
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionEnd {
    /// Its task is over.
    Over,
    /// The peer did not acknowledge a PING.
    Dark,
    /// The runtime dropped its task.
    Orphaned,
}

/// The task of a connection. When it is over, or is dropped with its runtime, the connection leaves its pool.
pub(super) struct Task<'a, F: Fn()> {
    pub(super) life: &'a Life,
    pub(super) leave_pool: F,
}

impl<F: Fn()> Task<'_, F> {
    pub(super) fn ended(&self, how: ConnectionEnd) {
        self.life.end(how);
    }
}

impl<F: Fn()> Drop for Task<'_, F> {
    fn drop(&mut self) {
        self.life.end(ConnectionEnd::Orphaned);
        // The body of its last response may still have the connection for a while.
        self.life.socket.close();
        (self.leave_pool)();
        self.life.release();
    }
}

/// Load balancers and deployments change. A connection that never ends would not follow them.
const YOUNGEST: Duration = Duration::from_secs(8 * 60);
const OLDEST: Duration = Duration::from_secs(10 * 60);
/// A request in flight would be lost if the server closed the connection.
const BEFORE_SERVER: Duration = Duration::from_secs(1);
