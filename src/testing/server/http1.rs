//! HTTP/1.1: one request after the other, each with its reply.

use std::io;
use std::ops::ControlFlow::{self, Break, Continue};

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::connection::ServerState;
use super::ledger::{RecordedRequest, Ticket};
use super::reader::Reader;
use super::reply::{CannedResponse, Reply};
use super::upstream;
use super::wire::{End, Wire};

/// Serves requests until the connection has to end.
pub(super) async fn serve(wire: Wire, state: &ServerState, connection: usize) -> End {
    let mut conversation = Conversation {
        reader: Reader::new(wire),
        state,
    };
    loop {
        let head = match conversation.reader.head().await {
            Ok(Some(head)) => head,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return End::CloseWith(Bytes::from_static(BAD_REQUEST));
            }
            Ok(None) | Err(_) => return End::Gone,
        };
        let keeps_alive = head.keeps_alive();
        let (reply, ticket) = state.ledger.begin(RecordedRequest::begun(head, connection));
        match conversation.reply(reply, ticket).await {
            Break(end) => return end,
            Continue(()) if !keeps_alive => return End::Close,
            Continue(()) => {}
        }
    }
}

struct Conversation<'a> {
    reader: Reader<Wire>,
    state: &'a ServerState,
}

impl Conversation<'_> {
    /// The replies that do not wait for the whole request.
    async fn reply(&mut self, reply: Reply, mut ticket: Ticket) -> ControlFlow<End> {
        match reply {
            // It does not even watch for the end of the connection, because that would be reading.
            Reply::StopReading => std::future::pending().await,
            Reply::ResetWhileReading => {
                if let Ok(Some(data)) = self.reader.data().await {
                    ticket.received(&data);
                }
                ticket.settle();
                Break(End::Reset)
            }
            Reply::EarlyAnswer(canned) => {
                let close = canned.header(CONNECTION.as_str(), "close");
                self.reply_with(close, &mut ticket).await?;
                Break(End::Close)
            }
            reply => {
                if self.take_body(&ticket).await.is_err() {
                    return Break(End::Gone);
                }
                self.reply_to_whole(reply, &mut ticket).await
            }
        }
    }

    async fn reply_to_whole(&mut self, reply: Reply, ticket: &mut Ticket) -> ControlFlow<End> {
        let end = match reply {
            Reply::Response(canned) => return self.reply_with(canned, ticket).await,
            Reply::Upstream => {
                let canned = upstream::forward(self.state.upstream, &ticket.seen()).await;
                return self.reply_with(canned, ticket).await;
            }
            Reply::CloseOnNextRequest(canned) => {
                self.reply_with(canned, ticket).await?;
                match self.reader.next_bytes().await {
                    true => End::Close,
                    false => End::Gone,
                }
            }
            Reply::AnswerThenClose(canned) => {
                self.reply_with(canned, ticket).await?;
                End::Close
            }
            Reply::TruncateBody { declared, sent } => {
                self.reply_with(CannedResponse::broken(declared, sent), ticket)
                    .await?;
                End::Close
            }
            Reply::ResetInBody | Reply::ResetStreamInBody(_) => {
                self.reply_with(CannedResponse::half(), ticket).await?;
                End::Reset
            }
            Reply::StallInBody { declared, sent } => {
                self.write(CannedResponse::broken(declared, sent), false)
                    .await?;
                self.reader.left().await;
                return Break(End::Gone);
            }
            Reply::Silent => {
                self.reader.left().await;
                return Break(End::Gone);
            }
            Reply::Garbage(bytes) => End::CloseWith(bytes),
            Reply::ResetAfterRequest | Reply::ResetStream(_) => End::Reset,
            Reply::CloseAfterRequest | Reply::GoAwayBelow(_) | Reply::GoAwayAtOrAbove => End::Close,
            Reply::StopReading | Reply::ResetWhileReading | Reply::EarlyAnswer(_) => {
                unreachable!("did not wait for the whole request")
            }
        };
        ticket.settle();
        Break(end)
    }

    async fn take_body(&mut self, ticket: &Ticket) -> io::Result<()> {
        while let Some(data) = self.reader.data().await? {
            ticket.received(&data);
        }
        ticket.received_all();
        Ok(())
    }

    async fn reply_with(
        &mut self,
        canned: CannedResponse,
        ticket: &mut Ticket,
    ) -> ControlFlow<End> {
        let closes = canned
            .headers
            .get(CONNECTION)
            .is_some_and(|value| value == "close");
        let bodiless = ticket.seen().method == Method::HEAD;
        self.write(canned, bodiless).await?;
        ticket.settle();
        if closes {
            return Break(End::Close);
        }
        Continue(())
    }

    async fn write(&mut self, canned: CannedResponse, bodiless: bool) -> ControlFlow<End> {
        if let Some(gate) = &canned.before_head {
            tokio::select! {
                () = gate.opened() => {}
                () = self.reader.left() => return Break(End::Gone),
            }
        }
        let head = head_of(&canned);
        self.send(&head).await?;
        if let Some(gate) = &canned.before_body {
            tokio::select! {
                () = gate.opened() => {}
                () = self.reader.left() => return Break(End::Gone),
            }
        }
        if bodiless || !may_have_body(canned.status) {
            return Continue(());
        }
        let body = match canned.chunked {
            true => in_chunks(&canned.body),
            false => canned.body,
        };
        self.send(&body).await
    }

    async fn send(&mut self, bytes: &[u8]) -> ControlFlow<End> {
        match write_all(self.reader.source(), bytes).await {
            Ok(()) => Continue(()),
            Err(_) => Break(End::Gone),
        }
    }
}

/// Writes a whole response at once, and ignores its gates.
pub(crate) async fn write_response(
    sink: &mut (impl AsyncWrite + Unpin),
    canned: &CannedResponse,
) -> io::Result<()> {
    write_all(sink, &head_of(canned)).await?;
    write_all(sink, &canned.body).await
}

async fn write_all(sink: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    sink.write_all(bytes).await?;
    sink.flush().await
}

fn head_of(canned: &CannedResponse) -> BytesMut {
    let mut headers = canned.headers.clone();
    if canned.chunked {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    } else if !headers.contains_key(CONTENT_LENGTH) && may_have_body(canned.status) {
        headers.insert(CONTENT_LENGTH, canned.body.len().into());
    }
    let reason = canned.status.canonical_reason().unwrap_or_default();
    let status = canned.status.as_u16();
    let mut head = BytesMut::from(format!("HTTP/1.1 {status} {reason}\r\n").as_bytes());
    for (name, value) in &headers {
        head.extend_from_slice(name.as_ref());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Returns whether a response with this status may have a body (RFC 9110 §6.4.1).
fn may_have_body(status: StatusCode) -> bool {
    !(status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED)
}

fn in_chunks(body: &[u8]) -> Bytes {
    let mut chunks = BytesMut::new();
    for chunk in body.chunks(CHUNK_SIZE) {
        chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunks.extend_from_slice(chunk);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    chunks.freeze()
}

const CHUNK_SIZE: usize = 16 * 1024;

const BAD_REQUEST: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
