//! The identity of a read in the store: URL, variant and credentials. Secrets are kept as hashes only.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, RANGE, TRANSFER_ENCODING,
    USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, Uri};

use super::control::Control;
use super::decide::lower;
use super::store::{Key, Request};
use crate::redact::is_secret;

/// A read that the store may have a response to.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) key: Key,
    pub(super) method: Method,
    pub(super) uri: Uri,
    /// One line for each name. Secrets are replaced by their hashes.
    pub(super) headers: HeaderMap,
    pub(super) control: Control,
}

impl Target {
    /// Returns the identity of a request; `None` if no response to it is stored.
    ///
    /// Requests with different credentials never share a key. The names of credentials and tenants are not standardized,
    /// so every header counts that is not known to be neutral.
    pub(super) fn of(
        (method, uri, headers): Request<'_>,
        hashers: &[RandomState; 2],
    ) -> Option<Self> {
        let is_read = matches!(*method, Method::GET | Method::HEAD) && !headers.contains_key(RANGE);
        // A relative URL without `Host` does not say whose resource it is.
        let is_absolute = uri.authority().is_some() || headers.contains_key(HOST);
        // The transport turns the userinfo into `Authorization`.
        let has_userinfo = uri
            .authority()
            .is_some_and(|own| own.as_str().contains('@'));
        if !is_read || announces_content(headers) || !is_absolute || has_userinfo {
            return None;
        }
        let mut own = HeaderMap::with_capacity(headers.keys_len());
        let mut states = hashers.each_ref().map(BuildHasher::build_hasher);
        let mut sum = [0_u64; 2];
        for name in headers.keys() {
            let value = match is_private(name, headers) {
                true => hashed(name, headers, hashers),
                false if name == CACHE_CONTROL => joined(name, headers).as_ref().map(lower),
                false => joined(name, headers),
            };
            let value = value?;
            if !NEUTRAL.contains(&name.as_str()) {
                // The order of the names must not matter.
                for (sum, hasher) in sum.iter_mut().zip(hashers) {
                    *sum = sum.wrapping_add(hasher.hash_one((name.as_str(), value.as_bytes())));
                }
            }
            own.insert(name, value);
        }
        for (state, sum) in states.iter_mut().zip(sum) {
            (method, uri, sum).hash(state);
        }
        Some(Self {
            key: states.map(|state| state.finish()),
            method: method.clone(),
            uri: uri.clone(),
            control: Control::read(headers),
            headers: own,
        })
    }
}

/// Returns whether the headers announce content (RFC 9110 §6.4). It may select the response, and is not in the key.
fn announces_content(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    headers.contains_key(CONTENT_TYPE)
        || headers.contains_key(TRANSFER_ENCODING)
        || lengths.any(|length| length != "0")
}

/// Returns whether a header may say who the caller is.
fn is_private(name: &HeaderName, headers: &HeaderMap) -> bool {
    let names_a_tenant = || TENANT.iter().any(|word| name.as_str().contains(word));
    let mut values = headers.get_all(name).iter();
    values.any(|value| is_secret(name, value)) || *name != USER_AGENT && names_a_tenant()
}

/// Joins the lines of a name (RFC 9110 §5.2): `http-cache-semantics` compares the first line only.
fn joined(name: &HeaderName, headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    let Some(second) = values.next() else {
        return Some(first.clone());
    };
    let mut line = first.as_bytes().to_vec();
    for value in std::iter::once(second).chain(values) {
        line.extend_from_slice(b", ");
        line.extend_from_slice(value.as_bytes());
    }
    HeaderValue::from_bytes(&line).ok()
}

fn hashed(
    name: &HeaderName,
    headers: &HeaderMap,
    hashers: &[RandomState; 2],
) -> Option<HeaderValue> {
    let line = joined(name, headers)?;
    let [one, other] = hashers
        .each_ref()
        .map(|hasher| hasher.hash_one(line.as_bytes()));
    HeaderValue::try_from(format!("{one:016x}{other:016x}")).ok()
}

/// Headers that neither select a response nor say for whom it is. Any other header may do so.
const NEUTRAL: [&str; 14] = [
    "cache-control",
    "connection",
    "date",
    "if-modified-since",
    "if-none-match",
    "pragma",
    "te",
    "traceparent",
    "tracestate",
    "user-agent",
    "via",
    "x-amzn-trace-id",
    "x-correlation-id",
    "x-request-id",
];
/// Words in the name of a header that says for whom the request is.
const TENANT: [&str; 5] = ["account", "customer", "tenant", "user", "-org"];

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hashers: &[RandomState; 2], uri: &str, lines: &[(&'static str, &str)]) -> Option<Key> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let uri = uri.parse().unwrap();
        Target::of((&Method::GET, &uri, &headers), hashers).map(|target| target.key)
    }

    #[test]
    fn requests_of_two_tenants_have_two_keys() {
        let hashers = [RandomState::new(), RandomState::new()];
        let of =
            |lines: &[(&'static str, &str)]| key(&hashers, "https://api.test/me", lines).unwrap();
        for name in [
            "authorization",
            "cookie",
            "x-api-key",
            "x-tenant-id",
            "x-org-id",
            "x-user",
            // An application passes its tenant on in it.
            "baggage",
        ] {
            let (one, other) = (of(&[(name, "1")]), of(&[(name, "2")]));
            assert_ne!(one, other, "{name}");
            assert_ne!(one, of(&[]), "{name}");
            assert_eq!(one, of(&[(name, "1")]), "{name}");
            assert_ne!(one, of(&[(name, "1"), (name, "2")]), "{name}");
        }
        for name in ["user-agent", "x-request-id", "traceparent"] {
            assert_eq!(of(&[(name, "1")]), of(&[(name, "2")]), "{name}");
        }
        let (one, other) = (
            [("cookie", "1"), ("accept", "2")],
            [("accept", "2"), ("cookie", "1")],
        );
        assert_eq!(of(&one), of(&other));
    }

    #[test]
    fn no_secret_is_kept() {
        let hashers = [RandomState::new(), RandomState::new()];
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer s3cret".parse().unwrap());
        let uri = "https://api.test/".parse().unwrap();
        let target = Target::of((&Method::GET, &uri, &headers), &hashers).unwrap();
        assert!(!format!("{:?}", target.headers).contains("s3cret"));
        assert!(target.headers.contains_key("authorization"));
    }

    #[test]
    fn only_whole_reads_of_a_known_destination_have_a_key() {
        let hashers = [RandomState::new(), RandomState::new()];
        assert!(key(&hashers, "/relative", &[]).is_none());
        assert!(key(&hashers, "/relative", &[("host", "api.test")]).is_some());
        assert!(key(&hashers, "https://api.test/", &[("range", "bytes=0-1")]).is_none());
        for (name, value, is_stored) in [
            ("content-type", "application/json", false),
            ("transfer-encoding", "chunked", false),
            ("content-length", "14", false),
            ("content-length", "0", true),
        ] {
            let key = key(&hashers, "https://api.test/", &[(name, value)]);
            assert_eq!(key.is_some(), is_stored, "{name}: {value}");
        }
        let headers = HeaderMap::new();
        let uri = "https://api.test/".parse().unwrap();
        for method in [Method::POST, Method::PUT, Method::OPTIONS] {
            assert!(Target::of((&method, &uri, &headers), &hashers).is_none());
        }
        let head = Target::of((&Method::HEAD, &uri, &headers), &hashers).unwrap();
        assert_ne!(Some(head.key), key(&hashers, "https://api.test/", &[]));
    }
}
