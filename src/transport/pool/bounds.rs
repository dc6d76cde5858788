//! Bounds the number of connections: each needs a descriptor of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::idle::IdleOrder;

/// The permits for the connections of one transport.
#[derive(Clone, Debug)]
pub(crate) struct Bounds(Arc<BoundsState>);

#[derive(Debug)]
struct BoundsState {
    free: Arc<Semaphore>,
    most: usize,
    idle: IdleOrder,
    /// The number of calls that wait for a permit.
    waiting: AtomicUsize,
}

/// The permit of one connection, until its task ends or it is evicted.
#[derive(Debug)]
pub(crate) struct ConnectionRoom {
    _room: OwnedSemaphorePermit,
    /// The number of open connections of its pool.
    open: Arc<AtomicUsize>,
}

impl Drop for ConnectionRoom {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Bounds {
    pub(crate) fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(BoundsState {
            free: Arc::new(Semaphore::new(most)),
            most,
            idle: IdleOrder::default(),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// Returns whether these are the bounds of the same transport.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns how many connections may be open.
    pub(crate) fn most(&self) -> usize {
        self.0.most
    }

    /// Closes the idle connection that was used least recently, of any destination.
    pub(crate) fn close_idlest(&self) {
        self.0.idle.close_idlest();
    }

    pub(super) fn idle(&self) -> &IdleOrder {
        &self.0.idle
    }

    /// Takes a permit for a connection, if there is one.
    pub(super) fn try_hold(&self, open: &Arc<AtomicUsize>) -> Option<ConnectionRoom> {
        let room = Arc::clone(&self.0.free).try_acquire_owned().ok()?;
        Some(ConnectionRoom::new(room, open))
    }

    /// Records that a call begins to wait for a permit. This comes first, so that a connection that becomes idle
    /// meanwhile is closed for it.
    pub(super) fn wait<'a>(&'a self, here: &'a AtomicUsize) -> Waiting<'a> {
        here.fetch_add(1, Ordering::SeqCst);
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting {
            all: &self.0.waiting,
            here,
        }
    }

    /// Waits for a permit.
    pub(super) async fn hold(&self, open: &Arc<AtomicUsize>) -> Option<ConnectionRoom> {
        let room = Arc::clone(&self.0.free).acquire_owned().await.ok()?;
        Some(ConnectionRoom::new(room, open))
    }

    /// Returns the number of calls that wait for a permit.
    pub(super) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::SeqCst)
    }
}

impl ConnectionRoom {
    fn new(room: OwnedSemaphorePermit, open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::AcqRel);
        Self {
            _room: room,
            open: Arc::clone(open),
        }
    }
}

/// A call that waits for a permit.
pub(super) struct Waiting<'a> {
    /// The number of waiting calls in total, and of those for the same address.
    all: &'a AtomicUsize,
    here: &'a AtomicUsize,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::SeqCst);
        self.here.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Returns a quarter of the descriptors that the process may have, at most 1,024. The rest is for other uses.
pub(crate) fn most_connections() -> usize {
    let most = descriptors().map_or(MOST, |timeout| usize::try_from(timeout / 4).unwrap_or(MOST));
    most.clamp(LEAST, MOST)
}

#[cfg(unix)]
fn descriptors() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(unix))]
fn descriptors() -> Option<u64> {
    None
}

const MOST: usize = 1_024;
const LEAST: usize = 8;
