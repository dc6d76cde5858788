//! Tests the body of a failing status in the error.

use std::io::Write;
use std::time::Duration;

use http::StatusCode;
use sevenhops::testing::{CannedResponse, FaultServer, Gate, Reply};
use sevenhops::{Effect, Error, Kind};

use crate::net::{Net, url};

const DECLINED: &str = r#"{"error":{"code":"card_declined"}}"#;

fn declined() -> CannedResponse {
    CannedResponse::json(DECLINED).status(StatusCode::PAYMENT_REQUIRED)
}

async fn post(net: &Net, server: &FaultServer) -> Error {
    let post = net.client().post(url(server, "http")).body("amount=100");
    post.fetch_bytes().await.unwrap_err()
}

#[tokio::test]
async fn error_of_a_fetch_has_the_body_of_its_response() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.default_reply(declined());
    let error = post(&net, &server).await;
    assert_eq!(error.body().unwrap(), DECLINED);
    assert_eq!(
        (error.status(), error.kind(), error.effect()),
        (
            Some(StatusCode::PAYMENT_REQUIRED),
            Kind::ClientError,
            Effect::Declined
        )
    );
    let json = net.client().post(url(&server, "http"));
    let error = json.fetch_json::<()>().await.unwrap_err();
    assert_eq!(error.body().unwrap(), DECLINED);

    server.default_reply(declined().status(StatusCode::FOUND));
    assert_eq!(post(&net, &server).await.body().unwrap(), DECLINED);

    // `send` does not receive the body, so the error does not have it.
    let sent = net.client().post(url(&server, "http")).send().await;
    server.default_reply(declined());
    assert!(sent.unwrap().error_for_status().is_ok());
    let sent = net.client().post(url(&server, "http")).send().await;
    let error = sent.unwrap().error_for_status().unwrap_err();
    assert_eq!(error.body(), None);
}

#[tokio::test]
async fn error_body_is_decoded_bounded_and_absent_if_unreadable() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&vec![b'x'; 1 << 20]).unwrap();
    let gzip = encoder.finish().unwrap();
    for (answer, expected) in [
        (declined().body("x".repeat(8 << 10)), 8 << 10),
        (declined().body("x".repeat(8_193)), 8 << 10),
        (declined().body("x".repeat(100_000)).chunked(), 8 << 10),
        (
            declined().header("content-encoding", "gzip").body(gzip),
            8 << 10,
        ),
        (declined().header("content-encoding", "zstd"), 0),
        (declined().body(""), 0),
        (
            declined()
                .header("content-encoding", "gzip")
                .body("no gzip"),
            0,
        ),
    ] {
        server.default_reply(answer);
        let error = post(&net, &server).await;
        let found = error.body().map_or(0, bytes::Bytes::len);
        assert_eq!((found, error.kind()), (expected, Kind::ClientError));
        assert_eq!(error.body().is_none(), expected == 0);
        assert_eq!(error.effect(), Effect::Declined, "{error}");
    }
}

#[tokio::test]
async fn error_body_that_breaks_off_or_stalls_does_not_change_the_error() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let cut = "HTTP/1.1 402 Payment Required\r\ncontent-length: 100\r\n\r\n{\"error\":";
    server.default_reply(Reply::Garbage(cut.into()));
    let error = post(&net, &server).await;
    assert_eq!(error.body().unwrap(), "{\"error\":");
    assert_eq!(
        (error.kind(), error.effect()),
        (Kind::ClientError, Effect::Declined)
    );
    let timeline = error.timeline().unwrap().to_string();
    assert!(timeline.contains("status 402"), "{timeline}");

    let gate = Gate::new();
    server.default_reply(declined().hold_body(&gate));
    let begun = tokio::time::Instant::now();
    let error = post(&net, &server).await;
    assert_eq!((error.body(), error.kind()), (None, Kind::ClientError));
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    assert!(waited < Duration::from_millis(1_900), "{waited:?}");
}

#[tokio::test]
async fn received_error_body_frees_its_connection() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    server.default_reply(declined());
    let client = net.client();
    for _ in 0..3 {
        let post = client.post(url(&server, "http")).body("amount=100");
        post.fetch_bytes().await.unwrap_err();
    }
    assert_eq!((server.requests_seen(), server.connections()), (3, 1));
}
