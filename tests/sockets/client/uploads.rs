//! Uploads whose body is created again for each attempt.

use std::convert::Infallible;
use std::fs::File;
use std::future::{pending, ready};
use std::io::{self, Read};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, StatusCode, Version};
use http_body::Frame;
use sevenhops::{
    Body, Effect, Hop, Kind, Operation, OperationConfig, OperationError, RetryConfig,
    testing::{CannedResponse, ClosedPort, FaultServer, Reply},
};

use crate::net::{Net, url};

/// A file, removed at the end of the test.
struct Stored(PathBuf);

impl Stored {
    fn new(name: &str, content: &[u8]) -> Self {
        let name = format!("sevenhops-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A file in pieces, without a known length.
struct Pieces(File);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut piece = vec![0; 10_000];
        let read = self.0.read(&mut piece);
        Poll::Ready(
            read.map(|bytes| {
                piece.truncate(bytes);
                (bytes > 0).then(|| Frame::data(piece.into()))
            })
            .transpose(),
        )
    }
}

/// Returns an upload of a file, and the number of times its body was created.
fn upload(path: &std::path::Path) -> (Arc<AtomicU32>, Body) {
    let made = Arc::new(AtomicU32::new(0));
    let (counter, path) = (Arc::clone(&made), path.to_owned());
    let body = Body::retryable(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        let path = path.clone();
        async move { File::open(path).map(Pieces) }
    });
    (made, body)
}

fn content() -> Vec<u8> {
    (0..200_000_u32).map(|i| (i % 251) as u8).collect()
}

/// Returns a network with a server for each HTTP version, and their URLs.
async fn both() -> (Net, [(FaultServer, String); 2]) {
    let net = Net::new().await;
    let plain = FaultServer::builder().start().await.unwrap();
    let http2 = net.http2().await;
    let [first, second] = [url(&plain, "http"), url(&http2, "https")];
    (net, [(plain, first), (http2, second)])
}

#[tokio::test]
async fn upload_with_a_lost_response_is_created_again_with_its_key() {
    let (net, servers) = both().await;
    let (client, content) = (net.client(), content());
    let file = Stored::new("lost", &content);
    for (server, url) in &servers {
        let (made, body) = upload(&file.0);
        server.on_request([Reply::CloseAfterRequest]);
        let post = client
            .post(url)
            .body(body.with_length(content.len() as u64));
        let response = post
            .options(|options| options.honors_idempotency_keys(true))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let seen = server.requests();
        let [lost, again] = &seen[..] else {
            panic!("{}", seen.len());
        };
        assert_eq!(
            lost.headers["idempotency-key"],
            again.headers["idempotency-key"]
        );
        for seen in [lost, again] {
            assert_eq!(seen.body, content);
            assert_eq!(seen.headers[CONTENT_LENGTH], content.len().to_string());
        }
        assert_eq!(made.load(Ordering::Relaxed), 2);
        assert_eq!(response.timeline().unwrap().attempt_count(), 2);
    }
}

#[tokio::test]
async fn upload_without_a_key_is_created_and_sent_once() {
    let (net, servers) = both().await;
    let file = Stored::new("once", b"hello");
    for (server, url) in &servers {
        let (made, body) = upload(&file.0);
        server.on_request([Reply::CloseAfterRequest]);
        let error = net.client().post(url).body(body).send().await.unwrap_err();
        assert_eq!(error.effect(), Effect::Possible);
        assert_eq!(
            (server.requests_seen(), made.load(Ordering::Relaxed)),
            (1, 1)
        );
    }
}

#[tokio::test]
async fn upload_without_a_length_is_sent_in_chunks_and_one_with_bytes_has_their_length() {
    let (net, servers) = both().await;
    let file = Stored::new("chunks", b"hello");
    for (server, url) in &servers {
        let client = net.client();
        client
            .put(url)
            .body(upload(&file.0).1)
            .send()
            .await
            .unwrap();
        let bytes = Body::retryable(|| ready(Ok::<_, Infallible>(Body::from("hello"))));
        client.put(url).body(bytes).send().await.unwrap();
        let seen = server.requests();
        assert_eq!(seen[0].body, "hello");
        assert!(!seen[0].headers.contains_key(CONTENT_LENGTH));
        let is_chunked = seen[0].headers.contains_key(TRANSFER_ENCODING);
        assert_eq!(is_chunked, seen[0].version == Version::HTTP_11);
        assert_eq!(seen[1].headers[CONTENT_LENGTH], "5");
    }
}

