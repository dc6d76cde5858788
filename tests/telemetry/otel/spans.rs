use http::{Method, StatusCode};
use opentelemetry::Value;
use opentelemetry::trace::{SpanKind, Status, get_active_span};
use sevenhops::{
    CircuitBreakerConfig, IdempotencyKey, RetryConfig, RetryLayer,
    testing::{CannedResponse, ClosedPort, DnsScript, FaultServer, Gate, Reply},
};

use tower::{Layer as _, ServiceBuilder, ServiceExt};
use tracing::Instrument;

use super::collected::{Heard, Told, attribute, client, standard, text, value};
use crate::mock::{Mock, Step, request, status, with};
use crate::net::{Net, url};

fn error() -> Status {
    Status::error("")
}

/// Posts JSON and reads JSON, over TLS.
async fn good_call(net: &Net) -> FaultServer {
    let identity = net.authority.issue(&["api.test"]).unwrap();
    let server = FaultServer::builder().tls(identity).start().await.unwrap();
    server.default_reply(CannedResponse::json("[1]"));
    let numbers: Vec<u8> = client(net)
        .post(url(&server, "https"))
        .options(|options| options.route("/v1/charges"))
        .json(&[1])
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(numbers, [1]);
    server
}

#[tokio::test]
async fn successful_call_is_exported_as_call_attempt_and_hops() {
    let told = Told::listen();
    let net = Net::new().await;
    let server = good_call(&net).await;
    assert_eq!(
        told.tree(),
        [
            "encode",
            "POST /v1/charges",
            "  POST /v1/charges",
            "    dns",
            "    connect",
            "    tls",
            "    send",
            "    wait",
            "    receive",
            "  decode",
        ]
    );
    for span in told.spans() {
        assert_eq!(span.status, Status::Unset, "{}", span.name);
    }
    let mut kinds = told.named("POST /v1/charges");
    kinds.sort_by_key(|span| span.start_time);
    let [call, attempt] = <[_; 2]>::try_from(kinds).unwrap();
    assert_eq!(call.span_kind, SpanKind::Internal);
    assert_eq!(attempt.span_kind, SpanKind::Client);
    assert_eq!(attribute(&call, "sevenhops.attempts"), Some(&Value::I64(1)));
    let port = i64::from(server.addr().port());
    for (key, value) in [
        ("http.request.method", "POST".into()),
        ("http.response.status_code", Value::I64(200)),
        ("http.request.body.size", Value::I64(3)),
        ("http.response.body.size", Value::I64(3)),
        ("server.address", "api.test".into()),
        ("server.port", Value::I64(port)),
        ("url.full", url(&server, "https").into()),
        ("url.template", "/v1/charges".into()),
        ("network.peer.address", "127.0.0.1".into()),
        ("network.peer.port", Value::I64(port)),
        ("network.protocol.version", "1.1".into()),
    ] {
        assert_eq!(attribute(&attempt, key), Some(&value), "{key}");
    }
    assert_eq!(attribute(&attempt, "http.request.resend_count"), None);
    for (span, key, value) in [
        ("dns", "dns.question.name", "api.test"),
        ("dns", "dns.answers", "127.0.0.1"),
        ("connect", "network.peer.address", "127.0.0.1"),
        ("connect", "network.transport", "tcp"),
        ("connect", "network.type", "ipv4"),
        ("tls", "tls.protocol.name", "tls"),
        ("tls", "tls.protocol.version", "1.3"),
        ("tls", "tls.next_protocol", "http/1.1"),
    ] {
        let said = text(&told.only(span), key);
        assert_eq!(said.as_deref(), Some(value), "{span} {key}");
    }
}

#[tokio::test]
async fn missing_name_fails_at_dns_in_every_span() {
    let told = Told::listen();
    let net = Net::new().await;
    net.dns.set("gone.test", DnsScript::NxDomain);
    let sent = client(&net).get("http://gone.test/").send().await;
    assert!(sent.is_err());
    assert_eq!(
        told.tree(),
        [
            "GET ✗ dns_error",
            "  GET ✗ dns_error",
            "    dns ✗ dns_error"
        ]
    );
    for span in told.spans() {
        assert_eq!(span.status, error(), "{}", span.name);
        assert_eq!(text(&span, "sevenhops.hop").as_deref(), Some("dns"));
        assert_eq!(text(&span, "sevenhops.effect").as_deref(), Some("none"));
    }
}

