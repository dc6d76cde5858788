//! Decides which destinations are reached without the proxy. Pure.
//!
//! | entry | matches |
//! |---|---|
//! | `*` | everything |
//! | `api.test` | that name and every name below it, as in curl, Go and reqwest |
//! | `.api.test` | the same, as in curl and reqwest (Go: only the names below it) |
//! | `*.api.test` | only the names below it, as in Go |
//! | `10.1.2.3`, `::1`, `[::1]` | that address |
//! | `10.0.0.0/8`, `fd00::/8` | the addresses in that network |
//! | any of these with `:8080` | the same, at that port only |
//!
//! Names are compared without regard to case and trailing dots. They are never looked up, so an address matches a
//! destination only if the URL itself holds an address. An IPv4-mapped IPv6 address is the IPv4 address that it stands
//! for.

use std::fmt;
use std::net::IpAddr;

use url::Host;

use super::target::Dial;
use crate::dns::Cidr;

/// The destinations that are reached without the proxy.
#[derive(Debug, Default)]
pub(super) struct NoProxy(Vec<NoProxyEntry>);

#[derive(Debug, PartialEq, Eq)]
struct NoProxyEntry {
    target: NoProxyTarget,
    /// `None` stands for every port.
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum NoProxyTarget {
    Everything,
    /// A name and all below it, in lower case.
    Name(String),
    /// All names below this one.
    Below(String),
    Network(Cidr),
}

impl NoProxy {
    /// Adds the entries of a list, which are separated by commas or white space.
    ///
    /// # Errors
    ///
    /// Fails at the first unreadable entry, and names it.
    pub(super) fn add(&mut self, list: &str) -> Result<(), Unreadable> {
        let entries = list.split(|c: char| c == ',' || c.is_whitespace());
        for entry in entries.filter(|entry| !entry.is_empty()) {
            self.0.push(NoProxyEntry::read(entry)?);
        }
        Ok(())
    }

    /// Returns whether a destination is reached without the proxy.
    pub(super) fn match_to(&self, dial: &Dial, port: u16) -> bool {
        let at_port = |entry: &&NoProxyEntry| entry.port.is_none_or(|only| only == port);
        let mut entries = self.0.iter().filter(at_port);
        match dial {
            Dial::Name(name) => entries.any(|entry| entry.target.has_name(name)),
            Dial::Address(address) => entries.any(|entry| entry.target.has(*address)),
        }
    }

    /// Returns whether no destination uses the proxy.
    pub(super) fn is_everything(&self) -> bool {
        let everything = NoProxyEntry {
            target: NoProxyTarget::Everything,
            port: None,
        };
        self.0.contains(&everything)
    }
}

impl NoProxyEntry {
    fn read(text: &str) -> Result<Self, Unreadable> {
        let read = || {
            // Two colons and no bracket: an IPv6 address or network, which holds no port.
            let is_bare_v6 = !text.starts_with('[') && text.matches(':').count() > 1;
            let (host, port) = match text.rsplit_once(':') {
                Some((host, port)) if !is_bare_v6 && !port.contains(']') => {
                    (host, Some(read_port(port)?))
                }
                _ => (text, None),
            };
            let target = NoProxyTarget::read(host)?;
            Some(Self { target, port })
        };
        read().ok_or_else(|| Unreadable::new(text))
    }
}

impl NoProxyTarget {
    fn read(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everything);
        }
        if let Some((address, prefix)) = text.split_once('/') {
            return Some(Self::Network(network(address, read_number(prefix)?)?));
        }
        if let Some(address) = address(text) {
            return Some(Self::Network(address.to_canonical().into()));
        }
        if let Some(name) = text.strip_prefix("*.") {
            return read_name(name).map(Self::Below);
        }
        if let Some(name) = text.strip_prefix('.') {
            return read_name(name).map(Self::Name);
        }
        match Host::parse(text).ok()? {
            // Another spelling, as in `0x7f.1`: the URL of a destination is read in the same way.
            Host::Ipv4(address) => Some(Self::Network(IpAddr::from(address).into())),
            Host::Domain(_) | Host::Ipv6(_) => read_name(text).map(Self::Name),
        }
    }

    fn has_name(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        let below = |parent: &str| {
            let rest = name.strip_suffix(parent);
            rest.is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        };
        match self {
            Self::Everything => true,
            Self::Name(parent) => name == parent || below(parent),
            Self::Below(parent) => below(parent),
            Self::Network(_) => false,
        }
    }

    fn has(&self, address: IpAddr) -> bool {
        match self {
            Self::Everything => true,
            Self::Network(network) => {
                network.contains(address.to_canonical()) || network.contains(address)
            }
            Self::Name(_) | Self::Below(_) => false,
        }
    }
}

/// Reads an address, with or without brackets around one of IPv6.
fn address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

/// Reads a network. Bits after the prefix are ignored, as everywhere.
fn network(first: &str, prefix: u8) -> Option<Cidr> {
    let first = address(first)?;
    match (first, first.to_canonical()) {
        (IpAddr::V6(_), mapped @ IpAddr::V4(_)) if prefix >= MAPPED_PREFIX => {
            Cidr::around(mapped, prefix - MAPPED_PREFIX)
        }
        (first, _) => Cidr::around(first, prefix),
    }
}

/// Reads a name as a URL's host is read: in lower case, and in its ASCII form.
fn read_name(text: &str) -> Option<String> {
    let Host::Domain(name) = Host::parse(text).ok()? else {
        return None;
    };
    let name = name.strip_suffix('.').unwrap_or(&name);
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.bytes().all(allowed)
    };
    // A `%` in the text is an escape, which no list of this kind uses.
    let is_name = !text.contains('%') && name.split('.').all(is_label);
    is_name.then(|| name.to_owned())
}

fn read_port(text: &str) -> Option<u16> {
    read_number(text).filter(|port| *port != 0)
}

/// Reads digits only: `parse` would also accept a sign.
fn read_number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// An entry that cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable(String);

impl Unreadable {
    fn new(entry: &str) -> Self {
        // The text before an `@` in a URL may be a password.
        Self(match entry.rsplit_once('@') {
            Some((_, host)) => format!("…@{host}"),
            None => entry.to_owned(),
        })
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the entry {:?} is unreadable: write a name, .name, *.name, an address, a network \
             (10.0.0.0/8) or *, each with or without :port",
            self.0
        )
    }
}

/// The length of `::ffff:0:0/96`.
const MAPPED_PREFIX: u8 = 96;

#[cfg(test)]
mod messages {
    crate::messages_tests::list!(Unreadable: super::Unreadable::new("user:secret@10.0.0.0/99"));
}

#[cfg(test)]
#[path = "no_proxy_tests.rs"]
mod tests;
