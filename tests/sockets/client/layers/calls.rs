//! Layers around each call.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use sevenhops::client::InnerService;
use sevenhops::testing::TimelineRecorder;
use sevenhops::testing::{CannedResponse, DnsScript, FaultServer, Reply};
use sevenhops::{
    Body, ClientBuilder, Consistency, DestinationConfig, Effect, EndpointConfig, EndpointsConfig,
    IdempotencyConfig, RetryConfig, StaleConfig, Timeline,
};
use tower::util::MapRequestLayer;
use tower::{layer::layer_fn, service_fn};

use super::{UNAVAILABLE, count, once_more};
use crate::net::{Net, url};

#[tokio::test]
async fn call_layer_may_answer_without_a_request_or_send_several() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let cached = layer_fn(|_inner: InnerService| {
        service_fn(async |_request: Request<Body>| {
            Ok::<_, Infallible>(Response::new(Full::new(bytes::Bytes::from_static(
                b"cached",
            ))))
        })
    });
    let client = net.builder().call_layer(cached).build().unwrap();
    let response = client.get(url(&server, "http")).send().await.unwrap();
    assert_eq!(response.timeline().map(Timeline::attempt_count), Some(0));
    assert_eq!(response.bytes().await.unwrap(), "cached");
    assert_eq!(server.requests_seen(), 0);

    let client = net
        .builder()
        .call_layer(once_more(StatusCode::UNAUTHORIZED))
        .build()
        .unwrap();
    let expired = Reply::from(CannedResponse::new(StatusCode::UNAUTHORIZED));
    server.on_request([expired, CannedResponse::new(StatusCode::CREATED).into()]);
    let response = client
        .post(url(&server, "http"))
        .body("charge")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let timeline = response.timeline().unwrap();
    assert_eq!(
        (timeline.attempt_count(), timeline.effect()),
        (2, Effect::Done)
    );
    let seen = server.requests();
    assert_eq!(
        seen[0].headers["idempotency-key"],
        seen[1].headers["idempotency-key"]
    );
}

