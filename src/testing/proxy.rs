//! A proxy for tests, which speaks HTTP and SOCKS5.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::header::{PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use http::{Method, StatusCode, Uri};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::server::{CannedResponse, Head, Reader, RecordedRequest, forward, write_response};
use super::socks::{self, Credentials, SocksReply};
use crate::transport::basic;

/// A proxy on a free port of 127.0.0.1. It opens tunnels (CONNECT, and SOCKS5 on the same port) and forwards requests
/// in absolute form to loopback addresses, or refuses everything.
///
/// # Example
///
/// ```
/// use http::StatusCode;
/// use sevenhops::testing::{FaultServer, ProxyServer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let server = FaultServer::builder().start().await?;
/// let proxy = ProxyServer::builder().route("api.test:80", server.addr()).start().await?;
/// let rude = ProxyServer::builder().refuse(StatusCode::BAD_GATEWAY).start().await?;
///
/// // point clients at proxy.url() and rude.url(), call http://api.test/, then
/// assert_eq!(proxy.tunnels(), 0);
/// # drop(rude);
/// # Ok(())
/// # }
/// ```
///
/// # Trade-offs
///
/// It opens tunnels or refuses. For a proxy that is silent, resets or sends garbage, use the address of a
/// [`FaultServer`](super::FaultServer) as the proxy. It treats CONNECT like any other request.
///
/// # How people get it wrong
///
/// They expect the proxy to look names up. It does not, because nothing may leave the loopback interface: a host
/// without a route gets a 502.
#[derive(Debug)]
pub struct ProxyServer {
    addr: SocketAddr,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl ProxyServer {
    /// Creates the builder of a proxy. It has no routes yet.
    pub fn builder() -> ProxyServerBuilder {
        ProxyServerBuilder {
            policy: ProxyPolicy::default(),
        }
    }

    /// Returns the address at which the proxy listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the URL for the config of a client.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns the URL for the config of a client that speaks SOCKS5 and leaves names to the proxy.
    #[must_use]
    pub fn socks_url(&self) -> String {
        format!("socks5h://{}", self.addr)
    }

    /// Returns how many tunnels were opened.
    #[must_use]
    pub fn tunnels(&self) -> usize {
        self.counts.tunnels.load(Ordering::SeqCst)
    }

    /// Returns how many requests were forwarded outside of tunnels.
    #[must_use]
    pub fn forwarded(&self) -> usize {
        self.counts.forwarded.load(Ordering::SeqCst)
    }

    /// Returns how many tunnels and requests were refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.counts.refused.load(Ordering::SeqCst)
    }
}

impl Drop for ProxyServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Builds a [`ProxyServer`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct ProxyServerBuilder {
    policy: ProxyPolicy,
}

impl ProxyServerBuilder {
    /// Routes `authority`, a host and port such as `api.test:443`, to `addr`.
    pub fn route(mut self, authority: &str, addr: SocketAddr) -> Self {
        self.policy.routes.insert(authority.to_owned(), addr);
        self
    }

    /// Requires these credentials. A client with other credentials or none gets a 407.
    pub fn credentials(mut self, user: &str, password: &str) -> Self {
        self.policy.credentials = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Refuses everything with `status`. A 407 requests basic credentials. SOCKS5 has no statuses, so its clients get
    /// "not allowed".
    pub fn refuse(mut self, status: StatusCode) -> Self {
        self.policy.refusal = Some(status);
        self
    }

    /// Starts the proxy.
    ///
    /// # Errors
    ///
    /// Fails if no port is free.
    pub async fn start(self) -> io::Result<ProxyServer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let counts = Arc::new(Counts::default());
        Ok(ProxyServer {
            addr: listener.local_addr()?,
            counts: Arc::clone(&counts),
            task: tokio::spawn(listen(listener, Arc::new(self.policy), counts)),
        })
    }
}

#[derive(Debug, Default)]
struct Counts {
    tunnels: AtomicUsize,
    forwarded: AtomicUsize,
    refused: AtomicUsize,
}

#[derive(Debug, Default)]
struct ProxyPolicy {
    routes: HashMap<String, SocketAddr>,
    refusal: Option<StatusCode>,
    credentials: Option<Credentials>,
}

impl ProxyPolicy {
    /// Returns whether a request has the required credentials.
    fn admits(&self, head: &Head) -> bool {
        self.credentials.as_ref().is_none_or(|(user, password)| {
            let wanted = basic(user.as_bytes(), Some(password.as_bytes()));
            head.headers.get(PROXY_AUTHORIZATION) == Some(&wanted)
        })
    }

    /// Returns the address for `authority`, or the status to refuse it with.
    fn find(&self, authority: &str) -> Result<SocketAddr, StatusCode> {
        if let Some(status) = self.refusal {
            return Err(status);
        }
        if let Some(addr) = self.routes.get(authority) {
            return Ok(*addr);
        }
        let literal = authority.parse::<SocketAddr>().ok();
        literal
            .filter(|addr| addr.ip().is_loopback())
            .ok_or(StatusCode::BAD_GATEWAY)
    }
}

async fn listen(listener: TcpListener, policy: Arc<ProxyPolicy>, counts: Arc<Counts>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        if let Ok((tcp, _)) = accepted {
            let (policy, counts) = (Arc::clone(&policy), Arc::clone(&counts));
            // If a connection fails, its client or its target is gone. Dropping it closes the other side.
            connections.spawn(async move { drop(attend(tcp, &policy, &counts).await) });
        }
    }
}

