//! Tests which response is kept while a retry is under way, and that no header of a server does harm.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use http_body_util::BodyExt;
use proptest::prelude::*;
use sevenhops::driver::Truncated;
use sevenhops::hop::NoRetryReason;
use sevenhops::{Destination, Hop, Kind, Policy, StandardLayer};
use tower::{Layer, ServiceExt};

use crate::mock::{Mock, request, saying};

/// Returns a stack whose breaker opens as soon as the first attempt has failed.
fn shutting(mock: &Mock) -> sevenhops::StandardService<Mock> {
    let layer = StandardLayer::new(Duration::from_secs(10)).unwrap();
    let breaker = layer.breaker_handle();
    let api: Destination = "https://api.test".parse().unwrap();
    let layer = layer.classify(move |_| {
        breaker.isolate(&api);
        None
    });
    layer.layer(mock.clone())
}

#[tokio::test(start_paused = true)]
async fn response_is_kept_until_the_next_one_and_returned_if_the_breaker_opens() {
    let mock = Mock::new([saying(503, "down")]);
    let response = shutting(&mock).oneshot(request(Method::GET)).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (503, 1));
    let reason = response.body().timeline().no_retry_reason();
    assert_eq!(reason, Some(NoRetryReason::Rejected(Policy::Breaker)));
    assert!(response.extensions().get::<Truncated>().is_none());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "down");
}

#[tokio::test(start_paused = true)]
async fn response_longer_than_the_bound_is_marked_and_breaks_off_where_it_was_truncated() {
    let mock = Mock::new([saying(503, vec![b'x'; 100_000])]);
    let response = shutting(&mock).oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.extensions().get::<Truncated>().is_some());
    let mut body = response.into_body();
    assert_eq!(http_body::Body::size_hint(&body).exact(), None);
    let kept = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(kept.len(), 64 << 10);
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Receive), Kind::Incomplete)
    );
}

/// The headers that this crate reads.
const READ: [&str; 7] = [
    "retry-after",
    "ratelimit",
    "server-timing",
    "proxy-status",
    "location",
    "set-cookie",
    "idempotent-replayed",
];

/// Header values that servers, middleboxes and attackers have sent.
const CORPUS: &[&[u8]] = &[
    b"",
    b" ",
    b"\t",
    b"\xff\xfe",
    b"-1",
    b"99999999999999999999999999",
    b"Fri, 32 Dec 1999 23:59:59 GMT",
    b"\"default\";r=0;t=-9223372036854775808",
    b"\"default\";r=0;t=999999999999999",
    b"(((((((((((",
    b"https://",
    b"//",
    b"http://[::1",
    b"//u:p@%00/",
    b"https://api.test:99999/",
    b"http://\xc3\xa9/",
    b"javascript:alert(1)",
    b"data:text/html,x",
    b"?#",
    b"a=b; Expires=Thu, 99 Jan 99999 99:99:99 GMT",
    b"db;dur=NaN, db;dur=1e999",
    b"edge; error=\"",
];

/// Makes one call whose first response has this header. The call must end without a panic.
fn told(status: u16, name: &'static str, value: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(value) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let name = HeaderName::from_static(name);
        let answer = crate::mock::Step::Raw(status, name, value);
        let mock = Mock::new([answer]);
        let layer = StandardLayer::new(Duration::from_secs(10)).unwrap();
        let answered = layer
            .layer(mock.clone())
            .oneshot(request(Method::GET))
            .await;
        match answered {
            Ok(response) => {
                let body: Result<_, _> = response.into_body().collect().await;
                let _: Bytes = body.unwrap().to_bytes();
            }
            // A header can cause only one error: a redirect that is not followed.
            Err(error) => assert_eq!(error.rejected_by(), Some(Policy::Redirect), "{error}"),
        }
    });
}

#[test]
fn unusual_headers_do_no_harm() {
    for value in CORPUS {
        for name in READ {
            for status in [200, 302, 307, 409, 429, 503] {
                told(status, name, value);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn arbitrary_headers_do_no_harm(
        status in prop::sample::select(vec![200_u16, 301, 303, 308, 422, 429, 500, 503]),
        name in prop::sample::select(READ.to_vec()),
        value in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "[ -~]{0,40}".prop_map(String::into_bytes),
            "(https?:)?//[a-z.:@\\[\\]%]{0,20}(/[a-z?#%;=]{0,9})?".prop_map(String::into_bytes),
            "\"?[a-z]{0,4}\"?;r=-?[0-9]{0,20};t=-?[0-9]{0,20}".prop_map(String::into_bytes),
        ],
    ) {
        told(status, name, &value);
    }
}
