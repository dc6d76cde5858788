//! Ranges of addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A range of addresses in CIDR notation, such as `10.0.0.0/8` or `fd00::/8`. An address alone is a range of one.
///
/// # Example
///
/// ```
/// use sevenhops::dns::Cidr;
///
/// let range: Cidr = "10.0.0.0/8".parse()?;
/// assert!(range.contains("10.1.2.3".parse().unwrap()));
///
/// let refused = "10.0.0.1/8".parse::<Cidr>().unwrap_err();
/// assert_eq!(refused.to_string(), "\"10.0.0.1/8\" is invalid: expected no bits after the prefix, as in \"10.0.0.0/8\"");
/// # Ok::<(), sevenhops::dns::InvalidCidr>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    first: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Creates a range from its first address and the length of the prefix that all have in common.
    ///
    /// # Errors
    ///
    /// Fails if the prefix is longer than an address, or if the address has bits set after it.
    pub fn new(first: IpAddr, prefix: u8) -> Result<Self, InvalidCidr> {
        let invalid = |why| InvalidCidr {
            text: format!("{first}/{prefix}"),
            why,
        };
        if prefix > width(first) {
            return Err(invalid(CidrProblem::Prefix(width(first))));
        }
        let masked = masked(first, prefix);
        if masked != first {
            return Err(invalid(CidrProblem::Bits(Self {
                first: masked,
                prefix,
            })));
        }
        Ok(match first {
            IpAddr::V6(v6) if prefix >= MAPPED => match v6.to_ipv4_mapped() {
                Some(v4) => Self::known(v4.into(), prefix - MAPPED),
                None => Self { first, prefix },
            },
            _ => Self { first, prefix },
        })
    }

    /// Creates the range of this length that holds `address`; `None` if the prefix is longer than an address.
    #[cfg(feature = "client")]
    pub(crate) fn around(address: IpAddr, prefix: u8) -> Option<Self> {
        let first = masked(address, prefix);
        (prefix <= width(address)).then_some(Self { first, prefix })
    }

    /// Creates a range from a valid prefix.
    pub(super) const fn known(first: IpAddr, prefix: u8) -> Self {
        Self { first, prefix }
    }

    /// Returns whether `address` is in the range. An IPv4 range never contains an IPv6 address, and the reverse.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.prefix) == self.first
    }
}

/// The length of the prefix `::ffff:0:0/96`, behind which IPv6 writes an IPv4 address (RFC 4291 §2.5.5.2).
const MAPPED: u8 = 96;

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let rest = u32::from(width(address).saturating_sub(prefix));
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(rest).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl From<IpAddr> for Cidr {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self::known(address, width(address))
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let invalid = |why| InvalidCidr {
            text: text.to_owned(),
            why,
        };
        let (first, prefix) = text
            .split_once('/')
            .map_or((text, None), |(first, prefix)| (first, Some(prefix)));
        let first: IpAddr = first.parse().map_err(|_| invalid(CidrProblem::Address))?;
        let Some(prefix) = prefix else {
            return Ok(first.into());
        };
        let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|_| digits);
        let prefix = prefix.ok_or_else(|| invalid(CidrProblem::Prefix(width(first))))?;
        Self::new(first, prefix).map_err(|error| invalid(error.why))
    }
}

/// The error of a text that is not a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidCidr {
    text: String,
    why: CidrProblem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CidrProblem {
    Address,
    Prefix(u8),
    Bits(Cidr),
}

impl fmt::Display for InvalidCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.text;
        match self.why {
            CidrProblem::Address => write!(
                f,
                "{text:?} is invalid: expected an address with a prefix length, as in 10.0.0.0/8"
            ),
            CidrProblem::Prefix(most) => {
                write!(
                    f,
                    "{text:?} is invalid: expected a prefix length from 0 to {most}"
                )
            }
            CidrProblem::Bits(range) => {
                let range = range.to_string();
                write!(
                    f,
                    "{text:?} is invalid: expected no bits after the prefix, as in {range:?}"
                )
            }
        }
    }
}

impl std::error::Error for InvalidCidr {}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Cidr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_forms::text::deserialize(deserializer)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Cidr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::serde_forms::text::serialize(self, serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_contains_the_addresses_with_its_prefix() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("100.64.0.0/10", "100.127.255.255", "100.128.0.0"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("0.0.0.0/0", "255.255.255.255", "::"),
            ("::/0", "ffff::", "0.0.0.0"),
            ("fe80::/10", "febf::1", "fec0::"),
            ("64:ff9b::/96", "64:ff9b::ffff:ffff", "64:ff9b::1:0:0"),
            ("::ffff:169.254.0.0/112", "169.254.169.254", "169.255.0.0"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("::ffff:0:0/96", "192.0.2.1", "::"),
        ] {
            let cidr: Cidr = range.parse().unwrap();
            assert!(cidr.contains(inside.parse().unwrap()), "{range}");
            assert!(!cidr.contains(outside.parse().unwrap()), "{range}");
        }
    }

    #[test]
    fn range_is_read_as_it_is_written() {
        for text in ["10.0.0.0/8", "fd00::/8", "127.0.0.1/32"] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
        assert_eq!("::1".parse::<Cidr>().unwrap().to_string(), "::1/128");
    }

    #[test]
    fn invalid_range_is_named() {
        for (text, why) in [
            ("", "expected an address"),
            ("10.0.0/8", "expected an address"),
            ("010.0.0.0/8", "expected an address"),
            ("10.0.0.0/33", "from 0 to 32"),
            ("10.0.0.0/+8", "from 0 to 32"),
            ("10.0.0.0/", "from 0 to 32"),
            ("fd00::/129", "from 0 to 128"),
            ("10.1.0.0/8", "as in \"10.0.0.0/8\""),
        ] {
            let error = text.parse::<Cidr>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{text:?}")) && error.contains(why),
                "{error}"
            );
        }
    }
}
