//! Tests of attempts that provably were not sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};

use crate::hop::{Diagnosis, Effect, Hop, Kind};
use crate::policy::retry::RetryConfig;
use crate::{Error, StandardLayer, clock};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

type Sent = Request<Full<Bytes>>;

fn post() -> Sent {
    Request::post("http://api.test/")
        .body(Full::default())
        .unwrap()
}

fn refused() -> Error {
    Error::new(Diagnosis::new(Hop::Connect, Kind::Refused, Effect::None))
}

#[tokio::test(start_paused = true)]
async fn calls_outlast_a_restart_of_a_third_of_a_second_at_a_hundred_calls_a_second() {
    let start = clock::now();
    let (down, up) = (start + SECS(2), start + MS(2_300));
    let service = service_fn(move |_: Sent| async move {
        match (down..up).contains(&Instant::now()) {
            true => Err(refused()),
            false => Ok(Response::new(Full::<Bytes>::default())),
        }
    });
    let stack = StandardLayer::new(SECS(10)).unwrap().layer(service);
    let calls = (0..400).map(|number| {
        let stack = stack.clone();
        async move {
            tokio::time::sleep(MS(10 * number)).await;
            stack.oneshot(post()).await.map(drop)
        }
    });
    let calls: Vec<_> = calls.map(tokio::spawn).collect();
    for (number, call) in calls.into_iter().enumerate() {
        let ended = call.await.unwrap();
        assert!(ended.is_ok(), "call {number}: {}", ended.unwrap_err());
    }
}

#[tokio::test(start_paused = true)]
async fn stack_of_one_attempt_does_not_multiply_the_unsent_attempts_of_an_inner_stack() {
    let sent = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&sent);
    let service = service_fn(move |_: Sent| {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Err::<Response<Full<Bytes>>, _>(refused()) }
    });
    let config = crate::Config::new(SECS(3_600));
    let inner = StandardLayer::from_config(&config)
        .unwrap()
        .layer(service.clone());
    let config = config.retry(RetryConfig::new().attempts(1));
    let once = || StandardLayer::from_config(&config).unwrap();
    let error = once().layer(inner).oneshot(post()).await.unwrap_err();
    assert_eq!(sent.swap(0, Ordering::Relaxed), 10, "{error}");
    // If an inner stack of one attempt could not send its request, the outer stack does not retry that.
    let two = once().layer(once().layer(service.clone()));
    let error = two.oneshot(post()).await.unwrap_err();
    assert_eq!(sent.swap(0, Ordering::Relaxed), 10, "{error}");
    // Alone, it makes the same number of attempts.
    let error = once().layer(service).oneshot(post()).await.unwrap_err();
    assert_eq!(sent.load(Ordering::Relaxed), 10, "{error}");
    assert_eq!(error.effect(), Effect::None);
}

#[tokio::test(start_paused = true)]
async fn stack_of_one_attempt_retries_what_is_not_sent_in_each_leg() {
    let sent = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&sent);
    let service = service_fn(move |request: Sent| {
        let number = counter.fetch_add(1, Ordering::Relaxed);
        async move {
            let response = Response::builder();
            let response = match (number, request.uri().path()) {
                (0 | 2, _) => return Err(refused()),
                (1, _) => response.status(307).header("location", "/moved"),
                (_, path) => response.header("path", path),
            };
            Ok(response.body(Full::<Bytes>::default()).unwrap())
        }
    });
    let config = crate::Config::new(SECS(10)).retry(RetryConfig::new().attempts(1));
    let once = StandardLayer::from_config(&config).unwrap();
    let response = once.layer(service).oneshot(post()).await.unwrap();
    assert_eq!(response.headers()["path"], "/moved");
    assert_eq!(sent.load(Ordering::Relaxed), 4);
}
