//! Tests request bodies whose source fails or panics, before and after the head of the response.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use sevenhops::{Body, Client, Error, Hop, Kind, RequestBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::raw::{DATA, END_STREAM, HEADERS, Peer, head, http2_client, read_head, serve};
use crate::net::Net;

/// The end of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Fails,
    Panics,
    /// It has fewer bytes than were announced.
    TooEarly,
}

/// A body of two bytes. It ends when the test says so.
struct Source {
    piece: Option<Bytes>,
    ends: oneshot::Receiver<()>,
    end: End,
}

impl http_body::Body for Source {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(piece) = self.piece.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let _ = ready!(Pin::new(&mut self.ends).poll(cx));
        match self.end {
            End::Fails => Poll::Ready(Some(Err(io::Error::other("of its own")))),
            End::Panics => panic!("of its own"),
            End::TooEarly => Poll::Ready(None),
        }
    }
}

/// Starts a server that sends the head of its response before the request has ended, or sends nothing.
async fn server(http2: bool, responds: bool) -> SocketAddr {
    serve(move |mut stream, _| async move {
        if http2 {
            let mut peer = Peer::accept(stream, 100).await?;
            let stream = peer.request().await?;
            if responds {
                peer.write(&[head(stream, 200, Some(2), 0)]).await?;
            }
            return peer.linger().await;
        }
        read_head(&mut stream).await?;
        if responds {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
                .await?;
        }
        stream.read_to_end(&mut Vec::new()).await.map(drop)
    })
    .await
}

fn client(net: &Net, http2: bool) -> Client {
    match http2 {
        true => http2_client(net),
        false => net.client(),
    }
}

/// Returns a POST whose source ends like this, and a sender that lets it end.
fn post(client: &Client, address: SocketAddr, end: End) -> (RequestBuilder, oneshot::Sender<()>) {
    let (go, ends) = oneshot::channel();
    let piece = Some(Bytes::from_static(b"10"));
    let source = Source { piece, ends, end };
    let post = client
        .post(format!("http://{address}/"))
        .header("content-length", "9")
        .body(Body::wrap(source));
    (post, go)
}

fn assert_is_the_sources(error: &Error, case: &str) {
    let named = (error.hop(), error.kind(), error.attempts());
    let expected = (Some(Hop::Send), Kind::RequestBody, 1);
    assert_eq!(named, expected, "{case}: {error:?}");
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    let is_known = |text: &str| causes.iter().any(|cause| cause.contains(text));
    let is_named = is_known("of its own")
        || is_known("http_body::Body::poll_frame panicked")
        || is_known("has 2 bytes, 9 were announced");
    assert!(is_named, "{case}: {causes:?}");
}

const ENDS: [End; 3] = [End::Fails, End::Panics, End::TooEarly];

#[tokio::test]
async fn source_that_fails_before_the_response_is_named() {
    let net = Net::new().await;
    for http2 in [false, true] {
        let address = server(http2, false).await;
        for end in ENDS {
            let (post, go) = post(&client(&net, http2), address, end);
            go.send(()).unwrap();
            let error = post.send().await.unwrap_err();
            assert_is_the_sources(&error, &format!("HTTP/2: {http2}, {end:?}"));
        }
    }
}

#[tokio::test]
async fn source_that_fails_after_the_head_of_the_response_is_named() {
    let net = Net::new().await;
    for http2 in [false, true] {
        let address = server(http2, true).await;
        for end in ENDS {
            let (post, go) = post(&client(&net, http2), address, end);
            let response = post.send().await.unwrap();
            go.send(()).unwrap();
            let error = response.bytes().await.unwrap_err();
            assert_is_the_sources(&error, &format!("HTTP/2: {http2}, {end:?}"));
        }
    }
}

/// A body of two bytes with trailers, whose length is not known.
struct Trailed(Vec<Frame<Bytes>>);

impl Trailed {
    fn body(fields: &[&'static str]) -> Body {
        let name = |name: &&'static str| http::HeaderName::from_static(name);
        let value = HeaderValue::from_static("1");
        let fields = fields.iter().map(|field| (name(field), value.clone()));
        let trailers = Frame::trailers(HeaderMap::from_iter(fields));
        Body::wrap(Self(vec![trailers, Frame::data(Bytes::from_static(b"10"))]))
    }
}

impl http_body::Body for Trailed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.0.pop().map(Ok))
    }
}

