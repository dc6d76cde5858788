//! Tests current spans and the ends of spans, in stacks that are assembled by hand.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use opentelemetry::trace::{SpanId, SpanKind, get_active_span};
use sevenhops::{
    AttemptLayer, DeadlineLayer, Operation, RetryConfig, RetryLayer, Timeouts, Transport,
    testing::{DnsScript, FaultServer},
};

use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tracing::info_span;
use tracing::instrument::{Instrument, Instrumented};

use super::collected::{Heard, Told, standard};
use crate::mock::{Mock, Step, request, status};
use crate::net::{Net, url};

fn timeouts() -> Timeouts {
    Timeouts::new(Duration::from_secs(10)).unwrap()
}

/// A layer of the application that opens its own span around everything below.
#[derive(Clone)]
struct Mine<S>(S);

impl<S: Service<R>, R> Service<R> for Mine<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Instrumented<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let span = info_span!("mine");
        let inner = span.in_scope(|| self.0.call(request));
        inner.instrument(span)
    }
}

#[tokio::test(start_paused = true)]
async fn retry_stays_below_a_span_between_the_call_and_its_attempts() {
    let told = Told::listen();
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(10)).unwrap().heard())
        .layer_fn(Mine)
        .layer(RetryLayer::new(RetryConfig::new()).unwrap())
        .layer(AttemptLayer::new(timeouts()))
        .service(Mock::new([status(503), status(200)]));
    drop(service.oneshot(request(Method::GET)).await.unwrap());
    let mine = told.only("mine").span_context.span_id();
    let mut attempts = told.named("GET");
    attempts.retain(|span| span.parent_span_id == mine);
    assert_eq!(attempts.len(), 2);
}

/// A body that records the span in which it is polled.
struct Notes(Option<Bytes>, Arc<Mutex<Vec<SpanId>>>);

impl Body for Notes {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let here = get_active_span(|span| span.span_context().span_id());
        self.1.lock().unwrap().push(here);
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }
}

#[tokio::test(start_paused = true)]
async fn response_is_received_within_the_call() {
    let told = Told::listen();
    let noted = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&noted);
    let layer = standard();
    let service = layer.layer(service_fn(async |_: Request<Full<Bytes>>| {
        let body = Notes(Some(Bytes::from_static(b"x")), Arc::clone(&notes));
        Ok::<_, std::io::Error>(Response::new(body))
    }));
    let answer = service.oneshot(request(Method::GET)).await.unwrap();
    answer.into_body().collect().await.unwrap();
    let mut calls = told.named("GET");
    calls.retain(|span| span.span_kind == SpanKind::Internal);
    assert_eq!(*noted.lock().unwrap(), [calls[0].span_context.span_id(); 2]);
}

#[tokio::test(start_paused = true)]
async fn attempt_in_its_own_task_is_a_child_of_its_call() {
    let told = Told::listen();
    let attempt = AttemptLayer::new(timeouts());
    let attempt = attempt.layer(Mock::new([status(200)]));
    let call = DeadlineLayer::new(Duration::from_secs(10)).unwrap().heard();
    let service = call.layer(service_fn(move |request: Request<Full<Bytes>>| {
        let attempt = attempt.clone().oneshot(request);
        async { tokio::spawn(attempt).await.unwrap() }
    }));
    drop(service.oneshot(request(Method::GET)).await.unwrap());
    assert_eq!(told.tree(), ["GET", "  GET", "    wait", "    receive"]);
}

#[tokio::test(start_paused = true)]
async fn attempt_in_its_own_task_ends_with_its_call() {
    let told = Told::listen();
    let mock = Mock::new([(); 2].map(|()| Step::FailAfter(Duration::from_secs(3))));
    let attempt = AttemptLayer::new(timeouts()).layer(mock);
    let service = DeadlineLayer::new(Duration::from_secs(1))
        .unwrap()
        .heard()
        .layer(service_fn(move |request: Request<Full<Bytes>>| {
            let attempt = attempt.clone().call(request);
            async { tokio::spawn(attempt).await.unwrap() }
        }));
    service
        .clone()
        .oneshot(request(Method::GET))
        .await
        .unwrap_err();
    let at_once = told.tree();
    assert_eq!(at_once.len(), 3, "{at_once:#?}");
    // The caller drops the call.
    let half = Duration::from_millis(500);
    let call = tokio::time::timeout(half, service.oneshot(request(Method::GET)));
    call.await.unwrap_err();
    let both = told.tree();
    assert_eq!(both.len(), 6, "{both:#?}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(told.tree(), both);
}

/// Adds an event to the current span when it is dropped.
struct Goes;

impl Drop for Goes {
    fn drop(&mut self) {
        get_active_span(|span| span.add_event("it goes", Vec::new()));
    }
}

#[tokio::test(start_paused = true)]
async fn work_is_dropped_within_its_attempt() {
    let told = Told::listen();
    let operation = Operation::new("payments", Duration::from_secs(10)).unwrap();
    let operation = operation.heard();
    let work = operation.run(async |_| {
        let _goes = Goes;
        std::future::pending::<Result<(), _>>().await
    });
    let second = Duration::from_secs(1);
    tokio::time::timeout(second, work).await.unwrap_err();
    let attempt = told.only("operation attempt");
    let said: Vec<_> = attempt.events.iter().map(|event| &*event.name).collect();
    assert_eq!(said, ["it goes"]);
}

#[tokio::test]
async fn attempt_of_a_panicking_transport_is_over() {
    let told = Told::listen();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeper = Arc::clone(&kept);
    let layer = standard();
    let layer = layer.on_complete(move |timeline| keeper.lock().unwrap().push(timeline.clone()));
    let service = layer.layer(service_fn(|_: Request<Full<Bytes>>| {
        let nobody: Result<Mock, _> = "?".parse::<u8>().map(|_| Mock::default());
        nobody.unwrap().oneshot(request(Method::GET))
    }));
    let call = tokio::spawn(async { drop(service.oneshot(request(Method::GET)).await) });
    assert!(call.await.unwrap_err().is_panic());
    assert_eq!(kept.lock().unwrap().len(), 1);
    assert_eq!(told.tree(), ["GET", "  GET"]);
}

#[tokio::test]
async fn attempt_without_a_call_records_its_stale_dns() {
    let told = Told::listen();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let short = net.dns.resolver_builder().ttl_floor(Duration::ZERO);
    let resolver = short.ttl_ceiling(Duration::from_nanos(1)).build().unwrap();
    let transport = Transport::builder(timeouts()).resolver(resolver);
    let service = AttemptLayer::new(timeouts()).layer(transport.build().unwrap());
    for _ in 0..2 {
        let get = Request::get(url(&server, "http")).body(Full::<Bytes>::default());
        let answer = service.clone().oneshot(get.unwrap()).await.unwrap();
        answer.into_body().collect().await.unwrap();
        net.dns.set("api.test", DnsScript::ServFail);
    }
    let stale = told.named("GET").into_iter().map(|attempt| {
        let mut events = attempt.events.iter();
        events.any(|event| event.name == "stale dns")
    });
    assert_eq!(stale.collect::<Vec<_>>(), [false, true]);
}
