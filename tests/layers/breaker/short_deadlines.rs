//! Tests that callers with less time than the configured time say nothing about the destination.

use std::convert::Infallible;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::BodyExt;
use sevenhops::TimeoutsConfig;
use sevenhops::{
    AttemptLayer, CircuitBreakerLayer, Config, DeadlineLayer, Error, Kind, Options, StandardLayer,
    Timeouts, policy::breaker::CircuitState,
};

use tokio::time::{advance, sleep};
use tower::{Layer, Service, ServiceExt};

use super::mock::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Returns a healthy service that takes 20 ms.
fn healthy() -> impl Service<
    Request<String>,
    Response = Response<String>,
    Error = Infallible,
    Future: Future<Output = Result<Response<String>, Infallible>> + Send,
> + Clone {
    tower::service_fn(async |_request: Request<String>| {
        sleep(MS(20)).await;
        Ok(Response::new(String::new()))
    })
}

fn asking(options: Options) -> Request<String> {
    let request = Request::get("https://api.test/v1").body(String::new());
    let mut request = request.unwrap();
    request.extensions_mut().insert(options);
    request
}

fn inherited(millis: &str) -> Options {
    let name = HeaderName::from_static("sevenhops-timeout-ms");
    let headers = HeaderMap::from_iter([(name, millis.parse().unwrap())]);
    Options::new().inherit(&headers)
}

/// Makes twenty calls that time out, and returns the state of the circuit.
async fn twenty(standard: &StandardLayer, options: impl Fn() -> Options) -> CircuitState {
    let service = standard.layer(healthy());
    for _ in 0..20 {
        let error = service.clone().oneshot(asking(options())).await;
        let error = error.unwrap_err();
        assert!(
            error.is_timeout() || error.kind() == Kind::CircuitOpen,
            "{error}"
        );
    }
    standard.breaker_handle().state(&api())
}

/// Makes twenty calls at once, which must all fail.
async fn at_once<F>(calls: impl Fn() -> F)
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let calls: Vec<_> = (0..20).map(|_| tokio::spawn(calls())).collect();
    for call in calls {
        assert!(call.await.unwrap().unwrap_err().is_timeout());
    }
}

#[tokio::test(start_paused = true)]
async fn short_deadlines_do_not_open_the_circuit_of_a_healthy_service() {
    let standard = StandardLayer::new(SECS(10)).unwrap();
    let short = || Options::new().deadline(MS(10));
    assert_eq!(twenty(&standard, short).await, CircuitState::Closed);
    assert_eq!(
        twenty(&standard, || inherited("10")).await,
        CircuitState::Closed
    );
    // Other calls succeed.
    let service = standard.layer(healthy());
    assert!(service.oneshot(asking(Options::new())).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn same_calls_with_the_configured_deadline_open_the_circuit() {
    let standard = StandardLayer::new(MS(10)).unwrap();
    assert_eq!(twenty(&standard, Options::new).await, CircuitState::Open);
    let settings = Config::new(SECS(10)).timeouts(TimeoutsConfig::new().attempt(MS(10)));
    let standard = StandardLayer::from_config(&settings).unwrap();
    assert_eq!(twenty(&standard, Options::new).await, CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn attempt_timeout_as_long_as_the_deadline_counts() {
    let settings = Config::new(MS(10)).timeouts(TimeoutsConfig::new().attempt(MS(10)));
    let standard = StandardLayer::from_config(&settings).unwrap();
    assert_eq!(twenty(&standard, Options::new).await, CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn explicit_attempt_timeout_counts_if_the_deadline_is_longer() {
    let settings = Config::new(SECS(10)).timeouts(TimeoutsConfig::new().attempt(MS(10)));
    let standard = StandardLayer::from_config(&settings).unwrap();
    let options = || {
        let once = 1;
        Options::new().attempts(once).deadline(MS(15))
    };
    assert_eq!(twenty(&standard, options).await, CircuitState::Open);
}

/// Returns the state of a breaker for attempts of 10 s, under calls with this deadline.
async fn hung(deadline: Duration) -> CircuitState {
    let breaker = CircuitBreakerLayer::new(timeouts());
    let attempt = AttemptLayer::new(timeouts()).layer(Mock::new(Leaf::Hangs));
    let call = DeadlineLayer::new(deadline).unwrap();
    let service = call.layer(breaker.layer(attempt));
    at_once(|| {
        let calling = service.clone().oneshot(get());
        async { calling.await.map(drop) }
    })
    .await;
    breaker.breaker_handle().state(&api())
}

#[tokio::test(start_paused = true)]
async fn outer_deadline_counts_if_it_is_at_least_the_attempt_timeout() {
    assert_eq!(hung(SECS(5)).await, CircuitState::Open);
    assert_eq!(hung(SECS(4)).await, CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn breaker_without_an_outer_call_knows_the_deadline_of_the_inner_call() {
    let layer = CircuitBreakerLayer::new(timeouts());
    let inside = StandardLayer::new(SECS(10)).unwrap();
    let service = layer.layer(inside.layer(healthy()));
    for _ in 0..20 {
        let short = Options::new().deadline(MS(10));
        let calling = service.clone().oneshot(asking(short));
        assert!(calling.await.unwrap_err().is_timeout());
    }
    assert_eq!(layer.breaker_handle().state(&api()), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn body_that_is_cut_by_a_short_deadline_does_not_count() {
    let layer = CircuitBreakerLayer::new(Timeouts::new(SECS(10)).unwrap());
    let attempt = AttemptLayer::new(timeouts()).layer(Mock::new(Leaf::Stalls));
    let service = layer.layer(attempt);
    let call = DeadlineLayer::new(SECS(10)).unwrap().layer(service);
    let read = |options: Options| {
        let mut request = get();
        request.extensions_mut().insert(options);
        let calling = call.clone().oneshot(request);
        async { calling.await?.into_body().collect().await.map(drop) }
    };
    at_once(|| read(Options::new().deadline(MS(100)))).await;
    assert_eq!(layer.breaker_handle().state(&api()), CircuitState::Closed);
    at_once(|| read(Options::new())).await;
    assert_eq!(layer.breaker_handle().state(&api()), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn probe_with_a_short_deadline_returns_its_permit() {
    let (mock, service, breaker) =
        opened(sevenhops::policy::breaker::CircuitBreakerConfig::new()).await;
    advance(OPEN_TIME).await;
    mock.set(Leaf::Hangs);
    let call = DeadlineLayer::new(MS(10)).unwrap().layer(service.clone());
    assert!(call.oneshot(get()).await.unwrap_err().is_timeout());
    assert_eq!(breaker.state(&api()), CircuitState::HalfOpen);
    mock.set(Leaf::Answers(200));
    assert!(ask(&service).await.is_ok());
    assert_eq!(breaker.state(&api()), CircuitState::Closed);
}
