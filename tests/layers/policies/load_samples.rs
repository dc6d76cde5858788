//! Tests the samples of a concurrency limit: the times that it learns from, and those that it ignores.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use sevenhops::policy::concurrency::Algorithm;
use sevenhops::{
    ConcurrencyConfig, ConcurrencyLayer, Config, Destination, Kind, Operation, OperationConfig,
    OperationError, Options, Policy, RetryConfig, StandardLayer,
};
use tokio::time::{Sleep, sleep};
use tower::{Layer, ServiceExt, service_fn};

use super::concurrency::{Slow, call, fixed};
use crate::mock::optional;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn api() -> Destination {
    "https://api.test".parse().unwrap()
}

fn stack(config: ConcurrencyConfig) -> StandardLayer {
    let once = RetryConfig::new().attempts(1).unsent_attempts(1);
    let settings = Config::new(MS(10_000)).retry(once);
    StandardLayer::from_config(&settings.concurrency(config)).unwrap()
}

/// A body whose only piece comes after a wait.
struct Late(Option<Pin<Box<Sleep>>>);

impl Body for Late {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(wait) = &mut self.0 else {
            return Poll::Ready(None);
        };
        ready!(wait.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"hello")))))
    }
}

/// Receives the whole body in the attempt. The head comes after 10 ms, the body later.
async fn receive(layer: &StandardLayer, body: Duration) -> Result<(), sevenhops::Error> {
    let service = layer.layer(service_fn(move |_: Request<_>| async move {
        sleep(MS(10)).await;
        Ok::<_, Infallible>(Response::new(Late(Some(Box::pin(sleep(body))))))
    }));
    let options = Options::new().whole_body(1_000);
    service
        .oneshot(optional(Method::GET, options))
        .await
        .map(drop)
}

fn limit(layer: &StandardLayer) -> u32 {
    layer.concurrency_handle().snapshot(&api()).unwrap().limit
}

#[tokio::test(start_paused = true)]
async fn time_of_the_body_is_not_part_of_the_sample() {
    let vegas = ConcurrencyConfig::new()
        .algorithm(Algorithm::Vegas)
        .limit(2);
    let layer = stack(vegas);
    for (body, expected) in [(10, 2), (500, 8)] {
        receive(&layer, MS(body)).await.unwrap();
        assert_eq!(limit(&layer), expected, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn body_that_stalls_after_the_head_is_not_an_overload() {
    let layer = stack(ConcurrencyConfig::new().limit(2));
    let failed = receive(&layer, MS(60_000)).await.unwrap_err();
    assert_eq!(failed.kind(), Kind::Timeout);
    assert_eq!(limit(&layer), 3, "the head came in time");
}

/// Three calls at once: the first one holds the permit, the second one waits. Returns why the third one is rejected.
async fn third_call(layer: &StandardLayer) -> Option<String> {
    let spawn = || tokio::spawn(call(layer.clone(), Slow::default(), Options::new()));
    let calls = [spawn(), spawn(), spawn()];
    let mut rejections = Vec::new();
    for call in calls {
        let ended = call.await.unwrap();
        rejections.push(ended.err().map(|error| error.to_string()));
    }
    rejections.pop().flatten()
}

#[tokio::test(start_paused = true)]
async fn permit_that_the_breaker_leaves_unused_does_not_shorten_the_expected_wait() {
    let layer = stack(fixed(1).max_wait(MS(150)));
    for _ in 0..20 {
        let spawn = || tokio::spawn(call(layer.clone(), Slow::default(), Options::new()));
        let (held, waiting) = (spawn(), spawn());
        sleep(MS(50)).await;
        layer.breaker_handle().isolate(&api());
        assert!(held.await.unwrap().is_ok());
        let rejected = waiting.await.unwrap().unwrap_err();
        assert_eq!(rejected.rejected_by(), Some(Policy::Breaker));
        layer.breaker_handle().close(&api());
    }
    let rejected = third_call(&layer).await.unwrap();
    assert!(
        rejected.contains("the expected wait is 200.0 ms"),
        "{rejected}"
    );
}

#[tokio::test(start_paused = true)]
async fn operation_shows_how_long_a_permit_is_held() {
    let config = OperationConfig::new(MS(10_000)).concurrency(fixed(1).max_wait(MS(150)));
    let once = RetryConfig::new().attempts(1).unsent_attempts(1);
    let operation = Operation::from_config("orders", config.retry(once)).unwrap();
    let work = async |_| {
        sleep(MS(100)).await;
        Ok::<_, OperationError>(())
    };
    operation.run(work).await.unwrap();
    let run = || operation.run(work);
    let (one, other, third) = tokio::join!(run(), run(), run());
    assert!(one.is_ok() && other.is_ok());
    let rejected = third.unwrap_err().to_string();
    assert!(
        rejected.contains("the expected wait is 200.0 ms"),
        "{rejected}"
    );
}

#[tokio::test(start_paused = true)]
async fn caller_without_patience_says_nothing_about_the_load() {
    let layer = stack(ConcurrencyConfig::new().limit(20));
    for (deadline, shrinks) in [(10, false), (10_000, true)] {
        let service = layer.layer(service_fn(|_: Request<_>| {
            std::future::pending::<Result<Response<Late>, Infallible>>()
        }));
        let options = Options::new().deadline(MS(deadline));
        let failed = service.oneshot(optional(Method::GET, options)).await;
        assert_eq!(failed.err().map(|error| error.kind()), Some(Kind::Timeout));
        assert_eq!(limit(&layer) < 20, shrinks, "{deadline}");
    }
}

#[tokio::test(start_paused = true)]
async fn caller_without_patience_says_nothing_about_the_load_of_a_stack_below() {
    let silent =
        service_fn(|_: Request<_>| std::future::pending::<Result<Response<Late>, Infallible>>());
    let once = Config::new(MS(10_000)).retry(RetryConfig::new().attempts(1));
    let below = StandardLayer::from_config(&once).unwrap();
    let limits = ConcurrencyLayer::new(ConcurrencyConfig::new().limit(20)).unwrap();
    let service = limits.layer(below.layer(silent));
    for (deadline, shrinks) in [(10, false), (10_000, true)] {
        let options = Options::new().deadline(MS(deadline));
        let failed = service.clone().oneshot(optional(Method::GET, options));
        assert_eq!(
            failed.await.err().map(|error| error.kind()),
            Some(Kind::Timeout)
        );
        let now = limits.concurrency_handle().snapshot(&api()).unwrap().limit;
        assert_eq!(now < 20, shrinks, "{deadline}");
    }
}
