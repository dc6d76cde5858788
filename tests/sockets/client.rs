//! Tests the client on real loopback sockets.

mod cookies;
mod decoding;
mod download;
mod error_body;
mod events;
mod fetch;
mod framing;
mod gzip;
mod layers;
mod multipart;
mod progress;
mod response;
mod stale;
mod unchanged;
mod uploads;

use std::time::Duration;

use http::StatusCode;
use sevenhops::testing::{CannedResponse, DnsScript, FaultServer, Reply};
use sevenhops::timeout::{TimeoutKind, TimeoutsConfig};
use sevenhops::{Effect, Hop, Kind, Options};

use crate::net::{Net, url};

#[tokio::test]
async fn whole_body_calls_return_the_value_and_bound_the_body() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (net.client(), url(&server, "http"));
    let value: std::collections::HashMap<String, bool> =
        client.get(&url).fetch_json().await.unwrap();
    assert!(value["ok"]);
    let error = client
        .get(&url)
        .body_limit(10)
        .fetch_bytes()
        .await
        .unwrap_err();
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Receive), Kind::TooLarge)
    );
    let error = client
        .get(&url)
        .body_limit(10)
        .send()
        .await
        .unwrap()
        .bytes()
        .await;
    assert_eq!(error.unwrap_err().kind(), Kind::TooLarge);
}

#[tokio::test]
async fn cached_lookup_failure_does_not_use_up_the_attempts() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let url = url(&server, "http");
    // Longer than the waits of three attempts together.
    let (first, most) = (Duration::from_millis(500), Duration::from_secs(20));
    let resolver = net.dns.resolver_builder().failure_backoff(first, most);
    let client = net
        .builder()
        .transport(|transport| transport.resolver(resolver.build().unwrap()));
    let client = client.build().unwrap();
    net.dns.set("api.test", DnsScript::ServFail);
    let error = client
        .get(&url)
        .options(|options| options.retry(false))
        .send()
        .await
        .unwrap_err();
    assert!(error.retry_after().is_some_and(|wait| wait <= first));

    net.dns
        .set("api.test", DnsScript::addresses([[127, 0, 0, 1].into()]));
    let response = client.get(&url).send().await.unwrap();
    assert_eq!(response.timeline().unwrap().attempts().len(), 2);
}

#[tokio::test]
async fn missing_client_certificate_is_tls_without_effect() {
    let net = Net::new().await;
    let identity = net.authority.issue(&["api.test"]).unwrap();
    let config = identity.server_config_with_client_auth(&net.authority, &[]);
    let server = FaultServer::builder()
        .tls_config(config)
        .start()
        .await
        .unwrap();
    let url = url(&server, "https");
    let error = net
        .client()
        .post(&url)
        .body("amount=100")
        .send()
        .await
        .unwrap_err();
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Tls), Kind::Alert),
        "{error:?}"
    );
    assert_eq!(error.effect(), Effect::None);
    assert_eq!(server.requests_seen(), 0);

    let own = net.authority.issue(&["client.test"]).unwrap();
    let client = net
        .builder()
        .transport(|transport| transport.tls(net.authority.client_config_as(&own)));
    let response = client.build().unwrap().post(&url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn response_converts_to_reqwests_and_back() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let url = url(&server, "http");
    let response = net.client().get(&url).send().await.unwrap();
    let theirs = reqwest::Response::from(response);
    assert_eq!(theirs.url().as_str(), url);
    let ours = sevenhops::Response::from(theirs);
    assert_eq!(ours.uri().to_string(), url);
    assert_eq!(ours.timeline().unwrap().attempt_count(), 1);
    assert_eq!(ours.text().await.unwrap(), r#"{"ok":true}"#);
}

#[tokio::test]
async fn requests_are_built_as_reqwests_users_expect() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let base = url(&server, "http").replace("http://", "http://us%65r:pass@");
    let request = net
        .client()
        .put(format!("{base}?a=1"))
        .query(&[("b", "2 3")])
        .header("x-one", "1")
        .json(&[1, 2]);
    request.send().await.unwrap();
    let seen = &server.requests()[0];
    assert_eq!(
        (seen.method.as_str(), &*seen.target),
        ("PUT", "/v1/charges?a=1&b=2+3")
    );
    assert_eq!(seen.headers["authorization"], "Basic dXNlcjpwYXNz");
    assert_eq!(seen.headers["content-type"], "application/json");
    assert_eq!(seen.headers["x-one"], "1");
    assert_eq!(&seen.body[..], b"[1,2]");
}

#[tokio::test]
async fn several_requests_share_their_options() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.default_reply(CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE));
    let (client, url) = (net.client(), url(&server, "http"));
    let shared = Options::new().retry(false).route("/v1/{id}");
    for _ in 0..2 {
        let request = client
            .get(&url)
            .options(|options| options.route("/before"))
            .options(|_| shared.clone());
        let response = request.send().await.unwrap();
        let timeline = response.timeline().unwrap();
        assert_eq!(timeline.route(), Some("/v1/{id}"));
        assert_eq!(timeline.attempt_count(), 1);
    }
}

