//! Decides which addresses may be dialed. Pure.

use std::fmt;
use std::net::IpAddr;

use super::Answer;
use super::cidr::Cidr;
use super::special_ranges::{AddressRange, Embedded, embedded, range};

/// Decides which addresses may be dialed. It applies to DNS, hosts files, URLs and redirects.
///
/// # Example
///
/// ```
/// use sevenhops::dns::AddressFilter;
///
/// let filter = AddressFilter::public_only().allow("10.1.0.0/16".parse()?);
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
/// - A URL from a user that points into this program's network. It may lead to the credentials of a cloud machine, or
///   to an admin page without a login.
/// - A name that is public when it is checked and private when it is dialed (DNS rebinding). The filter checks the
///   addresses that are dialed.
///
/// # Defaults
///
/// Off: nothing is refused. [`public_only`](Self::public_only) switches it on.
///
/// # Trade-offs
///
/// A denied range is refused even if it is also allowed. An allowed range is not refused for being private. If some
/// addresses of a name are refused, the others are used.
///
/// If an IPv6 address stands for an IPv4 address, or is routed through one, that IPv4 address is judged, too. The known
/// forms are IPv4-mapped, -compatible and -translated, NAT64, 6to4, Teredo and ISATAP.
///
/// # How people get it wrong
///
/// - They check names, or the text of a URL: `http://2130706433/`, `http://0x7f.1/` and `http://127.1/` are all
///   127.0.0.1.
/// - They use a proxy. It looks names up itself, so the filter sees only IP literals. `build()` refuses a filter with a
///   proxy, unless [`proxy_filters`](crate::TransportBuilder::proxy_filters) says that the proxy filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct AddressFilter {
    public_only: bool,
    allow: Vec<Cidr>,
    deny: Vec<Cidr>,
}

impl AddressFilter {
    /// Creates a filter that refuses nothing until a range is denied.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a filter that refuses all addresses outside of the public internet: see [`AddressRange`].
    #[must_use]
    pub fn public_only() -> Self {
        Self {
            public_only: true,
            ..Self::default()
        }
    }

    /// Allows this range: its addresses are not refused for being private.
    #[must_use]
    pub fn allow(mut self, range: Cidr) -> Self {
        self.allow.push(range);
        self
    }

    /// Denies this range: its addresses are refused, even if they are also allowed.
    #[must_use]
    pub fn deny(mut self, range: Cidr) -> Self {
        self.deny.push(range);
        self
    }

    /// Checks whether `address` may be dialed.
    ///
    /// # Errors
    ///
    /// Fails with the reason if it may not be dialed.
    pub fn check(&self, address: IpAddr) -> Result<(), AddressDenied> {
        if !self.is_on() {
            return Ok(());
        }
        let refused = |why| AddressDenied { address, why };
        let within = match address {
            IpAddr::V4(_) => Embedded::default(),
            IpAddr::V6(v6) => embedded(v6),
        };
        let inner = within.addresses.iter().copied().map(IpAddr::from);
        for part in inner.clone().chain([address]) {
            if let Some(range) = self.deny.iter().find(|range| range.contains(part)) {
                return Err(refused(DenialReason::Denied(*range)));
            }
        }
        if !self.public_only || self.allows(address) {
            return Ok(());
        }
        let outer = (!within.stands_for_them).then_some(address);
        let mut doubtful = inner.chain(outer).filter(|part| !self.allows(*part));
        match doubtful.find_map(range) {
            Some(range) => Err(refused(DenialReason::Special(range))),
            None => Ok(()),
        }
    }

    /// Returns the DNS answer without the addresses that may not be dialed.
    ///
    /// # Errors
    ///
    /// Fails if no address is left, with the reason for the first one.
    pub fn retain(&self, answer: &Answer) -> Result<Answer, AddressDenied> {
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

/// An address that may not be dialed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressDenied {
    address: IpAddr,
    why: DenialReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DenialReason {
    Denied(Cidr),
    Special(AddressRange),
}

impl AddressDenied {
    /// Returns the address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns why the address is not public; `None` if one of your own ranges denies it.
    #[must_use]
    pub fn range(&self) -> Option<AddressRange> {
        match self.why {
            DenialReason::Special(range) => Some(range),
            DenialReason::Denied(_) => None,
        }
    }

    /// Returns the address and why it is refused.
    pub(crate) fn reason(&self) -> String {
        match self.why {
            DenialReason::Denied(range) => {
                format!("{} is in {range}, which is denied", self.address)
            }
            DenialReason::Special(range) => {
                format!("{} is not public: {range}", self.address)
            }
        }
    }
}

impl fmt::Display for AddressDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the filter refuses {}: ", self.address)?;
        match self.why {
            DenialReason::Denied(range) => write!(f, "{range} is denied"),
            DenialReason::Special(range) => range.fmt(f),
        }
    }
}

impl std::error::Error for AddressDenied {}

#[cfg(test)]
mod messages {
    use super::AddressFilter;

    crate::messages_tests::list!(AddressDenied: AddressFilter::public_only().check("10.0.0.1".parse().unwrap()).unwrap_err(),
        AddressFilter::new().deny("10.0.0.0/8".parse().unwrap()).check("10.0.0.1".parse().unwrap()).unwrap_err());
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
