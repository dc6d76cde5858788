//! object_store's S3 over a server on loopback that fails.

use std::error::Error as _;
use std::time::Duration;

use http::StatusCode;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpConnector, HttpRequestBody};
use object_store::path::Path;
use object_store::{
    ClientOptions, Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
};
use sevenhops::testing::{CannedResponse, ClosedPort, FaultServer, Reply};
use sevenhops::{Effect, Hop, Options, sdk};
use sevenhops_object_store::StackConnector;
use tokio::time::Instant;

fn store(url: &str, deadline: Duration) -> AmazonS3 {
    AmazonS3Builder::new()
        .with_endpoint(url)
        .with_allow_http(true)
        .with_region("eu-central-1")
        .with_bucket_name("bucket")
        .with_access_key_id("AKID")
        .with_secret_access_key("canary")
        .with_http_connector(StackConnector::new(deadline).unwrap())
        .build()
        .unwrap()
}

fn path() -> Path {
    Path::from("object")
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn judge(error: &Error) -> (Option<Hop>, Effect) {
    let found = sdk::classify_error(error);
    assert!(found.timeline().is_some(), "{error:?}");
    assert!(!format!("{error} {error:?} {:?}", error.source()).contains("canary"));
    (found.hop(), found.effect())
}

/// Begins a multipart upload: a POST, which must not be sent twice.
async fn begin(store: &AmazonS3) -> Result<Box<dyn MultipartUpload>, Error> {
    store.put_multipart(&path()).await
}

#[tokio::test]
async fn lost_response_of_a_put_is_retried_and_that_of_a_post_is_not() {
    let server = FaultServer::start().await.unwrap();
    let store = store(&server.url(""), secs(10));
    let put = || CannedResponse::new(StatusCode::OK).header("etag", "\"1\"");
    server.on_request([Reply::CloseAfterRequest, put().into()]);
    store.put(&path(), PutPayload::from("bytes")).await.unwrap();
    let seen = server.requests();
    assert_eq!((seen.len(), &seen[1].body[..]), (2, b"bytes".as_slice()));

    server.on_request([Reply::CloseAfterRequest]);
    let error = begin(&store).await.unwrap_err();
    assert_eq!(judge(&error), (Some(Hop::Server), Effect::Possible));
    assert_eq!(server.requests_seen(), 3);
}

#[tokio::test]
async fn own_write_is_not_reported_as_that_of_another() {
    let server = FaultServer::start().await.unwrap();
    let store = store(&server.url(""), secs(10));
    let object = path();
    let create = || store.put_opts(&object, PutPayload::from("bytes"), PutMode::Create.into());
    for status in [StatusCode::PRECONDITION_FAILED, StatusCode::CONFLICT] {
        let refused = || CannedResponse::new(status);
        server.on_request([refused().into()]);
        let error = create().await.unwrap_err();
        assert!(matches!(error, Error::AlreadyExists { .. }), "{error:?}");
        let before = server.requests_seen();

        server.on_request([Reply::CloseAfterRequest, refused().into()]);
        let error = create().await.unwrap_err();
        assert!(matches!(error, Error::Generic { .. }), "{error:?}");
        assert_eq!(judge(&error).1, Effect::Possible);
        assert_eq!(server.requests_seen(), before + 2);
    }
}

#[tokio::test]
async fn redirect_of_a_read_is_followed_and_that_of_a_write_is_not() {
    let server = FaultServer::start().await.unwrap();
    let store = store(&server.url(""), secs(10));
    let found = || CannedResponse::new(StatusCode::FOUND).header("location", "/elsewhere");
    let object = CannedResponse::new(StatusCode::OK).header("etag", "\"1\"");
    let object = object.header("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT");
    server.on_request([found().into(), object.body("object").into()]);
    let got = store.get(&path()).await.unwrap().bytes().await.unwrap();
    assert_eq!(got, "object");
    let seen = server.requests();
    assert_eq!((seen.len(), seen[1].path()), (2, "/elsewhere"));

    server.on_request([found().into()]);
    assert!(store.put(&path(), PutPayload::from("bytes")).await.is_err());
    assert_eq!(server.requests_seen(), 3);
}

#[tokio::test]
async fn options_in_the_extensions_of_a_request_hold() {
    let server = FaultServer::start().await.unwrap();
    server.on_request([Reply::CloseAfterRequest]);
    let allowed = ClientOptions::new().with_allow_http(true);
    let client = StackConnector::new(secs(10)).unwrap().connect(&allowed);
    // A connector around this one can add them.
    let once = http::Request::put(server.url("/object")).extension(Options::new().attempts(1));
    let once = once.body(HttpRequestBody::empty()).unwrap();
    let error = client.unwrap().execute(once).await.unwrap_err();
    assert_eq!(sdk::classify_error(&error).effect(), Effect::Possible);
    assert_eq!(server.requests_seen(), 1);
}

#[tokio::test]
async fn failing_status_is_retried_by_the_stack_alone() {
    let server = FaultServer::start().await.unwrap();
    server.default_reply(CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE));
    let store = store(&server.url(""), secs(10));
    let error = store.get(&path()).await.unwrap_err();
    let found = sdk::classify_error(&error);
    assert_eq!(
        (found.hop(), found.status()),
        (Some(Hop::Server), Some(StatusCode::SERVICE_UNAVAILABLE))
    );
    assert_eq!(server.requests_seen(), 3);

    let error = begin(&store).await.unwrap_err();
    assert_eq!(judge(&error).1, Effect::Possible);
    assert_eq!(server.requests_seen(), 4);
}

