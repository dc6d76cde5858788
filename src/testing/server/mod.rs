//! A server that misbehaves as told.

mod builder;
mod connection;
mod exchange;
mod fault;
mod http1;
mod http2;
mod ledger;
mod reader;
mod reply;
mod upstream;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::ledger::Ledger;

pub use self::builder::FaultServerBuilder;
pub use self::fault::ConnFault;
pub use self::ledger::{RecordedRequest, ServerStats};
pub use self::reply::{CannedResponse, Reply};

pub(super) use self::http1::write_answer;
pub(super) use self::reader::{Head, Reader};
pub(super) use self::upstream::forward;

/// A server on a loopback address that misbehaves as told, and remembers what it saw.
///
/// Faults are queued: one [`ConnFault`] is used up per accepted connection, one [`Reply`] per
/// request. Once a queue is empty, connections behave and requests get the default reply.
///
/// # Example
///
/// ```
/// use sevenhops::testing::{ConnFault, FaultServer, Reply};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let server = FaultServer::start().await?;
/// server.on_connection([ConnFault::ResetAtOnce]); // the first connection; the second behaves
/// server.on_request([Reply::CloseAfterRequest]); // the first request; the second is answered
///
/// // point a client at it
/// let url = server.url("/v1/charges");
/// # assert!(url.starts_with("http://127.0.0.1:") && url.ends_with("/v1/charges"));
///
/// // and afterwards
/// assert_eq!(server.requests_seen(), 0);
/// # Ok(())
/// # }
/// ```
///
/// # Trade-offs
///
/// Dropping it closes the listener and every connection as soon as the runtime comes round to it;
/// [`stop`](Self::stop) waits until that is done.
///
/// # How people get it wrong
///
/// Calls that run at the same time take from the queue in the order in which they arrive, which is random. Queue the
/// same reply for all, or make it the default.
#[derive(Debug)]
pub struct FaultServer {
    addr: SocketAddr,
    scheme: &'static str,
    ledger: Arc<Ledger>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl FaultServer {
    /// Starts a plain HTTP/1.1 server on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Fails when no port is free.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Begins a server that is to speak TLS or HTTP/2, or to stand at an address of its own.
    pub fn builder() -> FaultServerBuilder {
        FaultServerBuilder::new()
    }

    /// Returns the address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the URL of `path` here: the scheme by TLS, the host an address.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.addr)
    }

    /// Queues what becomes of the next connections, one each.
    pub fn on_connection(&self, faults: impl IntoIterator<Item = ConnFault>) {
        self.ledger.queue_faults(faults);
    }

    /// Queues what becomes of the next requests, one each, on whatever connection they come.
    pub fn on_request(&self, replies: impl IntoIterator<Item = Reply>) {
        self.ledger.queue_replies(replies);
    }

    /// Sets what becomes of requests while the queue is empty: a 200 with `{"ok":true}` at first, or
    /// [`Reply::Upstream`] if there is one.
    pub fn default_reply(&self, reply: impl Into<Reply>) {
        self.ledger.set_default_reply(reply.into());
    }

    /// Closes (FIN) every connection that is open now, whatever it is doing; goes on listening.
    /// A client's pool is then left with dead connections.
    pub fn close_connections(&self) {
        self.ledger.close_connections();
    }

    /// Returns how many connections were accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.stats().connections
    }

    /// Returns how many connections neither side has closed yet.
    ///
    /// While a request is not read ([`Reply::StopReading`] on HTTP/1.1), its connection counts as
    /// open even if the client has left.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.stats().open_connections
    }

    /// Returns every request whose head arrived, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.ledger.seen()
    }

    /// Returns how many requests' heads arrived.
    #[must_use]
    pub fn requests_seen(&self) -> usize {
        self.stats().requests
    }

    /// Returns all counts of this moment.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.ledger.stats()
    }

    /// Waits until the counts satisfy `enough`, and returns them. There is no limit: what never
    /// comes is waited for for ever.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn wait_until(&self, enough: impl FnMut(&ServerStats) -> bool) -> ServerStats {
        let mut stats = self.ledger.watch();
        // The sender lives in `self`: the channel cannot close meanwhile.
        let found = stats.wait_for(enough).await.map(|stats| *stats);
        found.unwrap_or_else(|_| self.stats())
    }

    /// Closes the listener and every connection, and waits until that is done: from then on the
    /// address refuses.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
            let _ = (&mut self.task).await;
        }
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
