//! A new connection: TCP, a tunnel through a proxy, TLS, and the protocol that the server chose.

pub(super) mod dead_peer;
mod socks;
mod tunnel;
mod watch;

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use self::dead_peer::DeadPeerTimeouts;
pub(super) use self::watch::SetupWatch;
use super::options::Options;
use super::proxy::{Speaks, Via};
use super::wire::exchange::Attachment;
use super::wire::http1::{Home, Http1};
use super::wire::http2::{Http2, Watcher};
use super::wire::life::Made;
use super::wire::socket::Socket;
use super::wire::stream::Stream;
use crate::box_error::BoxError;
use crate::clock;
use crate::config_error::ConfigError;
use crate::hop::{SocketFailed, TimeoutElapsed};
use crate::record::Tickets;
use crate::timeout::{TimeoutKind, Timeouts};

/// Makes connections, in the same way for all destinations.
#[derive(Debug)]
pub(super) struct Connector {
    /// The times of new connections.
    pub(super) dead_peer: Mutex<DeadPeerTimeouts>,
    pub(super) options: Options,
    pub(super) http1: hyper::client::conn::http1::Builder,
    pub(super) http2: h2::client::Builder,
    /// For proxies that are reached over TLS.
    pub(super) proxy_tls: Result<Arc<ClientConfig>, Arc<ConfigError>>,
}

impl Connector {
    fn dead_peer_times(&self) -> DeadPeerTimeouts {
        *self
            .dead_peer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes new connections wait as long as any of these timeouts needs.
    pub(super) fn follow(&self, timeouts: &[Timeouts]) {
        if let Some(longest) = DeadPeerTimeouts::longest(timeouts, self.options.keep_alive) {
            *self
                .dead_peer
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = longest;
        }
    }

    /// Connects to an address with the user's options.
    pub(super) async fn tcp(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_nodelay(true)?;
        self.dead_peer_times().set(&socket)?;
        let options = &self.options;
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        if let Some(interface) = &options.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        let local = options.local_address;
        if let Some(local) = local.filter(|local| local.is_ipv4() == address.is_ipv4()) {
            socket.bind(SocketAddr::new(local, 0))?;
        }
        socket.connect(options.scoped(address)).await
    }
}

/// One connection to make. It owns all that it needs, because the call that began it may end earlier.
pub(super) struct Dial {
    pub(super) connector: Arc<Connector>,
    pub(super) end: End,
    pub(super) target: Arc<Route>,
    pub(super) watch: SetupWatch,
    /// The time for the connect, and for the TLS handshake.
    pub(super) timeouts: (Duration, Duration),
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) enum End {
    Address(SocketAddr),
    /// The path of a unix socket.
    Socket(Arc<Path>),
}

impl End {
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Socket(_) => None,
        }
    }
}

/// The destination of a connection, and its route.
#[derive(Debug)]
pub(super) struct Route {
    /// The host as a TLS server name, without the brackets of an IPv6 literal.
    pub(super) host: Arc<str>,
    pub(super) port: u16,
    /// `None` for `http`.
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) via: Option<Arc<Via>>,
}

/// An established connection.
#[derive(Debug)]
pub(super) enum Connected {
    Http1(Arc<Http1>),
    Http2(Arc<Http2>),
}