#[tokio::test]
async fn body_of_a_get_is_sent_even_if_its_length_is_unknown() {
    let (net, servers) = both().await;
    let file = Stored::new("search", br#"{"query":"tenant"}"#);
    for (server, url) in &servers {
        let search = net.client().get(url).body(upload(&file.0).1);
        search.send().await.unwrap();
        assert_eq!(server.requests()[0].body, r#"{"query":"tenant"}"#);
    }
}

#[tokio::test]
async fn redirect_that_keeps_the_body_creates_it_again() {
    let (net, servers) = both().await;
    let file = Stored::new("redirect", b"hello");
    for (status, method, bodies) in [
        (
            StatusCode::TEMPORARY_REDIRECT,
            Method::POST,
            vec!["hello", "hello"],
        ),
        (StatusCode::SEE_OTHER, Method::GET, vec!["hello", ""]),
    ] {
        for (server, url) in &servers {
            let (made, body) = upload(&file.0);
            let leads = CannedResponse::new(status).header("location", "/v2");
            server.on_request([leads.into()]);
            let before = server.requests_seen();
            net.client()
                .post(url)
                .body(body.with_length(5))
                .send()
                .await
                .unwrap();
            let seen = &server.requests()[before..];
            let came: Vec<_> = seen.iter().map(|seen| seen.body.as_ref()).collect();
            assert_eq!(
                came,
                bodies.iter().map(|b| b.as_bytes()).collect::<Vec<_>>()
            );
            assert_eq!(seen[1].method, method);
            let expected = if method == Method::POST { 2 } else { 1 };
            assert_eq!(made.load(Ordering::Relaxed), expected);
        }
    }
}

#[tokio::test]
async fn missing_file_fails_at_encode_and_keeps_the_effect_of_earlier_attempts() {
    let (net, servers) = both().await;
    for (server, url) in &servers {
        let file = Stored::new("gone", b"hello");
        let path = file.0.clone();
        let (_, body) = upload(&path);
        drop(file);
        let error = net.client().put(url).body(body).send().await.unwrap_err();
        let told = (error.hop(), error.kind(), error.effect());
        assert_eq!(
            told,
            (Some(Hop::Encode), Kind::InvalidRequest, Effect::None)
        );
        let text = error.to_string();
        assert!(
            text.contains("the function of Body::retryable made no body: No such"),
            "{text}"
        );
        assert_eq!(server.requests_seen(), 0);

        // The file is gone only when the second attempt needs it.
        let made = AtomicU32::new(0);
        let body = Body::retryable(move || {
            ready(match made.fetch_add(1, Ordering::Relaxed) {
                0 => Ok(Body::from("hello")),
                _ => Err(io::Error::from_raw_os_error(2)),
            })
        });
        server.on_request([CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).into()]);
        let error = net.client().put(url).body(body).send().await.unwrap_err();
        let told = (error.hop(), error.kind(), error.effect());
        assert_eq!(
            told,
            (Some(Hop::Encode), Kind::InvalidRequest, Effect::Possible)
        );
        assert_eq!(server.requests_seen(), 1);
    }
}

#[tokio::test]
async fn upload_with_a_wrong_length_is_not_a_complete_request() {
    let (net, servers) = both().await;
    let file = Stored::new("length", b"hello");
    for (server, url) in &servers {
        for length in [3, 7] {
            let body = upload(&file.0).1.with_length(length);
            let error = net.client().put(url).body(body).send().await.unwrap_err();
            assert_eq!(
                (error.hop(), error.kind()),
                (Some(Hop::Send), Kind::RequestBody)
            );
        }
        let known = Body::from("hello").with_length(3);
        let error = net.client().put(url).body(known).send().await.unwrap_err();
        let told = (error.hop(), error.kind(), error.effect());
        assert_eq!(
            told,
            (Some(Hop::Encode), Kind::InvalidRequest, Effect::None)
        );
        assert!(server.requests().iter().all(|seen| !seen.body_complete));
    }
}

#[tokio::test]
async fn body_is_created_once_for_each_attempt_without_a_connection() {
    let net = Net::new().await;
    let file = Stored::new("closed", b"hello");
    let port = ClosedPort::new().unwrap();
    let url = format!("http://api.test:{}/", port.addr().port());
    let (made, body) = upload(&file.0);
    let client = net
        .builder()
        .config(|config| config.retry(RetryConfig::new().unsent_attempts(3)));
    let client = client.build().unwrap();
    let error = client.post(url).body(body).send().await.unwrap_err();
    assert_eq!(
        (error.hop(), error.effect()),
        (Some(Hop::Connect), Effect::None)
    );
    let attempts = error.timeline().unwrap().attempt_count();
    assert_eq!((attempts, made.load(Ordering::Relaxed)), (3, 3));
}

#[tokio::test]
async fn function_that_does_not_return_ends_with_the_call_and_nothing_is_sent() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let held = Arc::new(());
    let hanging = || {
        let holds = Arc::clone(&held);
        Body::retryable(move || {
            let holds = Arc::clone(&holds);
            async move {
                let _holds = holds;
                pending::<io::Result<Body>>().await
            }
        })
    };
    let client = net.builder().build().unwrap();
    let deadline = Duration::from_millis(200);
    let post = client.post(url(&server, "http")).body(hanging());
    let error = post
        .options(|options| options.deadline(deadline))
        .send()
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.effect()),
        (Kind::Timeout, Effect::None)
    );
    // The caller drops the call.
    let mut sending = Box::pin(client.put(url(&server, "http")).body(hanging()).send());
    let polled = std::future::poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    assert_eq!(
        Arc::strong_count(&held),
        3,
        "ours, the function's and its future's"
    );
    drop(sending);
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn operation_retries_an_upload_that_its_work_creates() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let file = Stored::new("operation", b"hello");
    let (made, body) = upload(&file.0);
    let body = std::sync::Mutex::new(body);
    let (client, url) = (net.client(), url(&server, "http"));
    server.on_request([Reply::CloseAfterRequest]);
    let operation =
        Operation::from_config("files", OperationConfig::new(Duration::from_secs(10))).unwrap();
    let operation = operation.idempotent(true);
    let done = operation.run(|_| {
        use sevenhops::policy::retry::CloneBody;
        let body = body.lock().unwrap().clone_body().unwrap();
        let sending = client.put(&url).body(body).send();
        async { sending.await.map_err(OperationError::from) }
    });
    assert_eq!(done.await.unwrap().status(), StatusCode::OK);
    assert_eq!(made.load(Ordering::Relaxed), 2);
    assert!(server.requests().iter().all(|seen| seen.body == "hello"));
}
