use std::sync::Once;

use http::StatusCode;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::TextMapCompositePropagator;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use sevenhops::Client;
use sevenhops::telemetry::otel::TraceContext;
use sevenhops::testing::{CannedResponse, DnsScript, FaultServer, Gate, RecordedRequest};

use super::collected::{Heard, Told};
use crate::net::{Net, url};

pub(crate) fn propagate_deadline(net: &Net) -> Client {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        global::set_text_map_propagator(TextMapCompositePropagator::new(vec![
            Box::new(TraceContextPropagator::new()),
            Box::new(BaggagePropagator::new()),
        ]));
    });
    net.builder()
        .heard()
        .trace_propagator(TraceContext)
        .build()
        .unwrap()
}

fn header(seen: &RecordedRequest, name: &str) -> Option<String> {
    let value = seen.headers.get(name)?;
    Some(value.to_str().unwrap().to_owned())
}

/// Returns the traceparent of a span.
fn parent(span: &SpanData) -> String {
    let context = &span.span_context;
    format!("00-{}-{}-01", context.trace_id(), context.span_id())
}

fn attempts(told: &Told) -> Vec<SpanData> {
    let mut attempts = told.spans();
    attempts.retain(|span| span.span_kind == SpanKind::Client);
    attempts.sort_by_key(|span| span.start_time);
    attempts
}

#[tokio::test]
async fn server_gets_the_context_of_the_attempt_that_reached_it() {
    let told = Told::listen();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let unavailable = CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE);
    server.on_request([unavailable.into()]);
    let stale = "00-11111111111111111111111111111111-2222222222222222-01";
    let get = propagate_deadline(&net).get(url(&server, "http"));
    get.header("traceparent", stale).send().await.unwrap();
    let heard = server.requests();
    let heard = heard
        .iter()
        .map(|seen| header(seen, "traceparent").unwrap());
    let attempts = attempts(&told);
    assert_eq!(attempts.len(), 2);
    assert_eq!(
        heard.collect::<Vec<_>>(),
        attempts.iter().map(parent).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn without_a_subscriber_the_callers_context_is_passed_on() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let provider = SdkTracerProvider::builder().build();
    let span = provider.tracer("caller").start("caller");
    let context = Context::new()
        .with_span(span)
        .with_baggage([KeyValue::new("tenant", "7")]);
    let trace = context.span().span_context().trace_id().to_string();
    let _attached = context.attach();
    propagate_deadline(&net)
        .get(url(&server, "http"))
        .send()
        .await
        .unwrap();
    let seen = &server.requests()[0];
    assert!(header(seen, "traceparent").unwrap().contains(&trace));
    assert_eq!(header(seen, "baggage").as_deref(), Some("tenant=7"));
}

#[tokio::test]
async fn unsampled_trace_is_passed_on_and_not_exported() {
    let told = Told::listen();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let above = SpanContext::new(
        TraceId::from(7),
        SpanId::from(7),
        TraceFlags::NOT_SAMPLED,
        true,
        TraceState::NONE,
    );
    let context = Context::new().with_remote_span_context(above);
    let _attached = context.attach();
    propagate_deadline(&net)
        .get(url(&server, "http"))
        .send()
        .await
        .unwrap();
    assert!(told.spans().is_empty());
    let sent = header(&server.requests()[0], "traceparent").unwrap();
    let [_, trace, parent, flags] =
        <[_; 4]>::try_from(sent.split('-').collect::<Vec<_>>()).unwrap();
    assert_eq!((trace, flags), (&*TraceId::from(7).to_string(), "00"));
    assert_ne!(parent, SpanId::from(7).to_string(), "it is the attempt's");
}

#[tokio::test]
async fn baggage_is_not_sent_to_another_origin() {
    let net = Net::new().await;
    let home = FaultServer::builder().start().await.unwrap();
    let other = FaultServer::builder().start().await.unwrap();
    let away = CannedResponse::new(StatusCode::FOUND).header("location", &other.url("/"));
    let near = CannedResponse::new(StatusCode::FOUND).header("location", "/near");
    home.on_request([near.into(), away.into()]);
    let _told = Told::listen();
    let baggage = Context::new().with_baggage([KeyValue::new("user", "canary")]);
    let _attached = baggage.attach();
    propagate_deadline(&net)
        .get(url(&home, "http"))
        .send()
        .await
        .unwrap();
    for seen in home.requests() {
        assert!(header(&seen, "traceparent").is_some());
    }
    let away = &other.requests()[0];
    assert!(header(away, "traceparent").is_some());
    assert_eq!(header(away, "baggage"), None);
}

#[tokio::test]
async fn attempt_on_a_pooled_connection_is_linked_to_its_setup() {
    let told = Told::listen();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let client = propagate_deadline(&net);
    // A connection returns to the pool shortly after its response. One of these calls finds it there.
    for _ in 0..50 {
        client
            .get(url(&server, "http"))
            .fetch_bytes()
            .await
            .unwrap();
    }
    let attempts = attempts(&told);
    assert!(
        attempts[0].links.is_empty(),
        "it is part of the attempt itself"
    );
    let linked = attempts.iter().find(|attempt| !attempt.links.is_empty());
    let to = linked.unwrap().links.iter().next().unwrap();
    let setup = told
        .named("connect")
        .into_iter()
        .find(|connect| connect.span_context.span_id() == to.span_context.span_id());
    let maker = setup.unwrap().parent_span_id;
    assert!(
        attempts
            .iter()
            .any(|attempt| attempt.span_context.span_id() == maker)
    );
    assert_ne!(maker, linked.unwrap().span_context.span_id());
}

/// Two concurrent calls make two connections. If the first connection becomes free before the second is ready, the
/// second call uses it.
#[tokio::test]
async fn setup_that_another_call_uses_is_linked_and_not_claimed() {
    let told = Told::listen();
    let net = Net::new().await;
    let slow = Gate::new();
    net.dns
        .set("api.test", DnsScript::addresses([[127, 0, 0, 1].into()]));
    let identity = net.authority.issue(&["api.test"]).unwrap();
    let server = FaultServer::builder().tls(identity).start().await.unwrap();
    server.on_request([CannedResponse::json("1").hold(&slow).into()]);
    let client = propagate_deadline(&net);
    let url = url(&server, "https");
    let first = tokio::spawn(client.get(&url).fetch_bytes());
    server.wait_until(|stats| stats.requests == 1).await;
    // The second call asks for its connection while the first one is in use …
    let second = tokio::spawn(client.get(&url).fetch_bytes());
    server.wait_until(|stats| stats.connections == 2).await;
    // … and the first is free by now, or the second is ready. The machine decides which comes first.
    slow.open();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    let attempts = attempts(&told);
    let connects = told.named("connect");
    for attempt in &attempts {
        let id = attempt.span_context.span_id();
        let own = connects
            .iter()
            .any(|connect| connect.parent_span_id == id && connect.end_time <= attempt.end_time);
        let linked = !attempt.links.is_empty();
        assert!(own || linked, "{attempts:?}");
    }
}
