//! The state of each destination, in a bounded map with many reads and few writes.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use papaya::{Equivalent, HashMap};
use tokio::time::Instant;

use crate::destination::{Destination, Origin};

/// The state of a destination.
pub(crate) trait Entry {
    /// Returns whether it must not be removed, even if it was not used for long.
    fn is_pinned(&self, now: Instant) -> bool;
}

/// A bounded map from destinations to the state that their calls share.
///
/// A lookup of an existing entry takes no lock and allocates nothing. New entries go through one lock, so that the
/// bound is exact.
///
/// An entry that a caller holds is not removed, because its calls are still to be judged. If an entry is looked up at
/// the moment of its removal, only that one caller uses it.
#[derive(Debug)]
pub(crate) struct Registry<T> {
    map: HashMap<HashedKey, RegistrySlot<T>, BuildHasherDefault<KnownHasher>>,
    epoch: Instant,
    /// The time of the next scan for removable entries, after a scan found none.
    look_again: Mutex<Option<Instant>>,
    most: usize,
}

#[derive(Debug)]
struct RegistrySlot<T> {
    value: Arc<T>,
    /// The time of the last lookup, in seconds since the registry's epoch.
    used: AtomicU64,
}

/// A destination and its hash, which is computed once for every registry.
#[derive(Debug)]
pub(crate) struct HashedKey {
    hash: u64,
    destination: Destination,
}

impl From<Destination> for HashedKey {
    fn from(destination: Destination) -> Self {
        Self {
            hash: destination.key_hash(),
            destination,
        }
    }
}

impl PartialEq for HashedKey {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.destination == other.destination
    }
}

impl Eq for HashedKey {}

impl Hash for HashedKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.key_hash());
    }
}

impl Equivalent<HashedKey> for Origin {
    fn equivalent(&self, key: &HashedKey) -> bool {
        self.key_hash() == key.hash && self.is(&key.destination)
    }
}

/// Uses a known hash unchanged.
#[derive(Clone, Copy, Debug, Default)]
struct KnownHasher(u64);

impl Hasher for KnownHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl<T: Entry> Registry<T> {
    pub(crate) fn new(now: Instant) -> Self {
        Self::bounded(MOST_DESTINATIONS, now)
    }

    pub(crate) fn bounded(most: usize, now: Instant) -> Self {
        Self {
            map: HashMap::default(),
            epoch: now,
            look_again: Mutex::new(None),
            most,
        }
    }

    /// Returns the state of a destination, if there is any. This counts as a use.
    pub(crate) fn get<Q>(&self, key: &Q, now: Instant) -> Option<Arc<T>>
    where
        Q: Hash + Equivalent<HashedKey> + ?Sized,
    {
        self.read(key, now, Arc::clone)
    }

    /// Reads the state of a destination, if there is any. This counts as a use.
    pub(crate) fn read<Q, R>(
        &self,
        key: &Q,
        now: Instant,
        with: impl FnOnce(&Arc<T>) -> R,
    ) -> Option<R>
    where
        Q: Hash + Equivalent<HashedKey> + ?Sized,
    {
        let map = self.map.pin();
        let kept = map.get(key)?;
        let second = self.second(now);
        // For most lookups the value is already there, and they do not write to the shared cache line.
        if kept.used.load(Ordering::Relaxed) != second {
            kept.used.store(second, Ordering::Relaxed);
        }
        Some(with(&kept.value))
    }

    /// Returns whether another destination can be kept without removing one.
    #[cfg(feature = "client")]
    pub(crate) fn has_room(&self) -> bool {
        self.map.len() < self.most
    }

    /// Like [`get`](Self::get), for a destination with any name.
    pub(crate) fn find(&self, destination: &Destination, now: Instant) -> Option<Arc<T>> {
        self.get(&HashedKey::from(destination.clone()), now)
    }

    /// Keeps `value` for a destination without state. If the registry is full of pinned entries, `value` is returned
    /// but not kept: it serves only this caller.
    pub(crate) fn get_or_keep(&self, key: Destination, value: T, now: Instant) -> Arc<T> {
        self.insert((key, value), self.most, now)
    }

    /// Keeps `value` even if the registry is full, because a caller asked for this destination by name.
    pub(crate) fn get_or_insist(&self, key: Destination, value: T, now: Instant) -> Arc<T> {
        self.insert((key, value), usize::MAX, now)
    }

    fn insert(&self, (key, value): (Destination, T), room: usize, now: Instant) -> Arc<T> {
        let (key, value) = (HashedKey::from(key), Arc::new(value));
        let mut look_again = self
            .look_again
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = self.get(&key, now) {
            return kept;
        }
        if self.map.len() >= self.most && look_again.is_none_or(|at| at <= now) {
            *look_again = (self.forget(now) == 0).then(|| now + LOOK_AGAIN);
        }
        if self.map.len() < room {
            let kept = RegistrySlot {
                value: Arc::clone(&value),
                used: AtomicU64::new(self.second(now)),
            };
            self.map.pin().insert(key, kept);
        }
        value
    }

    /// Calls a function with every destination and its state, in no order.
    pub(crate) fn each<R>(&self, mut with: impl FnMut(&Destination, &T) -> R) -> Vec<R> {
        let map = self.map.pin();
        map.iter()
            .map(|(key, kept)| with(&key.destination, &kept.value))
            .collect()
    }

    /// Reads an entry without counting it as a use.
    pub(crate) fn peek<R>(&self, key: &Destination, with: impl FnOnce(&T) -> R) -> Option<R> {
        let key = HashedKey::from(key.clone());
        self.map.pin().get(&key).map(|kept| with(&kept.value))
    }

    /// Removes the idle entries, or else the least recently used ones. Returns their number.
    fn forget(&self, now: Instant) -> usize {
        let map = self.map.pin();
        let mut free: Vec<_> = map
            .iter()
            .filter(|(_, kept)| is_free(kept, now))
            .map(|(key, kept)| (kept.used.load(Ordering::Relaxed), key))
            .collect();
        let idle_before = self.second(now).checked_sub(IDLE.as_secs());
        let is_idle = |used: u64| idle_before.is_some_and(|before| used <= before);
        let idle = free.iter().filter(|(used, _)| is_idle(*used)).count();
        let batch = idle.max((self.most / BATCH_SHARE).max(1)).min(free.len());
        if batch < free.len() {
            free.select_nth_unstable_by_key(batch, |(used, _)| *used);
        }
        let oldest = free.iter().take(batch);
        oldest
            .filter(|(_, key)| {
                matches!(
                    map.remove_if(*key, |_, kept| is_free(kept, now)),
                    Ok(Some(_))
                )
            })
            .count()
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_secs()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.map.len()
    }
}

/// Returns whether no caller holds it and it is not pinned.
fn is_free<T: Entry>(kept: &RegistrySlot<T>, now: Instant) -> bool {
    Arc::strong_count(&kept.value) == 1 && !kept.value.is_pinned(now)
}

/// More than a client uses, and few enough to keep in memory.
pub(crate) const MOST_DESTINATIONS: usize = 10_000;
/// Entries that were not used for this time are removed first.
pub(crate) const IDLE: Duration = Duration::from_secs(10 * 60);
/// The share of the entries that is removed at once, so that many new names cause only one scan.
const BATCH_SHARE: usize = 16;
/// The pause after a scan that removed nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
