//! The key of a session: it keeps the calls of the session on one address.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU64;

/// A session, by the hash of its key. The key itself is not kept: it may identify a user.
///
/// The hash is the same in each process, so the calls of a session from several processes go to one address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Affinity(NonZeroU64);

impl Affinity {
    pub(crate) fn new(key: &[u8]) -> Self {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        let hash = mix(key.iter().fold(FNV_OFFSET, step));
        Self(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MAX))
    }

    /// Returns whether the key is empty: it names no session.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::new(b"")
    }

    /// Returns the number that stands for the session in a draw.
    pub(crate) const fn seed(self) -> u64 {
        self.0.get()
    }

    /// Returns the rank of an address for this session. The address with the greatest rank is the session's own
    /// (rendezvous hashing): if another one goes, nothing changes for this session.
    pub(crate) fn rank(self, address: IpAddr) -> u64 {
        let bits = match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        let [high, low] = [bits >> 64, bits].map(|half| half as u64);
        mix(self.0.get() ^ mix(low ^ mix(high)))
    }
}

impl fmt::Debug for Affinity {
    /// Leaves the hash out: the keys of a small set could be guessed from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Affinity(..)")
    }
}

/// A request of a session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) affinity: Affinity,
    /// The addresses at which earlier attempts of its call failed.
    pub(crate) failed: Vec<IpAddr>,
}

impl Session {
    /// Creates the first request of a call.
    pub(crate) const fn new(affinity: Affinity) -> Self {
        let failed = Vec::new();
        Self { affinity, failed }
    }
}

/// Spreads each bit over the whole number (the finalizer of SplitMix64).
pub(crate) const fn mix(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_does_not_show() {
        let shown = format!("{:?}", Affinity::new(b"user-4711"));
        assert_eq!(shown, "Affinity(..)");
    }

    #[test]
    fn only_the_empty_key_is_empty() {
        assert!(Affinity::new(b"").is_empty());
        for key in [&b"a"[..], b"0", b"\0", b"user-4711"] {
            assert!(!Affinity::new(key).is_empty(), "{key:?}");
        }
    }

    #[test]
    fn rank_is_the_same_in_every_process_and_version() {
        // Other processes of a fleet may run an earlier version.
        let rank = |address: &str| Affinity::new(b"user-4711").rank(address.parse().unwrap());
        assert_eq!(rank("10.0.0.1"), RANKS[0]);
        assert_eq!(rank("2001:db8::1"), RANKS[1]);
    }

    const RANKS: [u64; 2] = [0xff8e_c162_08d8_3d4c, 0x5b51_6421_0f25_8117];
}