#[tokio::test]
async fn body_that_is_not_the_promised_json_fails_at_decode_within_its_call() {
    let told = Told::listen();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.default_reply(CannedResponse::json("{"));
    let get = client(&net).get(url(&server, "http")).fetch_json::<u8>();
    assert!(get.await.is_err());
    let tree = told.tree();
    assert_eq!(tree[0], "GET ✗ http_response_content_coding");
    assert_eq!(tree[1], "  GET", "the attempt did well");
    assert_eq!(
        tree.last().unwrap(),
        "  decode ✗ http_response_content_coding"
    );
}

#[tokio::test(start_paused = true)]
async fn retries_are_counted_and_their_waits_are_events_of_the_call() {
    let told = Told::listen();
    let mock = Mock::new([with(503, "retry-after", "1"), Step::Hang, status(200)]);
    let layer = standard();
    let answer = layer
        .layer(mock)
        .oneshot(request(Method::GET))
        .await
        .unwrap();
    drop(answer);
    assert_eq!(
        told.tree(),
        [
            "GET",
            "  GET ✗ 503",
            "    wait ✗ 503",
            "    receive",
            "  GET ✗ http_response_timeout",
            "    wait ✗ http_response_timeout",
            "  GET",
            "    wait",
            "    receive",
        ]
    );
    let mut attempts = told.named("GET");
    attempts.retain(|span| span.span_kind == SpanKind::Client);
    let counts = attempts
        .iter()
        .map(|span| text(span, "http.request.resend_count"));
    let counted = counts.collect::<Vec<_>>();
    assert_eq!(counted, [None, Some("1".into()), Some("2".into())]);
    let mut calls = told.named("GET");
    calls.retain(|span| span.span_kind == SpanKind::Internal);
    let events = &calls[0].events;
    let names = events.iter().map(|event| event.name.as_ref());
    assert_eq!(names.collect::<Vec<_>>(), ["waited", "waited"]);
    let first = &events[0].attributes;
    let asked = value(first, "sevenhops.wait.hinted");
    assert_eq!(asked, Some(&Value::Bool(true)));
    assert_eq!(calls[0].status, Status::Unset, "it ended well");
}

/// Returns the messages of the events on the span of the call.
fn events(told: &Told) -> Vec<String> {
    let mut calls = told.spans();
    calls.retain(|span| span.span_kind == SpanKind::Internal);
    let events = calls.iter().flat_map(|call| call.events.iter());
    events.map(|event| event.name.to_string()).collect()
}

#[tokio::test]
async fn rejection_redirect_replay_and_stale_dns_are_events_of_the_call() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let url = url(&server, "http");
    let trip = CircuitBreakerConfig::new().consecutive_failures(1);
    let client = net
        .builder()
        .heard()
        .config(|config| config.circuit_breaker(trip))
        .build()
        .unwrap();
    let key = || IdempotencyKey::new("order-1").unwrap();

    server.on_request([
        CannedResponse::new(StatusCode::TEMPORARY_REDIRECT)
            .header("location", "/elsewhere?token=canary")
            .into(),
        CannedResponse::json("1")
            .header("idempotent-replayed", "true")
            .into(),
    ]);
    let told = Told::listen();
    let post = client
        .post(&url)
        .options(|options| options.idempotency_key(key()).honors_idempotency_keys(true));
    post.send().await.unwrap();
    assert_eq!(events(&told), ["redirected", "key replayed"]);
    assert!(!format!("{:?}", told.spans()).contains("canary"));
    drop(told);

    server.on_request([Reply::CloseAfterRequest]);
    let told = Told::listen();
    assert!(client.post(&url).send().await.is_err());
    assert!(client.post(&url).send().await.is_err());
    assert_eq!(events(&told), ["circuit", "rejected"]);
}

