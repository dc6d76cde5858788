//! One HTTP/2 stream: a request and its reply.

use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, Response};
use tokio::sync::mpsc::UnboundedSender;

use super::http2::{self, Order};
use super::ledger::Ticket;
use super::reply::{CannedResponse, Reply};
use super::upstream;
use super::wire::End;

/// A stream whose head has arrived.
pub(super) struct Exchange {
    pub(super) reply: Reply,
    pub(super) ticket: Ticket,
    pub(super) body: RecvStream,
    pub(super) respond: SendResponse<Bytes>,
    /// A body that is cut off when the connection ends.
    pub(super) open_body: Option<SendStream<Bytes>>,
    pub(super) upstream: Option<SocketAddr>,
    pub(super) orders: UnboundedSender<Order>,
}

/// The client has left the stream.
struct StreamLeft;

impl Exchange {
    /// Carries out the reply. It orders the connection to do the part that concerns the whole connection.
    pub(super) async fn run(mut self) {
        // A stream that the client left needs nothing more: its ticket records that it was given up.
        if let Ok(Some(order)) = self.act().await {
            self.ticket.settle();
            let ends = matches!(order, Order::End(_));
            self.order(order);
            if ends {
                // Dropping the stream would reset it, and the reset would be sent before the end.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn act(&mut self) -> Result<Option<Order>, StreamLeft> {
        match self.reply.clone() {
            Reply::StopReading => self.left().await,
            Reply::ResetWhileReading => {
                if let Some(data) = self.data().await? {
                    self.ticket.received(&data);
                }
                Ok(Some(Order::End(End::Reset)))
            }
            Reply::EarlyAnswer(canned) => {
                self.reply_with(canned).await?;
                Ok(None)
            }
            reply => {
                self.take_body().await?;
                self.reply_to_whole(reply).await
            }
        }
    }

    async fn reply_to_whole(&mut self, reply: Reply) -> Result<Option<Order>, StreamLeft> {
        let stream = self.respond.stream_id();
        let end = match reply {
            Reply::Response(canned) => {
                self.reply_with(canned).await?;
                return Ok(None);
            }
            Reply::Upstream => {
                let canned = upstream::forward(self.upstream, &self.ticket.seen()).await;
                self.reply_with(canned).await?;
                return Ok(None);
            }
            Reply::CloseOnNextRequest(canned) => {
                // The order comes first: a client that has the response may be faster than a later order.
                self.order(Order::EndOnNext);
                self.reply_with(canned).await?;
                return Ok(None);
            }
            Reply::AnswerThenClose(canned) => {
                self.reply_with(canned).await?;
                End::Close
            }
            Reply::StallInBody { declared, sent } => {
                let mut body = self
                    .begin_body(CannedResponse::broken(declared, sent))
                    .await?;
                let _ = poll_fn(|cx| body.poll_reset(cx)).await;
                return Err(StreamLeft);
            }
            Reply::TruncateBody { declared, sent } => {
                self.open_body = Some(
                    self.begin_body(CannedResponse::broken(declared, sent))
                        .await?,
                );
                End::Close
            }
            Reply::ResetInBody => {
                self.open_body = Some(self.begin_body(CannedResponse::half()).await?);
                End::Reset
            }
            Reply::ResetStreamInBody(reason) => {
                let body = self.begin_body(CannedResponse::half()).await?;
                return Ok(Some(Order::Reset(body, reason)));
            }
            Reply::ResetStream(reason) => {
                self.respond.send_reset(reason);
                self.ticket.settle();
                return Ok(None);
            }
            Reply::Silent => return self.left().await,
            Reply::Garbage(bytes) => End::CloseWith(bytes),
            Reply::ResetAfterRequest => End::Reset,
            Reply::CloseAfterRequest => End::Close,
            Reply::GoAwayBelow(reason) => {
                End::CloseWith(http2::go_away(http2::below(stream), reason))
            }
            Reply::GoAwayAtOrAbove => {
                End::CloseWith(http2::go_away(stream.as_u32(), h2::Reason::NO_ERROR))
            }
            Reply::StopReading | Reply::ResetWhileReading | Reply::EarlyAnswer(_) => {
                unreachable!("did not wait for the whole request")
            }
        };
        Ok(Some(Order::End(end)))
    }

    fn order(&self, order: Order) {
        // It fails if the connection is gone. Then no order is needed.
        let _ = self.orders.send(order);
    }

    /// Sends a whole response.
    async fn reply_with(&mut self, canned: CannedResponse) -> Result<(), StreamLeft> {
        let (bodiless, body) = (
            self.ticket.seen().method == Method::HEAD,
            canned.body.clone(),
        );
        let gate = canned.before_body.clone();
        self.before_head(&canned).await?;
        if bodiless || (body.is_empty() && gate.is_none()) {
            // The ticket is settled first: after the response is sent, the client may close before this task continues.
            self.ticket.settle();
            let sent = self.respond.send_response(head_of(&canned), true);
            return sent.map(drop).map_err(|_| StreamLeft);
        }
        let sent = self.respond.send_response(head_of(&canned), false);
        let mut stream = sent.map_err(|_| StreamLeft)?;
        if let Some(gate) = gate {
            tokio::select! {
                () = gate.opened() => {}
                _ = poll_fn(|cx| stream.poll_reset(cx)) => return Err(StreamLeft),
            }
        }
        let last = send_data(&mut stream, body).await?;
        self.ticket.settle();
        stream.send_data(last, true).map_err(|_| StreamLeft)
    }

    /// Sends a response and leaves its body open.
    async fn begin_body(
        &mut self,
        canned: CannedResponse,
    ) -> Result<SendStream<Bytes>, StreamLeft> {
        let sent = self.respond.send_response(head_of(&canned), false);
        let mut stream = sent.map_err(|_| StreamLeft)?;
        let last = send_data(&mut stream, canned.body).await?;
        stream.send_data(last, false).map_err(|_| StreamLeft)?;
        Ok(stream)
    }

    async fn before_head(&mut self, canned: &CannedResponse) -> Result<(), StreamLeft> {
        let Some(gate) = &canned.before_head else {
            return Ok(());
        };
        tokio::select! {
            () = gate.opened() => Ok(()),
            _ = poll_fn(|cx| self.respond.poll_reset(cx)) => Err(StreamLeft),
        }
    }

    /// Waits until the client leaves the stream, and returns that as the error.
    async fn left(&mut self) -> Result<Option<Order>, StreamLeft> {
        let _ = poll_fn(|cx| self.respond.poll_reset(cx)).await;
        Err(StreamLeft)
    }

    async fn take_body(&mut self) -> Result<(), StreamLeft> {
        while let Some(data) = self.data().await? {
            self.ticket.received(&data);
            // It fails if the stream is gone. The next read reports that better.
            let _ = self.body.flow_control().release_capacity(data.len());
        }
        self.ticket.received_all();
        Ok(())
    }

    async fn data(&mut self) -> Result<Option<Bytes>, StreamLeft> {
        self.body.data().await.transpose().map_err(|_| StreamLeft)
    }
}

/// Sends `data` as the client's window allows. Returns the last piece, for which the window has room.
async fn send_data(stream: &mut SendStream<Bytes>, mut data: Bytes) -> Result<Bytes, StreamLeft> {
    loop {
        if data.is_empty() {
            return Ok(data);
        }
        stream.reserve_capacity(data.len());
        let capacity = match stream.capacity() {
            0 => poll_fn(|cx| stream.poll_capacity(cx)).await,
            ready => Some(Ok(ready)),
        };
        let capacity = capacity.ok_or(StreamLeft)?.map_err(|_| StreamLeft)?;
        if capacity >= data.len() {
            return Ok(data);
        }
        stream
            .send_data(data.split_to(capacity), false)
            .map_err(|_| StreamLeft)?;
    }
}

fn head_of(canned: &CannedResponse) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = canned.status;
    let mut headers = canned.headers.clone();
    // RFC 9113 §8.2.2: these belong to a connection, not to a message.
    for name in [CONNECTION, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    if !canned.chunked && !canned.body.is_empty() && !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, canned.body.len().into());
    }
    *response.headers_mut() = headers;
    response
}