#[tokio::test]
async fn policies_hold_below_call_layers() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let once = RetryConfig::new().attempts(1);
    let client = net
        .builder()
        .config(|config| config.retry(once))
        .call_layer(count(&calls))
        .build()
        .unwrap();
    server.on_request([CannedResponse::new(UNAVAILABLE).into()]);
    let error = client
        .get(url(&server, "http"))
        .fetch_bytes()
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(UNAVAILABLE));
    assert_eq!(
        (
            server.requests_seen(),
            error.timeline().unwrap().attempt_count()
        ),
        (1, 1)
    );

    // The whole body is received inside the attempt, so a body that breaks off is retried.
    let client = net
        .builder()
        .call_layer(count(&calls))
        .attempt_layer(count(&calls));
    let client = client.build().unwrap();
    let sent = bytes::Bytes::from_static(b"half");
    server.on_request([Reply::TruncateBody { declared: 11, sent }]);
    let body = client
        .get(url(&server, "http"))
        .fetch_bytes()
        .await
        .unwrap();
    assert_eq!(body, r#"{"ok":true}"#);

    // A redirect is followed, and the layer sees both requests.
    net.dns
        .set("other.test", DnsScript::addresses([[127, 0, 0, 1].into()]));
    let there = format!("http://other.test:{}/", server.addr().port());
    let moved = CannedResponse::new(StatusCode::FOUND).header("location", &there);
    server.on_request([moved.into()]);
    calls.store(0, Ordering::Relaxed);
    let response = client.get(url(&server, "http")).send().await.unwrap();
    assert_eq!(response.uri().host(), Some("other.test"));
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn stale_response_stands_in_below_call_layers() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let stale = StaleConfig::new()
        .store_bytes(1 << 20)
        .consistency(Consistency::StaleFor(Duration::from_secs(60)));
    let client = net
        .builder()
        .config(|config| config.stale(stale))
        .call_layer(count(&calls))
        .build()
        .unwrap();
    let fresh = CannedResponse::json(r#"{"a":1}"#).header("cache-control", "max-age=0");
    server.on_request([fresh.into()]);
    let first = client
        .get(url(&server, "http"))
        .fetch_bytes()
        .await
        .unwrap();
    server.default_reply(CannedResponse::new(UNAVAILABLE));
    let response = client.get(url(&server, "http")).send().await.unwrap();
    assert!(response.is_stale());
    assert_eq!(response.bytes().await.unwrap(), first);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

/// Makes a call to a server that is silent, below a call layer, under a short deadline.
async fn after_the_deadline(
    with: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> sevenhops::client::Response {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let client = with(net.builder()).call_layer(count(&calls));
    let client = client.build().unwrap();
    let fresh = CannedResponse::json(r#"{"a":1}"#).header("cache-control", "max-age=0");
    server.on_request([fresh.into()]);
    let get = || client.get(url(&server, "http"));
    get().fetch_bytes().await.unwrap();
    server.default_reply(Reply::Silent);
    let limit = Duration::from_millis(100);
    let response = get().options(|options| options.deadline(limit)).send();
    let response = response.await.unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    response
}

#[tokio::test]
async fn stale_response_stands_in_for_a_passed_deadline_below_call_layers() {
    let stale = StaleConfig::new()
        .store_bytes(1 << 20)
        .consistency(Consistency::StaleFor(Duration::from_secs(60)));
    let with = |client: ClientBuilder| client.config(|config| config.stale(stale));
    let response = after_the_deadline(with).await;
    assert!(response.is_stale());
    assert_eq!(response.text().await.unwrap(), r#"{"a":1}"#);
}

#[tokio::test]
async fn fallback_stands_in_for_a_passed_deadline_below_call_layers() {
    let none = || Some(Response::new("none".into()));
    let with = |client: ClientBuilder| client.fallback(move |_| ready(none()));
    let response = after_the_deadline(with).await;
    assert_eq!(response.text().await.unwrap(), "none");
}

#[tokio::test]
async fn dropped_call_drops_the_request_below_its_layers() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let recorder = TimelineRecorder::new();
    let builder = net.builder().on_complete(recorder.listener());
    let client = builder
        .call_layer(count(&calls))
        .attempt_layer(count(&calls))
        .build()
        .unwrap();
    server.on_request([Reply::Silent]);
    let call = client.request(Method::GET, url(&server, "http")).send();
    tokio::select! {
        _ = call => panic!("no response comes"),
        _ = server.wait_until(|seen| seen.requests == 1) => {}
    }
    let timelines = recorder.wait_for(1).await;
    assert_eq!(
        timelines[0].outcome(),
        Some(sevenhops::hop::Outcome::Cancelled)
    );
    server.wait_until(|seen| seen.open_connections == 0).await;
}

/// The config of the new URL holds below a call layer, too: here no key permits a second charge.
#[tokio::test]
async fn config_of_the_next_url_holds_below_call_layers() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    for name in ["once.test", "a.test"] {
        net.dns
            .set(name, DnsScript::addresses([[127, 0, 0, 1].into()]));
    }
    let origin = |name| format!("http://{name}:{}/", server.addr().port());
    let client = |calls: &Arc<AtomicUsize>| {
        let honors = |yes| IdempotencyConfig::new().honored_by_all(yes);
        let endpoints = EndpointsConfig::new().endpoint(EndpointConfig::new(origin("a.test")));
        let once = RetryConfig::new().attempts(1);
        let builder = net.builder().config(|config| {
            config
                .idempotency(honors(true))
                .endpoints("pay.internal", endpoints)
                .destination(
                    "a.test",
                    DestinationConfig::new().idempotency(honors(false)),
                )
                .destination("once.test", DestinationConfig::new().retry(once))
        });
        builder.call_layer(count(calls)).build().unwrap()
    };
    let calls = Arc::new(AtomicUsize::new(0));
    let client = client(&calls);

    server.on_request([Reply::CloseAfterRequest]);
    let charge = client.post("http://pay.internal/").body("charge").send();
    assert_eq!(charge.await.unwrap_err().effect(), Effect::Possible);
    assert_eq!(server.requests_seen(), 1, "the endpoint honors no keys");

    let found = CannedResponse::new(StatusCode::FOUND).header("location", &origin("once.test"));
    server.on_request([found.into(), CannedResponse::new(UNAVAILABLE).into()]);
    let response = client.get(origin("a.test")).send().await.unwrap();
    assert_eq!(response.status(), UNAVAILABLE);
    assert_eq!(server.requests_seen(), 3, "the new URL has one attempt");
}

#[tokio::test]
async fn layer_that_sends_a_redirected_call_again_keeps_its_key() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let client = net
        .builder()
        .call_layer(once_more(StatusCode::UNAUTHORIZED))
        .build()
        .unwrap();
    let seen = CannedResponse::new(StatusCode::SEE_OTHER).header("location", "/result");
    let expired = CannedResponse::new(StatusCode::UNAUTHORIZED);
    server.on_request([seen.into(), expired.into()]);
    let post = client.post(url(&server, "http")).body("charge");
    assert_eq!(post.send().await.unwrap().status(), StatusCode::OK);
    let seen = server.requests();
    let key = |at: usize| seen[at].headers.get("idempotency-key");
    assert_eq!((seen[1].method.as_str(), key(1)), ("GET", None));
    assert_eq!(seen[2].method.as_str(), "POST");
    assert!(key(0).is_some() && key(2) == key(0));
}

#[tokio::test]
async fn refresh_does_not_pass_the_call_layers_again() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let prefixed = MapRequestLayer::new(|mut request: Request<Body>| {
        let uri = request.uri().to_string().replace("/v1/", "/api/v1/");
        *request.uri_mut() = uri.parse().unwrap();
        request
    });
    let stale = StaleConfig::new()
        .store_bytes(1 << 20)
        .consistency(Consistency::StaleFor(Duration::from_secs(60)))
        .while_revalidate(Duration::from_secs(60));
    let client = net
        .builder()
        .config(|config| config.stale(stale))
        .call_layer(prefixed)
        .build()
        .unwrap();
    let url = url(&server, "http");
    client.get(&url).fetch_bytes().await.unwrap();
    assert!(client.get(&url).send().await.unwrap().is_stale());
    server.wait_until(|seen| seen.requests == 2).await;
    let targets: Vec<_> = server
        .requests()
        .into_iter()
        .map(|seen| seen.target)
        .collect();
    assert_eq!(targets, ["/api/v1/charges"; 2]);
}

#[tokio::test]
async fn substitute_below_a_call_layer_is_no_effect_of_the_request() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let none = || Some(Response::new("none".into()));
    let client = net
        .builder()
        .fallback(move |_| ready(none()))
        .call_layer(count(&Arc::default()))
        .build()
        .unwrap();
    let url = url(&server, "http");
    let api = url.strip_suffix("/v1/charges").unwrap().parse().unwrap();
    client.breaker_handle().isolate(&api);
    let response = client.post(url).body("charge").send().await.unwrap();
    assert_eq!(response.timeline().unwrap().effect(), Effect::None);
    assert_eq!(response.text().await.unwrap(), "none");
    assert_eq!(server.requests_seen(), 0);
}
