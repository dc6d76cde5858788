//! Removes secrets from the URLs that are shown, and recognizes the headers that hold one.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, Uri};

/// Returns the public part of a URL: scheme, host, port and path. Userinfo, query and fragment may be secret and are
/// left out.
pub(crate) fn redacted(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    // The maximum length of "https://", ":65535" and the separators.
    let mut shown = String::with_capacity(14 + host.len() + uri.path().len());
    if let Some(scheme) = uri.scheme_str() {
        shown.push_str(scheme);
        shown.push_str("://");
    }
    shown.push_str(host);
    if let Some(port) = uri.port() {
        shown.push(':');
        shown.push_str(port.as_str());
    }
    shown.push_str(&ascii(uri.path()));
    shown
}

/// Returns a part of a URL without terminal escape codes: `http` allows raw bytes beyond ASCII.
pub(crate) fn ascii(part: &str) -> Cow<'_, str> {
    if part.is_ascii() {
        return part.into();
    }
    let escaped = part.bytes().map(|byte| match byte.is_ascii() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    escaped.collect()
}

/// Returns whether a header is never shown, even if the caller names it. (The idempotency policy marks the header of
/// its key as sensitive, whatever its name.)
pub(crate) fn is_secret(name: &HeaderName, value: &HeaderValue) -> bool {
    value.is_sensitive() || SECRET.iter().any(|word| name.as_str().contains(word))
}

/// Words in the name of a header that holds a secret: `authorization`, `set-cookie`, `x-api-key`, `idempotency-key`,
/// `x-amz-security-token` …
const SECRET: [&str; 12] = [
    "auth",
    "cookie",
    "credential",
    "csrf",
    "jwt",
    "key",
    "pass",
    "secret",
    "session",
    "signature",
    "token",
    "xsrf",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_a_terminal_might_obey_are_escaped() {
        let uri = "https://api.test/caf\u{e9}/\u{9b}31m".parse().unwrap();
        assert_eq!(redacted(&uri), "https://api.test/caf%C3%A9/%C2%9B31m");
    }

    #[test]
    fn url_is_shown_without_userinfo_and_query() {
        for (uri, shown) in [
            (
                "https://u:p@api.test:8443/v1?key=s",
                "https://api.test:8443/v1",
            ),
            ("http://[::1]:80/", "http://[::1]:80/"),
            ("/v1?key=s", "/v1"),
            ("https://api.test", "https://api.test/"),
        ] {
            assert_eq!(redacted(&uri.parse().unwrap()), shown);
        }
    }
}
