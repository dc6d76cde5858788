//! Tests request bodies whose source fails or panics, before and after the head of the response.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use sevenhops::{Body, Client, Error, Hop, Kind, RequestBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::raw::{Peer, head, http2_client, read_head, serve};
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