/// Reads the chunks and the trailers of requests, and responds.
async fn chunked() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (told, requests) = tokio::sync::mpsc::unbounded_channel();
    let address = serve(move |mut stream, _| {
        let told = told.clone();
        async move {
            loop {
                read_head(&mut stream).await?;
                let body = read_head(&mut stream).await?;
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await?;
                let _ = told.send(body);
            }
        }
    })
    .await;
    (address, requests)
}

#[tokio::test]
async fn http1_request_whose_trailers_would_be_lost_fails() {
    let net = Net::new().await;
    let client = net.client();
    let (address, _requests) = chunked().await;
    let url = format!("http://{address}/");
    for (announced, fields) in [
        (&[][..], &["x-sum"][..]),
        (&[("trailer", "x-other")], &["x-sum"]),
        (&[("trailer", "x-sum")], &["x-sum", "x-other"]),
        (&[("trailer", "content-type")], &["content-type"]),
        (&[("trailer", "x-sum"), ("content-length", "2")], &["x-sum"]),
    ] {
        let post = client.post(&url).body(Trailed::body(fields));
        let post = announced
            .iter()
            .fold(post, |post, (name, value)| post.header(*name, *value));
        let error = post.send().await.expect_err("the trailers were lost");
        let named = (error.hop(), error.kind(), error.attempts());
        let expected = (Some(Hop::Send), Kind::RequestBody, 1);
        assert_eq!(named, expected, "{announced:?}: {error:?}");
        let cause = error.source().unwrap().source().unwrap().to_string();
        assert!(cause.contains("trailer"), "{cause}");
    }
}

#[tokio::test]
async fn http1_request_whose_trailers_are_announced_is_sent_with_them() {
    let net = Net::new().await;
    let client = net.client();
    let (address, mut requests) = chunked().await;
    let url = format!("http://{address}/");
    for (announced, fields, sent) in [
        (
            "X-Other, X-Sum",
            &["x-sum"][..],
            "2\r\n10\r\n0\r\nx-sum: 1\r\n\r\n",
        ),
        ("x-sum", &[], "2\r\n10\r\n0\r\n\r\n"),
    ] {
        let post = client.post(&url).header("trailer", announced);
        let response = post.body(Trailed::body(fields)).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(requests.recv().await.unwrap(), sent);
    }
}

/// Returns a body that has trailers and no data.
fn only_trailers() -> Body {
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static("x-sum"),
        HeaderValue::from_static("1"),
    )]);
    let empty = http_body_util::Full::new(Bytes::new());
    Body::wrap(http_body_util::BodyExt::with_trailers(empty, async move {
        Some(Ok(trailers))
    }))
}

#[tokio::test]
async fn trailers_of_a_request_without_data_are_sent_over_http2() {
    let net = Net::new().await;
    let (told, mut frames) = tokio::sync::mpsc::unbounded_channel();
    let address = serve(move |stream, _| {
        let told = told.clone();
        async move {
            let mut peer = Peer::accept(stream, 100).await?;
            loop {
                let frame = peer.next().await?;
                let is_last = frame.flags & END_STREAM != 0;
                let stream = frame.stream;
                let _ = told.send((frame.kind, is_last));
                if is_last {
                    peer.write(&[head(stream, 204, None, END_STREAM)]).await?;
                }
            }
        }
    })
    .await;
    let post = http2_client(&net).post(format!("http://{address}/"));
    let response = post.body(only_trailers()).send().await.unwrap();
    assert_eq!(response.status(), 204);
    assert_eq!(frames.recv().await, Some((HEADERS, false)));
    let mut next = frames.recv().await.unwrap();
    while next.0 == DATA {
        assert!(!next.1, "the trailers were lost");
        next = frames.recv().await.unwrap();
    }
    assert_eq!(next, (HEADERS, true));
}

#[tokio::test]
async fn http1_request_without_data_fails_if_its_announced_trailers_would_be_lost() {
    let net = Net::new().await;
    let (address, _requests) = chunked().await;
    let post = net.client().post(format!("http://{address}/"));
    let post = post.header("trailer", "x-sum").body(only_trailers());
    let error = post.send().await.expect_err("the trailers were lost");
    let named = (error.hop(), error.kind(), error.attempts());
    let expected = (Some(Hop::Send), Kind::RequestBody, 1);
    assert_eq!(named, expected, "{error:?}");
}
