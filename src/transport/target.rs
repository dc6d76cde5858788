//! Where a request goes: its URL, its host, and whom to dial for it.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Uri, Version, header};
use url::{Host, Url};

use super::proxy::Via;
use crate::error::{Error, Reason};
use crate::hop::{Diagnosis, Effect, Hop, Kind};

/// A host to look up, or an address that needs none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dial {
    Name(String),
    Address(IpAddr),
}

/// Where a request goes.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) url: Url,
    /// The host as a TLS server name, without the brackets of an IPv6 literal.
    pub(super) host: Arc<str>,
    pub(super) dial: Dial,
    pub(super) port: u16,
    /// The proxy that leads there.
    pub(super) via: Option<Arc<Via>>,
}

impl Target {
    /// Reads the URL of a request, and moves its userinfo into the headers (RFC 9110 §4.2.4 wants
    /// none on the wire).
    pub(super) fn of(uri: &Uri, headers: &mut HeaderMap) -> Result<Self, Error> {
        let mut url = Url::parse(&uri.to_string()).map_err(|error| invalid().because(error))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid().because(Reason::new("only http and https can be spoken")));
        }
        if let Some(credentials) = take_userinfo(&mut url) {
            headers.entry(header::AUTHORIZATION).or_insert(credentials);
        }
        let (dial, port) = dial(&url)?;
        let host: Arc<str> = match &dial {
            Dial::Name(name) => name.as_str().into(),
            Dial::Address(address) => address.to_string().into(),
        };
        Ok(Self {
            url,
            host,
            dial,
            port,
            via: None,
        })
    }

    /// Whom to dial: the destination, or the proxy, which looks the destination up itself.
    pub(super) fn dialled(&self) -> (&Dial, u16) {
        match &self.via {
            Some(via) => (&via.dial, via.port),
            None => (&self.dial, self.port),
        }
    }
}

/// Refuses versions of HTTP that are not spoken here. HTTP/1.0 is one of them: its request ends where
/// the head does, so that nothing could be held back once it was given up.
pub(super) fn speakable(version: Version) -> Result<(), Error> {
    match version {
        Version::HTTP_11 | Version::HTTP_2 => Ok(()),
        _ => Err(invalid().because(Reason::new("only HTTP/1.1 and HTTP/2 can be spoken"))),
    }
}

/// Whom an URL says to dial.
pub(super) fn dial(url: &Url) -> Result<(Dial, u16), Error> {
    let dial = match url.host() {
        Some(Host::Domain(name)) => Dial::Name(name.to_owned()),
        Some(Host::Ipv4(address)) => Dial::Address(address.into()),
        Some(Host::Ipv6(address)) => Dial::Address(address.into()),
        None => return Err(invalid().because(Reason::new("the url has no host"))),
    };
    let port = url
        .port_or_known_default()
        .ok_or_else(|| invalid().because(Reason::new("the url has no port")))?;
    Ok((dial, port))
}

fn take_userinfo(url: &mut Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decode = |part: &str| percent_decode(part);
    let value = basic(
        &decode(url.username()),
        url.password().map(decode).as_deref(),
    );
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(value)
}

/// The value of an `Authorization` header for user and password (RFC 7617), marked as sensitive.
pub(crate) fn basic(user: &[u8], password: Option<&[u8]>) -> HeaderValue {
    use base64::Engine;
    let mut pair = user.to_vec();
    pair.push(b':');
    pair.extend_from_slice(password.unwrap_or_default());
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}"))
        .unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

fn percent_decode(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    decoded
}

pub(super) fn invalid() -> Error {
    Error::new(Diagnosis::new(Hop::Encode, Kind::Invalid, Effect::None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str) -> (Result<Target, Error>, HeaderMap) {
        let mut headers = HeaderMap::new();
        (Target::of(&uri.parse().unwrap(), &mut headers), headers)
    }

    #[test]
    fn userinfo_becomes_a_sensitive_header() {
        let (target, headers) = target("https://us%65r:p%40ss@api.test/v1?a=b");
        assert_eq!(target.unwrap().url.as_str(), "https://api.test/v1?a=b");
        let value = &headers[header::AUTHORIZATION];
        assert_eq!(value, "Basic dXNlcjpwQHNz");
        assert!(value.is_sensitive());
    }

    #[test]
    fn literals_of_any_spelling_are_dialled_without_a_look_up() {
        for uri in ["http://127.0.0.1/", "http://0x7f.1/", "http://2130706433/"] {
            let dial = target(uri).0.unwrap().dial;
            assert_eq!(dial, Dial::Address([127, 0, 0, 1].into()), "{uri}");
        }
        let v6 = target("https://[::1]:8443/").0.unwrap();
        assert_eq!((&*v6.host, v6.port), ("::1", 8443));
    }

    #[test]
    fn f34_version_that_cannot_be_spoken_is_refused_at_encode() {
        for version in [Version::HTTP_09, Version::HTTP_10, Version::HTTP_3] {
            let error = speakable(version).unwrap_err();
            assert_eq!(
                (error.hop(), error.effect()),
                (Some(Hop::Encode), Effect::None)
            );
        }
        assert!(speakable(Version::default()).is_ok() && speakable(Version::HTTP_2).is_ok());
    }

    #[test]
    fn f34_what_cannot_be_spoken_is_refused_at_encode() {
        for uri in ["ftp://api.test/", "/v1/charges", "api.test"] {
            let error = target(uri).0.unwrap_err();
            assert_eq!(
                (error.hop(), error.kind()),
                (Some(Hop::Encode), Kind::Invalid)
            );
        }
    }
}