impl Dial {
    /// Makes the connection. It belongs to `pool`. `hold` is dropped with the connection.
    pub(super) async fn run<P: Home + Watcher>(
        self,
        pool: Weak<P>,
        hold: impl Send + 'static,
    ) -> Result<Connected, BoxError> {
        let (connect, tls) = self.timeouts;
        let (socket, stream) = within(connect, TimeoutKind::Connect, self.reach()).await?;
        let mut tickets = None;
        let stream = match &self.target.tls {
            None => stream,
            Some(config) => {
                let counter = Arc::default();
                tickets = Some(Tickets::since_now(&counter));
                self.watch.handshaking(tickets.clone());
                let secured = secure(stream, config, &self.target.host, counter);
                within(tls, TimeoutKind::Tls, secured).await?
            }
        };
        let made = Made {
            socket,
            tls: match self.target.tls {
                Some(_) => stream.tls(),
                None => None,
            },
            tickets,
            link: self.watch.link(),
            idle_timeout: self.connector.options.idle_timeout,
        };
        let session = made.tls;
        let speaks_http2 = match self.target.tls {
            Some(_) => stream.chose_http2(),
            None => self.connector.options.prior_knowledge && !self.is_forwarded(),
        };
        let connected = match speaks_http2 {
            true => {
                let Connector { http2, options, .. } = &*self.connector;
                let bounds_heads = options.http2_header_bytes.is_some();
                let how = (
                    http2,
                    bounds_heads,
                    self.connector.dead_peer_times().pings(),
                );
                let home: Weak<dyn Watcher> = pool;
                let opened = Http2::open(stream, made, how, Attachment { home, hold });
                let (limit, which) = match self.target.tls {
                    Some(_) => (tls, TimeoutKind::Tls),
                    None => (connect, TimeoutKind::Connect),
                };
                Connected::Http2(within(limit, which, opened).await?)
            }
            false => {
                let home: Weak<dyn Home> = pool;
                let attachment = Attachment { home, hold };
                let opened = Http1::open(stream, made, &self.connector.http1, attachment);
                Connected::Http1(opened.await?)
            }
        };
        self.watch.connected(session);
        Ok(connected)
    }

    /// Returns a stream to the destination, through a proxy if there is one.
    async fn reach(&self) -> Result<(Socket, Stream), BoxError> {
        let socket = match &self.end {
            End::Address(address) => Socket::new(self.connector.tcp(*address).await?)?,
            End::Socket(path) => unix(path).await.map_err(SocketFailed)?,
        };
        let mut stream = Stream::Plain(socket.clone());
        let Some(via) = &self.target.via else {
            return Ok((socket, stream));
        };
        if via.is_secure() {
            let config = self.connector.proxy_tls.as_ref();
            let config = config.map_err(|none| NoRoots(Arc::clone(none)))?;
            stream = secure(stream, config, &via.host, Arc::default()).await?;
        }
        let Route { host, port, .. } = &*self.target;
        let stream = match via.speaks {
            Speaks::Socks => socks::connect(stream, (host, *port), via.credentials.clone()).await?,
            Speaks::Http if self.target.tls.is_some() => {
                let request = tunnel::request((host, *port), via.authorization.as_ref())?;
                tunnel::connect(stream, &self.connector.http1, request).await?
            }
            Speaks::Http => stream,
        };
        Ok((socket, stream))
    }

    /// Returns whether a proxy forwards the requests, without a tunnel.
    fn is_forwarded(&self) -> bool {
        let via = self.target.via.as_deref();
        via.is_some_and(|via| via.speaks == Speaks::Http) && self.target.tls.is_none()
    }
}

#[cfg(unix)]
async fn unix(path: &Path) -> std::io::Result<Socket> {
    tokio::net::UnixStream::connect(path)
        .await
        .map(Socket::unix)
}

/// Never called: `build()` refuses a unix socket here.
#[cfg(not(unix))]
async fn unix(_: &Path) -> std::io::Result<Socket> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Makes the TLS handshake.
async fn secure(
    stream: Stream,
    config: &Arc<ClientConfig>,
    host: &str,
    tickets: Arc<AtomicU32>,
) -> Result<Stream, BoxError> {
    let name = ServerName::try_from(host.to_owned())?;
    let shaking = TlsConnector::from(Arc::clone(config)).connect(name, stream);
    Ok(Stream::secured(shaking.await?, tickets))
}

async fn within<T, E: Into<BoxError>>(
    limit: Duration,
    which: TimeoutKind,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, BoxError> {
    let due = clock::after(clock::now(), limit);
    match tokio::time::timeout_at(due, step).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(Box::new(TimeoutElapsed(which))),
    }
}

/// The error if the system has no trusted certificates.
#[derive(Debug)]
pub(super) struct NoRoots(pub(super) Arc<ConfigError>);

impl std::fmt::Display for NoRoots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no trusted certificates were found: install ca-certificates, or set tls(..)")
    }
}

impl std::error::Error for NoRoots {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

#[cfg(test)]
mod messages {
    crate::messages_tests::list!(NoRoots: super::NoRoots(std::sync::Arc::new(crate::config_error::ConfigError::refused("tls", "none"))));
}
