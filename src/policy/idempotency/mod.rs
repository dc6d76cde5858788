//! Gives each call one idempotency key, so that every attempt and every leg carries the same one.

mod apply;
mod config;
mod decide;

pub use self::config::IdempotencyConfig;
pub use crate::idempotency_key::{IdempotencyKey, InvalidIdempotencyKey};

use http::{HeaderMap, HeaderName};

/// Returns whether the server says that it already sent this response to an earlier request with the same key.
///
/// No standard covers this. It is the header that payment services use.
#[must_use]
pub fn is_replayed(headers: &HeaderMap) -> bool {
    headers
        .get(REPLAYED)
        .is_some_and(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"true"))
}

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The name in the IETF's draft, and the one that services agree on.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Its older name, which some services and callers still use.
const X_KEY: HeaderName = HeaderName::from_static("x-idempotency-key");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_replayed_only_if_the_far_side_says_true() {
        for (value, replayed) in [
            ("true", true),
            (" True", true),
            ("false", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(REPLAYED, value.parse().unwrap())]);
            assert_eq!(is_replayed(&headers), replayed, "{value}");
        }
        assert!(!is_replayed(&HeaderMap::new()));
    }
}
