use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, Uri};
use tokio::time::Instant;

use super::policy::{Policy, Read, StoreUse, Write};
use super::{Consistency, StaleConfig, Store};

const WINDOW: Duration = Duration::from_secs(60);

fn policy(store_bytes: usize, now: Instant) -> (Arc<Store>, Policy) {
    let config = StaleConfig::new()
        .store_bytes(store_bytes)
        .consistency(Consistency::StaleFor(WINDOW));
    let store = Arc::new(Store::new(store_bytes, now));
    (Arc::clone(&store), Policy::new(store, &config))
}

fn begin(policy: &Policy, (method, uri): (Method, &str), now: Instant) -> StoreUse {
    let uri: Uri = uri.parse().unwrap();
    policy
        .begin(
            ((&method, &uri, &HeaderMap::new()), false),
            (None, false),
            now,
        )
        .unwrap()
}

fn read(policy: &Policy, uri: &str, now: Instant) -> Read {
    match begin(policy, (Method::GET, uri), now) {
        StoreUse::Read(read) => read,
        StoreUse::Write(_) => panic!("a GET writes nothing"),
    }
}

fn write(policy: &Policy, uri: &str, now: Instant) -> Write {
    match begin(policy, (Method::PUT, uri), now) {
        StoreUse::Read(_) => panic!("a PUT reads nothing"),
        StoreUse::Write(write) => write,
    }
}

fn keep(read: &Read, body: &[u8]) {
    let (head, ()) = Response::new(()).into_parts();
    let mut recording = read.record(&head).unwrap();
    assert!(recording.add(body));
    recording.end();
}

fn found(policy: &Policy, uri: &str, now: Instant) -> Option<Bytes> {
    let found = read(policy, uri, now).after_failure(now);
    found.map(|(_, body, _)| body)
}

#[tokio::test(start_paused = true)]
async fn last_good_response_comes_back_with_its_age() {
    let now = crate::clock::now();
    let (_, policy) = policy(1 << 20, now);
    let first = read(&policy, "https://api.test/cart", now);
    let mut head = Response::new(()).into_parts().0;
    head.headers.insert("age", HeaderValue::from_static("5"));
    head.headers
        .insert("connection", HeaderValue::from_static("close, x-hop"));
    head.headers.insert("x-hop", HeaderValue::from_static("1"));
    head.headers
        .insert("etag", HeaderValue::from_static("\"a\""));
    let mut recording = first.record(&head).unwrap();
    assert!(recording.add(b"cart"));
    recording.end();
    let later = now + Duration::from_secs(30);
    let (head, body, age) = read(&policy, "https://api.test/cart", later)
        .after_failure(later)
        .unwrap();
    assert_eq!((&body[..], age), (&b"cart"[..], Duration::from_secs(35)));
    assert_eq!(head.headers["age"], "35");
    assert_eq!(head.headers["etag"], "\"a\"");
    assert!(!head.headers.contains_key("connection") && !head.headers.contains_key("x-hop"));
    let too_late = now + Duration::from_secs(56);
    assert_eq!(found(&policy, "https://api.test/cart", too_late), None);
    assert_eq!(found(&policy, "https://api.test/cart?a=1", later), None);
}

#[tokio::test(start_paused = true)]
async fn store_is_bounded_in_bytes_and_keeps_what_was_used() {
    let now = crate::clock::now();
    let most = 1 << 20;
    let (store, policy) = policy(most, now);
    let uri = |number: usize| format!("https://api.test/{number}");
    for number in 0..1_000 {
        keep(&read(&policy, &uri(number), now), &[7; 4 << 10]);
        assert!(store.bytes() <= most as u64, "{number}");
        // The first one is used all the time.
        assert!(found(&policy, &uri(0), now).is_some(), "{number}");
    }
    let kept = (0..1_000).filter(|number| found(&policy, &uri(*number), now).is_some());
    let kept: Vec<_> = kept.collect();
    assert!((150..=256).contains(&kept.len()), "{}", kept.len());
    store.bound(most / 4);
    assert!(store.bytes() <= (most / 4) as u64);
}

#[tokio::test(start_paused = true)]
async fn headers_of_the_request_count_against_the_bound() {
    let now = crate::clock::now();
    let most = 1 << 20;
    let (store, policy) = policy(most, now);
    let mut headers = HeaderMap::new();
    headers.insert(
        "accept",
        HeaderValue::try_from("a".repeat(8 << 10)).unwrap(),
    );
    for line in 0..100 {
        let name = http::HeaderName::try_from(format!("x-{line}")).unwrap();
        headers.insert(name, HeaderValue::from_static("1"));
    }
    for number in 0..100 {
        let uri: Uri = format!("https://api.test/{number}").parse().unwrap();
        let begun = policy.begin(((&Method::GET, &uri, &headers), false), (None, false), now);
        let Some(StoreUse::Read(read)) = begun else {
            panic!("a GET writes nothing");
        };
        keep(&read, b"");
        if number == 0 {
            assert!(store.bytes() > (8 << 10) + 100 * 100, "{}", store.bytes());
        }
    }
    assert!(store.bytes() <= most as u64);
}

