//! The state of each destination, in a bounded map with many reads and few writes.

use std::collections::VecDeque;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use papaya::{Equivalent, HashMap};
use tokio::time::Instant;

use crate::destination::{Destination, Origin};

/// The state of a destination.
pub(crate) trait Entry {
    /// Returns whether it must not be removed, even if it was not used for long.
    fn is_pinned(&self, _now: Instant) -> bool {
        false
    }
}

/// A bounded map from destinations to the state that their calls share.
///
/// A lookup of an existing entry takes no lock and allocates nothing. New entries go through one lock, so that the
/// bound is exact.
///
/// A full registry forgets one entry for each new one: a queue with a second chance, which looks at a few entries at
/// most. So the cost does not depend on the number of entries.
///
/// An entry that a caller holds is not removed, because its calls are still to be judged. If an entry is looked up at
/// the moment of its removal, only that one caller uses it.
#[derive(Debug)]
pub(crate) struct Registry<T> {
    map: HashMap<HashedKey, RegistrySlot<T>, BuildHasherDefault<KnownHasher>>,
    epoch: Instant,
    /// The hash of each entry. The first one is the next candidate for removal.
    queue: Mutex<VecDeque<u64>>,
    most: usize,
}

#[derive(Debug)]
struct RegistrySlot<T> {
    value: Arc<T>,
    /// The time of the last lookup, in seconds since the registry's epoch.
    used: AtomicU32,
    /// The value of `used` when the entry was last a candidate. Written under the lock of the queue.
    used_before: AtomicU32,
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

/// A hash in place of a key. If two keys have the same hash, it stands for either of them.
#[derive(Clone, Copy, Debug)]
struct AnyOf(u64);

impl Hash for AnyOf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

impl Equivalent<HashedKey> for AnyOf {
    fn equivalent(&self, key: &HashedKey) -> bool {
        self.0 == key.hash
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
            queue: Mutex::default(),
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

    /// Keeps `value` for a destination without state. If the registry is full, and none of many candidates for removal
    /// is free, `value` is returned but not kept: it serves only this caller.
    pub(crate) fn get_or_keep(&self, key: Destination, value: T, now: Instant) -> Arc<T> {
        self.insert((key, value), self.most, now)
    }

    /// Keeps `value` even if the registry is full, because a caller asked for this destination by name.
    pub(crate) fn get_or_insist(&self, key: Destination, value: T, now: Instant) -> Arc<T> {
        self.insert((key, value), usize::MAX, now)
    }

    fn insert(&self, (key, value): (Destination, T), room: usize, now: Instant) -> Arc<T> {
        let (key, value) = (HashedKey::from(key), Arc::new(value));
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = self.get(&key, now) {
            return kept;
        }
        // Once, unless a caller insisted on more entries than there is room for.
        while queue.len() >= self.most && self.forget(&mut queue, now) {}
        if queue.len() < room {
            let second = self.second(now);
            let kept = RegistrySlot {
                value: Arc::clone(&value),
                used: AtomicU32::new(second),
                used_before: AtomicU32::new(second),
            };
            queue.push_back(key.hash);
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

    /// Removes one entry: the first one in the queue that is idle, or was not used since it was last a candidate. If
    /// there is none among the first few, removes the least recently used of them. If all of these are pinned or held,
    /// looks at more, up to a bound. Returns false if none of them is free.
    fn forget(&self, queue: &mut VecDeque<u64>, now: Instant) -> bool {
        let map = self.map.pin();
        let remove = |hash| {
            let removed = map.remove_if(&AnyOf(hash), |_, slot| slot.is_free(now));
            matches!(removed, Ok(Some(_)))
        };
        let idle_before = self.second(now).checked_sub(IDLE_SECONDS);
        let mut oldest: Option<(u32, u64)> = None;
        let mut is_removed = false;
        for nth in 0..MOST_PINNED.min(queue.len()) {
            if nth >= MOST_CANDIDATES && oldest.is_some() {
                break;
            }
            let Some(hash) = queue.pop_front() else {
                break;
            };
            let Some(slot) = map.get(&AnyOf(hash)) else {
                continue;
            };
            let used = slot.used.load(Ordering::Relaxed);
            let was_used = slot.used_before.swap(used, Ordering::Relaxed) != used;
            let is_idle = idle_before.is_some_and(|before| used <= before);
            if (is_idle || !was_used) && remove(hash) {
                is_removed = true;
                break;
            }
            let is_oldest = oldest.is_none_or(|(before, _)| used < before) && slot.is_free(now);
            let later = match is_oldest {
                true => oldest.replace((used, hash)).map(|(_, hash)| hash),
                false => Some(hash),
            };
            queue.extend(later);
        }
        if let Some((_, hash)) = oldest {
            match is_removed {
                false if remove(hash) => return true,
                _ => queue.push_back(hash),
            }
        }
        is_removed
    }

    fn second(&self, now: Instant) -> u32 {
        let second = now.saturating_duration_since(self.epoch).as_secs();
        u32::try_from(second).unwrap_or(u32::MAX)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.map.len()
    }
}

impl<T: Entry> RegistrySlot<T> {
    /// Returns whether no caller holds it and it is not pinned.
    fn is_free(&self, now: Instant) -> bool {
        Arc::strong_count(&self.value) == 1 && !self.value.is_pinned(now)
    }
}

/// More than a client uses. With the default policies they take about 60 MiB.
pub(crate) const MOST_DESTINATIONS: usize = 100_000;
/// Entries that were not used for this time are removed first.
pub(crate) const IDLE: Duration = Duration::from_secs(IDLE_SECONDS as u64);
const IDLE_SECONDS: u32 = 10 * 60;
/// The number of candidates for one removal.
const MOST_CANDIDATES: usize = 32;
/// The number of candidates while all of them are pinned or held. It bounds the time under the lock.
const MOST_PINNED: usize = 512;

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
