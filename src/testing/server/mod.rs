//! A server that injects faults.

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

pub(super) use self::http1::write_response;
pub(super) use self::reader::{Head, Reader};
pub(super) use self::upstream::forward;

/// A server on a loopback address that injects faults and records the requests that it receives.
///
/// Faults are queued: each accepted connection uses up one [`ConnFault`], and each request uses up one [`Reply`]. Once
/// a queue is empty, connections have no fault, and requests get the default reply.
///
/// # Example
///
/// ```
/// use sevenhops::testing::{ConnFault, FaultServer, Reply};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let server = FaultServer::start().await?;
/// server.on_connection([ConnFault::ResetAtOnce]); // the first connection; the second has no fault
/// server.on_request([Reply::CloseAfterRequest]); // the first request; the second gets a 200
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
/// Dropping it closes the listener and every connection as soon as the runtime runs its tasks. [`stop`](Self::stop)
/// waits until that is done.
///
/// # How people get it wrong
///
/// They queue different replies for concurrent calls. These take replies in the order in which they arrive, which is
/// random. Queue the same reply for all, or make it the default.
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
    /// Fails if no port is free.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Creates the builder of a server that speaks TLS or HTTP/2, or listens at an address of its own.
    pub fn builder() -> FaultServerBuilder {
        FaultServerBuilder::new()
    }

    /// Returns the address at which the server listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the URL of `path` on this server. Its host is an address, and its scheme is `https` if the server speaks
    /// TLS.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.addr)
    }

    /// Queues faults for the next connections, one each.
    pub fn on_connection(&self, faults: impl IntoIterator<Item = ConnFault>) {
        self.ledger.queue_faults(faults);
    }

    /// Queues replies for the next requests, one each, on any connection.
    pub fn on_request(&self, replies: impl IntoIterator<Item = Reply>) {
        self.ledger.queue_replies(replies);
    }

    /// Sets the reply to requests while the queue is empty. At first it is a 200 with `{"ok":true}`, or
    /// [`Reply::Upstream`] if there is an upstream.
    pub fn default_reply(&self, reply: impl Into<Reply>) {
        self.ledger.set_default_reply(reply.into());
    }

    /// Closes (FIN) every connection that is open now, whatever it is doing. The server keeps listening. A client's
    /// pool is then left with dead connections.
    pub fn close_connections(&self) {
        self.ledger.close_connections();
    }

    /// Returns the number of connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.stats().connections
    }

    /// Returns the number of connections that neither side has closed yet.
    ///
    /// While the server does not read a request ([`Reply::StopReading`] on HTTP/1.1), its connection counts as open
    /// even if the client has left.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.stats().open_connections
    }

    /// Returns every request whose head arrived, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.ledger.seen()
    }

    /// Returns the number of requests whose head arrived.
    #[must_use]
    pub fn requests_seen(&self) -> usize {
        self.stats().requests
    }

    /// Returns all current counts.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.ledger.stats()
    }

    /// Waits until `enough` returns true for the counts, and returns them. There is no timeout: it may wait forever.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn wait_until(&self, enough: impl FnMut(&ServerStats) -> bool) -> ServerStats {
        let mut stats = self.ledger.watch();
        // The sender lives in `self`, so the channel cannot close meanwhile.
        let found = stats.wait_for(enough).await.map(|stats| *stats);
        found.unwrap_or_else(|_| self.stats())
    }

    /// Closes the listener and every connection, and waits until that is done. From then on the address refuses
    /// connections.
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