#[tokio::test]
async fn call_that_its_caller_drops_is_over_and_not_an_error() {
    let told = Told::listen();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.default_reply(Reply::Silent);
    let client = client(&net);
    tokio::select! {
        _ = client.get(url(&server, "http")).send() => panic!("the server never responds"),
        _ = server.wait_until(|stats| stats.requests == 1) => {}
    }
    assert_eq!(
        told.tree(),
        [
            "GET",
            "  GET",
            "    dns",
            "    connect",
            "    send",
            "    wait"
        ]
    );
    for span in told.spans() {
        assert_eq!(span.status, Status::Unset, "{}", span.name);
    }
}

#[tokio::test]
async fn body_that_its_caller_drops_ends_receive_attempt_and_call_in_this_order() {
    let told = Told::listen();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let held = Gate::new();
    server.default_reply(CannedResponse::json("[1]").hold_body(&held));
    let answer = client(&net).get(url(&server, "http")).send().await.unwrap();
    drop(answer);
    assert_eq!(told.tree().last().unwrap(), "    receive");
    held.open();
}

#[tokio::test(start_paused = true)]
async fn work_between_attempts_is_within_the_call() {
    let told = Told::listen();
    let mock = Mock::new([status(503), with(307, "location", "/v2"), status(200)]);
    let layer = standard();
    let layer = layer.classify(|_| {
        get_active_span(|span| span.add_event("classified", Vec::new()));
        None
    });
    let transport = ServiceBuilder::new()
        .map_request(|request| {
            get_active_span(|span| span.add_event("asked", Vec::new()));
            request
        })
        .service(mock);
    let answer = layer
        .layer(transport)
        .oneshot(request(Method::GET))
        .await
        .unwrap();
    drop(answer);
    assert_eq!(
        told.tree()
            .iter()
            .filter(|line| line.starts_with("  GET"))
            .count(),
        3
    );
    assert_eq!(events(&told), ["classified", "waited", "redirected"]);
    for attempt in told.named("GET") {
        if attempt.span_kind == SpanKind::Client {
            assert_eq!(
                attempt
                    .events
                    .iter()
                    .map(|event| &event.name[..])
                    .collect::<Vec<_>>(),
                ["asked"]
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn policy_without_a_call_adds_events_to_the_callers_span() {
    let told = Told::listen();
    let layer = RetryLayer::new(RetryConfig::new()).unwrap();
    let asking = layer
        .layer(Mock::new([status(503)]))
        .oneshot(request(Method::GET));
    let mine = tracing::info_span!("mine");
    drop(asking.instrument(mine).await.unwrap());
    assert_eq!(events(&told), ["waited"]);
}

#[tokio::test]
async fn refused_connect_ends_before_the_next_lookup() {
    let told = Told::listen();
    let net = Net::new().await;
    let port = ClosedPort::new().unwrap();
    let url = format!("http://api.test:{}/", port.addr().port());
    assert!(
        client(&net)
            .get(&url)
            .options(|options| options.retry(false))
            .send()
            .await
            .is_err()
    );
    assert_eq!(
        told.tree(),
        [
            "GET ✗ connection_refused",
            "  GET ✗ connection_refused",
            "    dns",
            "    connect ✗ connection_refused",
            "    dns",
        ]
    );
    let connect = told.only("connect");
    for dns in told.named("dns") {
        let name = text(&dns, "dns.question.name");
        assert_eq!(name.as_deref(), Some("api.test"));
        let before = dns.end_time <= connect.start_time;
        assert!(before || connect.end_time <= dns.start_time);
    }
}

#[tokio::test]
async fn attempt_is_over_when_its_body_is_complete() {
    let told = Told::listen();
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.default_reply(CannedResponse::new(StatusCode::NO_CONTENT));
    let answer = client(&net).get(url(&server, "http")).send().await.unwrap();
    assert_eq!(told.only("receive").status, Status::Unset);
    drop(answer);
    assert_eq!(told.tree().len(), 7);
}
