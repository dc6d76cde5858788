//! Tests callbacks of layers and operations, on a paused clock.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use opentelemetry::metrics::{Histogram, HistogramBuilder, InstrumentProvider, Meter};
use opentelemetry::metrics::{MeterProvider, SyncInstrument};
use sevenhops::chaos::ChaosConfig;
use sevenhops::{
    CircuitBreakerConfig, CircuitBreakerLayer, DeadlineLayer, Effect, Hop, Kind, Operation,
    RedirectConfig, RedirectLayer, RetryLayer, Timeouts,
    chaos::{ChaosLayer, Fault},
    policy::retry,
    telemetry::{Propagator, otel::Metrics},
};

use tower::{Layer, ServiceBuilder, ServiceExt};

use super::log::Told;
use crate::mock::{Mock, Step, request, standard, status, steady, with};

/// A secret that must not be in any log.
pub(crate) const SECRET: &str = "canary-5f1e";

/// Panics with a secret as its message.
pub(crate) fn panics<T>() -> T {
    panic!("{SECRET}")
}

const D: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn caller_has_the_response_of_a_post_whose_on_complete_panics() {
    let (told, _guard) = Told::listen();
    let ended = Arc::new(Mutex::new(0));
    let standard = standard(steady()).on_complete(|_| panics()).on_complete({
        let ended = Arc::clone(&ended);
        move |_| *ended.lock().unwrap() += 1
    });
    for calls in 1..=2 {
        let service = standard.clone().layer(Mock::new([status(201)]));
        let response = service.oneshot(request(Method::POST)).await.unwrap();
        assert_eq!(response.status(), 201);
        response.into_body().collect().await.unwrap();
        assert_eq!(*ended.lock().unwrap(), calls, "others are told");
    }
    assert_eq!(told.callbacks(), ["StandardLayer::on_complete"], "once");

    let service = standard.layer(Mock::new([Step::Fail(ErrorKind::ConnectionReset)]));
    let error = service.oneshot(request(Method::POST)).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Possible);
}

#[test]
fn on_complete_that_panics_while_its_thread_unwinds_does_not_abort() {
    let ended = Arc::new(Mutex::new(false));
    let thread = std::thread::spawn({
        let ended = Arc::clone(&ended);
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_time().build().unwrap();
            runtime.block_on(async {
                let standard = standard(steady()).on_complete(move |_| {
                    *ended.lock().unwrap() = true;
                    panics()
                });
                let service = standard.layer(Mock::new([Step::Hang]));
                let mut call = std::pin::pin!(service.oneshot(request(Method::POST)));
                assert!(is_pending(call.as_mut()).await);
                panic!("the caller's own");
            });
        }
    });
    let thrown = thread.join().unwrap_err();
    assert_eq!(thrown.downcast_ref(), Some(&"the caller's own"));
    assert!(*ended.lock().unwrap());
}

/// Polls the future once, and returns whether it is pending.
async fn is_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

#[tokio::test(start_paused = true)]
async fn operation_whose_on_complete_panics_has_its_value() {
    let (told, _guard) = Told::listen();
    let operation = Operation::new("queue.test", D).unwrap();
    let operation = operation.on_complete(|_| panics());
    assert_eq!(operation.run(async |_| Ok(7)).await.unwrap(), 7);
    assert_eq!(told.callbacks(), ["Operation::on_complete"]);
}

/// A meter whose instruments all panic.
struct Broken;

impl InstrumentProvider for Broken {
    fn f64_histogram(&self, _of: HistogramBuilder<'_, Histogram<f64>>) -> Histogram<f64> {
        Histogram::new(Arc::new(Self))
    }
}

impl SyncInstrument<f64> for Broken {
    fn measure(&self, _value: f64, _attributes: &[opentelemetry::KeyValue]) {
        panics()
    }
}

impl MeterProvider for Broken {
    fn meter_with_scope(&self, _scope: opentelemetry::InstrumentationScope) -> Meter {
        Meter::new(Arc::new(Self))
    }
}

