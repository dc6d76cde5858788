//! Tests nested stacks and chains of processes: one key, one deadline, one retrying layer.

#[cfg(test)]
mod cancelled;
#[cfg(test)]
mod demands;
#[cfg(test)]
mod generic;
#[cfg(test)]
mod options;
#[cfg(test)]
mod restraints;
#[cfg(test)]
mod three;
#[cfg(test)]
mod unrecorded;

use std::convert::Infallible;
use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use sevenhops::policy::idempotency::IdempotencyKey;
use sevenhops::timeout::TimeoutKind;
use sevenhops::{IdempotencyLayer, Options, StandardLayer};
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};

use crate::mock::{Mock, Step, optional, request, stack, standard, status, steady, with};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;
const LOST: Step = Step::Fail(ErrorKind::ConnectionReset);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

// A key that an outer layer generated must not look like a caller's key to the inner stack: it permits no retry.
#[tokio::test(start_paused = true)]
async fn generated_key_permits_no_retry_in_an_inner_stack() {
    let mock = Mock::new([LOST]);
    let service = IdempotencyLayer::default().layer(stack(steady(), &mock));
    let _ = service.oneshot(request(Method::POST)).await;
    assert_eq!(mock.count(), 1, "double send");
}

#[tokio::test(start_paused = true)]
async fn generated_key_permits_no_retry_in_nested_standard_stacks() {
    let mock = Mock::new([LOST]);
    let outer = StandardLayer::new(SECS(10)).unwrap();
    let service = outer.layer(stack(steady(), &mock));
    let post = optional(Method::POST, Options::new().retry(false));
    let _ = service.oneshot(post).await;
    assert_eq!(mock.count(), 1, "double send");
}

#[tokio::test(start_paused = true)]
async fn honors_keys_false_holds_in_a_nested_stack() {
    let mock = Mock::new([LOST]);
    let outer = standard(steady().attempts(1));
    let service = outer.layer(stack(steady(), &mock));
    let post = optional(Method::POST, Options::new().honors_idempotency_keys(false));
    let _ = service.oneshot(post).await;
    assert_eq!(mock.count(), 1, "double send");
}

#[tokio::test(start_paused = true)]
async fn calls_one_after_another_share_the_time_left_when_the_request_arrived() {
    let incoming = HeaderMap::from_iter([(
        HeaderName::from_static("sevenhops-timeout-ms"),
        HeaderValue::from_static("5000"),
    )]);
    let inherited = Options::new().inherit(&incoming).retry(false);
    let arrived = Instant::now();
    let layer = StandardLayer::new(SECS(60)).unwrap();
    tokio::time::advance(SECS(3)).await;
    let mock = Mock::new([Step::Hang]);
    let get = optional(Method::GET, inherited.clone());
    let error = layer.layer(mock.clone()).oneshot(get).await.unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Deadline));
    assert_eq!(arrived.elapsed(), SECS(5), "the time left began anew");
    tokio::time::advance(SECS(1)).await;
    let get = optional(Method::GET, inherited);
    let error = layer.layer(mock.clone()).oneshot(get).await.unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Deadline));
    assert_eq!(arrived.elapsed(), SECS(6));
    assert_eq!(mock.count(), 1, "sent when the time was over");
}

// A retries, B inherits, and C must learn that A retries.
#[tokio::test(start_paused = true)]
async fn third_process_learns_that_the_first_one_retries() {
    let settings = sevenhops::Config::new(SECS(10))
        .retry(steady())
        .propagate_deadline(true);
    let a = Mock::new([]);
    let layer = StandardLayer::from_config(&settings).unwrap();
    layer
        .layer(a.clone())
        .oneshot(request(Method::GET))
        .await
        .unwrap();
    let from_a = a.asked()[0].head.headers.clone();
    let b = Mock::new([]);
    let layer = StandardLayer::from_config(&settings).unwrap();
    let get = optional(Method::GET, Options::new().inherit(&from_a));
    layer.layer(b.clone()).oneshot(get).await.unwrap();
    let from_b = b.asked()[0].head.headers.clone();
    let c = Mock::new((0..9).map(|_| status(503)));
    let get = optional(Method::GET, Options::new().inherit(&from_b));
    stack(steady(), &c).oneshot(get).await.unwrap();
    assert_eq!(c.count(), 1, "C must not retry, because A does");
}

// The server has forgotten the key when the retry would be sent.
#[expect(clippy::disallowed_methods, reason = "a key's time is wall time")]
#[tokio::test(start_paused = true)]
async fn derived_key_is_not_sent_after_it_expired() {
    let made_at = SystemTime::now() - DAY + SECS(5);
    let key = IdempotencyKey::derive("charge", "order-4711", made_at, DAY).unwrap();
    let mock = Mock::new([with(429, "retry-after", "6")]);
    let options = Options::new().idempotency_key(key);
    let _start = Instant::now();
    let _ = stack(steady(), &mock)
        .oneshot(optional(Method::POST, options))
        .await;
    assert_eq!(mock.count(), 1, "sent a second after the key was forgotten");
}

