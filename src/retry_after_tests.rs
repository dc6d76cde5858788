use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{AGE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use proptest::prelude::*;

use super::{RATE_LIMIT, hint, should_retry};

const SECS: fn(u64) -> Duration = Duration::from_secs;

/// Returns 2019-06-03T11:00:00Z.
pub(super) fn noon() -> SystemTime {
    UNIX_EPOCH + SECS(1_559_559_600)
}

pub(super) fn headers(lines: &[(&HeaderName, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn retry_after(value: impl AsRef<[u8]>) -> Option<Duration> {
    hint(&headers(&[(&RETRY_AFTER, value.as_ref())]), noon)
}

fn rate_limit(value: impl AsRef<[u8]>) -> Option<Duration> {
    hint(&headers(&[(&RATE_LIMIT, value.as_ref())]), noon)
}

#[test]
fn without_a_field_there_is_no_hint() {
    assert_eq!(hint(&HeaderMap::new(), noon), None);
}

#[test]
fn seconds_are_waited_and_zero_is_at_once() {
    assert_eq!(retry_after("2"), Some(SECS(2)));
    assert_eq!(retry_after("002"), Some(SECS(2)));
    assert_eq!(retry_after("0"), Some(SECS(0)));
}

#[test]
fn white_space_around_the_seconds_is_ignored() {
    assert_eq!(retry_after("\t42 "), Some(SECS(42)));
}

#[test]
fn signs_fractions_words_and_emptiness_are_ignored() {
    for value in ["-1", "+1", "1.0", "", " \t", "Stuff", "1s", "1 2", "0x10"] {
        assert_eq!(retry_after(value), None, "{value:?}");
    }
}

#[test]
fn all_three_forms_of_a_date_are_1812_seconds_away() {
    for value in [
        "Mon, 03 Jun 2019 11:30:12 GMT",
        "Monday, 03-Jun-19 11:30:12 GMT",
        "Mon Jun  3 11:30:12 2019",
        "\tMon, 03 Jun 2019 11:30:12 GMT ",
    ] {
        assert_eq!(retry_after(value), Some(SECS(1_812)), "{value:?}");
    }
}

#[test]
fn date_in_the_past_is_at_once() {
    for value in [
        "Mon, 03 Jun 2019 10:59:59 GMT",
        "Mon, 03 Jun 2019 11:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
    ] {
        assert_eq!(retry_after(value), Some(SECS(0)), "{value:?}");
    }
}

#[test]
fn impossible_date_is_ignored() {
    for value in [
        "Fri, 32 Dec 1999 23:59:59 GMT",
        "Sat, 30 Feb 2019 11:30:12 GMT",
        "Mon, 03 Jun 2019 24:00:00 GMT",
        // The 3rd was a Monday: the weekday or the date is wrong, and the parser cannot know which.
        "Tue, 03 Jun 2019 11:30:12 GMT",
        "Tuesday, 03-Jun-19 11:30:12 GMT",
        "Tue Jun  3 11:30:12 2019",
    ] {
        assert_eq!(retry_after(value), None, "{value:?}");
    }
}

#[test]
fn no_zone_but_gmt_is_understood_so_none_is_guessed() {
    for zone in ["EST", "UTC", "+0100", "gmt", "MEZ", ""] {
        let value = format!("Mon, 03 Jun 2019 11:30:12 {zone}");
        assert_eq!(retry_after(&value), None, "{value:?}");
    }
}

#[test]
fn first_of_two_fields_applies() {
    let two = headers(&[(&RETRY_AFTER, b"2"), (&RETRY_AFTER, b"3")]);
    assert_eq!(hint(&two, noon), Some(SECS(2)));
    let garbled = headers(&[(&RETRY_AFTER, b"soon"), (&RETRY_AFTER, b"3")]);
    assert_eq!(hint(&garbled, noon), Some(SECS(3)));
    assert_eq!(retry_after("2, 3"), None);
}

#[test]
fn more_seconds_than_can_be_counted_saturate() {
    let most = "9223372036854775807";
    assert_eq!(retry_after(most), Some(SECS(i64::MAX.unsigned_abs())));
    assert_eq!(retry_after("9".repeat(400)), Some(SECS(u64::MAX)));
}

#[test]
fn exhausted_rate_limit_is_a_hint() {
    assert_eq!(rate_limit(r#""default";r=0;t=30"#), Some(SECS(30)));
    assert_eq!(
        rate_limit(r#""default"; t=30; r=0; pk=:aGk=:"#),
        Some(SECS(30))
    );
    assert_eq!(rate_limit("default;r=0;t=30"), Some(SECS(30)));
}

#[test]
fn rate_limit_with_something_left_is_no_hint() {
    assert_eq!(rate_limit(r#""default";r=1;t=30"#), None);
    assert_eq!(rate_limit(r#""default";r=0"#), None);
}

#[test]
fn strictest_of_several_limits_applies() {
    let three = r#""second";r=0;t=1, "day";r=9;t=86400, "hour";r=0;t=1800"#;
    assert_eq!(rate_limit(three), Some(SECS(1_800)));
    let split = headers(&[
        (&RATE_LIMIT, br#""hour";r=0;t=1800"#),
        (&RATE_LIMIT, br#""second";r=0;t=1"#),
    ]);
    assert_eq!(hint(&split, noon), Some(SECS(1_800)));
}

#[test]
fn retry_after_wins_over_the_rate_limit() {
    let limit = (&RATE_LIMIT, &br#""default";r=0;t=30"#[..]);
    let both = headers(&[limit, (&RETRY_AFTER, b"2")]);
    assert_eq!(hint(&both, noon), Some(SECS(2)));
    let garbled = headers(&[limit, (&RETRY_AFTER, b"soon")]);
    assert_eq!(hint(&garbled, noon), Some(SECS(30)));
}

#[test]
fn malformed_rate_limits_are_ignored() {
    for value in NASTY_LIMITS {
        assert_eq!(rate_limit(value), None, "{:?}", value.escape_ascii());
    }
}

#[test]
fn invalid_quota_does_not_hide_the_others() {
    let mixed = r#""odd";r=-1;t=60, "day";r=0;t=soon, "hour";r=0;t=30"#;
    assert_eq!(rate_limit(mixed), Some(SECS(30)));
}

#[test]
fn truncated_rate_limit_is_ignored() {
    let whole = r#""default";r=0;t=30"#;
    for end in 0..whole.len() - 1 {
        assert_eq!(rate_limit(&whole[..end]), None, "{}", &whole[..end]);
    }
}

#[test]
fn nasty_retry_afters_are_ignored() {
    for value in NASTY_DELAYS {
        assert_eq!(retry_after(value), None, "{:?}", value.escape_ascii());
    }
}

#[test]
fn server_says_whether_to_retry_in_any_case_and_with_white_space() {
    let name = HeaderName::from_static("stripe-should-retry");
    for (value, said) in [
        ("true", Some(true)),
        ("TRUE", Some(true)),
        ("\tFalse ", Some(false)),
        ("false", Some(false)),
        ("", None),
        ("1", None),
        ("yes", None),
        ("true, false", None),
        ("?1", None),
    ] {
        let headers = headers(&[(&name, value.as_bytes())]);
        assert_eq!(should_retry(&headers, &name), said, "{value:?}");
    }
    assert_eq!(should_retry(&HeaderMap::new(), &name), None);
}

/// Unusual header values, the most dangerous ones first.
const NASTY_DELAYS: [&[u8]; 20] = [
    b"",
    b"\t",
    b"\xff\xfe",
    b"\xc2\xa02",
    b"\xd9\xa1\xd9\xa2",
    b"1e9",
    b"1_000",
    b"0b1",
    b"--1",
    b"NaN",
    b"inf",
    b"\"2\"",
    b"2;",
    b"Mon, 03 Jun 2019 11:30:12 GMT\xff",
    b"Mon, 03 Jun 2019 11:30:60 GMT",
    b"Mon, 03 Jun 20190 11:30:12 GMT",
    b"Mon,  3 Jun 2019 11:30:12 GMT",
    b"Mon, 00 Jun 2019 11:30:12 GMT",
    b"Monday, 03-Jun-2019 11:30:12 GMT",
    b"Fri, 31 Dec 9999 23:59:60 GMT",
];

const NASTY_LIMITS: [&[u8]; 24] = [
    b"",
    b",",
    b"\"",
    b"\"default",
    b"\"default\\",
    b"\"default\";",
    b"\"default\";r=0;t=30,",
    b"\"default\";r=0;t=30;",
    b"\"default\";r=0;t=30 \"other\"",
    b"\"default\";r=0;t=",
    b"\"default\";r=0;t=-30",
    b"\"default\";r=0;t=30.5",
    b"\"default\";r=0;t=\"30\"",
    b"\"default\";r=0;t=9999999999999999",
    b"\"default\";r=0.0;t=30",
    b"\"default\";r=-1;t=30",
    b"\"default\";r;t=30",
    b"\"default\";R=0;T=30",
    b"\"d\xc3\xa9faut\";r=0;t=30",
    b"(\"default\";r=0;t=30)",
    b"(\"default\");r=0;t=30",
    b"7;r=0;t=30",
    b"limit=100, remaining=0, reset=50",
    b"100, 100;w=60",
];

/// Returns all bytes that a header value can hold.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        any::<u8>().prop_filter("no control", |byte| {
            *byte == b'\t' || (*byte >= 32 && *byte != 127)
        }),
        0..64,
    )
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_are_seconds_only_as_digits(bytes in bytes()) {
        let digits = bytes.trim_ascii();
        let seconds = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        prop_assert_eq!(retry_after(&bytes).is_some(), seconds);
        rate_limit(&bytes);
        should_retry(&headers(&[(&RETRY_AFTER, &bytes)]), &RETRY_AFTER);
    }

    #[test]
    fn digits_with_anything_among_them_are_ignored(near in "[0-9]{0,9}[!-/:-~][0-9]{0,9}") {
        prop_assert_eq!(retry_after(&near), None);
    }

    #[test]
    fn any_date_is_read_back_as_it_was_written(secs in 0_u64..253_402_300_800) {
        let date = UNIX_EPOCH + SECS(secs);
        let text = httpdate::fmt_http_date(date);
        let away = date.duration_since(noon()).unwrap_or_default();
        prop_assert_eq!(retry_after(&text), Some(away));
    }

    #[test]
    fn date_with_one_wrong_byte_is_another_date_or_none(at in 0_usize..29, byte in 32_u8..127) {
        let mut text = b"Mon, 03 Jun 2019 11:30:12 GMT".to_vec();
        text[at] = byte;
        let headers = headers(&[(&RETRY_AFTER, &text)]);
        if let Some(away) = hint(&headers, || UNIX_EPOCH) {
            prop_assert_eq!(httpdate::fmt_http_date(UNIX_EPOCH + away).into_bytes(), text);
        }
    }

    #[test]
    fn near_rate_limits_never_panic(
        near in r#"("[a-z]{0,4}"?(; ?[rtw]=?-?[0-9]{0,16}(\.[0-9]{0,4})?){0,3},? ?){0,3}"#,
    ) {
        rate_limit(&near);
    }

    #[test]
    fn rate_limit_with_junk_behind_it_is_ignored(junk in r#"[!-+\--:<-~]{1,8}"#) {
        let value = format!(r#""default";r=0;t=30 {junk}"#);
        prop_assert_eq!(rate_limit(&value), None);
    }

    #[test]
    fn longest_wait_of_the_exhausted_holds(
        quotas in prop::collection::vec((0_u64..3, 0_u64..9_999), 1..9),
    ) {
        let items = quotas.iter().map(|(left, secs)| format!(r#""q";r={left};t={secs}"#));
        let value = items.collect::<Vec<_>>().join(", ");
        let exhausted = quotas.iter().filter(|(left, _)| *left == 0);
        let longest = exhausted.map(|(_, secs)| SECS(*secs)).max();
        prop_assert_eq!(rate_limit(value), longest);
    }
}

/// Returns a response with this `Date` and a `Retry-After` of two seconds past eleven.
fn dated(date: &str, age: Option<&str>) -> HeaderMap {
    let mut dated = headers(&[
        (&DATE, date.as_bytes()),
        (&RETRY_AFTER, b"Mon, 03 Jun 2019 11:00:02 GMT"),
    ]);
    if let Some(age) = age {
        dated.insert(AGE, age.parse().unwrap());
    }
    dated
}

#[test]
fn date_is_compared_with_the_clock_of_the_server() {
    for (date, age, expected) in [
        ("Mon, 03 Jun 2019 11:00:00 GMT", None, 2),
        // The server's clock is a minute slow, then a minute fast.
        ("Mon, 03 Jun 2019 10:59:00 GMT", None, 62),
        ("Mon, 03 Jun 2019 11:01:00 GMT", None, 0),
        ("Monday, 03-Jun-19 10:59:00 GMT", None, 62),
        // The response spent a minute in a cache.
        ("Mon, 03 Jun 2019 10:59:00 GMT", Some("60"), 2),
        ("Mon, 03 Jun 2019 10:59:00 GMT", Some("soon"), 62),
        // The `Date` is unreadable, so the local clock counts.
        ("yesterday", None, 2),
        (
            "Mon, 03 Jun 2019 11:00:00 GMT",
            Some("99999999999999999999"),
            2,
        ),
    ] {
        let read = hint(&dated(date, age), noon);
        assert_eq!(read, Some(SECS(expected)), "{date} {age:?}");
    }
    let late = headers(&[
        (&RETRY_AFTER, b"7"),
        (&DATE, b"Mon, 03 Jun 2019 10:00:00 GMT"),
    ]);
    assert_eq!(hint(&late, noon), Some(SECS(7)), "seconds need no clock");
}
