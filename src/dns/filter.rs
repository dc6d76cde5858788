//! Which addresses may be dialled: pure.

use std::fmt;
use std::net::IpAddr;

use super::Answer;
use super::cidr::Cidr;
use super::special::{Embedded, Range, embedded, range};

/// Which addresses may be dialled, whoever names them: DNS, a hosts file, an URL or a redirect.
///
/// # Example
///
/// ```
/// use sevenhops::dns::Filter;
///
/// let filter = Filter::public_only().allow("10.1.0.0/16".parse()?);
/// assert!(filter.check("93.184.215.14".parse()?).is_ok());
/// assert!(filter.check("10.1.2.3".parse()?).is_ok());
///
/// let refused = filter.check("::ffff:169.254.169.254".parse()?).unwrap_err();
/// assert_eq!(refused.to_string(), "the filter refuses ::ffff:169.254.169.254: metadata");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it protects from
///
/// An URL that somebody else chose and that leads into the network this program runs in: the credentials of a
/// cloud machine, an unguarded admin page, a name that is public when it is checked and private when it is
/// dialled (DNS rebinding). The addresses that are checked are the addresses that are dialled.
///
/// # Defaults
///
/// Off: nothing is refused. [`public_only`](Self::public_only) switches it on.
///
/// # Trade-offs
///
/// What is denied is refused, whatever else is said; what is allowed is not refused for its range. Some of the
/// addresses of a name may be refused: the others are used.
///
/// An IPv6 address that stands for an IPv4 address, or goes through one, is judged by that as well: IPv4-mapped,
/// -compatible and -translated, NAT64, 6to4, Teredo and ISATAP.
///
/// # How people get it wrong
///
/// By checking names, or the text of an URL: `http://2130706433/`, `http://0x7f.1/` and `http://127.1/` are all
/// 127.0.0.1. And behind a proxy the proxy looks names up, so that a filter here sees only the literals: the
/// two together are refused, unless
/// [`proxy_filters`](crate::TransportBuilder::proxy_filters) says that the proxy filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Filter {
    public_only: bool,
    allow: Vec<Cidr>,
    deny: Vec<Cidr>,
}

impl Filter {
    /// Refuses nothing, until something is denied.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses what is not the public internet: see [`Range`].
    #[must_use]
    pub fn public_only() -> Self {
        Self {
            public_only: true,
            ..Self::default()
        }
    }

    /// Refuses none of these addresses for its range.
    #[must_use]
    pub fn allow(mut self, range: Cidr) -> Self {
        self.allow.push(range);
        self
    }

    /// Refuses all of these addresses, even if they are allowed too.
    #[must_use]
    pub fn deny(mut self, range: Cidr) -> Self {
        self.deny.push(range);
        self
    }

    /// Says whether `address` may be dialled.
    ///
    /// # Errors
    ///
    /// Fails if it may not, and tells why.
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        if !self.is_on() {
            return Ok(());
        }
        let refused = |why| Refused { address, why };
        let within = match address {
            IpAddr::V4(_) => Embedded::default(),
            IpAddr::V6(v6) => embedded(v6),
        };
        let inner = within.addresses.iter().copied().map(IpAddr::from);
        for part in inner.clone().chain([address]) {
            if let Some(range) = self.deny.iter().find(|range| range.contains(part)) {
                return Err(refused(Why::Denied(*range)));
            }
        }
        if !self.public_only || self.allows(address) {
            return Ok(());
        }
        let outer = (!within.stands_for_them).then_some(address);
        let mut doubtful = inner.chain(outer).filter(|part| !self.allows(*part));
        match doubtful.find_map(range) {
            Some(range) => Err(refused(Why::Special(range))),
            None => Ok(()),
        }
    }

    /// The same answer, without the addresses that may not be dialled.
    ///
    /// # Errors
    ///
    /// Fails if none is left, and tells why the first may not.
    pub fn retain(&self, answer: &Answer) -> Result<Answer, Refused> {
        answer.retain(|address| self.check(address))
    }

    /// Returns whether anything can be refused.
    pub(crate) fn is_on(&self) -> bool {
        self.public_only || !self.deny.is_empty()
    }

    fn allows(&self, address: IpAddr) -> bool {
        self.allow.iter().any(|range| range.contains(address))
    }
}

/// An address that may not be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    address: IpAddr,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Denied(Cidr),
    Special(Range),
}

impl Refused {
    /// The address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// What keeps it from being public; `None` if it was denied.
    #[must_use]
    pub fn range(&self) -> Option<Range> {
        match self.why {
            Why::Special(range) => Some(range),
            Why::Denied(_) => None,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the filter refuses {}: ", self.address)?;
        match self.why {
            Why::Denied(range) => write!(f, "{range} is denied"),
            Why::Special(range) => range.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
