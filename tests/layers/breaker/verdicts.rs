//! Tests which results count as failures.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use sevenhops::{
    AttemptLayer, CircuitBreakerConfig, CircuitBreakerLayer, DeadlineLayer, Destination, Effect,
    Hop, Kind, Options, Policy, policy::breaker::CircuitState,
};

use tokio::time::advance;
use tower::{Layer, ServiceExt};

use super::mock::*;

#[tokio::test(start_paused = true)]
async fn hung_calls_that_an_outer_timeout_drops_after_the_attempt_timeout_count() {
    let (_, service, breaker) = over(Leaf::Hangs);
    let mut hung: Vec<_> = (0..200).map(|_| Box::pin(ask(&service))).collect();
    for future in &mut hung {
        assert!(poll_once(future.as_mut()).is_pending());
    }
    advance(ATTEMPT).await;
    drop(hung);
    assert_eq!(breaker.state(&api()), CircuitState::Open);
    let refused = ask(&service).await.unwrap_err();
    assert_eq!(
        refused.source().unwrap().to_string(),
        "20 of 20 attempts failed, 20 at server (timeout)"
    );
}

#[tokio::test(start_paused = true)]
async fn drop_after_the_calls_deadline_is_a_failure() {
    let (_, service, breaker) = over(Leaf::Hangs);
    // The deadline equals the attempt timeout, and the call drops the attempt below.
    let call = DeadlineLayer::new(ATTEMPT).unwrap();
    let call = call.layer(service);
    let calls: Vec<_> = (0..20)
        .map(|_| tokio::spawn(call.clone().oneshot(get())))
        .collect();
    for call in calls {
        assert!(call.await.unwrap().unwrap_err().is_timeout());
    }
    assert_eq!(breaker.state(&api()), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn body_still_awaited_at_the_deadline_is_a_failure_at_receive() {
    let (_, service, breaker) = over(Leaf::Stalls);
    let call = DeadlineLayer::new(ATTEMPT).unwrap();
    let call = call.layer(service.clone());
    let reading = || {
        let calling = call.clone().oneshot(get());
        async { calling.await.unwrap().into_body().collect().await }
    };
    let bodies: Vec<_> = (0..20).map(|_| tokio::spawn(reading())).collect();
    for body in bodies {
        assert!(body.await.unwrap().is_err());
    }
    assert_eq!(breaker.state(&api()), CircuitState::Open);
    let cause = ask(&service).await.unwrap_err();
    assert_eq!(
        cause.source().unwrap().to_string(),
        "20 of 20 attempts failed, 20 at receive (timeout)"
    );
}

#[tokio::test(start_paused = true)]
async fn attempt_that_times_out_is_a_failure_at_its_hop() {
    let layer = CircuitBreakerLayer::new(timeouts());
    let attempt = AttemptLayer::new(timeouts()).layer(Mock::new(Leaf::Hangs));
    let service = layer.layer(attempt);
    let hung: Vec<_> = (0..20)
        .map(|_| tokio::spawn(service.clone().oneshot(get())))
        .collect();
    for hung in hung {
        assert!(hung.await.unwrap().unwrap_err().is_timeout());
    }
    assert_eq!(layer.breaker_handle().state(&api()), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn attempt_dropped_after_its_timeout_is_a_failure_at_the_open_hop() {
    let layer = CircuitBreakerLayer::new(timeouts());
    let attempt = AttemptLayer::new(timeouts()).layer(Mock::new(Leaf::Hangs));
    let call = DeadlineLayer::new(SECS(10)).unwrap();
    let service = call.layer(layer.layer(attempt));
    let mut hung: Vec<_> = (0..40)
        .map(|_| Box::pin(service.clone().oneshot(get())))
        .collect();
    for future in &mut hung {
        assert!(poll_once(future.as_mut()).is_pending());
    }
    advance(ATTEMPT - Duration::from_millis(1)).await;
    hung.truncate(20);
    assert_eq!(layer.breaker_handle().state(&api()), CircuitState::Closed);
    advance(Duration::from_millis(1)).await;
    drop(hung);
    let refused = service.oneshot(get()).await.unwrap_err();
    assert_eq!(
        refused.source().unwrap().to_string(),
        "20 of 20 attempts failed, 20 at server (timeout)"
    );
}

#[tokio::test(start_paused = true)]
async fn body_that_breaks_off_counts_and_complete_body_does_not() {
    let (mock, service, breaker) = over(Leaf::BreaksOff);
    for _ in 0..20 {
        let error = ask(&service).await.unwrap().into_body().collect().await;
        let error = error.unwrap_err();
        assert_eq!(
            (error.hop(), error.effect()),
            (Some(Hop::Receive), Effect::Done)
        );
    }
    assert_eq!(breaker.state(&api()), CircuitState::Open);
    breaker.close(&api());
    mock.set(Leaf::Streams);
    for _ in 0..40 {
        let body = ask(&service).await.unwrap().into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "piece");
    }
    mock.set(Leaf::BreaksOff);
    for _ in 0..20 {
        let body = ask(&service).await.unwrap().into_body();
        assert!(body.collect().await.is_err());
    }
    assert_eq!(breaker.state(&api()), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn body_that_ends_before_its_announced_length_counts() {
    let (_, service, breaker) = over(Leaf::EndsEarly);
    for _ in 0..20 {
        let body = ask(&service).await.unwrap().into_body();
        let error = body.collect().await.unwrap_err();
        let found = (error.hop(), error.kind(), error.effect());
        let expected = (Some(Hop::Receive), Kind::Incomplete, Effect::Done);
        assert_eq!(found, expected);
    }
    assert_eq!(breaker.state(&api()), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn streaming_call_is_judged_by_its_head() {
    let (mock, service, breaker) = opened(CircuitBreakerConfig::new()).await;
    advance(OPEN_TIME).await;
    mock.set(Leaf::Stalls);
    let call = DeadlineLayer::new(SECS(10)).unwrap().layer(service);
    let mut request = get();
    request
        .extensions_mut()
        .insert(Options::new().streaming(true));
    let _open = call.oneshot(request).await.unwrap();
    assert_eq!(breaker.state(&api()), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn inner_errors_are_kept_and_count() {
    let (_, service, breaker) = over(Leaf::Fails(io::ErrorKind::ConnectionRefused));
    for _ in 0..20 {
        let error = ask(&service).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        let cause = error.source().unwrap().downcast_ref::<io::Error>();
        assert_eq!(cause.unwrap().kind(), io::ErrorKind::ConnectionRefused);
    }
    assert_eq!(breaker.state(&api()), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn statuses_4xx_and_429_do_not_count() {
    for status in [400, 401, 404, 407, 408, 429] {
        let (_, service, breaker) = over(Leaf::Answers(status));
        fail(&service, 40).await;
        assert_eq!(breaker.state(&api()), CircuitState::Closed, "{status}");
    }
    let (_, service, breaker) = with(
        Leaf::Answers(429),
        CircuitBreakerConfig::new().count_throttled_as_failure(true),
    );
    fail(&service, 20).await;
    assert_eq!(breaker.state(&api()), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn rejections_by_inner_policies_do_not_count() {
    let layer = CircuitBreakerLayer::new(timeouts());
    let inner = DeadlineLayer::new(SECS(1)).unwrap();
    let below = CircuitBreakerLayer::new(timeouts());
    below.breaker_handle().isolate(&api());
    let service = layer.layer(inner.layer(below.layer(Mock::new(Leaf::Hangs))));
    for _ in 0..40 {
        let refused = service.clone().oneshot(get()).await.unwrap_err();
        assert_eq!(refused.rejected_by(), Some(Policy::Breaker));
        assert_eq!(refused.retry_after(), None);
    }
    assert_eq!(layer.breaker_handle().state(&api()), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn slow_responses_open_the_circuit_if_configured() {
    let settings = CircuitBreakerConfig::new().slow_calls(SECS(1), 0.5);
    let layer = CircuitBreakerLayer::from_config(timeouts(), settings).unwrap();
    let mock = Mock::new(Leaf::Answers(200));
    let slowed = tower::service_fn(move |request: Request<()>| {
        let mock = mock.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            mock.oneshot(request).await
        }
    });
    let service = layer.layer(slowed);
    let slow: Vec<_> = (0..20)
        .map(|_| tokio::spawn(service.clone().oneshot(get())))
        .collect();
    for slow in slow {
        assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(layer.breaker_handle().state(&api()), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn failures_after_ten_thousand_successes_open_within_one_window() {
    let (mock, service, breaker) = over(Leaf::Answers(200));
    for _ in 0..10_000 {
        assert!(ask(&service).await.is_ok());
    }
    advance(SECS(10)).await;
    mock.set(Leaf::Answers(503));
    fail(&service, 20).await;
    assert_eq!(breaker.state(&api()), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn requests_with_a_relative_uri_share_one_circuit() {
    let (_, service, breaker) = over(Leaf::Answers(503));
    for number in 0..20 {
        let request = Request::get(format!("/v{number}")).body(()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert!(response.into_body().collect().await.is_ok());
    }
    let open = (Destination::relative(), CircuitState::Open);
    assert_eq!(breaker.destinations(), [open]);
}

#[tokio::test(start_paused = true)]
async fn request_without_a_key_is_not_judged() {
    let layer = CircuitBreakerLayer::new(timeouts()).key_by(|_, _, _| None);
    let service = layer.layer(Mock::new(Leaf::Answers(503)));
    for _ in 0..40 {
        let response = ask(&service).await.unwrap();
        assert!(response.into_body().collect().await.is_ok());
    }
    assert_eq!(layer.breaker_handle().destinations(), []);
}
