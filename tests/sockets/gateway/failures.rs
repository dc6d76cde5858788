//! Calls that fail without a response.

use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::Value;
use sevenhops::testing::{CannedResponse, ClosedPort, FaultServer, Reply};
use sevenhops::{CircuitBreakerConfig, Client, Config, sdk};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{client, get, none, send, whole};

/// Returns the status, the facts in the headers and the problem of a response.
async fn failure(url: String) -> (StatusCode, [String; 3], Value) {
    let response = get(url).await;
    let status = response.status();
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let facts = ["hop", "kind", "effect"].map(|name| {
        let value = response.headers().get(format!("sevenhops-{name}"));
        value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    });
    let problem: Value = serde_json::from_slice(&whole(response).await).unwrap();
    assert_eq!(problem["status"], status.as_u16());
    for (name, fact) in ["hop", "kind", "effect"].iter().zip(&facts) {
        assert_eq!(problem[name].as_str().unwrap_or_default(), fact);
    }
    (status, facts, problem)
}

#[tokio::test]
async fn refused_connection_is_a_502_that_names_the_hop_and_no_secret() {
    let port = ClosedPort::new().unwrap();
    let gateway = sdk::gateway(&client(), format!("http://{}", port.addr())).unwrap();
    let (status, facts, problem) = failure(format!("{}/v1?key=secret", gateway.url())).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert_eq!(facts, ["connect", "refused", "none"]);
    assert_eq!(
        (&problem["title"], &problem["attempts"]),
        (&"Bad Gateway".into(), &2.into())
    );
    let detail = problem["detail"].as_str().unwrap();
    let asked = format!(
        "GET http://{}/v1 failed at connect (hop 2 of 7): refused",
        port.addr()
    );
    assert!(detail.starts_with(&asked), "{detail}");
    let text = problem.to_string();
    let token = gateway.url().rsplit('/').next().unwrap();
    assert!(!text.contains("secret") && !text.contains(token), "{text}");
}

#[tokio::test]
async fn silent_server_is_a_504_whose_effect_is_possible() {
    let server = FaultServer::start().await.unwrap();
    server.default_reply(Reply::Silent);
    let client = Client::builder(Duration::from_millis(300)).build().unwrap();
    let gateway = sdk::gateway(&client, server.url("")).unwrap();
    let request = Request::post(gateway.url()).body(none()).unwrap();
    let response = send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(response.headers()["sevenhops-hop"], "server");
    assert_eq!(response.headers()["sevenhops-kind"], "timeout");
    assert_eq!(response.headers()["sevenhops-effect"], "possible");
    assert_eq!(server.requests_seen(), 1);
}

#[tokio::test]
async fn open_circuit_is_a_502_without_a_hop_and_says_when_to_come_back() {
    let server = FaultServer::start().await.unwrap();
    server.default_reply(CannedResponse::new(StatusCode::INTERNAL_SERVER_ERROR));
    let breaker = CircuitBreakerConfig::new().min_attempts(2);
    let config = Config::new(Duration::from_secs(10)).circuit_breaker(breaker);
    let client = Client::builder_from_config(config).build().unwrap();
    let gateway = sdk::gateway(&client, server.url("")).unwrap();
    // The response of the service itself is passed on.
    while get(gateway.url()).await.status() == StatusCode::INTERNAL_SERVER_ERROR {}
    let (status, facts, problem) = failure(gateway.url().to_owned()).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert_eq!(facts, ["", "circuit open", "none"]);
    assert!(problem.get("hop").is_none());
    let wait = get(gateway.url()).await.headers()["retry-after"].clone();
    let wait: u64 = wait.to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}

/// Sends a PUT whose first copy is carried out and whose response is lost. The second copy gets this response.
async fn put_twice(second: CannedResponse) -> (Response<Incoming>, usize) {
    let server = FaultServer::start().await.unwrap();
    server.on_request([Reply::CloseAfterRequest, second.into()]);
    let gateway = sdk::gateway(&client(), server.url("")).unwrap();
    let request = Request::put(gateway.url()).header("if-none-match", "*");
    let response = send(request.body(none()).unwrap()).await.unwrap();
    (response, server.requests_seen())
}

#[tokio::test]
async fn refusal_of_the_second_copy_is_a_502_whose_effect_is_possible() {
    for status in [404, 409, 412, 429].map(|status| StatusCode::from_u16(status).unwrap()) {
        let (response, requests) = put_twice(CannedResponse::new(status)).await;
        assert_eq!((response.status(), requests), (StatusCode::BAD_GATEWAY, 2));
        assert_eq!(response.headers()["sevenhops-hop"], "server");
        assert_eq!(response.headers()["sevenhops-effect"], "possible");
        let problem: Value = serde_json::from_slice(&whole(response).await).unwrap();
        assert_eq!(problem["attempts"], 2);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(status.as_str()), "{detail}");
    }
}

#[tokio::test]
async fn replayed_refusal_is_the_response_of_the_service() {
    let declined = CannedResponse::new(StatusCode::PAYMENT_REQUIRED).body("declined");
    let (response, requests) = put_twice(declined.header("idempotent-replayed", "true")).await;
    assert_eq!(
        (response.status(), requests),
        (StatusCode::PAYMENT_REQUIRED, 2)
    );
    assert_eq!(whole(response).await, "declined");
}

#[tokio::test]
async fn upload_that_the_sdk_breaks_off_is_not_a_complete_request() {
    let server = FaultServer::start().await.unwrap();
    let gateway = sdk::gateway(&client(), server.url("")).unwrap();
    let (authority, path) = gateway.url()[7..].split_once('/').unwrap();
    let mut stream = TcpStream::connect(authority).await.unwrap();
    let head = format!(
        "PUT /{path} HTTP/1.1\r\nhost: {authority}\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    server.wait_until(|stats| stats.requests == 1).await;
    drop(stream);
    server.wait_until(|stats| stats.given_up == 1).await;
    assert!(!server.requests()[0].body_complete);
    assert_eq!(server.requests_seen(), 1);
}
