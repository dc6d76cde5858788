//! The server's word on when to come back, and on whether to come back at all.
//!
//! The first of these that can be read holds:
//!
//! 1. the caller's own function
//! 2. `retry-after-ms`, then `x-ms-retry-after-ms`: the same as `Retry-After`, and finer
//! 3. `Retry-After` (RFC 9110 §10.2.3): it is about this very request
//! 4. `RateLimit` (an IETF draft): it is about a quota
//!
//! Unreadable fields are ignored, so a mistyped field costs no more than our own back-off.
//!
//! A date is compared with the response's own `Date` (and `Age`), so that a server whose clock is wrong is
//! understood. The local time zone has no say: HTTP dates are in GMT and `now` is an instant.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{AGE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use sfv::{List, ListEntry, Parameters, Parser};

/// The head of a response, as a function for hints sees it.
#[derive(Clone, Copy)]
pub struct ResponseHead<'a> {
    status: StatusCode,
    headers: &'a HeaderMap,
}

impl ResponseHead<'_> {
    /// Returns the status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        self.headers
    }
}

impl fmt::Debug for ResponseHead<'_> {
    /// Without the headers: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// How hints are read: by the caller's own function, then by the table.
#[derive(Clone, Default)]
pub(crate) struct Hints(Option<Arc<HintFn>>);

type HintFn = dyn Fn(&ResponseHead<'_>) -> Option<Duration> + Send + Sync;

impl Hints {
    pub(crate) fn by(
        read: impl Fn(&ResponseHead<'_>) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(read)))
    }

    /// How long the server asks us to stay away; zero is "come back at once".
    pub(crate) fn read(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        now: impl FnOnce() -> SystemTime,
    ) -> Option<Duration> {
        let own = self.0.as_deref();
        own.and_then(|read| read(&ResponseHead { status, headers }))
            .or_else(|| hint(headers, now))
    }
}

/// How long the server asks us to stay away, by its headers.
pub(crate) fn hint(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let millis = || readable(headers, &RETRY_AFTER_MS, millis);
    let azure = || readable(headers, &AZURE_RETRY_AFTER_MS, self::millis);
    millis()
        .or_else(azure)
        .or_else(|| retry_after(headers, now))
        .or_else(|| rate_limit(headers))
}

/// The same by `Retry-After` alone; the clock is read only if it is there and the response has no `Date`.
pub(crate) fn retry_after(
    headers: &HeaderMap,
    now: impl FnOnce() -> SystemTime,
) -> Option<Duration> {
    if !headers.contains_key(RETRY_AFTER) {
        return None;
    }
    let now = server_time(headers).unwrap_or_else(now);
    readable(headers, &RETRY_AFTER, |text| delay(text, now))
}

/// The server's clock as the response comes out of the last cache: `Date` and `Age` (RFC 9111 §4.2.3).
pub(crate) fn server_time(headers: &HeaderMap) -> Option<SystemTime> {
    let date = readable(headers, &DATE, |text| httpdate::parse_http_date(text).ok())?;
    let age = readable(headers, &AGE, seconds).unwrap_or_default();
    date.checked_add(age)
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

/// Milliseconds: digits, and perhaps a fraction, which is rounded up.
fn millis(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number =
        |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let rounded = u64::from(fraction.bytes().any(|digit| digit != b'0'));
    // Digits fail to parse only by being too many.
    let whole = whole.parse().unwrap_or(u64::MAX);
    Some(Duration::from_millis(whole.saturating_add(rounded)))
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

/// OpenAI's and Azure's.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const AZURE_RETRY_AFTER_MS: HeaderName = HeaderName::from_static("x-ms-retry-after-ms");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

#[cfg(test)]
#[path = "hint_tests.rs"]
mod tests;
