//! Headers for an HTTP archive: kept only on request, and redacted before they are kept.

use http::header::{self, HeaderMap, HeaderName};

use crate::call::Call;
use crate::record::Tracker;
use crate::redact::is_secret;

/// Keeps the headers of a request as it leaves the policies, if the call asks for it.
pub(crate) fn keep_request(call: &Call, tracker: &Tracker, headers: &HeaderMap) {
    if let Some(request) = kept(call, headers) {
        tracker.facts(|facts| facts.kept.get_or_insert_default().request = request);
    }
}

/// Keeps the headers of the response.
pub(crate) fn keep_response(call: &Call, tracker: &Tracker, headers: &HeaderMap) {
    if let Some(response) = kept(call, headers) {
        tracker.facts(|facts| facts.kept.get_or_insert_default().response = response);
    }
}

fn kept(call: &Call, headers: &HeaderMap) -> Option<Vec<(String, String)>> {
    let named = call.options().headers.as_deref()?;
    let headers = headers.iter().take(MOST_HEADERS);
    let headers = headers.map(|(name, value)| {
        let listed = HARMLESS.contains(name) || named.contains(name);
        let shown = listed && !is_secret(name, value);
        let text = value.to_str().ok().filter(|_| shown);
        let text = text.map(|text| text.chars().take(MOST_VALUE).collect());
        (
            name.to_string(),
            text.unwrap_or_else(|| REDACTED.to_owned()),
        )
    });
    Some(headers.collect())
}

const REDACTED: &str = "(redacted)";
/// The bounds of the headers that are kept of a request or a response.
const MOST_HEADERS: usize = 64;
const MOST_VALUE: usize = 256;

/// Headers whose values do not identify the caller or the content. A list of secret headers could not be complete,
/// because the names of API keys are not standardized.
const HARMLESS: &[HeaderName] = &[
    header::ACCEPT,
    header::ACCEPT_CHARSET,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::ACCEPT_RANGES,
    header::AGE,
    header::ALLOW,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::DATE,
    header::EXPECT,
    header::EXPIRES,
    header::HOST,
    header::LAST_MODIFIED,
    header::RANGE,
    header::RETRY_AFTER,
    header::SERVER,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::USER_AGENT,
    header::VARY,
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn secrets_are_known_by_their_names_and_by_their_mark() {
        let plain = HeaderValue::from_static("x");
        for name in [
            "authorization",
            "proxy-authorization",
            "www-authenticate",
            "x-auth-token",
            "cookie",
            "set-cookie",
            "x-api-key",
            "api-key",
            "apikey",
            "idempotency-key",
            "x-amz-security-token",
            "stripe-signature",
            "x-client-secret",
            "x-password",
            "x-csrf",
            "x-session-id",
        ] {
            assert!(is_secret(&HeaderName::from_static(name), &plain), "{name}");
        }
        let mut marked = plain;
        marked.set_sensitive(true);
        assert!(is_secret(&header::ACCEPT, &marked));
    }

    #[test]
    fn nothing_on_the_list_of_the_harmless_looks_like_a_secret() {
        let plain = HeaderValue::from_static("x");
        for name in HARMLESS {
            assert!(!is_secret(name, &plain), "{name}");
        }
    }
}
