//! Tests manual control of circuits, and that circuits are independent.

use std::error::Error as _;
use std::sync::{Arc, Mutex};

use http::Request;
use sevenhops::{
    CircuitBreakerConfig, CircuitBreakerLayer, Destination, policy::breaker::CircuitState,
};

use tokio::time::advance;
use tower::{Layer, ServiceExt};

use super::mock::*;

#[tokio::test(start_paused = true)]
async fn watch_sees_every_state_in_order() {
    let (mock, service, breaker) = over(Leaf::Answers(503));
    let mut watch = breaker.watch(&api());
    assert_eq!(watch.current(), CircuitState::Closed);
    assert!(poll_once(Box::pin(watch.changed()).as_mut()).is_pending());
    let told: Arc<Mutex<Vec<CircuitState>>> = Arc::default();
    let telling = Arc::clone(&told);
    tokio::spawn(async move {
        loop {
            let state = watch.changed().await;
            telling.lock().unwrap().push(state);
        }
    });
    tokio::task::yield_now().await;
    fail(&service, 20).await;
    tokio::task::yield_now().await;
    advance(OPEN_TIME).await;
    mock.set(Leaf::Hangs);
    let mut probe = Box::pin(ask(&service));
    assert!(poll_once(probe.as_mut()).is_pending());
    tokio::task::yield_now().await;
    drop(probe);
    mock.set(Leaf::Answers(200));
    assert!(ask(&service).await.is_ok());
    tokio::task::yield_now().await;
    breaker.isolate(&api());
    tokio::task::yield_now().await;
    breaker.close(&api());
    tokio::task::yield_now().await;
    let expected = [
        CircuitState::Open,
        CircuitState::HalfOpen,
        CircuitState::Closed,
        CircuitState::Isolated,
        CircuitState::Closed,
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn isolated_destination_is_refused_until_it_is_closed() {
    let (mock, service, breaker) = over(Leaf::Answers(200));
    breaker.isolate(&api());
    advance(SECS(86_400)).await;
    let refused = ask(&service).await.unwrap_err();
    assert_eq!(refused.retry_after(), None);
    assert_eq!(refused.source().unwrap().to_string(), "isolated by hand");
    assert_eq!(mock.calls(), 0);
    assert_eq!(breaker.destinations(), [(api(), CircuitState::Isolated)]);
    breaker.close(&api());
    assert!(ask(&service).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn observing_breaker_judges_and_rejects_nothing() {
    let (mock, service, breaker) = with(
        Leaf::Answers(503),
        CircuitBreakerConfig::new().observe_only(true),
    );
    fail(&service, 40).await;
    assert_eq!(
        (breaker.state(&api()), mock.calls()),
        (CircuitState::Open, 40)
    );
    breaker.observe_only(false);
    assert!(ask(&service).await.is_err());
    breaker.observe_only(true);
    advance(OPEN_TIME).await;
    mock.set(Leaf::Answers(200));
    assert!(ask(&service).await.is_ok());
    assert_eq!(breaker.state(&api()), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn destinations_do_not_affect_each_other() {
    let (mock, service, _) = opened(CircuitBreakerConfig::new()).await;
    mock.set(Leaf::Answers(200));
    for other in [
        "https://api.test:8443/",
        "http://api.test/",
        "https://b.test/",
    ] {
        let request = Request::get(other).body(()).unwrap();
        assert!(service.clone().oneshot(request).await.is_ok(), "{other}");
    }
    let same = Request::get("https://API.test:443/x").body(()).unwrap();
    assert!(service.clone().oneshot(same).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn flood_of_destinations_is_bounded_and_never_evicts_an_open_one() {
    let (mock, service, breaker) = opened(CircuitBreakerConfig::new()).await;
    mock.set(Leaf::Answers(200));
    for number in 0..110_000 {
        let request = Request::get(format!("https://{number}.test/"));
        let request = request.body(()).unwrap();
        assert!(service.clone().oneshot(request).await.is_ok());
    }
    assert_eq!(breaker.destinations().len(), 100_000);
    assert_eq!(breaker.state(&api()), CircuitState::Open);
    assert!(ask(&service).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn keyed_breaker_keeps_a_circuit_for_each_key() {
    let layer = CircuitBreakerLayer::new(timeouts()).key_by(|_method, _uri, headers| {
        let tenant = headers.get("x-tenant")?.to_str().ok()?;
        Some(Destination::named(tenant))
    });
    let service = layer.layer(Mock::new(Leaf::Answers(503)));
    let of = |tenant: &str| {
        let request = Request::get("https://api.test/").header("x-tenant", tenant);
        service.clone().oneshot(request.body(()).unwrap())
    };
    for _ in 0..20 {
        of("a").await.unwrap();
    }
    assert!(of("a").await.is_err());
    assert!(of("b").await.is_ok());
    assert!(service.clone().oneshot(get()).await.is_ok());
    let state = |key: &str| layer.breaker_handle().state(&Destination::named(key));
    assert_eq!(
        (state("a"), state("b")),
        (CircuitState::Open, CircuitState::Closed)
    );
    assert_eq!(layer.breaker_handle().destinations().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn hundred_thousand_transitions_leak_nothing() {
    let (_, service, breaker) = over(Leaf::Answers(200));
    assert!(ask(&service).await.is_ok());
    let watch = breaker.watch(&api());
    let memory = allocation_counter::measure(|| {
        for _ in 0..50_000 {
            breaker.isolate(&api());
            breaker.close(&api());
        }
    });
    assert_eq!(
        (memory.bytes_current, watch.current()),
        (0, CircuitState::Closed)
    );
}
