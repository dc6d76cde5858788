//! The server's responses for a name.

use std::net::IpAddr;

/// The responses of a [`ScriptedDns`](super::ScriptedDns) for a name.
///
/// Responses are made by functions ([`addresses`](Self::addresses), [`cname`](Self::cname)) and
/// changed by methods; faults are plain variants.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DnsScript {
    /// These addresses: IPv4 ones if asked for A, IPv6 ones if asked for AAAA, NODATA if there is none of
    /// that family.
    Addresses {
        /// The addresses of both families.
        addresses: Vec<IpAddr>,
        /// Their TTL, in seconds.
        ttl: u32,
    },
    /// Another name; what this server says about that one stands in the same answer.
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
    /// The server does not want to.
    Refused,
    /// No response at all.
    Silent,
    /// Bytes that are no message, under the right id.
    Garbage,
    /// A referral to other servers: NOERROR, without records and without an SOA. Servers that do not resolve for their
    /// clients say that.
    Referral,
    /// NOERROR under the right id, to another question.
    OtherQuestion,
    /// Cut short over UDP, whole over TCP.
    Truncated(Box<Self>),
    /// Silent over UDP.
    TcpOnly(Box<Self>),
    /// FORMERR, and not even the question, to queries with EDNS.
    NoEdns(Box<Self>),
    /// With another SOA for its negative answers.
    Soa {
        /// The response.
        script: Box<Self>,
        /// The SOA's minimum and its TTL, in seconds. Without an SOA, the denial has no authority.
        soa: Option<Soa>,
    },
}

/// The time for which an SOA lets a denial be cached: the lesser of the two counts (RFC 2308 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Soa {
    /// The record's minimum field, in seconds.
    pub minimum: u32,
    /// The record's own TTL, in seconds.
    pub ttl: u32,
}

impl DnsScript {
    /// Addresses, with a TTL of one minute.
    #[must_use]
    pub fn addresses(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self::Addresses {
            addresses: addresses.into_iter().collect(),
            ttl: 60,
        }
    }

    /// An alias. The script of `target` is part of the response.
    #[must_use]
    pub fn cname(target: &str, ttl: u32) -> Self {
        Self::Cname {
            target: super::zone::canonical(target),
            ttl,
        }
    }

    /// Changes the TTL, in seconds, of the addresses or the alias.
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

    /// Gives negative answers an SOA with this minimum and this TTL, in seconds. Without a word about it,
    /// both are 60.
    #[must_use]
    pub fn soa(self, minimum: u32, ttl: u32) -> Self {
        Self::Soa {
            script: Box::new(self),
            soa: Some(Soa { minimum, ttl }),
        }
    }

    /// Gives negative answers no SOA.
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

    /// Says nothing over UDP.
    #[must_use]
    pub fn tcp_only(self) -> Self {
        Self::TcpOnly(Box::new(self))
    }

    /// Says FORMERR to queries with EDNS.
    #[must_use]
    pub fn no_edns(self) -> Self {
        Self::NoEdns(Box::new(self))
    }
}

impl Soa {
    /// The script of names without one.
    pub(super) const DEFAULT: Self = Self {
        minimum: 60,
        ttl: 60,
    };
}
