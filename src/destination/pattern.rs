//! The pattern of a part of a config: a host, the hosts below a name, or a route.

use std::borrow::Cow;
use std::fmt;

use http::uri::Authority;

/// The calls that a part of a config applies to.
///
/// | pattern | calls |
/// |---|---|
/// | `api.test` | to that host, at any port |
/// | `api.test:8443`, `[::1]:8443` | to that host, at that port |
/// | `*.example.com` | to the hosts below that name, not to the name itself |
/// | `/v1/charges/{id}` | of that route, to any host |
/// | `api.test/v1/charges/{id}` | of that route, to that host |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pattern {
    pub(crate) host: Host,
    pub(crate) route: Option<Box<str>>,
}

/// The hosts of a pattern. Later variants are more specific.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    Any,
    Below(Box<str>),
    Is(Box<str>, Option<u16>),
}

impl Pattern {
    /// Reads a pattern; `None` if it has none of the forms in the table.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (host, route) = match text.find('/') {
            Some(at) => (&text[..at], Some(&text[at..])),
            None => (text, None),
        };
        let host = match (host, route) {
            ("", None) => return None,
            ("", Some(_)) => Host::Any,
            // In `api.test/` the slash does not name a route.
            (_, Some("/")) => return None,
            (host, _) => Host::read(host)?,
        };
        let route = route.map(Box::from);
        Some(Self { host, route })
    }

    /// Returns whether the pattern matches every call that the other one matches.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        let is_route = self.route.is_none() || self.route == other.route;
        is_route && self.host.contains(&other.host)
    }

    /// Returns the rank of the pattern. Of two patterns for the same call, the more specific one has the greater
    /// rank.
    pub(crate) fn rank(&self) -> (bool, u8, usize) {
        let (kind, len) = self.host.rank();
        (self.route.is_some(), kind, len)
    }
}

impl Host {
    fn read(text: &str) -> Option<Self> {
        let (name, is_below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        if name.contains(['*', '@']) {
            return None;
        }
        let authority: Authority = name.parse().ok()?;
        let host = canonical(plain(authority.host())).to_ascii_lowercase();
        let port = authority.port_u16();
        let is_whole = port.is_some() || authority.as_str() == authority.host();
        if host.is_empty() || !is_whole || is_below && port.is_some() {
            return None;
        }
        Some(match is_below {
            true => Self::Below(host.into()),
            false => Self::Is(host.into(), port),
        })
    }

    /// Returns whether the pattern matches a URL's host and port.
    pub(crate) fn matches(&self, host: &str, port: Option<u16>) -> bool {
        let host = plain(host);
        match self {
            Self::Any => true,
            Self::Below(name) => is_below(host, name),
            Self::Is(own, None) => host.eq_ignore_ascii_case(own),
            Self::Is(own, only) => *only == port && host.eq_ignore_ascii_case(own),
        }
    }

    fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Any) | (Self::Is(..), Self::Below(_)) => false,
            (Self::Below(name), Self::Below(other)) => name == other || is_below(other, name),
            (_, Self::Is(host, port)) => self.matches(host, *port),
        }
    }

    /// Returns the rank of the hosts. A longer name is more specific, and so is a host with a port.
    pub(crate) fn rank(&self) -> (u8, usize) {
        match self {
            Self::Any => (0, 0),
            Self::Below(name) => (1, name.len()),
            Self::Is(_, None) => (2, 0),
            Self::Is(_, Some(_)) => (3, 0),
        }
    }
}

/// Returns an address in the spelling of the URL standard, and any other host as it is.
pub(super) fn canonical(host: &str) -> Cow<'_, str> {
    match url::Host::parse(host) {
        Ok(address @ (url::Host::Ipv4(_) | url::Host::Ipv6(_))) => address.to_string().into(),
        Ok(url::Host::Domain(_)) | Err(_) => host.into(),
    }
}

/// Returns a host without the final dot of a DNS name.
fn plain(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn is_below(host: &str, name: &str) -> bool {
    let (host, name) = (host.as_bytes(), name.as_bytes());
    let Some(before) = host.len().checked_sub(name.len() + 1) else {
        return false;
    };
    let (label, rest) = host.split_at(before);
    !label.is_empty() && rest[0] == b'.' && rest[1..].eq_ignore_ascii_case(name)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Any => {}
            Host::Below(name) => write!(f, "*.{name}")?,
            Host::Is(host, None) => f.write_str(host)?,
            Host::Is(host, Some(port)) => write!(f, "{host}:{port}")?,
        }
        f.write_str(self.route.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::read(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn pattern_is_a_host_a_suffix_or_a_route() {
        for (text, shown) in [
            ("API.test", "api.test"),
            ("api.test.", "api.test"),
            ("api.test:8443", "api.test:8443"),
            ("[::1]:80", "[::1]:80"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("[FD00:0:0::10]:80", "[fd00::10]:80"),
            ("[::ffff:10.0.0.1]", "[::ffff:a00:1]"),
            ("*.Example.com", "*.example.com"),
            ("/v1/charges/{id}", "/v1/charges/{id}"),
            ("/", "/"),
            ("api.test/V1/x", "api.test/V1/x"),
            ("*.bank.test/v1", "*.bank.test/v1"),
        ] {
            assert_eq!(pattern(text).to_string(), shown);
        }
    }

    #[test]
    fn text_that_is_no_pattern_is_refused() {
        for text in [
            "",
            "*",
            "*.",
            "api.*.test",
            "*.*.test",
            "*.a.test:80",
            "https://api.test",
            "user@api.test",
            "a b",
            "api.test:",
            "api.test:99999",
            "api.test/",
            ".",
        ] {
            assert_eq!(Pattern::read(text), None, "{text}");
        }
    }

    #[test]
    fn pattern_matches_the_hosts_that_it_names() {
        for (text, host, port, expected) in [
            ("api.test", "API.TEST", None, true),
            ("api.test", "api.test.", Some(8443), true),
            ("api.test", "b.api.test", None, false),
            ("api.test:8443", "api.test", Some(8443), true),
            ("api.test:8443", "api.test", None, false),
            ("*.api.test", "b.API.test", Some(1), true),
            ("*.api.test", "c.b.api.test", None, true),
            ("*.api.test", "api.test", None, false),
            ("*.api.test", ".api.test", None, false),
            ("*.api.test", "bapi.test", None, false),
            ("/v1", "any.test", None, true),
        ] {
            let found = pattern(text).host.matches(host, port);
            assert_eq!(found, expected, "{text} {host} {port:?}");
        }
    }

    #[test]
    fn more_specific_pattern_is_within_the_other_and_has_a_greater_rank() {
        let chain = [
            "*.test",
            "*.bank.test",
            "api.bank.test",
            "api.bank.test:8443",
            "/v1",
            "*.bank.test/v1",
            "api.bank.test/v1",
        ]
        .map(pattern);
        for pair in chain.windows(2) {
            assert!(pair[0].rank() < pair[1].rank(), "{} {}", pair[0], pair[1]);
        }
        let contains = |one: &str, other: &str| pattern(one).contains(&pattern(other));
        assert!(contains("*.test", "*.bank.test") && !contains("*.bank.test", "*.test"));
        assert!(contains("*.bank.test", "api.bank.test:8443/v1"));
        assert!(contains("/v1", "api.bank.test/v1") && !contains("/v1", "api.bank.test"));
        assert!(contains("api.test", "api.test:1") && !contains("api.test:1", "api.test"));
        assert!(!contains("api.test", "*.api.test") && !contains("/v1", "/v2"));
    }
}
