//! A list of addresses, and a number that identifies it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

/// Addresses in the order in which to try them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct AddressSet {
    addresses: Arc<[IpAddr]>,
    generation: u64,
}

impl AddressSet {
    pub(crate) fn new(addresses: impl Into<Arc<[IpAddr]>>) -> Self {
        let addresses = addresses.into();
        Self {
            generation: generation(&addresses),
            addresses,
        }
    }

    pub(crate) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }
}

impl PartialEq for AddressSet {
    fn eq(&self, other: &Self) -> bool {
        self.addresses == other.addresses
    }
}

impl Eq for AddressSet {}

/// Computes a number from the addresses. Their order does not count, because servers shuffle it.
fn generation(addresses: &[IpAddr]) -> u64 {
    let mut hasher = DefaultHasher::new();
    match addresses {
        [address] => address.hash(&mut hasher),
        addresses => {
            let mut sorted = addresses.to_vec();
            sorted.sort_unstable();
            sorted.iter().for_each(|address| address.hash(&mut hasher));
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_count_and_another_address_does() {
        let generation = |last: &[u8]| {
            let addresses = last.iter().map(|&last| IpAddr::from([10, 0, 0, last]));
            AddressSet::new(addresses.collect::<Vec<_>>()).generation()
        };
        let first = generation(&[1, 2]);

        assert_eq!(generation(&[2, 1]), first);
        for other in [&[][..], &[1], &[2], &[1, 3], &[1, 2, 3]] {
            assert_ne!(generation(other), first);
        }
    }
}
