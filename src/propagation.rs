//! The facts that a call passes on to the next process, if that is switched on: the attempt and the time left.

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
    pub(crate) attempts: Option<u32>,
    /// The only statuses after which a retry is allowed. The stack's own config can only reduce them.
    pub(crate) statuses: Option<Arc<[StatusCode]>>,
    /// Two of them set different idempotency keys.
    pub(crate) keys_differ: bool,
}

/// The number of the attempt, counted from 1, and the maximum: `2;max=3`.
const ATTEMPT: HeaderName = HeaderName::from_static("sevenhops-attempt");
/// The time left of the call's deadline, in whole milliseconds.
const TIMEOUT_MS: HeaderName = HeaderName::from_static("sevenhops-timeout-ms");

/// The time left of a gRPC call.
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Writes both headers, and replaces existing ones.
pub(crate) fn write(headers: &mut HeaderMap, attempt: u32, most: u32, left: Duration) {
    let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    headers.insert(TIMEOUT_MS, HeaderValue::from(millis));
    // Digits and a name are always a valid header value.
    if let Ok(value) = HeaderValue::try_from(format!("{attempt};max={most}")) {
        headers.insert(ATTEMPT, value);
    }
}

/// Reads both headers, and gRPC's timeout, of a request that has just arrived. The shorter time holds. Malformed headers are ignored.
pub(crate) fn read(headers: &HeaderMap, now: Instant) -> Inherited {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let own = text(TIMEOUT_MS).and_then(|millis| digits(millis.trim()));
    let own = own.map(Duration::from_millis);
    let left = [own, text(GRPC_TIMEOUT).and_then(grpc_timeout)];
    let left = left.into_iter().flatten().min();
    let most = text(ATTEMPT).and_then(|attempt| {
        let (number, max) = attempt.split_once(';')?;
        digits(number.trim())?;
        digits(max.trim().strip_prefix("max=")?)
    });
    Inherited {
        deadline: left.map(|left| clock::after(now, left)),
        most: most
            .filter(|most| *most > 1)
            .map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
        ..Inherited::default()
    }
}

/// Parses gRPC's timeout: at most eight digits and a unit ("gRPC over HTTP2").
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (at, unit) = text.char_indices().last()?;
    let number = text.get(..at).filter(|number| number.len() <= 8)?;
    let number = digits(number)?;
    Some(match unit {
        'H' => Duration::from_secs(number * 3600),
        'M' => Duration::from_secs(number * 60),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return None,
    })
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
    fn timeout_of_grpc_is_read_and_the_shorter_one_holds() {
        let now = clock::now();
        let ms = Duration::from_millis;
        for (grpc, own, left) in [
            ("300m", None, Some(ms(300))),
            ("2S", None, Some(ms(2000))),
            ("1M", None, Some(ms(60_000))),
            ("1H", None, Some(ms(3_600_000))),
            ("4000u", None, Some(ms(4))),
            ("99999999n", None, Some(Duration::from_nanos(99_999_999))),
            ("0m", None, Some(ms(0))),
            ("300m", Some("200"), Some(ms(200))),
            ("300m", Some("400"), Some(ms(300))),
            ("m", Some("400"), Some(ms(400))),
            ("300", None, None),
            ("+3m", None, None),
            ("123456789m", None, None),
            ("3é", None, None),
            ("", None, None),
        ] {
            let grpc = HeaderValue::from_bytes(grpc.as_bytes()).unwrap();
            let mut headers = HeaderMap::from_iter([(GRPC_TIMEOUT, grpc)]);
            headers.extend(own.map(|own| (TIMEOUT_MS, HeaderValue::from_static(own))));
            let deadline = left.map(|left| now + left);
            assert_eq!(read(&headers, now).deadline, deadline, "{headers:?}");
        }
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
