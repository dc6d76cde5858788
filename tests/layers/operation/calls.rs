//! Tests calls of this crate's clients inside an operation: its time, its retries, its timeline.

use std::io::ErrorKind;
use std::sync::Mutex;

use http::{Method, Request};
use http_body_util::Full;
use sevenhops::{
    Effect, Error, Hop, Kind, Operation, OperationError, Options, StandardLayer, StandardService,
    hop::{NoRetryReason, Outcome},
};

use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use super::work::*;
use crate::mock::{self, Mock, request, status, with};

const LOST: mock::Step = mock::Step::Fail(ErrorKind::ConnectionReset);

fn stack(mock: &Mock) -> StandardService<Mock> {
    let settings = sevenhops::Config::new(SECS(10)).retry(steady());
    StandardLayer::from_config(&settings)
        .unwrap()
        .layer(mock.clone())
}

/// Makes one call, and returns a failing status as an error.
async fn ask(mock: &Mock, request: Request<Full<bytes::Bytes>>) -> Result<u16, OperationError> {
    let response = stack(mock)
        .oneshot(request)
        .await
        .map_err(OperationError::from_error)?;
    match response.status() {
        status if status.is_success() => Ok(status.as_u16()),
        status => Err(OperationError::unknown(format!("status {status}"))),
    }
}

#[tokio::test(start_paused = true)]
async fn inner_call_leaves_the_retries_to_the_operation() {
    let mock = Mock::new((0..99).map(|_| LOST));
    let operation = operation().idempotent(true);
    let run = operation.run(async |_| ask(&mock, request(Method::GET)).await);
    let error = run.await.unwrap_err();
    assert_eq!((mock.count(), error.attempts()), (3, 3));
    let inner = error.timeline().unwrap().attempts()[0].calls()[0].clone();
    assert_eq!(
        inner.no_retry_reason(),
        Some(NoRetryReason::RetriedUpstream)
    );
}

#[tokio::test(start_paused = true)]
async fn operation_of_one_attempt_leaves_the_retries_to_the_inner_call() {
    let mock = Mock::new((0..99).map(|_| status(503)));
    let settings = settings().retry(steady().attempts(1));
    let operation = Operation::from_config("api", settings).unwrap();
    let run = operation.run(async |_| ask(&mock, request(Method::GET)).await);
    assert_eq!(run.await.unwrap_err().attempts(), 1);
    assert_eq!(mock.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn call_after_the_operation_may_retry_again() {
    let operation = operation();
    let mock = Mock::new([]);
    let run = operation.run(async |_| ask(&mock, request(Method::GET)).await);
    run.await.unwrap();
    let mock = Mock::new((0..99).map(|_| status(503)));
    ask(&mock, request(Method::GET)).await.unwrap_err();
    assert_eq!(mock.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn inner_call_ends_with_the_attempt_and_names_its_hop() {
    let mock = Mock::new([mock::Step::Hang]);
    let settings = settings().attempt(SECS(2));
    let operation = Operation::from_config("api", settings).unwrap();
    let begun = Instant::now();
    let run = operation.run(async |_| ask(&mock, request(Method::POST)).await);
    let error = run.await.unwrap_err();
    assert_eq!(begun.elapsed(), SECS(2));
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Server), Kind::Timeout)
    );
    assert_eq!((mock.count(), error.effect()), (1, Effect::Possible));
}

#[tokio::test(start_paused = true)]
async fn hops_of_inner_calls_are_in_the_timeline() {
    let mock = Mock::new([status(200), mock::Step::FailAfter(SECS(1))]);
    let operation = operation().name("charge");
    let run = operation.run(async |_| {
        ask(&mock, request(Method::GET)).await?;
        tokio::time::sleep(SECS(1)).await;
        ask(&mock, request(Method::POST)).await
    });
    let error = run.await.unwrap_err();
    let timeline = error.timeline().unwrap();
    let attempts = timeline.attempts();
    let calls = &attempts[0].calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].method(), Some(&Method::GET));
    assert_eq!(
        calls[0].attempts()[0].outcome(),
        Outcome::Responded(http::StatusCode::OK)
    );
    let drawn = timeline.to_string();
    let expected = format!(
        "charge at postgres\n  \
         failed at server: closed, effect possible after 2.00 s\n  \
         attempt 1 · failed at server: closed, effect possible\n    \
         GET https://api.test/v1/charges · status 200\n    \
         wait    █ {:>42}\n    \
         receive █ {:>42}\n    \
         POST https://api.test/v1/charges · failed at server: closed, effect possible\n    \
         wait    {:>34}    1.00 s ✗ closed\n  \
         not retried: effect possible, not marked as idempotent, and no idempotency key",
        "0 µs",
        "0 µs",
        "█".repeat(17)
    );
    assert_eq!(drawn, expected, "{drawn}");
    assert_eq!(error.hop(), Some(Hop::Server));
    assert!(
        drawn.lines().all(|line| line.chars().count() <= 80),
        "{drawn}"
    );
}

