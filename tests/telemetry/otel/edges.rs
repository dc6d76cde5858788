//! Tests spans of this crate together with foreign spans, threads and contexts.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::trace::{SpanKind, TracerProvider};
use opentelemetry::{Context, KeyValue};
use sevenhops::TimeoutsConfig;
use sevenhops::{
    AttemptLayer, DeadlineLayer, Timeouts,
    testing::{CannedResponse, FaultServer},
};

use tower::{Layer, ServiceExt, service_fn};
use tracing::info_span;
use tracing::instrument::Instrument;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

use super::collected::{Heard, PROVIDER, TOUCHES, Told, client, standard, text};
use super::propagation::propagate_deadline;
use crate::mock::{Mock, request, status};
use crate::net::{Net, url};

#[tokio::test]
async fn attempt_that_is_spawned_in_the_callers_span_is_part_of_its_call() {
    let told = Told::listen();
    let timeouts = Timeouts::new(Duration::from_secs(10)).unwrap();
    let attempt = AttemptLayer::new(timeouts).layer(Mock::new([status(200)]));
    let call = DeadlineLayer::new(Duration::from_secs(10)).unwrap().heard();
    let service = call.layer(service_fn(move |request: Request<Full<Bytes>>| {
        let attempt = attempt.clone().oneshot(request);
        let task = tokio::spawn(attempt.in_current_span());
        async { task.await.unwrap() }
    }));
    let mine = info_span!("mine");
    let answer = service
        .oneshot(request(Method::GET))
        .instrument(mine)
        .await
        .unwrap();
    answer.into_body().collect().await.unwrap();
    let mut calls = told.named("GET");
    calls.retain(|span| span.span_kind == SpanKind::Internal);
    let mut attempts = told.named("GET");
    attempts.retain(|span| span.span_kind == SpanKind::Client);
    let mine = told.only("mine").span_context.span_id();
    assert_eq!(calls[0].parent_span_id, mine);
    assert_eq!(attempts[0].parent_span_id, calls[0].span_context.span_id());
}

#[tokio::test]
async fn unrecorded_setup_is_not_linked() {
    let told = Told::listen();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let client = propagate_deadline(&net);
    let ask = || client.get(url(&server, "http")).fetch_bytes();
    {
        let _quiet = Context::enter_telemetry_suppressed_scope();
        ask().await.unwrap();
    }
    // A connection returns to the pool shortly after its response. One of these calls finds it there.
    while server.connections() == server.requests().len() {
        ask().await.unwrap();
    }
    for span in told.spans() {
        for link in span.links.iter() {
            assert!(link.span_context.is_valid(), "{}", span.name);
        }
    }
}

#[tokio::test]
async fn baggage_of_the_current_context_is_passed_on() {
    let _told = Told::listen();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(PROVIDER.tracer("test"))
        .with_context_activation(false);
    let _listening = crate::listen::listen(tracing_subscriber::registry().with(layer));
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (trace, span) = (TraceId::from(7), SpanId::from(7));
    let above = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::NONE);
    let incoming = Context::new()
        .with_remote_span_context(above)
        .with_baggage([KeyValue::new("tenant", "7")]);
    let mine = info_span!("mine");
    mine.set_parent(incoming).unwrap();
    let sent = propagate_deadline(&net).get(url(&server, "http")).send();
    sent.instrument(mine).await.unwrap();
    let seen = &server.requests()[0];
    assert_eq!(seen.headers["baggage"], "tenant=7");
}

#[tokio::test]
async fn status_that_fails_and_a_body_that_breaks_off_are_one_failure_of_the_attempt() {
    let told = Told::listen();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let short = CannedResponse::new(StatusCode::BAD_REQUEST).header("content-length", "10");
    server.default_reply(short);
    let impatient = TimeoutsConfig::new().body_idle(Duration::from_millis(100));
    let client = net
        .builder()
        .heard()
        .config(|config| config.timeouts(impatient))
        .build()
        .unwrap();
    let answer = client.get(url(&server, "http")).send().await.unwrap();
    answer.bytes().await.unwrap_err();
    let tree = told.tree();
    assert_eq!(tree[1], "  GET ✗ connection_read_timeout", "the last one");
}

#[tokio::test]
async fn processor_that_uses_the_current_span_does_not_deadlock() {
    let told = Told::listen();
    let layer = standard();
    let service = layer.layer(service_fn(async |_: Request<Full<Bytes>>| {
        Err::<Response<Full<Bytes>>, _>(std::io::Error::other("what is that?"))
    }));
    TOUCHES.set(true);
    let answer = service.oneshot(request(Method::GET)).await;
    TOUCHES.set(false);
    answer.unwrap_err();
    // The call, and its attempts: an unknown failure is transient.
    assert_eq!(told.tree().len(), 1 + 3);
}

#[tokio::test]
async fn decode_after_the_end_of_its_call_is_not_part_of_a_trace() {
    let told = Told::listen();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.default_reply(CannedResponse::json("[1]"));
    let client = client(&net);
    let mut answer = client.get(url(&server, "http")).send().await.unwrap();
    while answer.chunk().await.unwrap().is_some() {}
    answer.json::<u8>().await.unwrap_err();
    assert!(told.named("decode").is_empty());
}

#[tokio::test]
async fn setup_of_another_call_is_linked_even_without_propagation() {
    let told = Told::listen();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (client(&net), url(&server, "http"));
    client.get(&url).fetch_bytes().await.unwrap();
    // A connection returns to the pool shortly after its response. One of these calls finds it there.
    while server.connections() == server.requests().len() {
        client.get(&url).fetch_bytes().await.unwrap();
    }
    let set_ups = told.named("connect").into_iter();
    let set_ups: Vec<_> = set_ups.map(|span| span.span_context.span_id()).collect();
    let attempts = told.named("GET").into_iter();
    let links: Vec<_> = attempts.flat_map(|span| span.links.links).collect();
    let [link] = &links[..] else {
        panic!("{links:?}");
    };
    assert!(set_ups.contains(&link.span_context.span_id()));
}

#[tokio::test(start_paused = true)]
async fn unknown_version_is_omitted() {
    let told = Told::listen();
    let service = standard().layer(Mock::new([status(200)]));
    drop(service.oneshot(request(Method::GET)).await.unwrap());
    for span in told.named("GET") {
        assert_eq!(text(&span, "network.protocol.version"), None);
    }
}
