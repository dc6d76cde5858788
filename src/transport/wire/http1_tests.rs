use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::exchange::{Attachment, SendBody};
use super::http1::{Home, Http1, Leased};
use super::pair_tests::{IDLE_LIMIT, Pair, post, settle, tracker};
use super::socket::Sight;
use super::stream::Stream;
use crate::box_error::BoxError;
use crate::clock;

/// Counts the connections that became idle.
#[derive(Default)]
struct Rests(AtomicUsize);

impl Home for Rests {
    fn rest(&self, _: &Arc<Http1>) -> bool {
        self.0.fetch_add(1, Ordering::AcqRel);
        true
    }

    fn expire(&self, _: &Arc<Http1>) -> bool {
        true
    }
}

async fn open(tls: Option<&'static str>) -> (Arc<Http1>, Pair, Arc<Rests>) {
    let pair = Pair::new().await;
    let rests = Arc::<Rests>::default();
    let home: Weak<dyn Home> = Arc::downgrade(&(Arc::clone(&rests) as Arc<dyn Home>));
    let builder = hyper::client::conn::http1::Builder::new();
    let stream = Stream::Plain(pair.socket.clone());
    let attachment = Attachment { home, hold: () };
    let opened = Http1::open(stream, pair.made(tls), &builder, attachment).await;
    settle().await;
    (opened.unwrap(), pair, rests)
}

#[tokio::test]
async fn request_whose_first_write_fails_is_unsent_and_may_be_taken_again() {
    let (connection, pair, _) = open(None).await;
    pair.refuse_writes();
    let tracker = tracker();
    let sending = connection.exchange(post("/"), false, &tracker).unwrap();
    let sent = sending.await;
    assert!(sent.unwrap_err().is_unsent);
    assert!(!tracker.is_taken());
    assert_eq!(connection.life.socket.written(), 0);
}

#[tokio::test]
async fn request_on_a_connection_that_was_closed_before_it_is_unsent() {
    let (connection, _pair, _) = open(None).await;
    connection.close();
    let tracker = tracker();
    let sent = connection.exchange(post("/"), false, &tracker);
    assert!(sent.err().unwrap().is_unsent);
    assert!(!tracker.is_taken());
}

#[tokio::test]
async fn request_that_the_server_has_read_is_not_called_unsent() {
    // It sends no response, or a response that cannot be delimited.
    let misframed = b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n";
    for response in [&b""[..], misframed] {
        let (connection, mut pair, rests) = open(None).await;
        let tracker = tracker();
        let serving = async {
            pair.server.read_u8().await.unwrap();
            pair.server.write_all(response).await.unwrap();
            pair.server.shutdown().await.unwrap();
        };
        let sending = connection.exchange(post("/"), false, &tracker).unwrap();
        let (sent, ()) = tokio::join!(sending, serving);
        assert!(!sent.unwrap_err().is_unsent, "{response:?}");
        assert!(tracker.is_taken());
        settle().await;
        assert_eq!(rests.0.load(Ordering::Acquire), 0, "{response:?}");
    }
}

/// The states of a call when the whole response has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Waits,
    IsGone,
}