#[tokio::test(start_paused = true)]
async fn plain_error_of_an_inner_call_has_hop_and_kind_and_effect_possible() {
    let down = sevenhops::policy::breaker::CircuitBreakerConfig::new();
    let settings = sevenhops::Config::new(SECS(10)).circuit_breaker(down);
    let layer = StandardLayer::from_config(&settings).unwrap();
    layer
        .breaker_handle()
        .isolate(&"https://api.test".parse().unwrap());
    let mock = Mock::new([]);
    let service = layer.layer(mock.clone());
    let operation = operation();
    let ask = async || service.clone().oneshot(request(Method::POST)).await;
    let plain = operation.run(async |_| Ok(ask().await?)).await.unwrap_err();
    assert_eq!(
        (plain.kind(), plain.effect()),
        (Kind::CircuitOpen, Effect::Possible)
    );
    let heard = operation.run(async |_| ask().await.map_err(OperationError::from_error));
    let heard = heard.await.unwrap_err();
    assert_eq!(
        (heard.kind(), heard.effect()),
        (Kind::CircuitOpen, Effect::None)
    );
    assert_eq!(heard.no_retry_reason(), Some(NoRetryReason::Permanent));
    // A rejection by another breaker says nothing about this destination.
    let state = operation
        .breaker_handle()
        .state(&sevenhops::Destination::named("postgres"));
    assert_eq!(state, sevenhops::policy::breaker::CircuitState::Closed);
    let source = std::error::Error::source(&heard).unwrap();
    assert!(source.downcast_ref::<Error>().is_some());
}

#[tokio::test(start_paused = true)]
async fn effect_of_an_inner_error_includes_the_other_calls_of_the_attempt() {
    for (first, effect) in [
        (Method::POST, Effect::Possible),
        (Method::GET, Effect::Declined),
    ] {
        let mock = Mock::new([status(200), status(429)]);
        let operation = operation().name("charge and tell");
        let run = operation.run(async |_| {
            ask(&mock, request(first.clone())).await?;
            let once = Options::new().retry(false);
            let mut second = request(Method::POST);
            second.extensions_mut().insert(once);
            let throttled = stack(&mock).oneshot(second).await?;
            let timeline = throttled.body().timeline().clone();
            assert_eq!(timeline.effect(), Effect::Declined);
            Err::<(), _>(OperationError::from_error(refusal().await))
        });
        let error = run.await.unwrap_err();
        assert_eq!(error.effect(), effect, "{first}");
    }
}

