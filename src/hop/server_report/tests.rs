use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

fn never() -> SystemTime {
    panic!("the clock is read only for a Retry-After")
}

fn read(lines: &[(&'static str, &[u8])]) -> Option<ServerReport> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value).unwrap();
        headers.append(HeaderName::from_static(name), value);
    }
    let dated = headers.contains_key("retry-after");
    ServerReport::read(&headers, if dated { || UNIX_EPOCH } else { never })
}

fn timings(value: impl AsRef<[u8]>) -> Vec<(String, Option<Duration>)> {
    let said = read(&[("server-timing", value.as_ref())]).unwrap_or_default();
    let metrics = said.timings.into_iter();
    metrics
        .map(|metric| (metric.name, metric.duration))
        .collect()
}

fn service(value: &str) -> Option<Duration> {
    read(&[("server-timing", value.as_bytes())])?.service_time()
}

fn proxy_status(value: impl AsRef<[u8]>) -> Vec<ProxyStatus> {
    let said = read(&[("proxy-status", value.as_ref())]);
    said.unwrap_or_default().proxies
}

fn via(value: impl AsRef<[u8]>) -> Vec<String> {
    read(&[("via", value.as_ref())]).unwrap_or_default().via
}

fn age(value: &str) -> Option<Duration> {
    read(&[("age", value.as_bytes())])?.age
}

#[test]
fn head_without_any_of_the_fields_says_nothing() {
    assert_eq!(ServerReport::read(&HeaderMap::new(), never), None);
    assert_eq!(read(&[("date", b"x"), ("server", b"nginx")]), None);
}

#[test]
fn head_without_any_of_the_fields_costs_no_memory() {
    let mut headers = HeaderMap::new();
    headers.insert(
        "date",
        HeaderValue::from_static("Mon, 03 Jun 2019 11:30:12 GMT"),
    );
    let memory = allocation_counter::measure(|| {
        assert!(ServerReport::read(&headers, never).is_none());
    });
    assert_eq!(memory.count_total, 0);
}

#[test]
fn field_that_says_nothing_readable_is_not_said() {
    assert_eq!(
        read(&[("age", b"-1"), ("via", b","), ("server-timing", b";")]),
        None
    );
}

#[test]
fn metrics_keep_name_and_duration_and_lose_their_description() {
    let said = read(&[(
        "server-timing",
        br#"miss, db;dur=53, app;desc="canary, total;dur=9";dur=47.25 , cache;desc=canary"#,
    )]);
    let told = format!("{said:?}");
    assert!(!told.contains("canary"), "{told}");
    let metric = |name: &str, duration| ServerTiming {
        name: name.to_owned(),
        duration,
    };
    assert_eq!(
        said.unwrap().timings,
        [
            metric("miss", None),
            metric("db", Some(MS(53))),
            metric("app", Some(Duration::from_micros(47_250))),
            metric("cache", None),
        ]
    );
}

#[test]
fn durations_are_read_as_the_grammar_allows_and_not_otherwise() {
    for (value, expected) in [
        ("a;dur=1.5", Some(Duration::from_micros(1_500))),
        ("a; DUR = 2", Some(MS(2))),
        ("a;dur=\"3\"", Some(MS(3))),
        ("a;dur=4;dur=5", Some(MS(4))),
        ("a;dur=x;dur=5", None),
        ("a;desc=\"\\\";dur=6\";dur=7", Some(MS(7))),
        ("a;dur=0", Some(MS(0))),
        ("a;dur=86400000", Some(SECS(86_400))),
        ("a;dur=86400001", None),
        ("a;dur=-1", None),
        ("a;dur=+1", None),
        ("a;dur=1e3", None),
        ("a;dur=inf", None),
        ("a;dur=nan", None),
        ("a;dur=.", None),
        ("a;dur=", None),
        ("a;dur", None),
        ("a;dur=1.2.3", None),
        ("a;durr=1", None),
    ] {
        assert_eq!(timings(value), [("a".to_owned(), expected)], "{value}");
    }
}

#[test]
fn metric_without_a_name_does_not_silence_the_others() {
    let names: Vec<_> = timings("=1, ;dur=2, a b;dur=3, \"q\";dur=4, (x;dur=5, ok;dur=6");
    assert_eq!(names, [("ok".to_owned(), Some(MS(6)))]);
    assert_eq!(timings("caf\u{e9};dur=1, ok;desc=\"caf\u{e9}\"").len(), 1);
}

#[test]
fn service_time_is_the_first_total_else_the_longest() {
    assert_eq!(
        service("db;dur=90, Total;dur=31, edge;dur=4, total;dur=80"),
        Some(MS(31))
    );
    assert_eq!(service("db;dur=53, app;dur=47.2"), Some(MS(53)));
    assert_eq!(service("total, db;dur=53"), Some(MS(53)));
    assert_eq!(service("total;dur=x, total;dur=3"), Some(MS(3)));
    assert_eq!(service("miss, hit"), None);
}

#[test]
fn answer_out_of_a_cache_tells_nothing_of_this_calls_service_time() {
    let timing = ("server-timing", &b"total;dur=31"[..]);
    let cached = read(&[timing, ("age", b"1")]).unwrap();
    assert!(cached.is_cached());
    assert_eq!(cached.service_time(), None);
    let fresh = read(&[timing, ("age", b"0")]).unwrap();
    assert!(!fresh.is_cached());
    assert_eq!(fresh.service_time(), Some(MS(31)));
}

#[test]
fn proxies_keep_name_error_and_status_and_lose_the_rest() {
    let value = r#"origin-side; received-status=503, "edge.test"; error=dns_timeout; details="canary"; next-hop="canary.internal", ExampleCDN"#;
    let proxies = proxy_status(value);
    assert!(!format!("{proxies:?}").contains("canary"));
    let proxy = |name: &str, error: Option<&str>, received| ProxyStatus {
        name: name.to_owned(),
        error: error.map(str::to_owned),
        received_status: received,
    };
    assert_eq!(
        proxies,
        [
            proxy("origin-side", None, Some(StatusCode::SERVICE_UNAVAILABLE)),
            proxy("edge.test", Some("dns_timeout"), None),
            proxy("ExampleCDN", None, None),
        ]
    );
}

#[test]
fn name_of_a_proxy_is_its_first_word() {
    assert_eq!(proxy_status(r#""edge canary""#)[0].name, "edge");
    assert!(proxy_status(r#"" canary", "", (edge canary)"#).is_empty());
}

#[test]
fn statuses_that_are_none_are_not_received() {
    for value in ["99", "1000", "-503", "503.0", "\"503\"", "x"] {
        let proxies = proxy_status(format!("edge; received-status={value}"));
        assert_eq!(proxies[0].received_status, None, "{value}");
    }
}

#[test]
fn via_keeps_who_and_loses_versions_and_comments() {
    assert_eq!(via("1.1 edge"), ["edge"]);
    assert_eq!(
        via(
            "1.0 fred, HTTP/1.1 p.example.net:8080 (Apache/1.1, 1.1 canary (nested, 1.1 canary) \\), 1.1 canary), 2 [::1]:80"
        ),
        ["fred", "p.example.net:8080", "[::1]:80"]
    );
    for value in [
        "",
        "1.1",
        "edge",
        "(1.1 edge",
        "1.1 (edge)",
        "1.1 e\"dge",
        "1.1 e/dge",
        "a b(c",
    ] {
        assert_eq!(via(value), Vec::<String>::new(), "{value}");
    }
}

#[test]
fn lines_of_one_field_are_one_list() {
    let said = read(&[
        ("via", b"1.1 a"),
        ("via", b"1.1 b, 1.1 c"),
        ("server-timing", b"x;dur=1"),
        ("server-timing", b"y;dur=2"),
        ("proxy-status", b"p"),
        ("proxy-status", b"q; error=proxy_loop_detected"),
    ])
    .unwrap();
    assert_eq!(said.via, ["a", "b", "c"]);
    assert_eq!(said.timings.len(), 2);
    assert_eq!(
        said.proxies[1].error.as_deref(),
        Some("proxy_loop_detected")
    );
}

#[test]
fn age_is_a_number_of_seconds_and_bounded() {
    assert_eq!(age("0"), Some(SECS(0)));
    assert_eq!(age(" 30 "), Some(SECS(30)));
    assert_eq!(age(&"9".repeat(40)), Some(SECS(1 << 31)));
    for value in ["", "-1", "+1", "1.0", "1, 2", "soon"] {
        assert_eq!(age(value), None, "{value:?}");
    }
}

#[test]
fn retry_after_is_read_as_the_retry_reads_it() {
    let said = read(&[("retry-after", b"2")]).unwrap();
    assert_eq!(said.retry_after, Some(SECS(2)));
    let dated = read(&[("retry-after", b"Thu, 01 Jan 1970 00:00:07 GMT")]).unwrap();
    assert_eq!(dated.retry_after, Some(SECS(7)));
    assert_eq!(read(&[("retry-after", b"soon")]), None);
}

#[test]
fn what_is_kept_is_bounded() {
    let many = |entry: &str| vec![entry; 400].join(",");
    assert_eq!(timings(many("a;dur=1")).len(), MOST_ENTRIES);
    assert_eq!(proxy_status(many("a")).len(), MOST_ENTRIES);
    assert_eq!(via(many("1.1 a")).len(), MOST_ENTRIES);
    let long = "x".repeat(MOST_NAME + 1);
    assert!(timings(&long).is_empty());
    assert!(via(format!("1.1 {long}")).is_empty());
    assert_eq!(proxy_status(&long)[0].name.len(), MOST_NAME);
    let error = proxy_status(format!("p; error={long}"))[0].error.clone();
    assert_eq!(error.unwrap().len(), MOST_NAME);
    // A line that is too long is ignored.
    let huge = format!("a;desc=\"{}\"", "x".repeat(list::MOST_BYTES));
    assert!(timings(huge).is_empty());
}

/// Unusual header values, the most dangerous ones first.
const NASTY: [&[u8]; 28] = [
    b"",
    b"\t",
    b",",
    b";",
    b"=",
    b"\"",
    b"\\",
    b"(",
    b")",
    b"a;dur=\"",
    b"a;dur=\"\\",
    b"a;desc=\"\\\"",
    b"a;;;dur=1",
    b"a;dur=1;",
    b"a=b",
    b"a,b;c=(",
    b"1.1 (((((((((((",
    b"1.1 a)))))))))))",
    b"1.1\ta",
    b"/ a",
    b"HTTP/ a",
    b"\xff\xfe",
    b"a\xc2\xa0;dur=1",
    b"edge; error=\"x",
    b"edge; error=?1; received-status=:aGk=:",
    b"edge;error=@1659578233",
    b"edge;error=%\"f%c3%bc\"",
    b"edge;error=x;error=y;received-status=999999999999999",
];

/// Returns all bytes that a header value can hold.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("no control", |byte| {
        *byte == b'\t' || (*byte >= 32 && *byte != 127)
    });
    prop::collection::vec(byte, 0..96)
}

/// Checks the bounds and the characters of all names that were read.
fn check(value: &[u8]) {
    let fields = ["server-timing", "proxy-status", "via", "age", "retry-after"];
    let said = read(&fields.map(|name| (name, value))).unwrap_or_default();
    let names = said.timings.iter().map(|metric| &metric.name);
    let names = names.chain(said.proxies.iter().map(|proxy| &proxy.name));
    let names = names.chain(said.proxies.iter().filter_map(|proxy| proxy.error.as_ref()));
    for name in names.chain(&said.via) {
        assert!(!name.is_empty() && name.len() <= MOST_NAME, "{name:?}");
        assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{name:?}");
    }
    for took in said.timings.iter().filter_map(|metric| metric.duration) {
        assert!(took <= SECS(86_400), "{took:?}");
    }
}

#[test]
fn nasty_values_never_panic() {
    for value in NASTY {
        check(value);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_leave_only_plain_names(value in bytes()) {
        check(&value);
    }

    #[test]
    fn near_values_never_panic(
        value in r#"([a-z.1/]{0,3}( ?[;,=("\\)] ?)?(dur|desc|error|received-status)?=?-?[0-9.]{0,6}){0,6}"#,
    ) {
        check(value.as_bytes());
    }

    #[test]
    fn any_metric_is_read_back_as_it_was_written(
        metrics in prop::collection::vec(("[a-zA-Z0-9_-]{1,12}", 0_u32..1_000_000, "[ -~&&[^\"\\\\]]{0,12}"), 1..12),
    ) {
        let said = metrics.iter().map(|(name, micros, text)| {
            format!("{name};desc=\"{text}\";dur={}.{:03}", micros / 1_000, micros % 1_000)
        });
        let value = said.collect::<Vec<_>>().join(", ");
        let read = timings(&value);
        prop_assert_eq!(read.len(), metrics.len());
        for ((name, micros, _), (read_name, took)) in metrics.iter().zip(read) {
            prop_assert_eq!(name, &read_name);
            let off = took.unwrap().abs_diff(Duration::from_micros((*micros).into()));
            prop_assert!(off < Duration::from_nanos(2));
        }
    }
}