#[tokio::test(start_paused = true)]
async fn instrument_that_panics_is_ignored() {
    opentelemetry::global::set_meter_provider(Broken);
    let metrics = Metrics::global();
    let standard = standard(steady()).metrics(&metrics);
    let service = standard.layer(Mock::new([status(201)]));
    let response = service.oneshot(request(Method::POST)).await.unwrap();
    response.into_body().collect().await.unwrap();

    let operation = Operation::new("queue.test", D).unwrap().metrics(&metrics);
    assert_eq!(operation.run(async |_| Ok(7)).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn panicking_classifier_leaves_the_decision_to_the_table() {
    let (told, _guard) = Told::listen();
    for (first, attempts) in [(status(503), 2), (status(404), 1)] {
        let mock = Mock::new([first]);
        let standard = standard(steady()).classify(|_| panics());
        let service = standard.layer(mock.clone());
        service.oneshot(request(Method::GET)).await.unwrap();
        assert_eq!(mock.count(), attempts);
    }
    assert_eq!(
        told.callbacks(),
        ["StandardLayer::classify"; 2],
        "one a layer"
    );
}

#[tokio::test(start_paused = true)]
async fn key_by_that_panics_fails_the_call_at_encode() {
    let (told, _guard) = Told::listen();
    let mock = Mock::default();
    let breaker =
        CircuitBreakerLayer::from_config(Timeouts::new(D).unwrap(), CircuitBreakerConfig::new());
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(D).unwrap())
        .layer(RetryLayer::new(steady()).unwrap())
        .layer(breaker.unwrap().key_by(|_, _, _| panics()))
        .service(mock.clone());
    let error = service.oneshot(request(Method::POST)).await.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind(), error.effect()),
        (Some(Hop::Encode), Kind::InvalidRequest, Effect::None)
    );
    let text = error.to_string();
    assert!(
        text.contains("the callback CircuitBreakerLayer::key_by panicked"),
        "{text}"
    );
    assert!(!format!("{error:?}").contains(SECRET));
    assert_eq!(mock.count(), 0, "nothing was sent, and nothing is retried");
    assert_eq!(told.callbacks(), ["CircuitBreakerLayer::key_by"]);
}

#[tokio::test(start_paused = true)]
async fn request_gets_no_fault_if_the_when_function_panics() {
    let (told, _guard) = Told::listen();
    let chaos = ChaosLayer::new(ChaosConfig::new(0)).unwrap();
    chaos.enqueue([Fault::RefuseConnect]).unwrap();
    let mock = Mock::default();
    let service = chaos.clone().when(|_| panics()).layer(mock.clone());
    service.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!((mock.count(), chaos.injected()), (1, 0));
    assert_eq!(told.callbacks(), ["ChaosLayer::when"]);
}

#[tokio::test(start_paused = true)]
async fn body_whose_clone_function_panics_is_sent_once() {
    let mock = Mock::new([status(503)]);
    let standard = standard(steady()).clone_body_with(|_| panics(), Full::<Bytes>::default);
    let service = standard.layer(mock.clone());
    let response = service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (503, 1));

    let mock = Mock::new([status(503)]);
    let retry = RetryLayer::new(steady()).unwrap();
    let retry = retry.clone_body_with(|_: &Full<Bytes>| panics());
    let service = retry.layer(mock.clone());
    let response = service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (503, 1));
}

#[tokio::test(start_paused = true)]
async fn redirect_is_not_followed_if_the_empty_body_function_panics() {
    let see_other = || Mock::new([with(303, "location", "/v1/charges/ch_1")]);
    let mock = see_other();
    let standard = standard(steady()).clone_body_with(|body| Some(Full::clone(body)), panics);
    let service = standard.layer(mock.clone());
    let response = service.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (303, 1));

    let mock = see_other();
    let redirect = RedirectLayer::new(RedirectConfig::new()).unwrap();
    let redirect = redirect.clone_body_with(|body| Some(Full::clone(body)), panics);
    let service = redirect.layer(mock.clone());
    let response = service.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (303, 1));
}

/// A body type of the user.
struct Mine;

impl retry::CloneBody for Mine {
    fn clone_body(&self) -> Option<Self> {
        panics()
    }

    fn empty_body() -> Option<Self> {
        panics()
    }
}

#[tokio::test(start_paused = true)]
async fn users_body_type_whose_clone_panics_is_sent_once() {
    let sent = Arc::new(Mutex::new(0));
    let service = tower::service_fn({
        let sent = Arc::clone(&sent);
        move |_request: Request<Mine>| {
            *sent.lock().unwrap() += 1;
            let response = http::Response::builder().status(303);
            let response = response.header("location", "/v1/charges/ch_1");
            async move { response.body(String::new()) }
        }
    });
    let service = standard(steady()).layer(service);
    let charge = Request::post("https://api.test/v1/charges").body(Mine);
    let response = service.oneshot(charge.unwrap()).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), *sent.lock().unwrap()),
        (303, 1)
    );
}

#[derive(Debug)]
struct Injecting;

impl Propagator for Injecting {
    fn inject(&self, _span: &tracing::Span, headers: &mut HeaderMap) {
        headers.insert("x-request-id", http::HeaderValue::from_static("1"));
        panics()
    }
}

#[tokio::test(start_paused = true)]
async fn attempt_is_sent_if_its_propagator_panics() {
    let (told, _guard) = Told::listen();
    let mock = Mock::default();
    let standard = standard(steady()).trace_propagator(Injecting);
    let service = standard.layer(mock.clone());
    service.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!(mock.count(), 1);
    assert_eq!(mock.asked()[0].header("x-request-id"), Some("1"));
    assert_eq!(told.callbacks(), ["Propagator"]);
}
