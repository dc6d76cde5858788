//! The URL of a request, as the caller passes it and as it is sent.

use std::net::Ipv4Addr;

use http::Uri;
use url::Url;

use crate::box_error::BoxError;
use crate::error::ReasonText;

/// A URL for a new request: text, a parsed [`Url`], or a [`Uri`].
///
/// This trait is sealed: the client implements it for the types that can be a URL.
pub trait IntoUrl: sealed::Sealed {}

impl<T: sealed::Sealed> IntoUrl for T {}

mod sealed {
    use super::Address;
    use crate::box_error::BoxError;

    #[expect(unnameable_types, reason = "it is sealed")]
    pub trait Sealed {
        fn into_address(self) -> Result<Address, BoxError>;
    }
}

/// The URL of a request that is being built.
#[derive(Debug)]
#[expect(unnameable_types, reason = "only a sealed trait returns it")]
pub struct Address(Form);

#[derive(Debug)]
enum Form {
    /// A URL that the URL standard would leave unchanged.
    Plain(Uri),
    /// A URL that was parsed by the URL standard.
    Parsed(Box<Url>),
}

impl Address {
    fn read(text: &str) -> Result<Self, BoxError> {
        match plain(text) {
            Some(uri) => Ok(Self(Form::Plain(uri))),
            None => Self::parse(text),
        }
    }

    fn parse(text: &str) -> Result<Self, BoxError> {
        match Url::parse(text) {
            Ok(url) => Self::checked(url),
            Err(_) if has_zone(text) => Err(ReasonText::new(ZONE).into()),
            Err(error) => Err(error.into()),
        }
    }

    fn checked(url: Url) -> Result<Self, BoxError> {
        match url.has_host() {
            true => Ok(Self(Form::Parsed(Box::new(url)))),
            false => Err(ReasonText::new("URL scheme is not allowed").into()),
        }
    }

    /// Returns the parsed URL, so that the caller can change its parts.
    pub(super) fn url_mut(&mut self) -> Result<&mut Url, BoxError> {
        if let Form::Plain(uri) = &self.0 {
            *self = Self::parse(&uri.to_string())?;
        }
        match &mut self.0 {
            Form::Parsed(url) => Ok(url),
            Form::Plain(_) => Err(ReasonText::new("the URL is invalid").into()),
        }
    }

    pub(super) fn host(&self) -> Option<&str> {
        match &self.0 {
            Form::Plain(uri) => uri.host(),
            Form::Parsed(url) => url.host_str(),
        }
    }

    /// Returns the parsed URL.
    #[cfg(feature = "gateway")]
    pub(crate) fn into_url(self) -> Result<Url, BoxError> {
        match self.0 {
            Form::Plain(uri) => Ok(uri.to_string().parse()?),
            Form::Parsed(url) => Ok(*url),
        }
    }

    pub(super) fn into_uri(self) -> Result<Uri, BoxError> {
        match self.0 {
            Form::Plain(uri) => Ok(uri),
            Form::Parsed(url) => Ok(url.as_str().parse()?),
        }
    }
}

/// Returns whether an IPv6 address in a URL has a zone id (RFC 6874).
fn has_zone(text: &str) -> bool {
    let host = text
        .split_once("://[")
        .and_then(|(_, rest)| rest.split_once(']'));
    host.is_some_and(|(host, _)| host.contains('%'))
}

const ZONE: &str = "the URL standard has no zone ids: leave `%25..` out, and call the transport's scope_id(..) or \
                    interface(..)";

impl sealed::Sealed for &str {
    fn into_address(self) -> Result<Address, BoxError> {
        Address::read(self)
    }
}

impl sealed::Sealed for &String {
    fn into_address(self) -> Result<Address, BoxError> {
        Address::read(self)
    }
}

impl sealed::Sealed for String {
    fn into_address(self) -> Result<Address, BoxError> {
        Address::read(&self)
    }
}

impl sealed::Sealed for Url {
    fn into_address(self) -> Result<Address, BoxError> {
        Address::checked(self)
    }
}

impl sealed::Sealed for Uri {
    fn into_address(self) -> Result<Address, BoxError> {
        Address::read(&self.to_string())
    }
}

