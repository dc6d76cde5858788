//! OpenDAL's HTTP service, and its retries, over a server on loopback that fails.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use opendal_core::{Buffer, ErrorKind, HttpTransporter, OperationContext, Operator};
use opendal_layer_retry::RetryLayer;
use opendal_service_http::Http;
use sevenhops::testing::{CannedResponse, ClosedPort, FaultServer, Reply};
use sevenhops::{Effect, Hop, Options, sdk};
use sevenhops_opendal::StackTransport;
use tokio::time::Instant;

/// Returns an operator that would also retry temporary errors itself.
fn operator(url: &str, deadline: Duration) -> Operator {
    let transport = HttpTransporter::new(StackTransport::new(deadline).unwrap());
    let context = OperationContext::new().with_http_transport(transport);
    let operator = Operator::new(Http::default().endpoint(url)).unwrap();
    operator.with_context(context).layer(RetryLayer::default())
}

async fn read(url: &str, deadline: Duration) -> opendal_core::Result<Bytes> {
    Ok(operator(url, deadline).read("object").await?.to_bytes())
}

/// Sends a request that must not be sent twice.
async fn post(url: &str) -> opendal_core::Error {
    send(Request::post(url)).await.unwrap_err()
}

/// Sends a request as the services do.
async fn send(request: http::request::Builder) -> opendal_core::Result<StatusCode> {
    let transport = HttpTransporter::new(StackTransport::new(secs(10)).unwrap());
    let request = request.body(Buffer::from("bytes")).unwrap();
    Ok(transport.send(request).await?.status())
}

fn judge(error: &opendal_core::Error) -> (Option<Hop>, Effect) {
    assert!(!error.is_temporary(), "{error:?}");
    let found = sdk::classify_error(error);
    assert!(found.timeline().is_some(), "{error:?}");
    (found.hop(), found.effect())
}

async fn server() -> FaultServer {
    let server = FaultServer::start().await.unwrap();
    server.default_reply(CannedResponse::new(StatusCode::OK).body("object"));
    server
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[tokio::test]
async fn lost_response_of_a_read_is_retried_and_that_of_a_post_is_not() {
    let server = server().await;
    server.on_request([Reply::CloseAfterRequest]);
    assert_eq!(read(&server.url(""), secs(10)).await.unwrap(), "object");
    let before = server.requests_seen();
    server.on_request([Reply::CloseAfterRequest]);
    let error = post(&server.url("/begin")).await;
    assert_eq!(judge(&error), (Some(Hop::Server), Effect::Possible));
    assert_eq!(server.requests_seen(), before + 1);
}

#[tokio::test]
async fn own_write_is_not_reported_as_that_of_another() {
    let server = server().await;
    for status in [StatusCode::PRECONDITION_FAILED, StatusCode::CONFLICT] {
        let put = || send(Request::put(server.url("/object")).header("if-none-match", "*"));
        let refused = || CannedResponse::new(status);
        server.on_request([refused().into()]);
        assert_eq!(put().await.unwrap(), status);
        let before = server.requests_seen();

        server.on_request([Reply::CloseAfterRequest, refused().into()]);
        let error = put().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unexpected);
        assert_eq!(judge(&error).1, Effect::Possible);
        assert_eq!(server.requests_seen(), before + 2);
    }
    let delete = || send(Request::delete(server.url("/object")));
    server.on_request([
        Reply::CloseAfterRequest,
        CannedResponse::new(StatusCode::NOT_FOUND).into(),
    ]);
    assert_eq!(judge(&delete().await.unwrap_err()).1, Effect::Possible);
}

#[tokio::test]
async fn redirect_of_a_read_is_followed_and_that_of_a_write_is_not() {
    let server = server().await;
    let found = || CannedResponse::new(StatusCode::FOUND).header("location", "/elsewhere");
    server.on_request([found().into()]);
    assert_eq!(read(&server.url(""), secs(10)).await.unwrap(), "object");
    let seen = server.requests();
    assert_eq!((seen.len(), seen[1].path()), (2, "/elsewhere"));

    server.on_request([found().into()]);
    let put = send(Request::put(server.url("/object")));
    assert_eq!(put.await.unwrap(), StatusCode::FOUND);
    assert_eq!(server.requests_seen(), 3);
}

#[tokio::test]
async fn options_in_the_extensions_of_a_request_hold() {
    let server = server().await;
    server.on_request([Reply::CloseAfterRequest]);
    let once = Request::put(server.url("/object")).extension(Options::new().attempts(1));
    assert_eq!(judge(&send(once).await.unwrap_err()).1, Effect::Possible);
    assert_eq!(server.requests_seen(), 1);
}

#[tokio::test]
async fn failing_status_is_retried_by_the_stack_alone() {
    let server = server().await;
    server.default_reply(CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE));
    let error = read(&server.url(""), secs(10)).await.unwrap_err();
    assert_eq!(
        sdk::classify_error(&error).status(),
        Some(StatusCode::SERVICE_UNAVAILABLE)
    );
    judge(&error);
    assert_eq!(server.requests_seen(), 3);
}

#[tokio::test]
async fn throttled_read_waits_for_the_hint() {
    let server = server().await;
    let throttled = CannedResponse::new(StatusCode::TOO_MANY_REQUESTS).header("retry-after", "1");
    server.on_request([throttled.into()]);
    let begun = Instant::now();
    read(&server.url(""), secs(10)).await.unwrap();
    assert!(begun.elapsed() >= secs(1));
}

#[tokio::test]
async fn status_that_the_service_knows_stays_its_own_error() {
    let server = server().await;
    server.default_reply(CannedResponse::new(StatusCode::NOT_FOUND));
    let error = read(&server.url(""), secs(10)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn length_of_a_response_without_a_body_is_not_expected_of_it() {
    let server = server().await;
    let operator = operator(&server.url(""), secs(10));
    let found = operator.stat("object").await.unwrap();
    assert_eq!(found.content_length(), 6);

    let unmodified = CannedResponse::new(StatusCode::NOT_MODIFIED).header("content-length", "6");
    server.on_request([unmodified.into()]);
    let read = operator.read_with("object").if_none_match("\"1\"");
    let error = read.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConditionNotMatch, "{error:?}");
}

#[tokio::test]
async fn refused_connection_has_no_effect() {
    let closed = ClosedPort::new().unwrap();
    let error = read(&format!("http://{}", closed.addr()), secs(1))
        .await
        .unwrap_err();
    assert_eq!(judge(&error), (Some(Hop::Connect), Effect::None));
}

#[tokio::test]
async fn broken_object_is_an_error() {
    let server = server().await;
    let sent = Bytes::from_static(b"half");
    server.default_reply(Reply::TruncateBody { declared: 90, sent });
    let error = read(&server.url(""), secs(10)).await.unwrap_err();
    assert_eq!(judge(&error).0, Some(Hop::Receive));
}

#[tokio::test]
async fn deadline_ends_a_silent_read() {
    let server = server().await;
    server.default_reply(Reply::Silent);
    let begun = Instant::now();
    let error = read(&server.url(""), Duration::from_millis(300))
        .await
        .unwrap_err();
    assert_eq!(judge(&error).0, Some(Hop::Server));
    assert!(begun.elapsed() < secs(10));
}
