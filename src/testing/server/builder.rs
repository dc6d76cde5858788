//! The builder of a fault server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::FaultServer;
use super::connection::{ServerState, attend};
use super::ledger::Ledger;
use super::reply::{CannedResponse, Reply};
use crate::testing::{self, Identity};

/// Builds a [`FaultServer`]. These options cannot change while it runs.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct FaultServerBuilder {
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    http2: bool,
    upstream: Option<SocketAddr>,
}

impl FaultServerBuilder {
    pub(super) fn new() -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            tls: None,
            http2: false,
            upstream: None,
        }
    }

    /// Sets the address at which the server listens. By default it takes a free port of 127.0.0.1. The rest of
    /// 127.0.0.0/8 and `::1` can serve as other hosts.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Speaks TLS with this certificate.
    pub fn tls(self, identity: Identity) -> Self {
        self.tls_config(identity.server_config(&[]))
    }

    /// Speaks TLS with this config. The ALPN protocols follow from [`http2`](Self::http2).
    pub fn tls_config(mut self, config: Arc<ServerConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// Speaks only HTTP/2: by ALPN with TLS, by prior knowledge without TLS.
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Forwards requests without a fault to a real server that speaks plain HTTP/1.1.
    pub fn upstream(mut self, upstream: SocketAddr) -> Self {
        self.upstream = Some(upstream);
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    ///
    /// Fails if the address is in use.
    pub async fn start(self) -> io::Result<FaultServer> {
        let socket = testing::socket_for(self.address)?;
        socket.set_reuseaddr(true)?;
        socket.bind(self.address)?;
        let listener = socket.listen(BACKLOG)?;
        let addr = listener.local_addr()?;
        let default_reply = match self.upstream {
            Some(_) => Reply::Upstream,
            None => Reply::Response(CannedResponse::default()),
        };
        let ledger = Arc::new(Ledger::new(default_reply));
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let alpn: &[u8] = if self.http2 { b"h2" } else { b"http/1.1" };
        let state = ServerState {
            ledger: Arc::clone(&ledger),
            tls: self.tls.map(|config| with_alpn(&config, alpn)),
            http2: self.http2,
            upstream: self.upstream,
        };
        let (stop, stopped) = oneshot::channel();
        Ok(FaultServer {
            addr,
            scheme,
            ledger,
            stop: Some(stop),
            task: tokio::spawn(listen(listener, Arc::new(state), stopped)),
        })
    }
}

/// Accepts connections until it is stopped. Dropping it drops its connections too.
async fn listen(
    listener: TcpListener,
    state: Arc<ServerState>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = &mut stopped => break,
        };
        // An error means that a connection was gone before it was accepted.
        if let Ok((tcp, _)) = accepted {
            let _ = tcp.set_nodelay(true);
            let connection = state.ledger.arrive();
            connections.spawn(attend(tcp, Arc::clone(&state), connection));
        }
    }
    drop(listener);
    connections.shutdown().await;
}

fn with_alpn(config: &ServerConfig, alpn: &[u8]) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config)
}

/// More than any test opens at once.
const BACKLOG: u32 = 1024;