/// Returns the text as a URI if the URL standard and RFC 3986 give it the same meaning. That is an `http` or `https`
/// URL with a path, without userinfo and fragment, and only with characters that both leave unchanged. The transport
/// reads the host in the same way.
fn plain(text: &str) -> Option<Uri> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))?;
    let path = rest.find('/')?;
    let (authority, path) = rest.split_at(path);
    let is_host = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b':');
    let is_plain = !authority.is_empty()
        && authority.bytes().all(is_host)
        && !has_numbers(authority)
        && !is_encoded(authority)
        && is_left_alone(path);
    is_plain.then(|| Uri::try_from(text).ok()).flatten()
}

/// Returns whether a label may be Punycode, so that it may stand for letters of another alphabet.
fn is_encoded(authority: &str) -> bool {
    authority.contains('-') && authority.contains("xn--")
}

/// Returns whether path and query have neither a dot segment nor a character that the URL standard would escape.
fn is_left_alone(path: &str) -> bool {
    let (mut before, mut is_escaped) = (b'/', false);
    let is_left = |byte: u8| {
        let is_dot_segment = byte == b'.' && before == b'/';
        before = byte;
        is_escaped |= byte == b'%';
        let is_left = matches!(byte,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'(' | b')'
            | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' | b'/' | b'?' | b'%');
        is_left && !is_dot_segment
    };
    path.bytes().all(is_left) && !(is_escaped && (path.contains("%2e") || path.contains("%2E")))
}

/// Returns whether the host may be an IP address in an unusual form. Also returns true if the URL standard might drop
/// or rewrite the port.
fn has_numbers(authority: &str) -> bool {
    let last = |text: &str, of: u8| text.bytes().rposition(|byte| byte == of);
    let (host, port) = match last(authority, b':') {
        Some(at) => (&authority[..at], Some(&authority[at + 1..])),
        None => (authority, None),
    };
    let is_port = |port: &str| {
        let number = port.parse::<u16>();
        !port.starts_with(['0', '+']) && number.is_ok_and(|port| port != 80 && port != 443)
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let label = last(name, b'.').map_or(name, |at| &name[at + 1..]);
    let is_number = label.starts_with(|first: char| first.is_ascii_digit());
    let is_unusual = || host.parse::<Ipv4Addr>().is_err();
    host.is_empty() || host.contains(':') || !port.is_none_or(is_port) || is_number && is_unusual()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_urls_go_out_as_the_url_standard_writes_them() {
        for (text, is_plain) in [
            ("http://api.test/", true),
            ("https://api.test/v1/charges?a=b&c=d%20e", true),
            ("https://api.test:8443/v1;a=1/@b!$(c)*+,~_-.x", true),
            ("http://127.0.0.1:8080/?q=a/b?c", true),
            ("http://api.test./a%2Fb", true),
            ("http://api.test", false),
            ("http://api.test:80/", false),
            ("https://api.test:443/", false),
            ("http://api.test:080/", false),
            ("http://api.test:/", false),
            ("http://API.test/", false),
            ("HTTP://api.test/", false),
            ("http://127.1/", false),
            ("http://0x7f.0.0.1/", false),
            ("http://[::1]/", false),
            ("http://user@api.test/", false),
            ("http://xn--bcher-kva.test/", false),
            ("http://api.test/a/../b", false),
            ("http://api.test/%2e%2E/b", false),
            ("http://api.test/a b", false),
            ("http://api.test/a'b", false),
            ("http://api.test/caf\u{e9}", false),
            ("http://api.test/a#b", false),
            ("http://api.test/a\\b", false),
            ("http://api.test/a\tb", false),
            ("ftp://api.test/", false),
        ] {
            let quick = plain(text);
            assert_eq!(quick.is_some(), is_plain, "{text}");
            if let Some(uri) = quick {
                assert_eq!(
                    uri.to_string(),
                    Url::parse(text).unwrap().as_str(),
                    "{text}"
                );
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn plain_means_unchanged(text in "https?://[a-z0-9.:_-]{0,12}/[ -~]{0,12}") {
            if let Some(uri) = plain(&text) {
                let parsed = Url::parse(&text).unwrap();
                proptest::prop_assert_eq!(uri.to_string(), parsed.as_str());
            }
        }
    }

    #[test]
    fn text_that_is_not_a_url_says_why() {
        for (text, why) in [
            ("/v1/charges", "relative URL without a base"),
            ("data:text/plain,hi", "URL scheme is not allowed"),
            ("http://[fe80::1%25eth0]/", ZONE),
            ("http://[fe80::1%eth0]:80/", ZONE),
            ("http://[fe80::g]/%25", "invalid IPv6 address"),
        ] {
            let error = sealed::Sealed::into_address(text).unwrap_err();
            assert_eq!(error.to_string(), why);
        }
    }
}
