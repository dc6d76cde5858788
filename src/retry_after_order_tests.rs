//! Tests which hint counts if a response has several.

use std::time::Duration;

use http::header::{HeaderName, RETRY_AFTER};

use super::tests::{headers, noon};
use super::{AZURE_RETRY_AFTER_MS, Hints, RATE_LIMIT, RETRY_AFTER_MS, hint};

const SECS: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn milliseconds_are_read_and_win_over_seconds() {
    let millis = |value: &str| hint(&headers(&[(&RETRY_AFTER_MS, value.as_bytes())]), noon);
    for (value, expected) in [
        ("1500", Some(1_500)),
        (" 0\t", Some(0)),
        ("12.0", Some(12)),
        ("12.25", Some(13)),
        ("-1", None),
        ("+1", None),
        ("", None),
        ("1.", None),
        (".5", None),
        ("1e3", None),
        ("soon", None),
    ] {
        assert_eq!(
            millis(value),
            expected.map(Duration::from_millis),
            "{value:?}"
        );
    }
    let most = Some(Duration::from_millis(u64::MAX));
    assert_eq!(millis(&"9".repeat(40)), most);
    let all: [(&HeaderName, &[u8]); 4] = [
        (&RATE_LIMIT, br#""a";r=0;t=30"#),
        (&RETRY_AFTER, b"20"),
        (&AZURE_RETRY_AFTER_MS, b"1700"),
        (&RETRY_AFTER_MS, b"1500"),
    ];
    let read = |count: usize| hint(&headers(&all[..count]), noon).unwrap().as_millis();
    assert_eq!([1, 2, 3, 4].map(read), [30_000, 20_000, 1_700, 1_500]);
}

#[test]
fn callers_own_function_comes_first() {
    let hints = Hints::by(|head| {
        let own = head.headers().get("x-backoff")?.to_str().ok()?;
        (head.status() == 420).then(|| SECS(own.parse().unwrap()))
    });
    let backoff = HeaderName::from_static("x-backoff");
    let both = headers(&[(&RETRY_AFTER, b"7"), (&backoff, b"3")]);
    let read = |status: u16| hints.read(status.try_into().unwrap(), &both, noon);
    assert_eq!((read(420), read(429)), (Some(SECS(3)), Some(SECS(7))));
}
