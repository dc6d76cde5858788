//! Tests attempts that fail while others are in flight: what they cost, and what they hold.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use sevenhops::policy::concurrency::Algorithm;
use sevenhops::policy::retry::Budget;
use sevenhops::{ConcurrencyConfig, Config, Options, StandardLayer, presets};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

use super::service::{MILLIS, Reply, SECS, Slow, after, get, steady};

#[tokio::test(start_paused = true)]
async fn failure_beside_a_hedge_is_charged_to_a_throttling_budget() {
    for first in [Reply::Status(503), Reply::Reset] {
        let retry = steady().budget(Budget::throttle(10, 0.1));
        let config = Config::new(SECS(10)).hedge(after(MILLIS(100)));
        let layer = StandardLayer::from_config(&config.retry(retry)).unwrap();
        for _ in 0..2 {
            let slow = Slow::new([(MILLIS(150), first), (MILLIS(200), Reply::Status(200))]);
            let response = layer.layer(slow.clone()).oneshot(get()).await.unwrap();
            assert_eq!((response.status().as_u16(), slow.count()), (200, 2));
        }
        // Of 10 tokens, 8.2 are left. Those above the half are shown, rounded up.
        let api = "https://api.test".parse().unwrap();
        assert_eq!(layer.budgets().left(&api), Some(4), "{first:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failed_response_whose_body_hangs_gives_its_permit_back_after_a_moment() {
    let is_first = Arc::new(AtomicBool::new(true));
    let service = service_fn(move |_: Request<Full<Bytes>>| {
        let is_first = is_first.swap(false, Ordering::Relaxed);
        async move {
            let (after, status) = match is_first {
                true => (MILLIS(150), 503),
                false => (SECS(2), 200),
            };
            sleep(after).await;
            let response = Response::builder().status(status).body(Hanging);
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    let fixed = ConcurrencyConfig::new().algorithm(Algorithm::Fixed);
    let config = Config::new(SECS(10))
        .hedge(after(MILLIS(100)).same_address(true))
        .concurrency(fixed.limit(2));
    let layer = StandardLayer::from_config(&config).unwrap();
    let limits = layer.concurrency_handle();
    let in_flight = || {
        let now = limits.snapshot(&"https://api.test".parse().unwrap());
        now.map_or(0, |now| now.in_flight)
    };
    let call = tokio::spawn(layer.layer(service).oneshot(get()));
    for (wait, expected) in [(50, 1), (60, 2), (280, 2), (20, 1)] {
        sleep(MILLIS(wait)).await;
        assert_eq!(in_flight(), expected, "{wait}");
    }
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn failed_success_without_a_body_cancels_no_hedge() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let service = service_fn(move |_: Request<Full<Bytes>>| {
        let is_first = counted.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            let (after, code, body) = match is_first {
                true => (MILLIS(150), 14, ""),
                false => (MILLIS(200), 0, "hello"),
            };
            sleep(after).await;
            let body = Full::new(Bytes::from_static(body.as_bytes()));
            let response = Response::builder().header("grpc-status", code);
            Ok::<_, Infallible>(response.body(body).unwrap())
        }
    });
    let hedge = after(MILLIS(100)).same_address(true);
    let layer = StandardLayer::from_config(&Config::new(SECS(10)).hedge(hedge)).unwrap();
    let mut request = get();
    let options = Options::new().whole_body(1 << 10);
    request.extensions_mut().insert(options);
    let service = layer.classify_all(presets::grpc::classify).layer(service);
    let (begun, response) = (Instant::now(), service.oneshot(request).await.unwrap());
    assert_eq!(response.headers()["grpc-status"], "0");
    assert_eq!(begun.elapsed(), MILLIS(300));
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

/// A body of which nothing arrives.
struct Hanging;

impl Body for Hanging {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}
