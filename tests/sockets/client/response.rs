//! The questions about a response that a user of reqwest asks.

use std::time::Duration;

use http::StatusCode;
use sevenhops::testing::{CannedResponse, ClosedPort, FaultServer, Reply};
use sevenhops::timeout::TimeoutsConfig;
use sevenhops::{Body, Hop, Kind, Response, Timeline};

use crate::net::{Net, url};

#[tokio::test]
async fn response_names_its_peer_and_the_url_that_redirects_led_to() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let moved = CannedResponse::new(StatusCode::FOUND).header("location", "/v2?page=2");
    server.on_request([moved.into()]);
    let response = net.client().get(url(&server, "http")).send().await.unwrap();
    assert_eq!(response.remote_addr(), Some(server.addr()));
    let expected = format!("http://api.test:{}/v2?page=2", server.addr().port());
    assert_eq!(response.url().unwrap().as_str(), expected);
    let foreign = Response::from(http::Response::new(Body::from("hello")));
    assert_eq!((foreign.url(), foreign.remote_addr()), (None, None));
}

#[tokio::test]
async fn status_is_an_error_and_the_response_can_still_be_read() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (net.client(), url(&server, "http"));
    let declined = CannedResponse::json(r#"{"code":"declined"}"#);
    server.on_request([declined.status(StatusCode::PAYMENT_REQUIRED).into()]);
    let response = client.post(&url).send().await.unwrap();
    let error = response.error_for_status_ref().unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::PAYMENT_REQUIRED));
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Server), Kind::ClientError)
    );
    assert_eq!(error.url().as_deref(), Some(&*url));
    assert_eq!(response.text().await.unwrap(), r#"{"code":"declined"}"#);
    let response = client.post(&url).send().await.unwrap();
    assert!(response.error_for_status_ref().is_ok());
}

#[tokio::test]
async fn default_charset_counts_only_if_the_response_names_none() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (net.client(), url(&server, "http"));
    for (kind, body, text) in [
        ("text/plain", &b"caf\xe9"[..], "caf\u{e9}"),
        ("text/plain; charset=utf-8", b"caf\xc3\xa9", "caf\u{e9}"),
    ] {
        let page = CannedResponse::new(StatusCode::OK).header("content-type", kind);
        server.on_request([page.body(body).into()]);
        let response = client.get(&url).send().await.unwrap();
        let read = response.text_with_charset("windows-1252").await.unwrap();
        assert_eq!(read, text, "{kind}");
    }
    let response = client.get(&url).send().await.unwrap();
    let error = response.text_with_charset("utf-9").await.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Decode), Kind::Malformed)
    );
    let text = error.to_string();
    assert!(text.contains("\"utf-9\" is not a charset"), "{text}");
}

#[tokio::test]
async fn converted_response_keeps_its_timeline_and_its_url() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let url = url(&server, "http");
    let response = net.client().get(&url).send().await.unwrap();
    let plain = http::Response::from(response);
    let timeline = Timeline::from_extensions(plain.extensions()).unwrap();
    assert_eq!(timeline.attempt_count(), 1);
    let ours = Response::from(plain);
    assert_eq!(ours.uri().to_string(), url);
    assert_eq!(ours.remote_addr(), Some(server.addr()));
    let theirs = reqwest::Response::from(ours);
    assert_eq!(theirs.url().as_str(), url);
    let timeline = Timeline::from_extensions(theirs.extensions()).unwrap();
    assert_eq!(timeline.url(), url);
    assert!(Timeline::from_extensions(&http::Extensions::new()).is_none());
}

#[tokio::test]
async fn error_tells_its_url_and_whether_a_redirect_or_a_body_failed() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let timeouts = TimeoutsConfig::new().body_idle(Duration::from_millis(100));
    let client = net
        .builder()
        .config(|config| config.timeouts(timeouts))
        .build()
        .unwrap();
    let url = url(&server, "http");
    let secret = format!("{url}?key=canary");

    let around = CannedResponse::new(StatusCode::FOUND).header("location", &secret);
    server.on_request([around.into()]);
    let error = client.get(&secret).send().await.unwrap_err();
    assert!(error.is_redirect() && !error.is_body(), "{error}");
    assert_eq!(error.url().as_deref(), Some(&*url));

    let sent = "hel".into();
    server.on_request([Reply::StallInBody { declared: 5, sent }]);
    let response = client.get(&url).send().await.unwrap();
    let error = response.bytes().await.unwrap_err();
    assert!(error.is_body() && error.is_timeout() && !error.is_redirect());

    let over = Body::wrap(Body::from("hello").with_length(3));
    let error = client.put(&url).body(over).send().await.unwrap_err();
    assert!(error.is_body() && !error.is_timeout(), "{error}");

    let port = ClosedPort::new().unwrap();
    let closed = format!("http://api.test:{}/v1", port.addr().port());
    let request = client
        .get(format!("{closed}?key=canary"))
        .options(|options| options.retry(false));
    let error = request.send().await.unwrap_err();
    assert!(!error.is_body() && !error.is_redirect());
    assert_eq!(error.url(), Some(closed));
    let error = client.get("no url").send().await.unwrap_err();
    assert_eq!(error.url(), None);
}

#[tokio::test]
async fn error_of_a_status_has_the_wait_that_the_clients_function_read() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let later = CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE);
    server.on_request([later.header("x-come-back-in", "7").into()]);
    let builder = net.builder().hint(|head| {
        let seconds = head.headers().get("x-come-back-in")?.to_str().ok()?;
        Some(Duration::from_secs(seconds.parse().ok()?))
    });
    let get = builder.build().unwrap().get(url(&server, "http"));
    let response = get.options(|options| options.retry(false)).send().await;
    let error = response.unwrap().error_for_status().unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}
