//! Tests the error of a rejected call.

use std::error::Error as _;
use std::time::Duration;

use sevenhops::{CircuitBreakerConfig, DeadlineLayer, Effect, Kind, Policy};

use tokio::time::advance;
use tower::{Layer, ServiceExt};

use super::mock::*;

#[tokio::test(start_paused = true)]
async fn rejection_sends_nothing_and_keeps_its_cause() {
    let (mock, service, _) = opened(CircuitBreakerConfig::new()).await;
    let refused = ask(&service).await.unwrap_err();
    assert_eq!(mock.calls(), 20);
    assert_eq!(refused.rejected_by(), Some(Policy::Breaker));
    assert_eq!((refused.hop(), refused.kind()), (None, Kind::CircuitOpen));
    assert_eq!(refused.effect(), Effect::None);
    let cause = refused.source().unwrap();
    assert_eq!(
        cause.to_string(),
        "20 of 20 attempts failed, 20 at server (unavailable)"
    );
    assert_eq!(cause.source().unwrap().to_string(), "server: unavailable");
}

#[tokio::test(start_paused = true)]
async fn rejection_within_a_call_names_the_call_and_no_secret() {
    let (_, service, _) = opened(CircuitBreakerConfig::new()).await;
    let call = DeadlineLayer::new(SECS(10)).unwrap().layer(service);
    let refused = call.oneshot(get()).await.unwrap_err();
    let told = refused.to_string();
    assert!(
        told.starts_with("GET https://api.test/v1 rejected by the breaker: circuit open: ")
            && told.contains(" attempts failed, ")
            && told.contains("; 0 attempts, no effect; retry after 5."),
        "{told}"
    );
    assert!(!format!("{refused:?}").contains("canary"));
}

#[tokio::test(start_paused = true)]
async fn rejection_reports_no_effect_and_when_to_retry() {
    let (mock, service, _) = opened(CircuitBreakerConfig::new()).await;
    let wait = ask(&service).await.unwrap_err().retry_after().unwrap();
    assert!((SECS(5)..OPEN_TIME).contains(&wait), "{wait:?}");
    mock.set(Leaf::Answers(200));
    // The clock of a paused runtime has a resolution of one millisecond.
    advance(wait - Duration::from_millis(2)).await;
    assert!(ask(&service).await.is_err());
    advance(Duration::from_millis(2)).await;
    assert!(ask(&service).await.is_ok());
    assert!(ask(&service).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn retry_after_on_the_response_that_opens_the_circuit_is_honored() {
    let (mock, service, _) = over(Leaf::Answers(500));
    fail(&service, 19).await;
    mock.set(Leaf::RetryAfter("60"));
    fail(&service, 1).await;
    let wait = ask(&service).await.unwrap_err().retry_after().unwrap();
    assert!((SECS(60)..SECS(72)).contains(&wait), "{wait:?}");
}
