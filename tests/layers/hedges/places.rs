//! Tests where a hedge goes: to the endpoint of its attempt, and to no other address than that of a session.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use sevenhops::{Config, DestinationConfig, Effect, Options, StandardLayer};
use sevenhops::{EndpointConfig, EndpointsConfig};
use tower::{Layer, ServiceExt};

use super::service::{MILLIS, Reply, SECS, Slow, after, events, request, steady};

fn two_regions() -> Config {
    let endpoints = EndpointsConfig::new()
        .endpoint(EndpointConfig::new("https://eu.test"))
        .endpoint(EndpointConfig::new("https://us.test").priority(1));
    let config = Config::new(SECS(10)).endpoints("pay.internal", endpoints);
    config.retry(steady()).hedge(after(MILLIS(100)))
}

fn to_regions() -> Request<Full<Bytes>> {
    let request = Request::get("https://pay.internal/v1");
    request.body(Full::default()).unwrap()
}

fn stack(config: &Config) -> StandardLayer {
    StandardLayer::from_config(config).unwrap()
}

#[tokio::test(start_paused = true)]
async fn hedge_goes_to_the_endpoint_of_its_attempt() {
    let slow = Slow::new([(SECS(1), Reply::Status(200))]);
    let service = stack(&two_regions()).layer(slow.clone());
    service.oneshot(to_regions()).await.unwrap();
    assert_eq!(slow.hosts(), ["eu.test", "eu.test"]);

    // The first region fails, and the second one is slow.
    let slow = Slow::new([
        (Duration::ZERO, Reply::Status(503)),
        (SECS(1), Reply::Status(200)),
    ]);
    let service = stack(&two_regions()).layer(slow.clone());
    service.oneshot(to_regions()).await.unwrap();
    assert_eq!(slow.hosts(), ["eu.test", "us.test", "us.test"]);
}

#[tokio::test(start_paused = true)]
async fn endpoint_has_hedges_of_its_own() {
    let off = DestinationConfig::new().hedge(after(MILLIS(100)).enabled(false));
    let config = two_regions().destination("us.test", off);
    let replies = || {
        Slow::new([
            (Duration::ZERO, Reply::Status(503)),
            (SECS(1), Reply::Status(200)),
        ])
    };
    let slow = replies();
    let service = stack(&config).layer(slow.clone());
    service.oneshot(to_regions()).await.unwrap();
    assert_eq!(
        slow.hosts(),
        ["eu.test", "us.test"],
        "off in the second one"
    );

    // The first region asks for fewer requests. That says nothing about the second one.
    let layer = stack(&two_regions());
    let slow = Slow::new([
        (Duration::ZERO, Reply::Later(503, 1)),
        (SECS(1), Reply::Status(200)),
    ]);
    layer
        .layer(slow.clone())
        .oneshot(to_regions())
        .await
        .unwrap();
    assert_eq!(slow.hosts(), ["eu.test", "us.test", "us.test"]);
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_fails_beside_a_hedge_is_set_aside() {
    let layer = stack(&two_regions());
    for call in 0..3 {
        let slow = Slow::new([
            (MILLIS(150), Reply::Reset),
            (MILLIS(150), Reply::Reset),
            (Duration::ZERO, Reply::Status(200)),
        ]);
        layer
            .layer(slow.clone())
            .oneshot(to_regions())
            .await
            .unwrap();
        let first = match call {
            // Two failures each: after three in a row it is set aside.
            0 | 1 => "eu.test",
            _ => "us.test",
        };
        assert_eq!(slow.hosts()[0], first, "{call}");
    }
}

fn of_session() -> Request<Full<Bytes>> {
    let mut request = request(Method::GET);
    request
        .extensions_mut()
        .insert(Options::new().affinity("user-1"));
    request
}

/// Only the response shows that a service keeps no session on its address.
#[tokio::test(start_paused = true)]
async fn response_to_a_hedge_is_refused_if_its_service_keeps_no_session() {
    for reply in [Reply::Status(200), Reply::Status(503)] {
        let slow = Slow::new([(SECS(1), Reply::Status(200)), (MILLIS(10), reply)]);
        let config = Config::new(SECS(10)).hedge(after(MILLIS(100)).same_address(true));
        let service = stack(&config.retry(steady())).layer(slow.clone());
        let error = service.oneshot(of_session()).await.unwrap_err();
        assert_eq!((slow.count(), slow.in_flight()), (2, 0));
        let text = error.to_string();
        assert!(
            text.contains("Options::affinity needs a Transport"),
            "{text}"
        );
        let expected = match reply {
            Reply::Status(200) => Effect::Done,
            _ => Effect::Possible,
        };
        assert_eq!(error.effect(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn call_of_a_session_is_hedged_only_if_the_same_address_is_allowed() {
    let slow = Slow::new([(SECS(1), Reply::Status(200))]);
    let config = Config::new(SECS(10)).hedge(after(MILLIS(100)));
    let service = stack(&config).layer(slow.clone());
    let error = service.oneshot(of_session()).await.unwrap_err();
    assert_eq!(slow.count(), 1);
    let reason = "not hedged: the session of the call stays on one address";
    assert_eq!(events(error.timeline().unwrap())[0], reason);
}
