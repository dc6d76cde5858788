//! The result of a lookup.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::Family;
use super::compose::Composed;
use super::listed::Listed;

/// The addresses of a name, and for how long they are good. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    listed: Listed,
    ttl: Duration,
    age: Duration,
    origin: Origin,
    missing: Option<Family>,
}

/// The origin of a DNS answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A name server was asked for it.
    Asked,
    /// It was known.
    Memory,
    /// It was known, and has ended; nothing newer is.
    Stale,
}

impl Answer {
    /// Creates a DNS answer that has just come; `None` if there is no address.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>, ttl: Duration) -> Option<Self> {
        let answer = Self {
            listed: Listed::new(addresses.into_iter().collect::<Vec<_>>()),
            ttl,
            age: Duration::ZERO,
            origin: Origin::Asked,
            missing: None,
        };
        (!answer.addresses().is_empty()).then_some(answer)
    }

    /// An address from the URL: no server is asked for it.
    #[cfg(feature = "client")]
    pub(crate) fn literal(address: IpAddr) -> Self {
        Self::remembered(Listed::new(vec![address]), super::UNCHANGING)
    }

    /// The addresses, never none, in the order in which to try them: families take turns, IPv6 begins
    /// (RFC 8305 §4).
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        self.listed.addresses()
    }

    /// How long the addresses are valid, from the moment of this `Answer`. Zero means that they are valid only for
    /// the connection about to be made.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// How long ago the addresses were heard.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.age
    }

    /// Returns a number that stands for the addresses: it changes exactly when they do, whatever their order.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.listed.generation()
    }

    /// Whether it came from memory.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.origin != Origin::Asked
    }

    /// Whether the addresses have ended, and are used because nothing newer is known (RFC 8767): the servers fail, or
    /// one has just denied the name and that is not confirmed.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.origin == Origin::Stale
    }

    /// Whether one of the two families is missing because it was not answered: too late, or not at all.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.missing.is_some()
    }

    /// Whether an address of this family is gone if it is not in this `Answer`.
    ///
    /// A [partial](Self::is_partial) one says nothing about the family that it lacks. A [stale](Self::is_stale) one
    /// says nothing at all.
    #[must_use]
    pub fn speaks_for(&self, address: IpAddr) -> bool {
        !self.is_stale() && self.missing != Some(Family::of(address))
    }

    /// The composed DNS answer, as of an instant.
    pub(crate) fn composed(composed: &Composed, (now, origin): (Instant, Origin)) -> Self {
        let stale = composed.stale;
        Self {
            listed: composed.listed.clone(),
            ttl: composed.ends.saturating_duration_since(now),
            age: now.saturating_duration_since(composed.at),
            origin: if stale { Origin::Stale } else { origin },
            missing: composed.missing,
        }
    }

    /// The same addresses, as ones that may not be those of the name any more.
    pub(crate) fn into_stale(self) -> Self {
        Self {
            ttl: Duration::ZERO,
            origin: Origin::Stale,
            ..self
        }
    }

    /// A DNS answer from memory. `listed` holds at least one address.
    pub(crate) fn remembered(listed: Listed, ttl: Duration) -> Self {
        debug_assert!(!listed.addresses().is_empty(), "without an address");
        Self {
            listed,
            ttl,
            age: Duration::ZERO,
            origin: Origin::Memory,
            missing: None,
        }
    }

    /// The same answer with only those of its addresses that pass; if none does, the first error.
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
                listed: Listed::new(passed),
                ..self.clone()
            }),
        }
    }
}