#[tokio::test]
async fn silent_dns_with_a_search_list_is_still_a_timeout() {
    let net = Net::new().await;
    net.dns.set("pay.corp.test", DnsScript::Silent);
    let resolver = net.dns.resolver_builder().search(["corp.test"]).ndots(2);
    let client = net
        .builder()
        .transport(|transport| transport.resolver(resolver.build().unwrap()))
        .config(|config| config.timeouts(TimeoutsConfig::new().dns(Duration::from_millis(300))))
        .build()
        .unwrap();
    let error = client.get("http://pay/").send().await.unwrap_err();
    assert_eq!((error.hop(), error.kind()), (Some(Hop::Dns), Kind::Timeout));
    assert_eq!(
        (error.timeout_kind(), error.effect()),
        (Some(TimeoutKind::Dns), Effect::None)
    );
}

#[tokio::test]
async fn complete_stream_is_not_in_send_during_the_wait() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.default_reply(Reply::Silent);
    let timeouts = TimeoutsConfig::new()
        .send(Duration::from_millis(200))
        .first_byte(Duration::from_millis(600));
    let client = net
        .builder()
        .config(|config| config.timeouts(timeouts))
        .build()
        .unwrap();
    // A body without a known length that never reports its end.
    let stream = http_body_util::StreamBody::new(Once(Some("hello")));
    let error = client
        .post(url(&server, "http"))
        .header("content-length", "5")
        .body(sevenhops::Body::wrap(stream))
        .send()
        .await
        .unwrap_err();
    assert_eq!(
        (error.hop(), error.timeout_kind()),
        (Some(Hop::Server), Some(TimeoutKind::FirstByte))
    );
    assert_eq!(&server.requests()[0].body[..], b"hello");
}

struct Once(Option<&'static str>);

impl futures_core::Stream for Once {
    type Item = Result<http_body::Frame<bytes::Bytes>, std::convert::Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let piece = self.0.take();
        std::task::Poll::Ready(piece.map(|text| Ok(http_body::Frame::data(text.into()))))
    }
}

#[tokio::test]
async fn fault_server_stands_in_front_of_wiremock() {
    use wiremock::matchers::{body_string, method, path};
    let mock = wiremock::MockServer::start().await;
    wiremock::Mock::given(method("POST"))
        .and(path("/v1/charges"))
        .and(body_string("amount=100"))
        .respond_with(wiremock::ResponseTemplate::new(201).set_body_string("charged"))
        .expect(1)
        .mount(&mock)
        .await;
    let net = Net::new().await;
    let server = FaultServer::builder().upstream(*mock.address());
    let server = server.start().await.unwrap();
    server.on_request([Reply::CloseAfterRequest]);
    let client = net.client();
    let lost = client
        .post(url(&server, "http"))
        .body("amount=100")
        .send()
        .await;
    assert_eq!(lost.unwrap_err().effect(), Effect::Possible);
    let response = client
        .post(url(&server, "http"))
        .body("amount=100")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.text().await.unwrap(), "charged");
}

#[tokio::test]
async fn redirect_without_json_does_not_claim_effect_done() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.default_reply(CannedResponse::new(StatusCode::FOUND).body("elsewhere"));
    let request = net.client().post(url(&server, "http"));
    let error = request.fetch_json::<bool>().await.unwrap_err();
    assert_eq!(
        (error.hop(), error.effect()),
        (Some(Hop::Server), Effect::Possible)
    );
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_connection() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let moved = CannedResponse::new(StatusCode::FOUND).header("location", "/v2");
    server.on_request([moved.body(vec![b'x'; 20_000]).into()]);
    let response = net.client().get(url(&server, "http")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!((server.requests_seen(), server.connections()), (2, 1));
}

#[tokio::test]
async fn redirect_to_another_host_is_another_connection_without_the_secrets() {
    let net = Net::new().await;
    net.dns
        .set("other.test", DnsScript::addresses([[127, 0, 0, 1].into()]));
    let home = FaultServer::builder().start().await.unwrap();
    let away = FaultServer::builder().start().await.unwrap();
    let there = format!("http://other.test:{}/v2?x=1", away.addr().port());
    let moved = CannedResponse::new(StatusCode::PERMANENT_REDIRECT).header("location", &there);
    home.default_reply(moved.body("moved"));
    let post = net.client().post(url(&home, "http")).bearer_auth("canary");
    let response = post.body("amount=100").send().await.unwrap();
    assert_eq!(response.uri().to_string(), there);
    let seen = &away.requests()[0];
    assert_eq!((&seen.body[..], seen.path()), (&b"amount=100"[..], "/v2"));
    assert_eq!(
        seen.headers["host"],
        format!("other.test:{}", away.addr().port())
    );
    for name in ["authorization", "idempotency-key"] {
        assert!(home.requests()[0].headers.contains_key(name), "{name}");
        assert!(!seen.headers.contains_key(name), "{name}");
    }
}
