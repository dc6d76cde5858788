//! The server's responses for a name.

use std::net::IpAddr;

/// The responses of a [`ScriptedDns`](super::ScriptedDns) for a name.
///
/// Functions create responses ([`addresses`](Self::addresses), [`cname`](Self::cname)), and methods change them. Faults
/// are plain variants.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DnsScript {
    /// These addresses: the IPv4 ones for A, the IPv6 ones for AAAA. If a family has none, the reply is NODATA.
    Addresses {
        /// The addresses of both families.
        addresses: Vec<IpAddr>,
        /// Their TTL, in seconds.
        ttl: u32,
    },
    /// An alias. The same response has the records of its target, as this server's script for the target says.
    Cname {
        /// The other name.
        target: String,
        /// The TTL of the alias, in seconds.
        ttl: u32,
    },
    /// The name does not exist.
    NxDomain,
    /// The name exists, but there is nothing of that type (NODATA).
    NoRecords,
    /// The server failed.
    ServFail,
    /// The server refuses the query (REFUSED).
    Refused,
    /// No response at all.
    Silent,
    /// Bytes that are not a message, under the right id.
    Garbage,
    /// A referral to other servers: NOERROR, without records and without an SOA. Servers that do not resolve for their
    /// clients send this.
    Referral,
    /// NOERROR under the right id, but for another question.
    OtherQuestion,
    /// Truncated over UDP, complete over TCP.
    Truncated(Box<Self>),
    /// Silent over UDP. Over TCP it is the response inside.
    TcpOnly(Box<Self>),
    /// FORMERR without the question for queries with EDNS. For other queries it is the response inside.
    NoEdns(Box<Self>),
    /// The response inside, with another SOA in its negative form.
    Soa {
        /// The response.
        script: Box<Self>,
        /// The SOA's minimum and its TTL, in seconds. Without an SOA, the denial has no authority.
        soa: Option<Soa>,
    },
}

/// The SOA of a negative response. A denial may be cached for the smaller of the two values (RFC 2308 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Soa {
    /// The record's minimum field, in seconds.
    pub minimum: u32,
    /// The record's own TTL, in seconds.
    pub ttl: u32,
}

impl DnsScript {
    /// Returns a response with these addresses and a TTL of one minute.
    #[must_use]
    pub fn addresses(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self::Addresses {
            addresses: addresses.into_iter().collect(),
            ttl: 60,
        }
    }

    /// Returns an alias. The script of `target` is part of the response.
    #[must_use]
    pub fn cname(target: &str, ttl: u32) -> Self {
        Self::Cname {
            target: super::zone::canonical(target),
            ttl,
        }
    }

    /// Sets the TTL, in seconds, of the addresses or the alias.
    #[must_use]
    pub fn ttl(mut self, secs: u32) -> Self {
        match &mut self {
            Self::Addresses { ttl, .. } | Self::Cname { ttl, .. } => *ttl = secs,
            Self::Truncated(script)
            | Self::TcpOnly(script)
            | Self::NoEdns(script)
            | Self::Soa { script, .. } => {
                **script = std::mem::replace(&mut **script, Self::NoRecords).ttl(secs);
            }
            Self::NxDomain
            | Self::NoRecords
            | Self::ServFail
            | Self::Refused
            | Self::Silent
            | Self::Garbage
            | Self::Referral
            | Self::OtherQuestion => {}
        }
        self
    }

    /// Gives negative responses an SOA with this minimum and this TTL, in seconds. By default both are 60.
    #[must_use]
    pub fn soa(self, minimum: u32, ttl: u32) -> Self {
        Self::Soa {
            script: Box::new(self),
            soa: Some(Soa { minimum, ttl }),
        }
    }

    /// Gives negative responses no SOA.
    #[must_use]
    pub fn without_soa(self) -> Self {
        Self::Soa {
            script: Box::new(self),
            soa: None,
        }
    }

    /// Truncates the response over UDP.
    #[must_use]
    pub fn truncated(self) -> Self {
        Self::Truncated(Box::new(self))
    }

    /// Sends nothing over UDP.
    #[must_use]
    pub fn tcp_only(self) -> Self {
        Self::TcpOnly(Box::new(self))
    }

    /// Sends FORMERR to queries with EDNS.
    #[must_use]
    pub fn no_edns(self) -> Self {
        Self::NoEdns(Box::new(self))
    }
}

impl Soa {
    /// The SOA of responses for which none was set.
    pub(super) const DEFAULT: Self = Self {
        minimum: 60,
        ttl: 60,
    };
}
