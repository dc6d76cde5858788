//! Streams as bodies, and the progress of uploads and downloads.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_core::Stream;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use sevenhops::testing::{CannedResponse, FaultServer};
use sevenhops::{Body, Effect, Hop, Kind};

use crate::net::{Net, url};

/// A stream of pieces that ends with an error, if there is one.
struct Pieces(VecDeque<io::Result<&'static str>>);

impl Stream for Pieces {
    type Item = io::Result<&'static str>;

    fn poll_next(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front())
    }
}

fn stream(pieces: impl IntoIterator<Item = io::Result<&'static str>>) -> Body {
    Body::from_stream(Pieces(pieces.into_iter().collect()))
}

/// The reports of an observer.
type Reports = Arc<Mutex<Vec<(u64, Option<u64>)>>>;

/// Returns an observer that keeps its reports here.
fn observer(reports: &Reports) -> impl Fn(u64, Option<u64>) + Send + Sync + 'static {
    let heard = Arc::clone(reports);
    move |passed, total| heard.lock().unwrap().push((passed, total))
}

/// Returns a server for each HTTP version, and their URLs.
async fn both(net: &Net) -> [(FaultServer, String); 2] {
    let plain = FaultServer::builder().start().await.unwrap();
    let http2 = net.http2().await;
    let [first, second] = [url(&plain, "http"), url(&http2, "https")];
    [(plain, first), (http2, second)]
}

#[tokio::test]
async fn stream_is_sent_in_chunks_or_with_the_announced_length() {
    let net = Net::new().await;
    for (server, url) in &both(&net).await {
        let client = net.client();
        let pieces = || stream([Ok("hel"), Ok(""), Ok("lo")]);
        client.put(url).body(pieces()).send().await.unwrap();
        let announced = pieces().with_length(5);
        client.put(url).body(announced).send().await.unwrap();
        let seen = server.requests();
        assert!(seen.iter().all(|seen| seen.body == "hello"));
        assert!(!seen[0].headers.contains_key(CONTENT_LENGTH));
        assert_eq!(seen[1].headers[CONTENT_LENGTH], "5");
        assert!(!seen[1].headers.contains_key(TRANSFER_ENCODING));
    }
}

#[tokio::test]
async fn stream_that_fails_fails_the_call_at_send() {
    let net = Net::new().await;
    for (server, url) in &both(&net).await {
        let failing = stream([Ok("hel"), Err(io::Error::other("canary")), Ok("lo")]);
        let put = net.client().put(url).body(failing);
        let error = put.send().await.unwrap_err();
        let told = (error.hop(), error.kind());
        assert_eq!(told, (Some(Hop::Send), Kind::RequestBody));
        assert!(error.is_body());
        assert!(!error.to_string().contains("canary"));
        assert!(server.requests().iter().all(|seen| !seen.body_complete));
    }
}

#[tokio::test]
async fn download_is_passed_on_as_an_upload() {
    let net = Net::new().await;
    for (server, url) in &both(&net).await {
        let client = net.client();
        server.on_request([CannedResponse::new(StatusCode::OK).body("hello").into()]);
        let download = client.get(url).send().await.unwrap();
        let upload = Body::from_stream(download.bytes_stream());
        client.put(url).body(upload).send().await.unwrap();
        assert_eq!(server.requests()[1].body, "hello");
    }
}

#[tokio::test]
async fn progress_of_an_upload_begins_again_with_each_attempt() {
    let net = Net::new().await;
    let content = vec![b'x'; 200_000];
    let length = content.len() as u64;
    for (server, url) in &both(&net).await {
        let reports = Reports::default();
        let observe = observer(&reports);
        server.on_request([CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).into()]);
        let upload = Body::from(content.clone()).on_progress(observe);
        let response = net.client().put(url).body(upload).send().await.unwrap();
        assert_eq!(response.timeline().unwrap().attempt_count(), 2);
        assert!(server.requests().iter().all(|seen| seen.body == content));
        let first = [65_536, 131_072, 196_608, length];
        let expected: Vec<_> = first.map(|sent| (sent, Some(length))).to_vec();
        assert_eq!(*reports.lock().unwrap(), expected.repeat(2));
    }
}

#[tokio::test]
async fn total_of_an_upload_is_known_if_its_length_is() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (net.client(), url(&server, "http"));
    let made = || Body::retryable(|| async { Ok::<_, io::Error>(stream([Ok("hel"), Ok("lo")])) });
    for (body, is_announced, total) in [
        (made(), false, None),
        (made(), true, Some(5)),
        (stream([Ok("hel"), Ok("lo")]), true, Some(5)),
    ] {
        let reports = Reports::default();
        let observe = observer(&reports);
        let body = body.on_progress(observe);
        let body = if is_announced {
            body.with_length(5)
        } else {
            body
        };
        client.put(&url).body(body).send().await.unwrap();
        let reports = reports.lock().unwrap().clone();
        assert_eq!(reports.last(), Some(&(5, total)), "{reports:?}");
    }
    let wrong = Body::from("hello").on_progress(|_, _| {}).with_length(3);
    let error = client.put(&url).body(wrong).send().await.unwrap_err();
    assert_eq!(
        (error.hop(), error.effect()),
        (Some(Hop::Encode), Effect::None)
    );
}

#[tokio::test]
async fn progress_of_a_download_ends_with_its_length() {
    let net = Net::new().await;
    let content = vec![b'x'; 200_000];
    let length = content.len() as u64;
    for (server, url) in &both(&net).await {
        let page = CannedResponse::new(StatusCode::OK).body(content.clone());
        for (page, total) in [(page.clone(), Some(length)), (page.chunked(), None)] {
            let reports = Reports::default();
            let observe = observer(&reports);
            server.on_request([page.into()]);
            let response = net.client().get(url).send().await.unwrap();
            let bytes = response.on_progress(observe).bytes().await.unwrap();
            assert_eq!(bytes, content);
            let reports = reports.lock().unwrap().clone();
            assert_eq!(reports.last(), Some(&(length, total)));
            assert!(reports.is_sorted() && reports.len() > 1);
        }
    }
}

#[tokio::test]
async fn observer_of_progress_that_panics_is_ignored() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let (client, url) = (net.client(), url(&server, "http"));
    let upload = Body::from("hello").on_progress(|_, _| panic!("upload"));
    let response = client.put(&url).body(upload).send().await.unwrap();
    let response = response.on_progress(|_, _| panic!("download"));
    assert_eq!(response.text().await.unwrap(), r#"{"ok":true}"#);
    assert_eq!(server.requests()[0].body, "hello");
}