#[tokio::test]
async fn throttled_request_waits_for_the_hint() {
    let server = FaultServer::start().await.unwrap();
    let throttled = CannedResponse::new(StatusCode::TOO_MANY_REQUESTS).header("retry-after", "1");
    let put = CannedResponse::new(StatusCode::OK).header("etag", "\"1\"");
    server.on_request([throttled.into(), put.into()]);
    let begun = Instant::now();
    store(&server.url(""), secs(10))
        .put(&path(), PutPayload::from("bytes"))
        .await
        .unwrap();
    assert!(begun.elapsed() >= secs(1));
}

#[tokio::test]
async fn status_that_the_store_knows_stays_its_own_error() {
    let server = FaultServer::start().await.unwrap();
    server.default_reply(CannedResponse::new(StatusCode::NOT_FOUND));
    let error = store(&server.url(""), secs(10))
        .get(&path())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn refused_connection_has_no_effect() {
    let closed = ClosedPort::new().unwrap();
    let store = store(&format!("http://{}", closed.addr()), secs(1));
    let error = begin(&store).await.unwrap_err();
    assert_eq!(judge(&error), (Some(Hop::Connect), Effect::None));
}

#[tokio::test]
async fn rest_of_a_broken_object_is_asked_for_and_an_encoded_one_stays_encoded() {
    let server = FaultServer::start().await.unwrap();
    let object = |body: &'static str| {
        let object = CannedResponse::new(StatusCode::OK).header("etag", "\"1\"");
        object
            .header("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT")
            .body(body)
    };
    let store = store(&server.url(""), secs(10));
    server.on_request([object("not gzip").header("content-encoding", "gzip").into()]);
    let got = store.get(&path()).await.unwrap().bytes().await.unwrap();
    assert_eq!(got, "not gzip");

    // The head declares more than there is. The store asks for the rest, and this server sends no part.
    server.default_reply(object("half").header("content-length", "90"));
    let short = store_at(&server, Duration::from_millis(500));
    let read = short.get(&path()).await.unwrap().bytes().await;
    assert!(read.is_err());
    let seen = server.requests();
    assert_eq!(seen[seen.len() - 1].headers["range"], "bytes=4-89");
}

fn store_at(server: &FaultServer, deadline: Duration) -> AmazonS3 {
    store(&server.url(""), deadline)
}

#[tokio::test]
async fn deadline_ends_a_silent_call() {
    let server = FaultServer::start().await.unwrap();
    server.default_reply(Reply::Silent);
    let begun = Instant::now();
    let error = begin(&store(&server.url(""), Duration::from_millis(300)))
        .await
        .unwrap_err();
    assert_eq!(judge(&error), (Some(Hop::Server), Effect::Possible));
    assert!(begun.elapsed() < secs(10) && server.requests_seen() == 1);
}

#[tokio::test]
async fn options_of_the_client_are_honored_or_refused() {
    let server = FaultServer::start().await.unwrap();
    let builder = || {
        AmazonS3Builder::new()
            .with_endpoint(server.url(""))
            .with_region("eu-central-1")
            .with_bucket_name("bucket")
            .with_skip_signature(true)
            .with_http_connector(StackConnector::new(secs(10)).unwrap())
    };
    // Like the store's own client, it sends nothing in plain text unless that is allowed.
    let error = builder().build().unwrap().get(&path()).await.unwrap_err();
    assert!(
        format!("{error:?}").contains("http is not allowed"),
        "{error:?}"
    );
    assert_eq!(server.requests_seen(), 0);

    let impatient = ClientOptions::new()
        .with_timeout(secs(1))
        .with_allow_http(true);
    let refused = builder().with_client_options(impatient).build();
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("the client option Timeout is not used"),
        "{refused}"
    );

    let allowed = ClientOptions::new().with_allow_http(true);
    let store = builder().with_client_options(allowed).build().unwrap();
    drop(store.get(&path()).await);
    assert_eq!(server.requests_seen(), 1);
}
