//! The result of a lookup.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::Family;
use super::address_set::AddressSet;
use super::merge::MergedAnswer;

/// The addresses of a name, and how long they are valid. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    listed: AddressSet,
    ttl: Duration,
    age: Duration,
    origin: AnswerOrigin,
    missing: Option<Family>,
}

/// The origin of a DNS answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerOrigin {
    /// A name server sent it for this lookup.
    Asked,
    /// It came from the cache.
    Memory,
    /// It came from the cache and has expired; no newer one is known.
    Stale,
}

impl Answer {
    /// Creates a DNS answer that has just been received; `None` if there is no address.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>, ttl: Duration) -> Option<Self> {
        let answer = Self {
            listed: AddressSet::new(addresses.into_iter().collect::<Vec<_>>()),
            ttl,
            age: Duration::ZERO,
            origin: AnswerOrigin::Asked,
            missing: None,
        };
        (!answer.addresses().is_empty()).then_some(answer)
    }

    /// Creates a DNS answer with an address from the URL, for which no query is needed.
    #[cfg(feature = "client")]
    pub(crate) fn literal(address: IpAddr) -> Self {
        Self::remembered(AddressSet::new(vec![address]), super::UNCHANGING)
    }

    /// Returns the addresses in the order in which to try them. There is at least one. The families take turns, and
    /// IPv6 is first (RFC 8305 §4).
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        self.listed.addresses()
    }

    /// Returns how long the addresses are valid, from the creation of this `Answer`. Zero means that they are valid
    /// only for the connection about to be made.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Returns how long ago the addresses were received.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.age
    }

    /// Returns a number for the set of addresses. It changes exactly when the set changes; the order does not matter.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.listed.generation()
    }

    /// Returns whether it came from the cache.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.origin != AnswerOrigin::Asked
    }

    /// Returns whether the addresses have expired, and are used because no newer ones are known (RFC 8767). In that
    /// case the servers fail, or one has just denied the name and the denial is not confirmed.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.origin == AnswerOrigin::Stale
    }

    /// Returns whether one of the two families is missing because its query had no result in time.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.missing.is_some()
    }

    /// Returns whether an address of this family is gone if it is not in this `Answer`.
    ///
    /// A [partial](Self::is_partial) one says nothing about the family that it lacks. A [stale](Self::is_stale) one
    /// says nothing about either family.
    #[must_use]
    pub fn is_authoritative_for(&self, address: IpAddr) -> bool {
        !self.is_stale() && self.missing != Some(Family::of(address))
    }

    /// Creates a DNS answer from composed addresses, as seen at an instant.
    pub(crate) fn composed(
        composed: &MergedAnswer,
        (now, origin): (Instant, AnswerOrigin),
    ) -> Self {
        let stale = composed.stale;
        Self {
            listed: composed.listed.clone(),
            ttl: composed.ends.saturating_duration_since(now),
            age: now.saturating_duration_since(composed.at),
            origin: if stale { AnswerOrigin::Stale } else { origin },
            missing: composed.missing,
        }
    }

    /// Marks the addresses as stale.
    pub(crate) fn into_stale(self) -> Self {
        Self {
            ttl: Duration::ZERO,
            origin: AnswerOrigin::Stale,
            ..self
        }
    }

    /// Creates a DNS answer from memory. `listed` holds at least one address.
    pub(crate) fn remembered(listed: AddressSet, ttl: Duration) -> Self {
        debug_assert!(!listed.addresses().is_empty(), "without an address");
        Self {
            listed,
            ttl,
            age: Duration::ZERO,
            origin: AnswerOrigin::Memory,
            missing: None,
        }
    }

    /// Keeps only the addresses that pass the check. If none passes, returns the first error.
    pub(crate) fn retain<E>(&self, check: impl Fn(IpAddr) -> Result<(), E>) -> Result<Self, E> {
        let (mut passed, mut refused) = (Vec::new(), None);
        for &address in self.addresses() {
            match check(address) {
                Ok(()) => passed.push(address),
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
        }
        match refused {
            Some(error) if passed.is_empty() => Err(error),
            None => Ok(self.clone()),
            Some(_) => Ok(Self {
                listed: AddressSet::new(passed),
                ..self.clone()
            }),
        }
    }
}
