//! Reads from a response when to retry, and whether to retry at all.
//!
//! The first readable one of these applies:
//!
//! 1. the caller's hint function
//! 2. `retry-after-ms`, then `x-ms-retry-after-ms`: like `Retry-After`, but in milliseconds
//! 3. `Retry-After` (RFC 9110 §10.2.3): it applies to this request
//! 4. `RateLimit` (an IETF draft): it applies to a quota
//!
//! Unreadable fields are ignored: then the config's backoff applies. The first unreadable field of each name is logged.
//!
//! A date is compared with the response's own `Date` (and `Age`), so that a wrong server clock does no harm. The local
//! time zone has no influence: HTTP dates are in GMT, and `now` is an instant.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{AGE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use sfv::{List, ListEntry, Parameters, Parser};

/// The head of a response, as a hint function sees it.
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
    /// Omits the headers: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Reads hints: first by the caller's hint function, then by the table.
#[derive(Clone, Default)]
pub(crate) struct Hints(Option<Arc<HintFn>>);

type HintFn = dyn Fn(&ResponseHead<'_>) -> Option<Duration> + Send + Sync;

impl Hints {
    pub(crate) fn by(
        read: impl Fn(&ResponseHead<'_>) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(read)))
    }

    /// Returns the time after which the server asks for a retry. Zero means an immediate retry.
    pub(crate) fn read(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        now: impl FnOnce() -> SystemTime,
    ) -> Option<Duration> {
        let own = self.0.as_deref();
        own.and_then(|read| read(&ResponseHead { status, headers }))
            .or_else(|| hint(headers, now))
            .or_else(|| {
                FIELDS.iter().for_each(|field| field.report(headers));
                None
            })
    }
}

/// A field that holds a hint.
struct Field {
    name: HeaderName,
    is_readable: fn(&HeaderMap) -> bool,
    /// Whether a warning was logged. One in a process is enough: a server that sends such a field sends it often.
    logged: AtomicBool,
}

impl Field {
    const fn new(name: HeaderName, is_readable: fn(&HeaderMap) -> bool) -> Self {
        Self {
            name,
            is_readable,
            logged: AtomicBool::new(false),
        }
    }

    /// Logs one warning if the field is there and cannot be read. It leaves the value out, which may be anything.
    fn report(&self, headers: &HeaderMap) {
        let is_unreadable = headers.contains_key(&self.name) && !(self.is_readable)(headers);
        if is_unreadable && !self.logged.swap(true, Ordering::Relaxed) {
            let field = self.name.as_str();
            tracing::warn!(field, "unreadable hint of a server ignored");
        }
    }
}

/// Returns the time after which the server asks for a retry, by its headers.
pub(crate) fn hint(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let millis = || readable(headers, &RETRY_AFTER_MS, millis);
    let azure = || readable(headers, &AZURE_RETRY_AFTER_MS, self::millis);
    millis()
        .or_else(azure)
        .or_else(|| retry_after(headers, now))
        .or_else(|| rate_limit(headers))
}

/// Like [`hint`], by `Retry-After` alone. The clock is read only if the field exists and the response has no `Date`.
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

/// Returns the time of the server's clock when the response leaves the last cache: `Date` plus `Age` (RFC 9111
/// §4.2.3).
pub(crate) fn server_time(headers: &HeaderMap) -> Option<SystemTime> {
    let date = readable(headers, &DATE, |text| httpdate::parse_http_date(text).ok())?;
    let age = readable(headers, &AGE, seconds).unwrap_or_default();
    date.checked_add(age)
}

/// Returns a server's explicit instruction that overrides the status, such as Stripe's `Stripe-Should-Retry`.
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

/// Returns the first readable line of a field, trimmed.
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

/// Parses `delay-seconds` or one of the three forms of an HTTP date.
fn delay(text: &str, now: SystemTime) -> Option<Duration> {
    seconds(text).or_else(|| {
        let date = httpdate::parse_http_date(text).ok()?;
        Some(date.duration_since(now).unwrap_or(Duration::ZERO))
    })
}

/// Parses `delay-seconds` (RFC 9110 §10.2.3, RFC 9111 §1.2.2). Only digits are valid: `parse` alone would accept a plus
/// sign.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Digits fail to parse only if there are too many.
    digits.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

/// Parses milliseconds: digits, with an optional fraction that is rounded up.
fn millis(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number =
        |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let rounded = u64::from(fraction.bytes().any(|digit| digit != b'0'));
    // Digits fail to parse only if there are too many.
    let whole = whole.parse().unwrap_or(u64::MAX);
    Some(Duration::from_millis(whole.saturating_add(rounded)))
}

/// Returns the longest wait among the used-up quotas (draft-ietf-httpapi-ratelimit-headers).
///
/// Only a quota with no requests left delays the retry. The others are for later calls.
fn rate_limit(headers: &HeaderMap) -> Option<Duration> {
    quotas(headers)?.iter().filter_map(exhausted).max()
}

/// Returns the list of quotas in `RateLimit`; `None` if the field is missing or cannot be read.
pub(crate) fn quotas(headers: &HeaderMap) -> Option<List> {
    if !headers.contains_key(&RATE_LIMIT) {
        return None;
    }
    // A list may be split over several lines (RFC 9651 §4.2).
    let lines: Vec<&[u8]> = headers
        .get_all(&RATE_LIMIT)
        .into_iter()
        .map(HeaderValue::as_bytes)
        .collect();
    Parser::new(&lines.join(&b", "[..])).parse().ok()
}

/// Returns the wait of one quota, if it is used up. An invalid quota is ignored, and the others still count.
fn exhausted(quota: &ListEntry) -> Option<Duration> {
    let ListEntry::Item(item) = quota else {
        return None;
    };
    // The name is a string. Earlier drafts, which some gateways still use, had a token.
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

/// The field of OpenAI and of Azure.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const AZURE_RETRY_AFTER_MS: HeaderName = HeaderName::from_static("x-ms-retry-after-ms");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

static FIELDS: [Field; 4] = [
    Field::new(RETRY_AFTER_MS, |headers| {
        readable(headers, &RETRY_AFTER_MS, millis).is_some()
    }),
    Field::new(AZURE_RETRY_AFTER_MS, |headers| {
        readable(headers, &AZURE_RETRY_AFTER_MS, millis).is_some()
    }),
    Field::new(RETRY_AFTER, |headers| {
        let delay = |text: &str| delay(text, SystemTime::UNIX_EPOCH);
        readable(headers, &RETRY_AFTER, delay).is_some()
    }),
    Field::new(RATE_LIMIT, |headers| quotas(headers).is_some()),
];

#[cfg(test)]
#[path = "retry_after_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "retry_after_order_tests.rs"]
mod order_tests;
