//! The key of breakers and budgets: scheme, host and port.

mod origin;
mod pattern;
mod table;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;

pub(crate) use self::origin::Origin;
use self::origin::key_hash;
use self::pattern::canonical;
pub(crate) use self::pattern::{Host, Pattern};
pub(crate) use self::table::{Hosts, Table};

/// Where a request goes: scheme, host and port, as in `https://api.test:8443`.
///
/// # Example
///
/// ```
/// use sevenhops::Destination;
///
/// let uri = "https://user:secret@API.test:443/v1/charges?key=secret".parse()?;
/// let destination = Destination::of(&uri).ok_or("no destination")?;
/// assert_eq!(destination.to_string(), "https://api.test");
/// assert_eq!(destination, "https://api.test".parse()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Scheme and host are case-insensitive. The scheme's default port, userinfo, path and query are left out. Cheap to
/// clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Destination(Arc<str>);

/// Marks a request, in its extensions, after a redirect to another origin than its caller named. Connections to that
/// origin use none of the caller's credentials, and neither do headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OtherOrigin;

impl Destination {
    /// Returns the destination of a URL; `None` if scheme or host is missing.
    #[must_use]
    pub fn of(uri: &Uri) -> Option<Self> {
        Origin::of(uri).map(|origin| origin.to_destination())
    }

    /// Returns a destination with a custom name, for targets that share a URL: a tenant, a shard, a route.
    ///
    /// The name is used unchanged: a name that reads like an origin is equal to that origin.
    #[must_use]
    pub fn named(name: impl Into<Box<str>>) -> Self {
        Self(name.into().into())
    }

    /// Returns the destination that all requests with a relative URI share: one circuit and one budget.
    ///
    /// A relative URI does not name a host, so the crate cannot tell the servers behind it apart.
    /// [`CircuitBreakerLayer::key_by`](crate::CircuitBreakerLayer::key_by) can.
    #[must_use]
    pub fn relative() -> Self {
        Self::named(RELATIVE)
    }

    /// Returns the destination of a request.
    pub(crate) fn of_request(uri: &Uri) -> Self {
        Origin::of_request(uri).to_destination()
    }

    /// Returns its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the hash that registries use.
    pub(crate) fn key_hash(&self) -> u64 {
        key_hash(self.0.as_bytes())
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Destination({self})")
    }
}

impl FromStr for Destination {
    type Err = InvalidDestination;

    /// Reads `https://api.test` or `https://api.test:8443`. An address may have any spelling.
    fn from_str(text: &str) -> Result<Self, InvalidDestination> {
        let read = |text: &str| {
            let uri: Uri = text.parse().ok()?;
            (uri.path() == "/" && uri.query().is_none()).then_some(uri)
        };
        let uri = read(text).and_then(|uri| {
            let host = uri.host()?;
            match canonical(host) {
                own if own == host => Some(uri),
                usual => read(&text.replacen(host, &usual, 1)),
            }
        });
        uri.and_then(|uri| Self::of(&uri))
            .ok_or_else(|| InvalidDestination(shown(text).into()))
    }
}

/// The part of a text that an error may show: no userinfo, query or fragment, which may be secret.
pub(crate) fn shown(text: &str) -> &str {
    let (before, text) = text.rsplit_once('@').unwrap_or(("", text));
    if before.contains(['?', '#']) {
        return ""; // the query may contain the `@`
    }
    text.split(['?', '#']).next().unwrap_or_default()
}

/// A text that is not a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDestination(Box<str>);

impl fmt::Display for InvalidDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "destination: {:?} is invalid: expected scheme, host and port, as in https://api.test:8443",
            self.0
        )
    }
}

impl std::error::Error for InvalidDestination {}

/// Returns the default port of a scheme; 0 if it has none.
fn default_port(scheme: &str) -> u16 {
    let is = |known: &[&str]| known.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if is(&["https", "wss"]) {
        443
    } else if is(&["http", "ws"]) {
        80
    } else {
        0
    }
}

/// The name of the destination of relative URIs. It has no scheme, so it cannot equal an origin.
const RELATIVE: &str = "relative";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str) -> Option<Destination> {
        Destination::of(&uri.parse().unwrap())
    }

    #[test]
    fn destination_is_scheme_host_and_port_in_lower_case() {
        for (uri, expected) in [
            ("https://API.Test/v1", "https://api.test"),
            ("HTTPS://api.test:443/", "https://api.test"),
            ("https://api.test:8443", "https://api.test:8443"),
            ("http://api.test:443", "http://api.test:443"),
            ("http://api.test:80", "http://api.test"),
            ("http://[::1]:8080/x", "http://[::1]:8080"),
            ("https://u:p@api.test/?key=s", "https://api.test"),
            ("wss://api.test:65535", "wss://api.test:65535"),
            ("custom://api.test:7", "custom://api.test:7"),
        ] {
            assert_eq!(of(uri).unwrap().to_string(), expected, "{uri}");
        }
    }

    #[test]
    fn address_is_read_in_any_spelling() {
        for (text, expected) in [
            ("https://[fd00:0:0:0::10]", "https://[fd00::10]"),
            (
                "http://[::ffff:10.0.0.1]:8080",
                "http://[::ffff:a00:1]:8080",
            ),
            ("http://127.1", "http://127.0.0.1"),
            ("https://api.test:8443", "https://api.test:8443"),
        ] {
            let read: Destination = text.parse().unwrap();
            assert_eq!(read.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_has_no_host_or_no_scheme_has_no_destination() {
        for uri in ["/v1/charges", "*", "api.test:443"] {
            assert_eq!(of(uri), None, "{uri}");
        }
    }

    #[test]
    fn borrowed_and_owned_form_agree_in_hash_and_equality() {
        for host in [1, 7, 81, 82, 83, 87, 88, 89, 120, 200].map(|len| "H".repeat(len)) {
            for port in ["", ":1", ":443", ":80", ":65535"] {
                let uri: Uri = format!("HTTPS://u:p@{host}{port}/x").parse().unwrap();
                let (origin, owned) = (Origin::of(&uri).unwrap(), Destination::of(&uri).unwrap());
                let text = format!("https://{host}{port}").to_ascii_lowercase();
                assert_eq!(owned.as_str(), text.trim_end_matches(":443"));
                assert!(origin.is(&owned), "{uri}");
                assert_eq!(origin.key_hash(), owned.key_hash(), "{uri}");
            }
        }
    }

    #[test]
    fn borrowed_form_is_no_other_destination() {
        let uri: Uri = "https://api.test:8443".parse().unwrap();
        let origin = Origin::of(&uri).unwrap();
        for other in [
            "https://api.test",
            "https://api.test:84433",
            "https://api.test:844",
            "http://api.test:8443",
            "https://api.tess:8443",
            "",
        ] {
            let other = Destination::named(other);
            assert!(!origin.is(&other), "{other}");
            assert_ne!(origin.key_hash(), other.key_hash(), "{other}");
        }
    }

    #[test]
    fn text_that_is_no_destination_is_refused_by_name_and_without_secrets() {
        for text in ["api.test", "https://api.test/v1", ""] {
            let refused = text.parse::<Destination>().unwrap_err().to_string();
            assert!(refused.contains(&format!("{text:?}")), "{refused}");
        }
        for text in [
            "https://u:canary@api.test/v1",
            "https://api.test/?key=canary",
            "https://api.test/?mail=a@canary",
            "https://api.test/v1#canary",
        ] {
            let refused = text.parse::<Destination>().unwrap_err().to_string();
            assert!(!refused.contains("canary"), "{refused}");
        }
    }
}
