//! A request with `Expect: 100-continue` keeps its body back until the server asks for it.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use sevenhops::hop::{Attempt, Stage, StageOutcome};
use sevenhops::testing::FaultServer;
use sevenhops::{Body, Client, Effect, Hop, Kind, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::raw::{
    DATA, END_STREAM, Frozen, Peer, RST_STREAM, data, head, http2_client, read_head, serve,
};
use crate::net::Net;

/// A body of two bytes. It records whether its source was polled for them.
#[derive(Clone, Default)]
struct Source {
    is_asked: Arc<AtomicBool>,
    is_over: bool,
}

impl Source {
    fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::SeqCst)
    }
}

impl http_body::Body for Source {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.is_asked.store(true, Ordering::SeqCst);
        if std::mem::replace(&mut self.is_over, true) {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"10")))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(if self.is_over { 0 } else { 2 })
    }
}

/// Posts the source's body, and waits for the head of the response.
async fn post(client: &Client, url: &str, source: &Source) -> (Response, Attempt) {
    let post = client.post(url).header("expect", "100-continue");
    let response = post
        .body(Body::wrap(source.clone()))
        .options(|options| options.retry(false))
        .send()
        .await;
    let response = response.unwrap();
    let attempt = response.timeline().unwrap().attempts().remove(0);
    (response, attempt)
}

fn send(attempt: &Attempt) -> StageOutcome {
    let mut rows = attempt.stages().iter();
    rows.find(|row| row.stage() == Stage::Send)
        .unwrap()
        .outcome()
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const NO: &[u8] = b"HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno";

/// Starts a server that reports the bytes that it has read of each connection, at the head of the request and at its
/// end.
async fn server(first: &'static [&'static [u8]]) -> (String, UnboundedReceiver<String>) {
    let (told, events) = unbounded_channel();
    let address = serve(move |mut stream, number| {
        let told = told.clone();
        async move {
            let tell = |what: &str| told.send(format!("{number}: {what}")).unwrap();
            let head = read_head(&mut stream).await?;
            assert!(head.contains("expect: 100-continue\r\n"), "{head}");
            tell("head");
            for answer in first {
                stream.write_all(answer).await?;
            }
            let mut body = [0; 2];
            match stream.read_exact(&mut body).await {
                Ok(_) => tell(&String::from_utf8_lossy(&body)),
                Err(_) => {
                    tell("closed");
                    return Ok(());
                }
            }
            stream.write_all(OK).await?;
            stream.read_u8().await.map(drop)
        }
    })
    .await;
    (format!("http://{address}/"), events)
}

#[tokio::test]
async fn http1_body_is_sent_after_100_continue() {
    const EARLY: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\n";
    const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let net = Net::new().await;
    let (url, mut events) = server(&[EARLY, CONTINUE]).await;
    let source = Source::default();
    // No time passes, so nothing else releases the body.
    let _frozen = Frozen::now();
    let (response, attempt) = post(&net.client(), &url, &source).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(events.recv().await.unwrap(), "1: head");
    assert_eq!(events.recv().await.unwrap(), "1: 10");
    assert_eq!(
        (send(&attempt), attempt.sent_bytes(), attempt.is_taken()),
        (StageOutcome::Completed, 2, true)
    );
}

#[tokio::test]
async fn http1_body_is_sent_after_a_second_of_silence() {
    let net = Net::new().await;
    let (url, mut events) = server(&[]).await;
    let source = Source::default();
    let _frozen = Frozen::now();
    let client = net.client();
    let posted = {
        let source = source.clone();
        tokio::spawn(async move { post(&client, &url, &source).await })
    };
    assert_eq!(events.recv().await.unwrap(), "1: head");
    for (millis, is_over) in [(999, false), (2, true)] {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert!(!source.is_asked());
        tokio::time::advance(Duration::from_millis(millis)).await;
        if is_over {
            assert_eq!(events.recv().await.unwrap(), "1: 10");
        }
    }
    let (response, attempt) = posted.await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let row = attempt
        .stages()
        .iter()
        .find(|row| row.stage() == Stage::Send);
    assert!(row.unwrap().duration() >= Duration::from_secs(1));
}

