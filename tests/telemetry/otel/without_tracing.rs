//! Tests the differences without `tracing` in between.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use opentelemetry::Context;
use opentelemetry::trace::{SpanKind, TraceContextExt, TracerProvider};
use serde::de::{Deserialize, Deserializer, IgnoredAny};
use sevenhops::{
    Operation, StandardLayer, Timeouts, Transport,
    telemetry::otel::TraceContext,
    testing::{CannedResponse, FaultServer},
};

use tower::{Layer, ServiceExt, service_fn};
use tracing::instrument::Instrument;
use tracing::span::{Attributes, Id};
use tracing::{Subscriber, info_span};
use tracing_subscriber::layer::{self, SubscriberExt};

use super::collected::{Heard, PROVIDER, Told, client, standard};
use crate::mock::{Mock, Step, request, status};
use crate::net::{Net, url};

/// Records the names of the spans that `tracing` receives.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Vec<&'static str>>>);

impl<S: Subscriber> layer::Layer<S> for Names {
    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: layer::Context<'_, S>) {
        self.0.lock().unwrap().push(span.metadata().name());
    }
}

#[tokio::test(start_paused = true)]
async fn direct_spans_do_not_reach_tracing() {
    let names = Names::default();
    let subscriber = tracing_subscriber::registry().with(names.clone());
    let _listening = crate::listen::listen(subscriber);
    let answer = standard().layer(Mock::new([status(503), status(200)]));
    drop(answer.oneshot(request(Method::GET)).await.unwrap());
    let operation = Operation::new("payments", Duration::from_secs(10)).unwrap();
    let operation = operation.heard();
    operation.run(async |_| Ok(())).await.unwrap();
    assert!(names.0.lock().unwrap().is_empty(), "{:?}", names.0);
}

#[tokio::test(start_paused = true)]
async fn call_is_a_child_of_the_current_opentelemetry_span() {
    let told = Told::listen();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(PROVIDER.tracer("test"))
        .with_context_activation(false);
    let subscriber = tracing_subscriber::registry().with(layer);
    let _listening = crate::listen::listen(subscriber);
    let mine = info_span!("mine");
    let answer = standard()
        .layer(Mock::new([status(200)]))
        .oneshot(request(Method::GET));
    drop(answer.instrument(mine).await.unwrap());
    let mut calls = told.named("GET");
    calls.retain(|span| span.span_kind == SpanKind::Internal);
    let mine = told.only("mine").span_context;
    assert_eq!(calls[0].parent_span_id, mine.span_id());
    assert_eq!(calls[0].span_context.trace_id(), mine.trace_id());
}

fn length((from, to): (SystemTime, SystemTime)) -> Duration {
    to.duration_since(from).unwrap()
}

#[tokio::test(start_paused = true)]
async fn span_is_as_long_as_the_timeline_says() {
    let told = Told::listen();
    let mock = Mock::new([Step::FailAfter(Duration::from_secs(3)), status(418)]);
    let kept = Arc::new(Mutex::new(None));
    let keeper = Arc::clone(&kept);
    let layer = standard().on_complete(move |timeline| {
        *keeper.lock().unwrap() = Some(timeline.clone());
    });
    drop(
        layer
            .layer(mock)
            .oneshot(request(Method::GET))
            .await
            .unwrap(),
    );
    let timeline = kept.lock().unwrap().take().unwrap();
    let wait = told.named("wait").remove(0);
    let waited = length((wait.start_time, wait.end_time));
    assert_eq!(waited, Duration::from_secs(3));
    let mut calls = told.named("GET");
    calls.retain(|span| span.span_kind == SpanKind::Internal);
    let call = length((calls[0].start_time, calls[0].end_time));
    assert!(call > waited, "it waited before it retried");
    assert_eq!(call, timeline.elapsed());
}

#[tokio::test(start_paused = true)]
async fn kept_context_does_not_keep_the_span_open() {
    let told = Told::listen();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeper = Arc::clone(&kept);
    let service = standard().layer(service_fn(move |_: Request<Full<Bytes>>| {
        keeper.lock().unwrap().push(Context::current());
        async { Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::default())) }
    }));
    drop(service.oneshot(request(Method::GET)).await.unwrap());
    assert_eq!(kept.lock().unwrap().len(), 1);
    assert_eq!(told.tree().len(), 4);
}

thread_local! {
    static KEPT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// Keeps the context in which it was read.
struct Reads;

impl<'de> Deserialize<'de> for Reads {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        KEPT.set(Some(Context::current()));
        IgnoredAny::deserialize(from).map(|_| Self)
    }
}

#[tokio::test]
async fn kept_context_of_decode_does_not_keep_the_span_open() {
    let told = Told::listen();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.default_reply(CannedResponse::json("[1]"));
    let client = client(&net);
    let read = client.get(url(&server, "http")).fetch_json::<Reads>().await;
    let Reads = read.unwrap();
    let decode = told.only("decode");
    let kept = KEPT.take().unwrap();
    assert_eq!(kept.span().span_context(), &decode.span_context);
}

#[tokio::test]
async fn setup_in_tracing_is_linked_from_a_direct_span() {
    let told = Told::listen();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let resolver = net.dns.resolver_builder().build().unwrap();
    let timeouts = Timeouts::new(Duration::from_secs(10)).unwrap();
    let transport = Transport::builder(timeouts)
        .resolver(resolver)
        .build()
        .unwrap();
    let plain = || {
        let standard = StandardLayer::new(Duration::from_secs(10)).unwrap();
        standard.trace_propagator(TraceContext)
    };
    let ask = async |layer: StandardLayer| {
        let get = Request::get(url(&server, "http")).body(Full::<Bytes>::default());
        let answer = layer.layer(transport.clone()).oneshot(get.unwrap()).await;
        answer.unwrap().into_body().collect().await.unwrap();
    };
    ask(plain()).await;
    let setup = told.only("connect").span_context;
    // A connection returns to the pool shortly after its response. One of these calls finds it there.
    while server.connections() == server.requests().len() {
        ask(plain().heard()).await;
    }
    let mut links = told
        .named("GET")
        .into_iter()
        .flat_map(|span| span.links.links);
    assert!(links.any(|link| link.span_context == setup));
}
