//! The target of a request: its URL, its host, and the host to dial.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri, Version, header};
use url::{Host, Url};

use crate::error::{Error, ReasonText};

/// A host to look up, or an address that needs none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dial {
    Name(String),
    Address(IpAddr),
}

impl Dial {
    /// Returns it as a TLS server name, without the brackets of an IPv6 literal.
    pub(super) fn shown(&self) -> Arc<str> {
        match self {
            Self::Name(name) => name.as_str().into(),
            Self::Address(address) => address.to_string().into(),
        }
    }
}

/// The target of a request.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) is_secure: bool,
    /// The host as a TLS server name, without the brackets of an IPv6 literal.
    pub(super) host: Arc<str>,
    pub(super) dial: Dial,
    pub(super) port: u16,
    /// Host and port for the `Host` field, without a default port (RFC 9110 §7.2).
    pub(super) authority: Authority,
}

impl Target {
    /// Reads the URL of a request, and moves its userinfo into the headers (RFC 9110 §4.2.4 does not permit it on the
    /// wire).
    pub(super) fn of(uri: &Uri, headers: &mut HeaderMap) -> Result<Self, Error> {
        match Self::plain(uri) {
            Some(target) => Ok(target),
            None => Self::parsed(uri, headers),
        }
    }

    /// Reads a URL that has only one reading. It has no userinfo, and its host is an address in its usual spelling or a
    /// name of lower-case ASCII letters.
    fn plain(uri: &Uri) -> Option<Self> {
        let is_secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host();
        let port = match authority.as_str().len() - host.len() {
            0 => None,
            _ if authority.as_str().contains('@') => return None,
            _ => Some(authority.port_u16()?),
        };
        let usual = default_port(is_secure);
        let dial = plain_host(host)?;
        Some(Self {
            is_secure,
            host: match host.starts_with('[') {
                true => dial.shown(),
                false => host.into(),
            },
            dial,
            port: port.unwrap_or(usual),
            // Copied: it is kept, and a clone would keep the path and the query in memory, too.
            authority: match port {
                Some(port) if port == usual => Authority::try_from(host).ok()?,
                _ => Authority::try_from(authority.as_str()).ok()?,
            },
        })
    }

    fn parsed(uri: &Uri, headers: &mut HeaderMap) -> Result<Self, Error> {
        let mut url =
            Url::parse(&uri.to_string()).map_err(|error| Error::invalid().because(error))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(
                Error::invalid().because(ReasonText::new("only http and https are supported"))
            );
        }
        if let Some(credentials) = take_userinfo(&mut url) {
            headers.entry(header::AUTHORIZATION).or_insert(credentials);
        }
        let (dial, port) = dial(&url)?;
        let host = url.host_str().unwrap_or_default();
        let authority = match url.port() {
            Some(port) => Authority::try_from(format!("{host}:{port}")),
            None => Authority::try_from(host),
        };
        Ok(Self {
            is_secure: url.scheme() == "https",
            host: dial.shown(),
            dial,
            port,
            authority: authority.map_err(|error| Error::invalid().because(error))?,
        })
    }
}

const fn default_port(is_secure: bool) -> u16 {
    if is_secure { 443 } else { 80 }
}

/// Returns a host that the URL standard leaves as it is written. `None` for other hosts.
fn plain_host(host: &str) -> Option<Dial> {
    if let Some(literal) = host.strip_prefix('[') {
        let address: Ipv6Addr = literal.strip_suffix(']')?.parse().ok()?;
        return Some(Dial::Address(address.into()));
    }
    // A last label that begins with a digit may be a number in some spelling.
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next()?;
    if last.starts_with(|first: char| first.is_ascii_digit()) {
        let address: Ipv4Addr = host.parse().ok()?;
        return Some(Dial::Address(address.into()));
    }
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
    // "xn--" encodes letters of other alphabets, which have their own rules.
    let is_name = !host.is_empty() && host.bytes().all(is_plain) && !host.contains("xn--");
    is_name.then(|| Dial::Name(host.to_owned()))
}

/// Refuses versions of HTTP that this crate does not support. HTTP/1.0 is one of them: an empty request ends with its
/// head, so nothing could be held back once it was given up.
pub(super) fn speakable(version: Version) -> Result<(), Error> {
    match version {
        Version::HTTP_11 | Version::HTTP_2 => Ok(()),
        _ => {
            Err(Error::invalid().because(ReasonText::new("only HTTP/1.1 and HTTP/2 are supported")))
        }
    }
}

/// Returns the host and port to dial for a URL.
pub(super) fn dial(url: &Url) -> Result<(Dial, u16), Error> {
    let dial = host(url)?;
    let port = url
        .port_or_known_default()
        .ok_or_else(|| Error::invalid().because(ReasonText::new("the URL has no port")))?;
    Ok((dial, port))
}

/// Returns the host or the address of a URL.
pub(super) fn host(url: &Url) -> Result<Dial, Error> {
    match url.host() {
        Some(Host::Domain(name)) if url.is_special() => Ok(Dial::Name(name.to_owned())),
        // For other schemes, the host is kept as it is written.
        Some(Host::Domain(name)) => read_host(name),
        Some(Host::Ipv4(address)) => Ok(Dial::Address(address.into())),
        Some(Host::Ipv6(address)) => Ok(Dial::Address(address.into())),
        None => Err(Error::invalid().because(ReasonText::new("the URL has no host"))),
    }
}

/// Reads a host by the URL standard, for any scheme: `0x7f.1` is an address. As a name it would be looked up, also in
/// search domains.
pub(super) fn read_host(text: &str) -> Result<Dial, Error> {
    if let Ok(address) = text.parse() {
        return Ok(Dial::Address(address));
    }
    match Host::parse(text) {
        Ok(Host::Domain(name)) => Ok(Dial::Name(name)),
        Ok(Host::Ipv4(address)) => Ok(Dial::Address(address.into())),
        Ok(Host::Ipv6(address)) => Ok(Dial::Address(address.into())),
        Err(error) => Err(Error::invalid().because(error)),
    }
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

/// Returns the value of an `Authorization` header for user and password (RFC 7617), marked as sensitive.
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

pub(super) fn percent_decode(text: &str) -> Vec<u8> {
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

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
