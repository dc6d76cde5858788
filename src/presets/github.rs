//! GitHub: rate limits under a 403 or a 429 ("Rate limits for the REST API", GitHub documentation).

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, StatusCode};

use crate::clock;
use crate::hop::FailureClass;
use crate::policy::retry::Failure;
use crate::retry_after::{ResponseHead, readable, seconds, server_time};

/// Classifies a 403 or 429 as throttled if it has `retry-after`, or `x-ratelimit-remaining: 0`.
///
/// ```
/// use sevenhops::{presets, RetryConfig, RetryLayer};
///
/// let retry = RetryLayer::new(RetryConfig::new())?
///     .classify(presets::github::classify)
///     .hint(presets::github::hint);
/// # drop(retry); Ok::<(), sevenhops::ConfigError>(())
/// ```
#[must_use]
pub fn classify(failure: &Failure<'_>) -> Option<FailureClass> {
    let headers = failure.headers()?;
    let is_limited = headers.contains_key(RETRY_AFTER) || is_used_up(headers);
    (may_limit(failure.status()?) && is_limited).then_some(FailureClass::Throttled)
}

/// Reads `x-ratelimit-reset`, the instant at which a used-up quota begins anew. If there is a `retry-after` header,
/// that one counts.
#[must_use]
pub fn hint(head: &ResponseHead<'_>) -> Option<Duration> {
    let headers = head.headers();
    let is_ours = may_limit(head.status()) && is_used_up(headers);
    if !is_ours || headers.contains_key(RETRY_AFTER) {
        return None;
    }
    let reset = readable(headers, &RESET, seconds)?;
    let now = server_time(headers).unwrap_or_else(clock::wall);
    let now = now.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(reset.saturating_sub(now))
}

fn may_limit(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
    )
}

fn is_used_up(headers: &HeaderMap) -> bool {
    readable(headers, &REMAINING, seconds) == Some(Duration::ZERO)
}

const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// The value is in seconds since 1970, UTC.
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
