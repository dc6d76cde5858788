//! Tests how long an attempt may last: it leaves room for another attempt if one may follow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use sevenhops::{
    CircuitBreakerConfig, Config, DeadlineLayer, Options, RetryConfig, StandardLayer,
    TimeoutsConfig, policy::retry, timeout::TimeoutKind,
};

use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

use crate::mock::{Mock, Step, optional, request};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

/// Returns a stack without a breaker and with an unlimited retry budget.
fn layer(settings: Config, retry: RetryConfig) -> StandardLayer {
    let retry = retry.budget(retry::Budget::unlimited());
    let off = CircuitBreakerConfig::new().min_attempts(u32::MAX);
    StandardLayer::from_config(&settings.retry(retry).circuit_breaker(off)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn short_deadlines_are_saved_by_a_second_attempt() {
    for millis in [20, 50, 100] {
        let layer = layer(Config::new(MS(millis)), RetryConfig::new());
        let mut saved = 0;
        for _ in 0..300 {
            let attempts = Arc::new(AtomicU32::new(0));
            let service = service_fn(move |_: Request<Full<Bytes>>| {
                let is_first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
                async move {
                    match is_first {
                        true => std::future::pending().await,
                        false => sleep(MS(1)).await,
                    }
                    Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::default()))
                }
            });
            let ended = layer.layer(service).oneshot(request(Method::GET)).await;
            saved += u32::from(ended.is_ok());
        }
        assert!(saved >= 285, "{millis} ms: {saved} of 300");
    }
}

/// Calls a service that responds after this time.
async fn after(
    wait: Duration,
    layer: &StandardLayer,
    get: Request<Full<Bytes>>,
) -> Result<Duration, Option<TimeoutKind>> {
    let begun = Instant::now();
    let service = service_fn(move |_: Request<Full<Bytes>>| async move {
        sleep(wait).await;
        Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::default()))
    });
    let ended = layer.layer(service).oneshot(get).await;
    ended
        .map(|_| begun.elapsed())
        .map_err(|error| error.timeout_kind())
}

#[tokio::test(start_paused = true)]
async fn last_attempt_is_not_cut_short() {
    let five = || Config::new(SECS(5));
    let usual = layer(five(), RetryConfig::new());
    let once = layer(five(), RetryConfig::new().attempts(1));
    let late = MS(4_900);
    // One attempt only: by the settings, by the request, and for a POST without an honored key.
    let no_retry = optional(Method::GET, Options::new().retry(false));
    assert_eq!(after(late, &once, request(Method::GET)).await, Ok(late));
    assert_eq!(after(late, &usual, no_retry).await, Ok(late));
    assert_eq!(after(late, &usual, request(Method::POST)).await, Ok(late));
    // With an honored key, another attempt may follow.
    let keyed = optional(Method::POST, Options::new().honors_idempotency_keys(true));
    assert!(after(late, &usual, keyed).await.is_err());
    let read = optional(Method::POST, Options::new().idempotent(true));
    assert!(after(late, &usual, read).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn explicit_attempt_timeout_applies_to_every_attempt() {
    let timeouts = TimeoutsConfig::new().attempt(SECS(1));
    let set = layer(
        Config::new(SECS(10)).timeouts(timeouts),
        RetryConfig::new().attempts(1),
    );
    for method in [Method::GET, Method::POST] {
        let ended = after(MS(1_001), &set, request(method)).await;
        assert_eq!(ended, Err(Some(TimeoutKind::Attempt)));
    }
    let ended = after(MS(999), &set, request(Method::GET)).await;
    assert_eq!(ended, Ok(MS(999)));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_half_of_the_time_left_and_the_last_one_all_of_it() {
    use sevenhops::policy::retry::{Backoff, Growth, Jitter};
    let steady = Backoff::new().growth(Growth::Constant).jitter(Jitter::None);
    let retry = RetryConfig::new().backoff(steady.base(MS(100)));
    let layer = layer(Config::new(SECS(60)), retry);
    let mock = Mock::new((0..3).map(|_| Step::Hang));
    let short = optional(
        Method::GET,
        Options::new().deadline(Duration::from_secs(10)),
    );
    let begun = Instant::now();
    let error = layer.layer(mock.clone()).oneshot(short).await.unwrap_err();
    assert_eq!(
        (error.timeout_kind(), begun.elapsed()),
        (Some(TimeoutKind::Deadline), SECS(10))
    );
    // 5 s, then half of 4.9 s; the third ends with the call.
    assert_eq!(mock.waits(), [MS(5_100), MS(2_550)]);
}

#[tokio::test(start_paused = true)]
async fn attempt_after_a_redirect_to_an_unretried_request_has_all_the_time_left() {
    let only = RetryConfig::new().only_for("https://api.test".parse().unwrap());
    let layer = layer(Config::new(SECS(10)), only);
    let late = SECS(9);
    for (there, ended) in [
        ("https://other.test/", Ok(late)),
        ("https://api.test/v2", Err(Some(TimeoutKind::Deadline))),
    ] {
        let service = service_fn(move |request: Request<Full<Bytes>>| async move {
            let response = Response::builder();
            let response = match request.uri().path() {
                "/v1/charges" => response.status(307).header("location", there),
                _ => {
                    sleep(late).await;
                    response
                }
            };
            Ok::<_, std::io::Error>(response.body(Full::<Bytes>::default()).unwrap())
        });
        let begun = Instant::now();
        let called = layer.layer(service).oneshot(request(Method::GET)).await;
        let called = called.map(|_| begun.elapsed());
        assert_eq!(
            called.map_err(|error| error.timeout_kind()),
            ended,
            "{there}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn first_attempt_has_half_of_the_calls_own_time() {
    let own = || optional(Method::GET, Options::new().deadline(MS(7_500)));
    let plain = || optional(Method::GET, Options::new());
    let ten = layer(Config::new(SECS(10)), RetryConfig::new());
    for (request, around, expected) in [
        (own(), None, 3_750),
        (plain(), Some(MS(7_500)), 3_750),
        (plain(), None, 5_000),
    ] {
        let mock = Mock::new([Step::Hang]);
        let stack = ten.layer(mock.clone());
        let response = match around {
            Some(around) => {
                let around = DeadlineLayer::new(around).unwrap();
                around.layer(stack).oneshot(request).await.map(drop)
            }
            None => stack.oneshot(request).await.map(drop),
        };
        response.unwrap();
        let wait = mock.waits()[0];
        // The backoff takes at most 200 ms.
        let range = MS(expected)..MS(expected + 250);
        assert!(range.contains(&wait), "{wait:?}");
    }
}
