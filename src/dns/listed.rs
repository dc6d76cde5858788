//! A list of addresses, and a number by which it is known.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Addresses in the order in which to try them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    addresses: Arc<[IpAddr]>,
    generation: u64,
}

impl Listed {
    /// A list that has nothing to do with any other.
    pub(crate) fn new(addresses: impl Into<Arc<[IpAddr]>>) -> Self {
        Self {
            addresses: addresses.into(),
            generation: NEXT.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The list that comes after this one. It has the same number if the addresses are the same: their order
    /// does not count, servers shuffle it.
    pub(crate) fn followed_by(&self, addresses: Arc<[IpAddr]>) -> Self {
        if !self.has_same(&addresses) {
            return Self::new(addresses);
        }
        Self {
            addresses,
            generation: self.generation,
        }
    }

    /// Some of the addresses, under the same number: the same ones are left out each time.
    pub(crate) fn with_some(&self, addresses: Vec<IpAddr>) -> Self {
        Self {
            addresses: addresses.into(),
            generation: self.generation,
        }
    }

    pub(crate) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    fn has_same(&self, addresses: &[IpAddr]) -> bool {
        if *self.addresses == *addresses {
            return true;
        }
        let sorted = |addresses: &[IpAddr]| {
            let mut addresses = addresses.to_vec();
            addresses.sort_unstable();
            addresses
        };
        self.addresses.len() == addresses.len() && sorted(&self.addresses) == sorted(addresses)
    }
}

impl PartialEq for Listed {
    fn eq(&self, other: &Self) -> bool {
        self.addresses == other.addresses
    }
}

impl Eq for Listed {}

/// Numbers are never used twice, so a name that was forgotten and looked up anew cannot seem unchanged.
static NEXT: AtomicU64 = AtomicU64::new(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d2_order_does_not_count_and_another_address_does() {
        let list = |last: &[u8]| -> Arc<[IpAddr]> {
            let addresses = last.iter().map(|&last| IpAddr::from([10, 0, 0, last]));
            addresses.collect()
        };
        let first = Listed::new(list(&[1, 2]));

        let shuffled = first.followed_by(list(&[2, 1]));
        assert_eq!(shuffled.generation(), first.generation());
        assert_eq!(shuffled.addresses(), &*list(&[2, 1]));
        for other in [&[1][..], &[1, 3], &[1, 2, 3]] {
            let other = first.followed_by(list(other));
            assert_ne!(other.generation(), first.generation());
        }
    }
}
