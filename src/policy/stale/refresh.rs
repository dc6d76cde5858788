//! The refresh of a stored response that was served at once: one for each key, and a bounded number in all.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, request};

use super::store::{Key, Store};

/// A request that has to be sent in the background, in the extensions of the stale response.
#[derive(Clone)]
pub(crate) struct Refresh(Arc<Inner>);

struct Inner {
    head: request::Parts,
    within: Duration,
    most_bytes: usize,
    claim: Claim,
}

/// Marks the request of a refresh, in its extensions: it asks the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IsRefresh;

/// The parts of a refresh: its request without a body, its bounds in time and bytes, and its claim.
pub(crate) type RefreshParts = (Request<()>, (Duration, usize), Claim);

impl Refresh {
    pub(crate) fn new(
        mut head: request::Parts,
        (within, most_bytes): (Duration, usize),
        claim: Claim,
    ) -> Self {
        head.extensions.insert(IsRefresh);
        Self(Arc::new(Inner {
            head,
            within,
            most_bytes,
            claim,
        }))
    }

    /// Returns the parts; `None` if another holder of the response may send it, too.
    pub(crate) fn into_parts(self) -> Option<RefreshParts> {
        let inner = Arc::into_inner(self.0)?;
        let request = Request::from_parts(inner.head, ());
        Some((request, (inner.within, inner.most_bytes), inner.claim))
    }
}

/// The refreshes in flight.
#[derive(Debug, Default)]
pub(super) struct Refreshes(Mutex<HashSet<Key>>);

impl Refreshes {
    fn claim(&self, key: Key) -> bool {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.len() < MOST_REFRESHES && keys.insert(key)
    }

    fn give_back(&self, key: &Key) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.remove(key);
    }
}

/// The right to refresh a response. It is given back when it is dropped.
pub(crate) struct Claim {
    store: Arc<Store>,
    key: Key,
}

impl Claim {
    /// Claims a refresh; `None` if it is in flight already, or if too many are.
    pub(super) fn of(store: &Arc<Store>, key: Key) -> Option<Self> {
        store.refreshing.claim(key).then(|| Self {
            store: Arc::clone(store),
            key,
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.store.refreshing.give_back(&self.key);
    }
}

/// A refresh is a call in the background. They must not take all connections.
const MOST_REFRESHES: usize = 64;