#[tokio::test]
async fn http1_response_that_comes_first_is_delivered_and_ends_the_connection() {
    let net = Net::new().await;
    let (url, mut events) = server(&[NO]).await;
    let client = net.client();
    let source = Source::default();
    let frozen = Frozen::now();
    let (response, attempt) = post(&client, &url, &source).await;
    assert_eq!(response.status(), StatusCode::EXPECTATION_FAILED);
    assert_eq!(
        (send(&attempt), attempt.sent_bytes(), attempt.is_taken()),
        (StageOutcome::Abandoned, 0, true)
    );
    let timeline = response.timeline().cloned().unwrap();
    assert_eq!(response.bytes().await.unwrap(), "no");
    assert_eq!(timeline.effect(), Effect::Declined);
    assert_eq!(events.recv().await.unwrap(), "1: head");
    assert_eq!(events.recv().await.unwrap(), "1: closed");
    assert!(!source.is_asked());
    drop(frozen);
    let again = post(&client, &url, &source).await;
    assert_eq!(again.0.status(), StatusCode::EXPECTATION_FAILED);
    assert_eq!(events.recv().await.unwrap(), "2: head");
    // Also if the response is dropped unread.
    drop(again);
    assert_eq!(events.recv().await.unwrap(), "2: closed");
}

#[tokio::test]
async fn http1_call_dropped_during_the_wait_sends_no_body() {
    let net = Net::new().await;
    let (url, mut events) = server(&[]).await;
    let client = net.client();
    let source = Source::default();
    let _frozen = Frozen::now();
    tokio::select! {
        _ = post(&client, &url, &source) => panic!("it waits"),
        head = events.recv() => assert_eq!(head.unwrap(), "1: head"),
    }
    assert_eq!(events.recv().await.unwrap(), "1: closed");
    assert!(!source.is_asked());
}

#[tokio::test]
async fn expect_without_a_body_is_refused() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let post = net.client().post(server.url("/"));
    let error = post.header("expect", "100-continue").send().await;
    let error = error.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind(), error.effect()),
        (Some(Hop::Encode), Kind::InvalidRequest, Effect::None)
    );
    let text = error.to_string();
    assert!(
        text.contains("expect: 100-continue must be removed"),
        "{text}"
    );
    assert_eq!(server.connections(), 0);
}

/// Serves an HTTP/2 connection: `first` goes out after the head of a request, `last` after its body.
async fn http2_server(
    first: fn(u32) -> Vec<u8>,
    last: fn(u32) -> Vec<u8>,
) -> (String, UnboundedReceiver<String>) {
    let (told, events) = unbounded_channel();
    let address = serve(move |stream, number| {
        let told = told.clone();
        async move {
            let mut peer = Peer::accept(stream, 100).await?;
            let tell = |what: &str| told.send(format!("{number}: {what}")).unwrap();
            loop {
                let stream = peer.request().await?;
                tell("head");
                peer.write(&[first(stream)]).await?;
                loop {
                    let frame = peer.next().await?;
                    match frame.kind {
                        DATA => tell(&String::from_utf8_lossy(&frame.payload)),
                        RST_STREAM => tell("reset"),
                        _ => return Err(io::ErrorKind::InvalidData.into()),
                    }
                    if frame.kind == RST_STREAM {
                        break;
                    }
                    if frame.flags & END_STREAM != 0 {
                        peer.write(&[last(stream)]).await?;
                        break;
                    }
                }
            }
        }
    })
    .await;
    (format!("http://{address}/"), events)
}

#[tokio::test]
async fn http2_body_is_sent_after_100_continue() {
    let net = Net::new().await;
    let asks = |stream| [head(stream, 103, None, 0), head(stream, 100, None, 0)].concat();
    let ok = |stream| head(stream, 200, None, END_STREAM);
    let (url, mut events) = http2_server(asks, ok).await;
    let source = Source::default();
    let _frozen = Frozen::now();
    let (response, attempt) = post(&http2_client(&net), &url, &source).await;
    assert_eq!(response.status(), StatusCode::OK);
    for event in ["1: head", "1: 10"] {
        assert_eq!(events.recv().await.unwrap(), event);
    }
    assert_eq!(
        (send(&attempt), attempt.sent_bytes()),
        (StageOutcome::Completed, 2)
    );
}

#[tokio::test]
async fn http2_response_that_comes_first_resets_the_stream_and_keeps_the_connection() {
    let net = Net::new().await;
    let refuses = |stream| {
        let head = head(stream, 417, Some(2), 0);
        [head, data(stream, b"no", END_STREAM)].concat()
    };
    let (url, mut events) = http2_server(refuses, |_| Vec::new()).await;
    let client = http2_client(&net);
    let _frozen = Frozen::now();
    for _ in 0..2 {
        let source = Source::default();
        let (response, attempt) = post(&client, &url, &source).await;
        assert_eq!(response.status(), StatusCode::EXPECTATION_FAILED);
        assert_eq!(
            (send(&attempt), attempt.sent_bytes()),
            (StageOutcome::Abandoned, 0)
        );
        assert_eq!(response.bytes().await.unwrap(), "no");
        for event in ["1: head", "1: reset"] {
            assert_eq!(events.recv().await.unwrap(), event);
        }
        assert!(!source.is_asked());
    }
}
