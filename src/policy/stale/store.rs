//! The last good responses, within a bound of bytes.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER};
use http::response::Parts;
use http::{HeaderMap, Method, Response, StatusCode, Uri, Version};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use tokio::time::Instant;

use super::decide::{Terms, bytes_of};
use super::refresh::Refreshes;
use super::target::Target;
use crate::clock::nanos_of;
use crate::destination::Origin;
use crate::hop_by_hop;

/// The last good response to each request, within a bound of bytes. The least recently used responses make room.
pub(crate) struct Store {
    responses: Cache<Key, Arc<StoredResponse>, Bytewise>,
    /// When something was last written at a destination and path, in nanoseconds since `epoch`; 0 means never. URLs
    /// share slots by their hash, so the time in a slot may be too late, but never too early.
    writes: Box<[AtomicU64]>,
    epoch: Instant,
    hashers: [RandomState; 2],
    pub(super) refreshing: Refreshes,
    /// Held while a response is compared with the one that it replaces.
    putting: Mutex<()>,
}

/// A request by its hash of 128 bits, with keys that each store draws anew. Neither URLs nor credentials are kept.
pub(super) type Key = [u64; 2];

/// A good response, whole.
pub(super) struct StoredResponse {
    pub(super) terms: Terms,
    status: StatusCode,
    version: Version,
    headers: HeaderMap,
    pub(super) body: Bytes,
    /// When its request was sent. Its age counts from here.
    pub(super) asked_at: Instant,
}

impl StoredResponse {
    pub(super) fn new(terms: Terms, head: &Parts, body: Bytes, asked_at: Instant) -> Self {
        Self {
            terms,
            status: head.status,
            version: head.version,
            headers: end_to_end(&head.headers),
            body,
            asked_at,
        }
    }

    /// Returns the head of the response at this age (RFC 9111 §4, §5.1).
    pub(super) fn head(&self, age: Duration) -> Parts {
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = self.status;
        head.version = self.version;
        head.headers = self.headers.clone();
        head.headers.insert(AGE, HeaderValue::from(age.as_secs()));
        head
    }

    fn bytes(&self) -> usize {
        // The semantics keep a second copy of some headers, and all those of the request.
        let headers = 2 * bytes_of(&self.headers) + self.terms.request_bytes();
        self.body.len() + headers + OVERHEAD
    }
}

impl Store {
    /// Creates a store with this bound.
    pub(crate) fn new(most_bytes: usize, now: Instant) -> Self {
        let slots = (most_bytes / BYTES_PER_SLOT).clamp(LEAST_SLOTS, MOST_SLOTS);
        let options = OptionsBuilder::new()
            // The bound of one shard is exact, and any allowed body fits into it.
            .shards(1)
            .hot_allocation(1.0)
            .estimated_items_capacity(most_bytes / USUAL_BYTES + 1)
            .weight_capacity(most_bytes as u64)
            .build();
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        Self {
            responses: match options {
                Ok(options) => Cache::with_options(options, Bytewise, hasher, lifecycle),
                Err(_) => Cache::with_weighter(1, most_bytes as u64, Bytewise),
            },
            writes: (0..slots.next_power_of_two())
                .map(|_| AtomicU64::new(0))
                .collect(),
            epoch: now,
            hashers: [RandomState::new(), RandomState::new()],
            refreshing: Refreshes::default(),
            putting: Mutex::default(),
        }
    }

    /// Changes the bound. Responses above it are evicted.
    pub(crate) fn bound(&self, most_bytes: usize) {
        self.responses.set_capacity(most_bytes as u64);
    }

    pub(super) fn target(&self, (method, uri, headers): Request<'_>) -> Option<Target> {
        Target::of((method, uri, headers), &self.hashers)
    }

    /// Returns the slot of a URL. All queries of a path share it, and all forms of its destination.
    pub(super) fn slot(&self, uri: &Uri) -> usize {
        let origin = Origin::of_request(uri).key_hash();
        let hash = self.hashers[0].hash_one((origin, uri.path()));
        usize::try_from(hash).unwrap_or(usize::MAX) & (self.writes.len() - 1)
    }

    /// Notes a write at a URL: the responses that were requested before it must not be used any more (RFC 9111 §4.4).
    pub(super) fn write(&self, slot: usize, now: Instant) {
        let at = self.since_epoch(now);
        self.writes[slot].fetch_max(at.max(1), Ordering::AcqRel);
    }

    pub(super) fn put(&self, target: &Target, stored: StoredResponse) {
        // An older response must not replace a newer one that another thread stores meanwhile.
        let _one_after_another = self.putting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.responses.peek(&target.key);
        if before.is_none_or(|before| before.asked_at <= stored.asked_at) {
            self.responses.insert(target.key, Arc::new(stored));
        }
    }

    /// Returns the last good response to a request, unless something was written at its URL since.
    pub(super) fn get(&self, target: &Target) -> Option<Arc<StoredResponse>> {
        let stored = self.responses.get(&target.key)?;
        let written = self.writes[self.slot(&target.uri)].load(Ordering::Acquire);
        let is_older = written > 0 && self.since_epoch(stored.asked_at) <= written;
        let is_it = !is_older && stored.terms.matches((&target.method, &target.headers));
        is_it.then_some(stored)
    }

    fn since_epoch(&self, at: Instant) -> u64 {
        nanos_of(at.saturating_duration_since(self.epoch))
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.responses.weight()
    }
}

/// The method, URL and headers of a request.
pub(crate) type Request<'r> = (&'r Method, &'r Uri, &'r HeaderMap);

#[derive(Clone)]
struct Bytewise;

impl Weighter<Key, Arc<StoredResponse>> for Bytewise {
    fn weight(&self, _key: &Key, stored: &Arc<StoredResponse>) -> u64 {
        stored.bytes() as u64
    }
}

/// Returns the headers without those that belong to one connection (RFC 9110 §7.6.1).
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut own = headers.clone();
    let others = [PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER];
    hop_by_hop::remove(&mut own, &others);
    own
}

/// The fixed size of an entry: two maps of headers, the semantics and the cache's own links.
const OVERHEAD: usize = 1_024;
/// The size that decides how many evicted keys the cache remembers.
const USUAL_BYTES: usize = 4_096;
/// A slot for writes takes 8 bytes, about 3 % of the store.
const BYTES_PER_SLOT: usize = 256;
const LEAST_SLOTS: usize = 1_024;
const MOST_SLOTS: usize = 65_536;
