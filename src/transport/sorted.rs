//! A small map. Most destinations have one address, for which a tree would allocate room for eleven.

/// A map as a sorted list. Its memory is that of its entries, and nothing while it is empty.
#[derive(Clone, Debug)]
pub(super) struct SortedMap<K, V>(Vec<(K, V)>);

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let at = self.find(key).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key).ok()?;
        self.0.get_mut(at).map(|(_, value)| value)
    }

    pub(super) fn get_or_insert_with(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        let at = match self.find(&key) {
            Ok(at) => at,
            Err(at) => {
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, (key, value()));
                at
            }
        };
        &mut self.0[at].1
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.find(key).ok()?;
        Some(self.0.remove(at).1)
    }

    pub(super) fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut V) -> bool) {
        self.0.retain_mut(|(_, value)| keep(value));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    fn find(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_finds_what_was_inserted_in_any_order() {
        let mut map = SortedMap::default();
        for key in [5, 1, 3, 1, 5, 2] {
            *map.get_or_insert_with(key, || 10 * key) += 1;
        }
        let all: Vec<_> = map.iter().map(|(key, value)| (*key, *value)).collect();
        assert_eq!(all, [(1, 12), (2, 21), (3, 31), (5, 52)]);
        assert_eq!((map.get(&3), map.get(&4)), (Some(&31), None));
        assert_eq!((map.remove(&3), map.remove(&3)), (Some(31), None));
        assert!(map.contains_key(&2) && !map.contains_key(&3));
        assert_eq!(map.len(), 3);
        map.retain(|value| *value > 20);
        assert_eq!(map.keys().collect::<Vec<_>>(), [&2, &5]);
        for (key, value) in map.iter_mut() {
            *value = *key;
        }
        assert_eq!(map.values().collect::<Vec<_>>(), [&2, &5]);
        *map.get_mut(&2).unwrap() = 7;
        assert_eq!(map.get(&2), Some(&7));
    }

    #[test]
    fn one_entry_takes_the_memory_of_one() {
        let mut map = SortedMap::default();
        map.get_or_insert_with(1_u8, || [0_u8; 100]);
        assert_eq!(map.0.capacity(), 1);
    }
}