#[tokio::test(start_paused = true)]
async fn write_is_seen_in_every_form_of_its_url_and_at_no_other_path() {
    let now = crate::clock::now();
    let (store, policy) = policy(1 << 20, now);
    let later = now + Duration::from_secs(1);
    for form in [
        "https://api.test:443/cart",
        "https://API.test/cart?a=b",
        "https://user:secret@api.test/cart",
    ] {
        let uri = "https://api.test/cart";
        let after = later + Duration::from_secs(1);
        keep(&read(&policy, uri, now), b"cart");
        write(&policy, form, now).end(true, later);
        assert_eq!(found(&policy, uri, after), None, "{form}");
    }
    let slots = |make: fn(usize) -> String| {
        let slots = (0..100).map(|number| store.slot(&make(number).parse().unwrap()));
        slots.collect::<std::collections::HashSet<_>>().len()
    };
    assert!(slots(|path| format!("https://api.test/{path}")) > 90);
    assert!(slots(|host| format!("https://{host}.test/cart")) > 90);
}

#[tokio::test(start_paused = true)]
async fn body_above_the_limit_is_not_recorded() {
    let now = crate::clock::now();
    let (_, policy) = policy(64 << 10, now);
    let read = read(&policy, "https://api.test/", now);
    let (mut head, ()) = Response::new(()).into_parts();
    let mut recording = read.record(&head).unwrap();
    assert!(recording.add(&[0; 32 << 10]));
    assert!(!recording.add(&[0; 1]));
    head.headers
        .insert("content-length", HeaderValue::from_static("32769"));
    assert!(read.record(&head).is_none());
    head.headers
        .insert("content-length", HeaderValue::from_static("32768"));
    assert!(read.record(&head).is_some());
}

#[tokio::test(start_paused = true)]
async fn write_at_a_url_ends_the_responses_that_were_requested_before() {
    let now = crate::clock::now();
    let (_, policy) = policy(1 << 20, now);
    let uri = "https://api.test/cart";
    let later = now + Duration::from_secs(1);
    let keep_one = || keep(&read(&policy, uri, now), b"cart");
    keep_one();
    // It had no effect.
    write(&policy, uri, now).end(false, later);
    assert!(found(&policy, uri, later).is_some());
    write(&policy, uri, now).end(true, later);
    assert_eq!(found(&policy, uri, later), None);
    // A response that was requested before the write and comes after it is older than the write.
    keep_one();
    assert_eq!(found(&policy, uri, later), None);
    let after = later + Duration::from_secs(1);
    keep(&read(&policy, uri, after), b"new cart");
    assert!(found(&policy, uri, after).is_some());
    // Its caller went away: it may have had an effect.
    tokio::time::advance(Duration::from_secs(3)).await;
    drop(write(&policy, uri, after));
    assert_eq!(found(&policy, uri, crate::clock::now()), None);
}

#[tokio::test(start_paused = true)]
async fn older_response_does_not_replace_a_newer_one() {
    let now = crate::clock::now();
    let (_, policy) = policy(1 << 20, now);
    let uri = "https://api.test/";
    let slow = read(&policy, uri, now);
    let later = now + Duration::from_secs(1);
    keep(&read(&policy, uri, later), b"new");
    keep(&slow, b"old");
    assert_eq!(found(&policy, uri, later).unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn request_without_a_window_does_not_use_the_store() {
    let now = crate::clock::now();
    let (_, policy) = policy(1 << 20, now);
    let uri = Uri::from_static("https://api.test/");
    let headers = HeaderMap::new();
    let begin = |own| policy.begin(((&Method::GET, &uri, &headers), false), (own, false), now);
    assert!(begin(Some(Consistency::Refuse)).is_none());
    assert!(begin(None).is_some());
}

#[tokio::test(start_paused = true)]
async fn one_refresh_is_in_flight_for_each_response() {
    let now = crate::clock::now();
    let config = StaleConfig::new()
        .store_bytes(1 << 20)
        .consistency(Consistency::StaleFor(WINDOW))
        .while_revalidate(Duration::from_secs(10));
    let store = Arc::new(Store::new(1 << 20, now));
    let policy = Policy::new(store, &config);
    let uri = "https://api.test/";
    keep(&read(&policy, uri, now), b"one");
    let claim = |after| {
        let at = now + Duration::from_secs(after);
        read(&policy, uri, at).before_asking(at)
    };
    let (_, first) = claim(1).unwrap();
    assert!(first.is_some());
    let (_, second) = claim(1).unwrap();
    assert!(second.is_none());
    drop(first);
    assert!(claim(1).unwrap().1.is_some());
    assert!(claim(11).is_none());
}