/// Returns an error of this crate that has no effect.
async fn refusal() -> Error {
    let operation = operation();
    let breaker = operation.breaker_handle();
    breaker.isolate(&sevenhops::Destination::named("postgres"));
    Work::new([]).by(&operation).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn hint_of_an_inner_call_is_honored() {
    let mock = Mock::new([with(503, "retry-after", "2")]);
    let operation = operation().idempotent(true);
    let run = operation.run(async |_| {
        let response = stack(&mock).oneshot(request(Method::GET)).await?;
        match response.headers().get("retry-after") {
            Some(_) => Err(OperationError::unknown("later").retry_after(SECS(2))),
            None => Ok(()),
        }
    });
    run.await.unwrap();
    assert!(mock.waits()[0] >= SECS(2));
}

#[tokio::test(start_paused = true)]
async fn hint_that_an_inner_call_read_is_honored_if_the_work_returns_a_plain_error() {
    for (name, value) in [
        ("retry-after", "2"),
        ("retry-after-ms", "2000"),
        ("x-ms-retry-after-ms", "2000"),
        ("ratelimit", "\"day\";r=0;t=2"),
        // Read by the client's own function.
        ("x-come-back-in", "2"),
    ] {
        let mock = Mock::new([with(503, name, value)]);
        let settings = sevenhops::Config::new(SECS(10)).retry(steady());
        let layer = StandardLayer::from_config(&settings).unwrap().hint(|head| {
            let seconds = head.headers().get("x-come-back-in")?.to_str().ok()?;
            Some(SECS(seconds.parse().ok()?))
        });
        let operation = operation().idempotent(true);
        let run = operation.run(async |_| {
            let response = layer
                .layer(mock.clone())
                .oneshot(request(Method::GET))
                .await?;
            match response.status().is_success() {
                true => Ok(()),
                false => Err(OperationError::unknown("failed")),
            }
        });
        run.await.unwrap();
        assert!(mock.waits()[0] >= SECS(2), "{name}: {:?}", mock.waits());
    }
}

#[tokio::test(start_paused = true)]
async fn error_of_an_inner_call_has_retry_after() {
    let once = sevenhops::policy::breaker::CircuitBreakerConfig::new().consecutive_failures(1);
    let inner = Operation::from_config("inner", settings().circuit_breaker(once)).unwrap();
    let work = Work::new([Step::Maybe]);
    work.by(&inner).await.unwrap_err();
    let outer = operation();
    let run = outer.run(async |_| work.by(&inner).await.map_err(OperationError::from_error));
    let error = run.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.effect()),
        (Kind::CircuitOpen, Effect::None)
    );
    assert!(error.retry_after() >= Some(SECS(4)));
}

#[tokio::test(start_paused = true)]
async fn key_of_an_operation_is_not_passed_on_automatically() {
    let mock = Mock::new([]);
    let operation = operation();
    let key = Mutex::new(None);
    let run = operation.run(async |attempt| {
        *key.lock().unwrap() = Some(attempt.idempotency_key().clone());
        ask(&mock, request(Method::POST)).await?;
        let options = Options::new().idempotency_key(attempt.idempotency_key().clone());
        let mut post = request(Method::POST);
        post.extensions_mut().insert(options);
        ask(&mock, post).await
    });
    run.await.unwrap();
    let sent: Vec<_> = mock
        .asked()
        .iter()
        .map(|asked| asked.header("idempotency-key").map(str::to_owned))
        .collect();
    let key = key.into_inner().unwrap().unwrap();
    assert_ne!(sent[0].as_deref(), Some(key.as_str()));
    assert_eq!(sent[1].as_deref(), Some(key.as_str()));
}

#[tokio::test(start_paused = true)]
async fn spawned_task_is_recorded_within_its_scope() {
    for (scoped, count) in [(true, 3), (false, 9)] {
        let mock = Mock::new((0..99).map(|_| LOST));
        let operation = operation().idempotent(true);
        let run = operation.run(async |attempt| {
            let service = stack(&mock);
            let call = async { service.oneshot(request(Method::GET)).await };
            let task = match scoped {
                true => tokio::spawn(attempt.scope(call)),
                false => tokio::spawn(call),
            };
            Ok(task.await??)
        });
        run.await.unwrap_err();
        assert_eq!(mock.count(), count, "{scoped}");
    }
}
