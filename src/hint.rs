//! The server's word on when to come back, and on whether to come back at all.
//!
//! Two fields say when: `Retry-After` (RFC 9110 §10.2.3) and the IETF's draft of `RateLimit`. The
//! first wins, for it speaks of this very request and the other of a quota. What cannot be read
//! counts as not said, so a mistyped field costs no more than our own back-off.
//!
//! The local time zone has no say: HTTP dates are in GMT and `now` is an instant.

use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use sfv::{List, ListEntry, Parameters, Parser};

/// How long the server asks us to stay away; zero is "come back at once".
pub(crate) fn hint(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    retry_after(headers, || now).or_else(|| rate_limit(headers))
}

/// The same by `Retry-After` alone; the clock is read only if it is there.
pub(crate) fn retry_after(
    headers: &HeaderMap,
    now: impl FnOnce() -> SystemTime,
) -> Option<Duration> {
    if !headers.contains_key(RETRY_AFTER) {
        return None;
    }
    let now = now();
    readable(headers, &RETRY_AFTER, |text| delay(text, now))
}

/// A server's plain order, such as Stripe's `Stripe-Should-Retry`, that overrides the status.
pub(crate) fn should_retry(headers: &HeaderMap, name: &HeaderName) -> Option<bool> {
    readable(headers, name, |text| {
        if text.eq_ignore_ascii_case("true") {
            Some(true)
        } else if text.eq_ignore_ascii_case("false") {
            Some(false)
        } else {
            None
        }
    })
}

/// The first of a field's lines that says something, without the white space around it.
pub(crate) fn readable<T>(
    headers: &HeaderMap,
    name: &HeaderName,
    read: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(|text| read(text.trim_matches([' ', '\t'])))
}

/// `delay-seconds` or one of the three forms of an HTTP date.
fn delay(text: &str, now: SystemTime) -> Option<Duration> {
    seconds(text).or_else(|| {
        let date = httpdate::parse_http_date(text).ok()?;
        Some(date.duration_since(now).unwrap_or(Duration::ZERO))
    })
}

/// `delay-seconds` (RFC 9110 §10.2.3, RFC 9111 §1.2.2). Digits alone: `parse` would take a plus sign,
/// which the grammar does not know.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Digits fail to parse only by being too many.
    digits.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

/// The longest wait among the quotas that are used up (draft-ietf-httpapi-ratelimit-headers).
///
/// Only one with nothing left keeps us away: the others say what a later call may use.
fn rate_limit(headers: &HeaderMap) -> Option<Duration> {
    if !headers.contains_key(&RATE_LIMIT) {
        return None;
    }
    // A list may be split over several lines (RFC 9651 §4.2).
    let lines: Vec<&[u8]> = headers
        .get_all(&RATE_LIMIT)
        .into_iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let list: List = Parser::new(&lines.join(&b", "[..])).parse().ok()?;
    list.iter().filter_map(exhausted).max()
}

/// The wait of one quota, if it is used up. Only this one is ignored if it makes no sense: the
/// others were said as clearly as ever.
fn exhausted(quota: &ListEntry) -> Option<Duration> {
    let ListEntry::Item(item) = quota else {
        return None;
    };
    // Its name: a string; a token in earlier drafts, which some gateways still speak.
    if item.bare_item.as_string().is_none() && item.bare_item.as_token().is_none() {
        return None;
    }
    if integer(&item.params, "r")? != 0 {
        return None;
    }
    let secs = integer(&item.params, "t")?;
    Some(Duration::from_secs(u64::try_from(secs).ok()?))
}

fn integer(params: &Parameters, key: &str) -> Option<i64> {
    Some(params.get(key)?.as_integer()?.into())
}

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

#[cfg(test)]
#[path = "hint_tests.rs"]
mod tests;
