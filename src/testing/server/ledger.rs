//! The orders of a server, and the requests that it has seen.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Version};
use tokio::sync::watch;

use super::fault::ConnFault;
use super::reader::Head;
use super::reply::Reply;

/// One request whose head arrived complete.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The method.
    pub method: Method,
    /// The target as the client sent it: path and query, or more if the client sent more.
    pub target: String,
    /// The headers. On HTTP/2 the server adds a `host` with the authority.
    pub headers: HeaderMap,
    /// The received part of the body.
    pub body: Bytes,
    /// Whether the whole body arrived. It stays `false` for a request that was given up midway.
    pub body_complete: bool,
    /// The number of the connection that carried it, counted from 1.
    pub connection: usize,
    /// The HTTP version of the request.
    pub version: Version,
}

impl RecordedRequest {
    /// Returns the target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Returns a request of which only the head has arrived.
    pub(super) fn begun(head: Head, connection: usize) -> Self {
        Self {
            method: head.method,
            target: head.target,
            headers: head.headers,
            body: Bytes::new(),
            body_complete: false,
            connection,
            version: head.version,
        }
    }

    /// Returns a complete request on the first connection.
    pub(crate) fn whole(head: Head, body: Bytes) -> Self {
        Self {
            body,
            body_complete: true,
            ..Self::begun(head, 1)
        }
    }
}

/// Counts of what has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections accepted.
    pub connections: usize,
    /// Accepted connections that neither side has closed yet.
    pub open_connections: usize,
    /// TLS handshakes finished.
    pub handshakes: usize,
    /// Requests whose head arrived.
    pub requests: usize,
    /// Requests whose body arrived to its end.
    pub bodies: usize,
    /// Requests that ended before the server was done with them: the client reset the stream or closed the connection.
    pub given_up: usize,
}

/// The state that the server and all its connections share.
#[derive(Debug)]
pub(super) struct Ledger {
    script: Mutex<ReplyScript>,
    stats: watch::Sender<ServerStats>,
    closing: watch::Sender<()>,
}

#[derive(Debug)]
struct ReplyScript {
    faults: VecDeque<ConnFault>,
    replies: VecDeque<Reply>,
    default_reply: Reply,
    seen: Vec<LedgerEntry>,
}

#[derive(Debug)]
struct LedgerEntry {
    seen: RecordedRequest,
    body: BytesMut,
}

impl Ledger {
    pub(super) fn new(default_reply: Reply) -> Self {
        Self {
            script: Mutex::new(ReplyScript {
                faults: VecDeque::new(),
                replies: VecDeque::new(),
                default_reply,
                seen: Vec::new(),
            }),
            stats: watch::Sender::new(ServerStats::default()),
            closing: watch::Sender::new(()),
        }
    }

    pub(super) fn queue_faults(&self, faults: impl IntoIterator<Item = ConnFault>) {
        self.script().faults.extend(faults);
    }

    pub(super) fn queue_replies(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script().replies.extend(replies);
    }

    pub(super) fn set_default_reply(&self, reply: Reply) {
        self.script().default_reply = reply;
    }

    pub(super) fn close_connections(&self) {
        self.closing.send_replace(());
    }

    pub(super) fn stats(&self) -> ServerStats {
        *self.stats.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<ServerStats> {
        self.stats.subscribe()
    }

    pub(super) fn seen(&self) -> Vec<RecordedRequest> {
        let script = self.script();
        let entries = script.seen.iter();
        entries
            .map(|entry| RecordedRequest {
                body: Bytes::copy_from_slice(&entry.body),
                ..entry.seen.clone()
            })
            .collect()
    }

    /// Records a connection, and returns its fault and its number.
    pub(super) fn arrive(self: &Arc<Self>) -> AcceptedConnection {
        let closing = self.closing.subscribe();
        let fault = self.script().faults.pop_front();
        let mut ordinal = 0;
        self.stats.send_modify(|stats| {
            stats.connections += 1;
            stats.open_connections += 1;
            ordinal = stats.connections;
        });
        AcceptedConnection {
            ordinal,
            fault,
            closing,
            open: OpenConnection(Arc::clone(self)),
        }
    }

    pub(super) fn handshake_done(&self) {
        self.stats.send_modify(|stats| stats.handshakes += 1);
    }

    /// Records a request's head. Returns the reply to it, and the ticket for its result.
    pub(super) fn begin(self: &Arc<Self>, seen: RecordedRequest) -> (Reply, Ticket) {
        let (reply, index) = {
            let mut script = self.script();
            script.seen.push(LedgerEntry {
                seen,
                body: BytesMut::new(),
            });
            let queued = script.replies.pop_front();
            let reply = queued.unwrap_or_else(|| script.default_reply.clone());
            (reply, script.seen.len() - 1)
        };
        self.stats.send_modify(|stats| stats.requests += 1);
        let ticket = Ticket {
            ledger: Arc::clone(self),
            index,
            settled: false,
        };
        (reply, ticket)
    }

    fn script(&self) -> MutexGuard<'_, ReplyScript> {
        // A test that panicked in another thread has already reported its failure.
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection, with its fault and its number.
#[derive(Debug)]
pub(super) struct AcceptedConnection {
    pub(super) ordinal: usize,
    pub(super) fault: Option<ConnFault>,
    pub(super) closing: watch::Receiver<()>,
    pub(super) open: OpenConnection,
}

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection(Arc<Ledger>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0
            .stats
            .send_modify(|stats| stats.open_connections -= 1);
    }
}

/// The entry of one request in the ledger. If it is dropped before it is settled, the request counts as given up.
#[derive(Debug)]
pub(super) struct Ticket {
    ledger: Arc<Ledger>,
    index: usize,
    settled: bool,
}

impl Ticket {
    pub(super) fn received(&self, data: &[u8]) {
        self.ledger.script().seen[self.index]
            .body
            .extend_from_slice(data);
    }

    pub(super) fn received_all(&self) {
        self.ledger.script().seen[self.index].seen.body_complete = true;
        self.ledger.stats.send_modify(|stats| stats.bodies += 1);
    }

    pub(super) fn seen(&self) -> RecordedRequest {
        let script = self.ledger.script();
        let entry = &script.seen[self.index];
        RecordedRequest {
            body: Bytes::copy_from_slice(&entry.body),
            ..entry.seen.clone()
        }
    }

    /// Records that the server has done its work on this request.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.settled {
            self.ledger.stats.send_modify(|stats| stats.given_up += 1);
        }
    }
}