async fn attend(tcp: TcpStream, policy: &ProxyPolicy, counts: &Counts) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut first = [0];
    if tcp.peek(&mut first).await? == 1 && first[0] == socks::VERSION {
        return attend_socks(tcp, policy, counts).await;
    }
    let mut reader = Reader::new(tcp);
    while let Some(head) = reader.head().await? {
        if !policy.admits(&head) {
            // The next head comes after the body.
            while reader.data().await?.is_some() {}
            let wanted = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
            refuse(reader.source(), wanted, counts).await?;
        } else if head.method == Method::CONNECT {
            match open(&head.target, policy).await {
                Ok(target) => return tunnel(reader, target, counts).await,
                Err(status) => refuse(reader.source(), status, counts).await?,
            }
        } else {
            pass_on(&mut reader, head, policy, counts).await?;
        }
    }
    Ok(())
}

async fn attend_socks(mut tcp: TcpStream, policy: &ProxyPolicy, counts: &Counts) -> io::Result<()> {
    let target = match socks::greet(&mut tcp, policy.credentials.as_ref()).await? {
        Some(authority) => open(&authority, policy).await,
        None => {
            counts.refused.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
    };
    match target {
        Ok(target) => {
            socks::reply(&mut tcp, SocksReply::Granted).await?;
            join(tcp, target, counts).await
        }
        Err(status) => {
            counts.refused.fetch_add(1, Ordering::SeqCst);
            let reply = match status {
                StatusCode::BAD_GATEWAY => SocksReply::HostUnreachable,
                _ => SocksReply::NotAllowed,
            };
            socks::reply(&mut tcp, reply).await
        }
    }
}

async fn open(authority: &str, policy: &ProxyPolicy) -> Result<TcpStream, StatusCode> {
    let addr = policy.find(authority)?;
    let target = TcpStream::connect(addr).await;
    target.map_err(|_| StatusCode::BAD_GATEWAY)
}

async fn tunnel(
    reader: Reader<TcpStream>,
    mut target: TcpStream,
    counts: &Counts,
) -> io::Result<()> {
    let (mut client, early) = reader.into_parts();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    target.write_all(&early).await?;
    join(client, target, counts).await
}

async fn join(mut client: TcpStream, mut target: TcpStream, counts: &Counts) -> io::Result<()> {
    target.set_nodelay(true)?;
    counts.tunnels.fetch_add(1, Ordering::SeqCst);
    tokio::io::copy_bidirectional(&mut client, &mut target).await?;
    Ok(())
}

/// Forwards a request in absolute form after it has arrived completely.
async fn pass_on(
    reader: &mut Reader<TcpStream>,
    mut head: Head,
    policy: &ProxyPolicy,
    counts: &Counts,
) -> io::Result<()> {
    // They are for this proxy.
    head.headers.remove(PROXY_AUTHORIZATION);
    let mut body = Vec::new();
    while let Some(data) = reader.data().await? {
        body.extend_from_slice(&data);
    }
    let (authority, target) = split(&head.target);
    match policy.find(&authority) {
        Err(status) => refuse(reader.source(), status, counts).await,
        Ok(addr) => {
            counts.forwarded.fetch_add(1, Ordering::SeqCst);
            let request = RecordedRequest::whole(Head { target, ..head }, Bytes::from(body));
            let canned = forward(Some(addr), &request).await;
            write_response(reader.source(), &canned).await
        }
    }
}

async fn refuse(client: &mut TcpStream, status: StatusCode, counts: &Counts) -> io::Result<()> {
    counts.refused.fetch_add(1, Ordering::SeqCst);
    let mut canned = CannedResponse::new(status);
    if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        canned = canned.header(PROXY_AUTHENTICATE.as_str(), "Basic realm=\"test\"");
    }
    write_response(client, &canned).await
}

/// Splits an absolute target into host with port, and path with query.
fn split(target: &str) -> (String, String) {
    let uri = target.parse::<Uri>().unwrap_or_default();
    let authority = match (uri.host(), uri.port_u16()) {
        (Some(host), port) => format!("{host}:{}", port.unwrap_or(80)),
        (None, _) => String::new(),
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    (authority, path.to_owned())
}
