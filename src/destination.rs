//! What a breaker and a budget are keyed by: scheme, host and port.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;
use papaya::Equivalent;

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
/// Case makes no difference in scheme and host, the scheme's default port is left out, and userinfo,
/// path and query are no part of it. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination(Arc<str>);

impl Destination {
    /// The destination of an URL; `None` where scheme or host are missing.
    #[must_use]
    pub fn of(uri: &Uri) -> Option<Self> {
        Origin::of(uri).map(|origin| origin.to_destination())
    }

    /// A destination by a name of your own, for what URLs do not tell apart: a tenant, a shard, a
    /// route.
    ///
    /// The name is taken as it is: one that reads like an origin is that origin.
    #[must_use]
    pub fn named(name: impl Into<Box<str>>) -> Self {
        Self(name.into().into())
    }

    /// The text of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Hash for Destination {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_lower_case(&[&self.0], state);
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

    /// Reads `https://api.test` or `https://api.test:8443`.
    fn from_str(text: &str) -> Result<Self, InvalidDestination> {
        let uri: Option<Uri> = text.parse().ok();
        uri.filter(|uri| uri.path() == "/" && uri.query().is_none())
            .and_then(|uri| Self::of(&uri))
            .ok_or_else(|| {
                // What stands before an @ may be a secret.
                // Neither userinfo nor query: they may be secret.
                let shown = text.rsplit('@').next().unwrap_or_default();
                let shown = shown.split('?').next().unwrap_or_default();
                InvalidDestination(shown.into())
            })
    }
}

/// A text that is no destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDestination(Box<str>);

impl fmt::Display for InvalidDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "destination of {:?} is not scheme, host and port, as in https://api.test",
            self.0
        )
    }
}

impl std::error::Error for InvalidDestination {}

/// A destination that still lives in its URL: looks one up without an allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'u> {
    scheme: &'u str,
    host: &'u str,
    port: Port,
}

impl<'u> Origin<'u> {
    pub(crate) fn of(uri: &'u Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?;
        let authority = uri.authority()?;
        let mut bytes = authority.as_str().bytes();
        let (host, port) = if bytes.any(|byte| matches!(byte, b'@' | b':')) {
            let port = authority.port_u16();
            let port = port.filter(|port| *port != default_port(scheme));
            (authority.host(), port)
        } else {
            // Nothing but the host, as nearly always: no need to search it for its parts.
            (authority.as_str(), None)
        };
        if host.is_empty() {
            return None;
        }
        Some(Self {
            scheme,
            host,
            port: Port::new(port),
        })
    }

    pub(crate) fn to_destination(self) -> Destination {
        Destination(self.pieces().concat().to_ascii_lowercase().into())
    }

    /// What its text is put together from.
    fn pieces(&self) -> [&str; 4] {
        [self.scheme, "://", self.host, self.port.as_str()]
    }
}

impl Hash for Origin<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_lower_case(&self.pieces(), state);
    }
}

impl Equivalent<Destination> for Origin<'_> {
    fn equivalent(&self, key: &Destination) -> bool {
        let mut rest = key.0.as_bytes();
        for piece in self.pieces() {
            let Some((front, back)) = rest.split_at_checked(piece.len()) else {
                return false;
            };
            let lower = piece.bytes().map(|byte| byte.to_ascii_lowercase());
            if !lower.eq(front.iter().copied()) {
                return false;
            }
            rest = back;
        }
        rest.is_empty()
    }
}

/// The text of a port that is not the scheme's own: `:8443`, or nothing.
#[derive(Clone, Copy, Debug)]
struct Port {
    text: [u8; LONGEST_PORT],
    from: u8,
}

impl Port {
    fn new(port: Option<u16>) -> Self {
        let mut text = [b':'; LONGEST_PORT];
        let mut from = LONGEST_PORT;
        if let Some(mut rest) = port {
            loop {
                from -= 1;
                text[from] = b'0' + (rest % 10) as u8;
                rest /= 10;
                if rest == 0 {
                    break;
                }
            }
            from -= 1;
        }
        Self {
            text,
            from: from as u8,
        }
    }

    fn as_str(&self) -> &str {
        let text = self.text.get(usize::from(self.from)..);
        text.and_then(|text| std::str::from_utf8(text).ok())
            .unwrap_or_default()
    }
}

/// The port a scheme stands for; no port is 0.
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

/// Hashes a text in lower case, and the same whatever pieces it comes in: a hasher may tell apart
/// what is written in different portions, so both forms go through the same buffer.
fn hash_lower_case<H: Hasher>(pieces: &[&str], state: &mut H) {
    let mut buffer = [0; PORTION_BYTES];
    let mut filled = 0;
    for piece in pieces {
        let mut rest = piece.as_bytes();
        while !rest.is_empty() {
            let (taken, left) = rest.split_at(rest.len().min(PORTION_BYTES - filled));
            let room = &mut buffer[filled..filled + taken.len()];
            room.copy_from_slice(taken);
            room.make_ascii_lowercase();
            filled += taken.len();
            if filled == PORTION_BYTES {
                state.write(&buffer);
                filled = 0;
            }
            rest = left;
        }
    }
    state.write(&buffer[..filled]);
    state.write_u8(0xff);
}

/// Holds nearly every origin there is in one portion.
const PORTION_BYTES: usize = 64;
/// `:65535`.
const LONGEST_PORT: usize = 6;

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

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
    fn what_has_no_host_or_no_scheme_has_no_destination() {
        for uri in ["/v1/charges", "*", "api.test:443"] {
            assert_eq!(of(uri), None, "{uri}");
        }
    }

    #[test]
    fn borrowed_and_owned_form_agree_in_hash_and_equality() {
        let hasher = RandomState::new();
        for host in [1, 7, 55, 56, 57, 63, 64, 120, 200].map(|len| "H".repeat(len)) {
            for port in ["", ":1", ":443", ":80", ":65535"] {
                let uri: Uri = format!("HTTPS://u:p@{host}{port}/x").parse().unwrap();
                let (origin, owned) = (Origin::of(&uri).unwrap(), Destination::of(&uri).unwrap());
                assert!(origin.equivalent(&owned), "{uri}");
                assert_eq!(hasher.hash_one(origin), hasher.hash_one(&owned), "{uri}");
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
            assert!(!origin.equivalent(&Destination::named(other)), "{other}");
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
        ] {
            let refused = text.parse::<Destination>().unwrap_err().to_string();
            assert!(!refused.contains("canary"), "{refused}");
        }
    }
}
