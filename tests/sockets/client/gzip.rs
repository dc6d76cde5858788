//! Compressed request bodies.

use std::io::Read;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body_util::Full;
use sevenhops::testing::{CannedResponse, FaultServer, RecordedRequest};
use sevenhops::{Body, Hop, Kind};

use crate::net::{Net, url};

fn text() -> Bytes {
    r#"{"amount":100,"currency":"eur"}"#.repeat(100).into()
}

fn decoded(seen: &RecordedRequest) -> Vec<u8> {
    let mut text = Vec::new();
    GzDecoder::new(&seen.body[..])
        .read_to_end(&mut text)
        .unwrap();
    text
}

/// Returns the values of `Content-Encoding` and `Content-Length`.
fn framing(headers: &HeaderMap) -> [Option<&str>; 2] {
    [CONTENT_ENCODING, CONTENT_LENGTH].map(|name| Some(headers.get(name)?.to_str().unwrap()))
}

#[tokio::test]
async fn body_in_memory_is_compressed_with_its_length_and_retried() {
    let net = Net::new().await;
    for http2 in [false, true] {
        let server = match http2 {
            true => net.http2().await,
            false => FaultServer::start().await.unwrap(),
        };
        server.on_request([CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).into()]);
        let scheme = if http2 { "https" } else { "http" };
        let put = net.client().put(url(&server, scheme)).body(text());
        // The length is that of the body before the compression.
        let put = put.header(CONTENT_LENGTH, text().len());
        let response = put.gzip_body(1_000).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let seen = server.requests();
        assert_eq!(seen.len(), 2);
        for seen in &seen {
            let length = seen.body.len().to_string();
            assert_eq!(framing(&seen.headers), [Some("gzip"), Some(&length)]);
            assert!(seen.body.len() < 300);
            assert_eq!(decoded(seen), text());
        }
    }
}

#[tokio::test]
async fn json_and_form_are_compressed_whatever_the_order() {
    let (net, server) = (Net::new().await, FaultServer::start().await.unwrap());
    let client = net.client();
    let words = vec!["word"; 100];
    let post = client.post(server.url("/")).gzip_body(100).json(&words);
    post.send().await.unwrap();
    let seen = &server.requests()[0];
    assert_eq!(seen.headers["content-type"], "application/json");
    assert_eq!(decoded(seen), serde_json::to_vec(&words).unwrap());
}

#[tokio::test]
async fn body_that_is_short_or_encoded_already_is_sent_as_it_is() {
    let (net, server) = (Net::new().await, FaultServer::start().await.unwrap());
    let (client, gzip) = (net.client(), HeaderValue::from_static("gzip"));
    let encoded = net.builder().default_header(CONTENT_ENCODING, gzip.clone());
    let encoded = encoded.build().unwrap();
    let url = server.url("/");
    let own = text().len().to_string();
    for (request, expected) in [
        (
            client
                .post(&url)
                .body(text())
                .gzip_body(own.parse::<u64>().unwrap() + 1),
            [None, Some(&*own)],
        ),
        (client.post(&url).body("{}").gzip_body(0), [None, Some("2")]),
        (client.post(&url).gzip_body(0), [None, Some("0")]),
        (client.get(&url).gzip_body(0), [None, None]),
        (
            client
                .post(&url)
                .body(text())
                .header(CONTENT_ENCODING, "br")
                .gzip_body(0),
            [Some("br"), Some(&*own)],
        ),
        (
            encoded.post(&url).body(text()).gzip_body(0),
            [Some("gzip"), Some(&*own)],
        ),
    ] {
        let sent = server.requests_seen();
        request.send().await.unwrap();
        let seen = &server.requests()[sent];
        assert_eq!(framing(&seen.headers), expected);
        if expected[0].is_some() {
            assert_eq!(seen.body, text());
        }
    }
}

#[tokio::test]
async fn stream_is_compressed_as_it_goes_and_retried_only_if_it_can_be() {
    let (net, server) = (Net::new().await, FaultServer::start().await.unwrap());
    let client = net.client();
    let large = text().repeat(100);
    let stream = || Full::new(Bytes::from(large.clone()));
    let made = {
        let large = large.clone();
        Body::retryable(move || {
            let large = large.clone();
            async move { Ok::<_, std::io::Error>(Full::new(Bytes::from(large))) }
        })
    };
    let length = large.len() as u64;
    for (body, attempts) in [
        (Body::wrap(stream()), 1),
        (Body::wrap(stream()).with_length(length), 1),
        (made.with_length(length), 2),
        (Body::from(large.clone()), 2), // too large to be compressed at once
        (Body::from(large.clone()).on_progress(|_, _| {}), 2),
    ] {
        let before = server.requests_seen();
        server.on_request([CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).into()]);
        let response = client.put(server.url("/")).body(body).gzip_body(1_000);
        let status = response.send().await.unwrap().status();
        assert_eq!(status.is_success(), attempts == 2);
        let seen = &server.requests()[before..];
        assert_eq!(seen.len(), attempts);
        for seen in seen {
            assert_eq!(framing(&seen.headers), [Some("gzip"), None]);
            assert!(decoded(seen) == large);
        }
    }
}

#[tokio::test]
async fn wrong_length_is_still_refused() {
    let (net, server) = (Net::new().await, FaultServer::start().await.unwrap());
    let post = net.client().post(server.url("/")).body(text());
    let post = post.header(CONTENT_LENGTH, "7").gzip_body(0);
    let error = post.send().await.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Encode), Kind::InvalidRequest)
    );
    let short = Body::wrap(Full::new(text())).with_length(7);
    let error = net.client().post(server.url("/")).body(short).gzip_body(0);
    let error = error.send().await.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Encode), Kind::InvalidRequest)
    );
    assert_eq!(server.requests_seen(), 0);
}

#[tokio::test]
async fn redirect_keeps_the_coding_with_the_body_and_drops_it_without() {
    let (net, server) = (Net::new().await, FaultServer::start().await.unwrap());
    for (status, coding) in [(307, Some("gzip")), (303, None)] {
        let moved = CannedResponse::new(StatusCode::from_u16(status).unwrap());
        server.on_request([moved.header("location", "/v2").into()]);
        let before = server.requests_seen();
        let post = net.client().post(server.url("/")).body(text());
        post.gzip_body(0).send().await.unwrap();
        let seen = &server.requests()[before + 1];
        assert_eq!(framing(&seen.headers)[0], coding, "{status}");
        assert_eq!(seen.body.is_empty(), coding.is_none());
    }
}
