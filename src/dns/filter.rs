//! Which addresses may be dialled: pure.

use std::fmt;
use std::net::IpAddr;

use super::Answer;
use super::cidr::Cidr;
use super::special::{Embedded, Range, embedded, range};

/// Decides which addresses may be dialed. It applies to DNS, hosts files, URLs and redirects.
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
/// # Protects from
///
/// A URL that a user chose and that leads into the network of this program: to the credentials of a cloud machine, or to
/// an admin page without a login. Also a name that is public when it is checked and private when it is dialed (DNS
/// rebinding): the filter checks the addresses that are dialed.
///
/// # Defaults
///
/// Off: nothing is refused. [`public_only`](Self::public_only) switches it on.
///
/// # Trade-offs
///
/// A denied range is refused even if it is allowed elsewhere. An allowed range is not refused for being private. If some
/// addresses of a name are refused, the others are used.
///
/// An IPv6 address that stands for an IPv4 address, or goes through one, is judged by that as well: IPv4-mapped,
/// -compatible and -translated, NAT64, 6to4, Teredo and ISATAP.
///
/// # How people get it wrong
///
/// They check names, or the text of a URL: `http://2130706433/`, `http://0x7f.1/` and `http://127.1/` are all
/// 127.0.0.1. Or they use a proxy, which looks names up itself, so that the filter sees IP literals only. The two
/// together are refused at `build()`, unless
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

    /// Why the address is not public; `None` if it was denied by a range of yours.
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