#[tokio::test]
async fn connection_is_idle_only_after_its_call_has_read_the_head() {
    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n10";
    const MISFRAMED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\
        content-length: 2\r\n\r\n0\r\n\r\n";
    for (response, caller, kept) in [
        (WHOLE, Caller::Waits, 1),
        (MISFRAMED, Caller::Waits, 0),
        (WHOLE, Caller::IsGone, 0),
        (MISFRAMED, Caller::IsGone, 0),
    ] {
        let (connection, mut pair, rests) = open(None).await;
        let tracker = tracker();
        let sending = connection.exchange(post("/"), true, &tracker).unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n10") {
            request.push(pair.server.read_u8().await.unwrap());
        }
        pair.server.write_all(response).await.unwrap();
        // The connection's task reads the whole response, and the call is not polled.
        while connection.life.socket.look() != Sight::Quiet {
            tokio::task::yield_now().await;
        }
        settle().await;
        assert_eq!(rests.0.load(Ordering::Acquire), 0, "{caller:?}");
        let is_read = match caller {
            Caller::Waits => sending.await.is_ok(),
            Caller::IsGone => {
                drop(sending);
                false
            }
        };
        settle().await;
        assert_eq!(usize::from(is_read), kept, "{caller:?}");
        assert_eq!(rests.0.load(Ordering::Acquire), kept, "{caller:?}");
        if kept == 0 {
            assert_eq!(pair.server.read(&mut [0]).await.unwrap(), 0, "it is closed");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_go_out_are_a_sign_of_life() {
    let (connection, mut pair, _) = open(None).await;
    let tracker = tracker();
    let (pieces, body) = mpsc::channel(1);
    let body: SendBody = Box::pin(Pieces(body));
    let request = Request::post("/").body(body).unwrap();
    let sending = connection.exchange(request, false, &tracker).unwrap();
    let serving = async {
        // The head goes out, which takes the request.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(pair.server.read_u8().await.unwrap());
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        pieces.send(Bytes::from_static(b"10")).await.unwrap();
        pair.server.read_u8().await.unwrap();
        drop(pair);
    };
    let (sent, ()) = tokio::join!(sending, serving);
    sent.unwrap_err();
    assert!(tracker.moved() > tracker.started());
}

/// A body whose pieces come from a channel.
struct Pieces(mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[tokio::test]
async fn lease_needs_a_quiet_connection() {
    let (connection, mut pair, _) = open(None).await;
    let now = clock::now();
    assert_eq!(connection.lease(now, false), Leased::Yes);
    connection.release();
    // These bytes are not a response: without TLS they cannot be a ticket.
    pair.server.write_all(b"HTTP/1.1 408").await.unwrap();
    while connection.life.socket.look() == Sight::Quiet {}
    assert_eq!(connection.lease(now, true), Leased::No);
    assert_eq!(connection.lease(now, true), Leased::No);
}

#[tokio::test]
async fn lease_with_patience_gives_tls_time_to_read_a_ticket() {
    let (connection, mut pair, _) = open(Some("1.3")).await;
    let now = clock::now();
    pair.server.write_all(b"ticket").await.unwrap();
    while connection.life.socket.look() == Sight::Quiet {}
    for _ in 0..2 {
        assert_eq!(connection.lease(now, true), Leased::Later);
        assert!(!connection.release(), "it is idle");
    }
    assert_eq!(connection.lease(now, false), Leased::No);
}

#[tokio::test]
async fn connection_that_was_idle_for_too_long_or_is_closed_is_not_leased() {
    let (connection, mut pair, _) = open(None).await;
    let late = clock::after(clock::now(), IDLE_LIMIT);
    assert_eq!(connection.lease(late, true), Leased::No);
    assert_eq!(pair.server.read(&mut [0]).await.unwrap(), 0, "it is closed");
    assert_eq!(connection.lease(clock::now(), true), Leased::No);
    let (connection, _pair, _) = open(None).await;
    connection.close();
    assert_eq!(connection.lease(clock::now(), true), Leased::No);
}

#[tokio::test(start_paused = true)]
async fn only_a_leased_connection_that_was_not_used_is_released() {
    let (connection, mut pair, rests) = open(None).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(connection.release());
    assert_eq!(connection.life.idle_since(), clock::now());
    assert!(!connection.release(), "it is idle");
    assert_eq!(connection.lease(clock::now(), false), Leased::Yes);
    let tracker = tracker();
    let sending = connection.exchange(post("/"), false, &tracker).unwrap();
    let serving = async {
        pair.server.read_u8().await.unwrap();
        assert!(!connection.release(), "a request is under way");
        assert_eq!(rests.0.load(Ordering::Acquire), 0);
        drop(pair);
    };
    let (sent, ()) = tokio::join!(sending, serving);
    sent.unwrap_err();
    let (connection, _pair, _) = open(None).await;
    connection.close();
    assert!(!connection.release(), "it is closed");
}
