//! The facts that a call passes on to the next process, if that is switched on: the attempt and the time left.

use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;

use crate::clock;

/// The facts that the callers around a call passed on, in this process and in another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inherited {
    /// The earliest of their deadlines, by this process's clock.
    pub(crate) deadline: Option<Instant>,
    /// The number of attempts of a caller that retries itself.
    pub(crate) most: Option<u32>,
    /// The maximum number of attempts. It overrides a higher one in the stack's own config.
    pub(crate) attempts: Option<NonZeroU8>,
    /// The only statuses after which a retry is allowed. The stack's own config can only reduce them.
    pub(crate) statuses: Option<Arc<[StatusCode]>>,
    /// Two of them set different idempotency keys.
    pub(crate) keys_differ: bool,
}

/// The number of the attempt, counted from 1, and the maximum: `2;max=3`.
const ATTEMPT: HeaderName = HeaderName::from_static("sevenhops-attempt");
/// The time left of the call's deadline, in whole milliseconds.
const TIMEOUT_MS: HeaderName = HeaderName::from_static("sevenhops-timeout-ms");

/// Writes both headers, and replaces existing ones.
pub(crate) fn write(headers: &mut HeaderMap, attempt: u32, most: u32, left: Duration) {
    let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    headers.insert(TIMEOUT_MS, HeaderValue::from(millis));
    // Digits and a name are always a valid header value.
    if let Ok(value) = HeaderValue::try_from(format!("{attempt};max={most}")) {
        headers.insert(ATTEMPT, value);
    }
}

/// Reads both headers of a request that has just arrived. Malformed headers are ignored.
pub(crate) fn read(headers: &HeaderMap, now: Instant) -> Inherited {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let left = text(TIMEOUT_MS).and_then(|millis| digits(millis.trim()));
    let most = text(ATTEMPT).and_then(|attempt| {
        let (number, max) = attempt.split_once(';')?;
        digits(number.trim())?;
        digits(max.trim().strip_prefix("max=")?)
    });
    Inherited {
        deadline: left.map(|left| clock::after(now, Duration::from_millis(left))),
        most: most
            .filter(|most| *most > 1)
            .map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
        ..Inherited::default()
    }
}

/// Parses a whole number of digits only: `parse` alone would accept a sign.
fn digits(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_headers_are_read_back() {
        let mut headers = HeaderMap::new();
        write(&mut headers, 2, 3, Duration::from_micros(812_900));
        assert_eq!(headers[ATTEMPT], "2;max=3");
        let now = clock::now();
        let read = read(&headers, now);
        assert_eq!(read.deadline, Some(now + Duration::from_millis(812)));
        assert_eq!(read.most, Some(3));
    }

    #[test]
    fn caller_with_one_attempt_does_not_retry() {
        let mut headers = HeaderMap::new();
        write(&mut headers, 1, 1, Duration::ZERO);
        let now = clock::now();
        assert_eq!(read(&headers, now).most, None);
        assert_eq!(read(&headers, now).deadline, Some(now));
    }

    #[test]
    fn malformed_headers_are_ignored() {
        let malformed = [
            "", "-1", "+1", "1.0", "x", "1", ";max=", ";max=3", "x;max=3", "2;max", "2;max=-3",
            "\t",
        ];
        let now = clock::now();
        for value in malformed {
            let headers = HeaderMap::from_iter([(ATTEMPT, value.parse().unwrap())]);
            assert_eq!(read(&headers, now).most, None, "{value}");
            let headers = HeaderMap::from_iter([(TIMEOUT_MS, value.parse().unwrap())]);
            let deadline = read(&headers, now).deadline;
            assert_eq!(deadline.is_some(), value == "1", "{value}");
        }
    }
}