#[tokio::test(start_paused = true)]
async fn no_retry_makes_one_attempt_also_through_two_stacks() {
    let mock = Mock::new((0..9).map(|_| status(503)));
    let outer = StandardLayer::new(SECS(10)).unwrap();
    let service = outer.layer(stack(steady(), &mock));
    let get = optional(Method::GET, Options::new().retry(false));
    service.oneshot(get).await.unwrap();
    assert_eq!(mock.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn empty_key_permits_no_retry() {
    let mock = Mock::new([LOST]);
    let mut post = request(Method::POST);
    post.headers_mut()
        .insert("idempotency-key", "".parse().unwrap());
    let _ = stack(steady(), &mock).oneshot(post).await;
    assert_eq!(mock.count(), 1, "double send under an empty key");
}

#[tokio::test(start_paused = true)]
async fn malformed_attempt_header_is_ignored() {
    for value in [";max=3", "x;max=3", "-1;max=99999999999999999999999"] {
        let mut headers = HeaderMap::new();
        headers.insert("sevenhops-attempt", value.parse().unwrap());
        let mock = Mock::new((0..9).map(|_| status(503)));
        let get = optional(Method::GET, Options::new().inherit(&headers));
        stack(steady(), &mock).oneshot(get).await.unwrap();
        assert_eq!(mock.count(), 3, "{value}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempt_header_never_exceeds_its_maximum() {
    let mock = Mock::new([
        status(503),
        status(503),
        with(302, "location", "/b"),
        status(503),
        status(503),
    ]);
    let settings = sevenhops::Config::new(SECS(10))
        .retry(steady())
        .propagate_deadline(true);
    let layer = StandardLayer::from_config(&settings).unwrap();
    layer
        .layer(mock.clone())
        .oneshot(request(Method::GET))
        .await
        .unwrap();
    let sent: Vec<_> = mock
        .asked()
        .iter()
        .map(|asked| asked.header("sevenhops-attempt").unwrap().to_owned())
        .collect();
    assert!(!sent.contains(&"4;max=3".to_owned()), "{sent:?}");
}

// Two different keys: neither may decide.
#[tokio::test(start_paused = true)]
async fn two_keys_are_no_permission_to_retry() {
    let mock = Mock::new([LOST]);
    let mut post = request(Method::POST);
    post.headers_mut()
        .append("idempotency-key", "one".parse().unwrap());
    post.headers_mut()
        .append("idempotency-key", "two".parse().unwrap());
    let _ = stack(steady(), &mock).oneshot(post).await;
    assert_eq!(mock.count(), 1, "retried under two keys");
}

// The key comes from an outer layer and expires soon. The wait of a server's hint must not hide that the next attempt
// would come after the expiry.
#[tokio::test(start_paused = true)]
async fn inner_stack_knows_when_the_key_expires() {
    #[expect(clippy::disallowed_methods, reason = "a key's time is wall time")]
    let made_at = SystemTime::now() - DAY + SECS(5);
    let key = IdempotencyKey::derive("charge", "order-4711", made_at, DAY).unwrap();
    let mock = Mock::new([LOST]);
    let outer = standard(steady().attempts(1));
    let service = outer.layer(stack(steady(), &mock));
    let post = optional(Method::POST, Options::new().idempotency_key(key));
    let _ = service.oneshot(post).await;
    assert_eq!(mock.count(), 1);
}

// A call that its caller streams is not cut by an inner stack.
#[tokio::test(start_paused = true)]
async fn streaming_applies_in_two_nested_stacks() {
    struct Slow(Pin<Box<tokio::time::Sleep>>, u32);
    impl http_body::Body for Slow {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            if self.1 == 0 {
                return Poll::Ready(None);
            }
            std::task::ready!(Future::poll(self.0.as_mut(), cx));
            self.1 -= 1;
            self.0 = Box::pin(tokio::time::sleep(MS(1_000)));
            Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(b"x")))))
        }
    }
    let transport = service_fn(async |_: Request<Full<Bytes>>| {
        let slow = Slow(Box::pin(tokio::time::sleep(MS(1_000))), 9);
        Ok::<_, Infallible>(Response::new(slow))
    });
    let get = || optional(Method::GET, Options::new().streaming(true));
    let alone = StandardLayer::new(SECS(4)).unwrap().layer(transport);
    let response = alone.oneshot(get()).await.unwrap();
    assert!(
        response.into_body().collect().await.is_ok(),
        "one stack is fine"
    );
    let inner = StandardLayer::new(SECS(60)).unwrap().layer(transport);
    let outer = StandardLayer::new(SECS(4)).unwrap().layer(inner);
    let response = outer.oneshot(get()).await.unwrap();
    let body = response.into_body().collect().await;
    assert!(body.is_ok(), "{:?}", body.err());
}

// The printed reason for a vouched key that expires too soon.
#[tokio::test(start_paused = true)]
async fn reason_for_a_key_that_expires_too_soon_is_the_true_one() {
    #[expect(clippy::disallowed_methods, reason = "a key's time is wall time")]
    let made_at = SystemTime::now() - DAY + SECS(5);
    let key = IdempotencyKey::derive("charge", "order-4711", made_at, DAY).unwrap();
    let mock = Mock::new([LOST]);
    let options = Options::new()
        .idempotency_key(key)
        .honors_idempotency_keys(true);
    let error = stack(steady(), &mock)
        .oneshot(optional(Method::POST, options))
        .await
        .unwrap_err();
    let told = error.to_string();
    assert!(!told.contains("not known to honor"), "{told}");
}
