//! The pipeline of Azure's SDKs, with its own retries, over a server on loopback that fails.

use std::sync::Arc;
use std::time::Duration;

use azure_core::error::{Error as AzureError, ErrorKind};
use azure_core::http::{
    ClientOptions, Context, Method, Pipeline, RawResponse, Request, Transport, Url,
};
use azure_core::stream::BytesStream;
use bytes::Bytes;
use sevenhops::testing::{CannedResponse, ClosedPort, FaultServer, Reply};
use sevenhops::{Effect, Hop};
use sevenhops_azure::{AzureHttpClient, call};
use tokio::time::Instant;

/// Sends a request through the pipeline that all SDKs use.
async fn send(method: Method, url: &str, deadline: Duration) -> Result<RawResponse, AzureError> {
    let mut request = Request::new(Url::parse(url).unwrap(), method);
    if method == Method::Post {
        request.set_body(Bytes::from_static(b"message"));
    }
    send_request(request, deadline).await
}

async fn send_request(mut request: Request, deadline: Duration) -> Result<RawResponse, AzureError> {
    let client = AzureHttpClient::new(deadline).unwrap();
    let options = ClientOptions {
        transport: Some(Transport::new(Arc::new(client))),
        ..ClientOptions::default()
    };
    let pipeline = Pipeline::new(Some("test"), Some("1"), options, vec![], vec![], None);
    pipeline.send(&Context::new(), &mut request, None).await
}

fn judge(error: &AzureError) -> (Option<Hop>, Effect) {
    assert!(
        !matches!(error.kind(), ErrorKind::Io | ErrorKind::Connection),
        "{error:?}"
    );
    let call = call(error).unwrap();
    assert!(call.timeline().is_some());
    (call.hop(), call.effect())
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[tokio::test]
async fn lost_response_of_a_post_is_sent_once() {
    let server = FaultServer::start().await.unwrap();
    server.on_request([Reply::CloseAfterRequest]);
    let error = send(Method::Post, &server.url("/messages"), secs(10))
        .await
        .unwrap_err();
    assert_eq!(judge(&error), (Some(Hop::Server), Effect::Possible));
    let seen = server.requests();
    assert_eq!((seen.len(), &seen[0].body[..]), (1, b"message".as_slice()));
    assert!(!seen[0].headers.contains_key("idempotency-key"));
}

#[tokio::test]
async fn lost_response_of_a_get_is_retried() {
    let server = FaultServer::start().await.unwrap();
    server.on_request([Reply::CloseAfterRequest]);
    let response = send(Method::Get, &server.url("/blob"), secs(10))
        .await
        .unwrap();
    assert_eq!(response.into_body().as_ref(), br#"{"ok":true}"#);
    assert_eq!(server.requests_seen(), 2);
}

#[tokio::test]
async fn own_write_is_not_reported_as_that_of_another() {
    let server = FaultServer::start().await.unwrap();
    for status in [
        http::StatusCode::PRECONDITION_FAILED,
        http::StatusCode::CONFLICT,
    ] {
        let url = server.url("/blob");
        let put = || send(Method::Put, &url, secs(10));
        let refused = || CannedResponse::new(status);
        server.on_request([refused().into()]);
        let error = put().await.unwrap_err();
        assert_eq!(error.http_status().map(u16::from), Some(status.as_u16()));
        assert!(call(&error).is_none(), "{error:?}");
        let before = server.requests_seen();

        server.on_request([Reply::CloseAfterRequest, refused().into()]);
        let error = put().await.unwrap_err();
        assert_eq!(error.http_status(), None);
        assert_eq!(judge(&error).1, Effect::Possible);
        assert_eq!(server.requests_seen(), before + 2);
    }
}

#[tokio::test]
async fn failing_status_is_retried_by_the_stack_alone_and_keeps_its_status() {
    let server = FaultServer::start().await.unwrap();
    server.default_reply(CannedResponse::new(http::StatusCode::SERVICE_UNAVAILABLE));
    let error = send(Method::Post, &server.url("/"), secs(10))
        .await
        .unwrap_err();
    assert_eq!(judge(&error), (Some(Hop::Server), Effect::Possible));
    assert_eq!(
        (error.http_status().map(u16::from), server.requests_seen()),
        (Some(503), 1)
    );

    let error = send(Method::Get, &server.url("/"), secs(10))
        .await
        .unwrap_err();
    assert_eq!(judge(&error).0, Some(Hop::Server));
    assert_eq!(server.requests_seen(), 4);
}

#[tokio::test]
async fn throttled_request_waits_for_the_hint() {
    let server = FaultServer::start().await.unwrap();
    let throttled = CannedResponse::new(http::StatusCode::TOO_MANY_REQUESTS);
    server.on_request([throttled.header("x-ms-retry-after-ms", "700").into()]);
    let begun = Instant::now();
    send(Method::Post, &server.url("/"), secs(10))
        .await
        .unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(700));
    assert_eq!(server.requests_seen(), 2);
}

#[tokio::test]
async fn refused_connection_has_no_effect() {
    let closed = ClosedPort::new().unwrap();
    let url = format!("http://{}/", closed.addr());
    let error = send(Method::Post, &url, secs(1)).await.unwrap_err();
    assert_eq!(judge(&error), (Some(Hop::Connect), Effect::None));
}

#[tokio::test]
async fn broken_body_is_not_sent_again() {
    let server = FaultServer::start().await.unwrap();
    let sent = Bytes::from_static(b"half");
    server.on_request([Reply::TruncateBody { declared: 90, sent }]);
    let error = send(Method::Post, &server.url("/"), secs(10))
        .await
        .unwrap_err();
    assert_eq!(judge(&error), (Some(Hop::Receive), Effect::Done));
    assert_eq!(server.requests_seen(), 1);
}

#[tokio::test]
async fn deadline_ends_a_silent_call() {
    let server = FaultServer::start().await.unwrap();
    server.default_reply(Reply::Silent);
    let begun = Instant::now();
    let error = send(Method::Post, &server.url("/"), Duration::from_millis(300))
        .await
        .unwrap_err();
    assert_eq!(judge(&error), (Some(Hop::Server), Effect::Possible));
    assert!(begun.elapsed() < secs(10) && server.requests_seen() == 1);
}

#[tokio::test]
async fn stream_is_sent_from_its_beginning_again() {
    let server = FaultServer::start().await.unwrap();
    server.on_request([Reply::CloseAfterRequest]);
    let mut request = Request::new(Url::parse(&server.url("/blob")).unwrap(), Method::Put);
    let stream: Box<dyn azure_core::stream::SeekableStream> =
        Box::new(BytesStream::new("a stream"));
    request.set_body(azure_core::http::Body::from(stream));
    send_request(request, secs(10)).await.unwrap();
    let seen = server.requests();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|seen| seen.body == "a stream"));
}
