//! HTTP/2: the connection, and the orders its streams give it.
//!
//! `h2` speaks the protocol. It cannot send a GOAWAY below a stream that it has accepted, raw bytes, or a RST. The
//! server does these on the bare stream after `h2` was dropped.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream, StreamId};
use http::header::HOST;
use http::{HeaderValue, Request};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::{JoinSet, unconstrained};

use super::connection::ServerState;
use super::exchange::Exchange;
use super::ledger::RecordedRequest;
use super::reader::Head;
use super::wire::{End, Wire};

/// An order of a stream to its connection. It is carried out after all written bytes are sent.
#[derive(Debug)]
pub(super) enum Order {
    /// End the connection.
    End(End),
    /// End the connection when the next request comes.
    EndOnNext,
    /// Reset the stream. If the stream reset itself, a head that is not sent yet would be lost.
    Reset(SendStream<Bytes>, Reason),
}

/// Serves streams until the connection has to end.
pub(super) async fn serve(
    wire: Wire,
    state: Arc<ServerState>,
    (ordinal, max_streams): (usize, Option<u32>),
) -> End {
    let mut builder = h2::server::Builder::new();
    builder.initial_connection_window_size(CONNECTION_WINDOW);
    if let Some(most) = max_streams {
        builder.max_concurrent_streams(most);
    }
    let Ok(mut connection) = builder.handshake::<_, Bytes>(wire).await else {
        return End::Close;
    };
    let (orders, mut inbox) = mpsc::unbounded_channel();
    let mut streams = JoinSet::new();
    let mut end_on_next = false;
    loop {
        tokio::select! {
            biased;
            Some(order) = inbox.recv() => {
                flush(&mut connection).await;
                match order {
                    Order::End(end) => return end,
                    Order::EndOnNext => end_on_next = true,
                    Order::Reset(mut stream, reason) => stream.send_reset(reason),
                }
            }
            accepted = connection.accept() => match accepted {
                Some(Ok(_)) if end_on_next => return End::Close,
                Some(Ok((request, respond))) => {
                    let origin = (ordinal, orders.clone());
                    streams.spawn(begin((request, respond), &state, origin).run());
                }
                Some(Err(_)) | None => return End::Gone,
            },
            Some(_) = streams.join_next() => {}
        }
    }
}

/// Writes all frames that are ready. Requests that arrive meanwhile stay in the queue.
async fn flush(connection: &mut Connection<Wire, Bytes>) {
    // `accept` returns its result again. It is unconstrained, because a poll that yields writes nothing.
    let once = poll_fn(|cx| {
        let _ = connection.poll_closed(cx);
        Poll::Ready(())
    });
    unconstrained(once).await;
}

fn begin(
    (request, respond): (Request<RecvStream>, SendResponse<Bytes>),
    state: &ServerState,
    (connection, orders): (usize, UnboundedSender<Order>),
) -> Exchange {
    let (head, body) = request.into_parts();
    let mut headers = head.headers;
    if let Some(authority) = head.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.entry(HOST).or_insert(host);
    }
    let target = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let head = Head {
        method: head.method,
        target: target.to_owned(),
        version: head.version,
        headers,
    };
    let (reply, ticket) = state.ledger.begin(RecordedRequest::begun(head, connection));
    Exchange {
        reply,
        ticket,
        body,
        respond,
        open_body: None,
        upstream: state.upstream,
        orders,
    }
}

/// A GOAWAY frame (RFC 9113 §6.8).
pub(super) fn go_away(last_stream: u32, reason: Reason) -> Bytes {
    let mut frame = BytesMut::from(&[0, 0, 8, 7, 0, 0, 0, 0, 0][..]);
    frame.extend_from_slice(&last_stream.to_be_bytes());
    frame.extend_from_slice(&u32::from(reason).to_be_bytes());
    frame.freeze()
}

/// Returns the client's stream before `stream`: clients count 1, 3, 5, …
pub(super) fn below(stream: StreamId) -> u32 {
    stream.as_u32().saturating_sub(2)
}

/// The window is wide, so that one unread stream does not block the others.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
