//! Name servers over TLS (RFC 7858) and HTTPS (RFC 8484).

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle, FirstAnswer};
use hickory_resolver::proto::op::{DnsRequest, Message};
use hickory_resolver::{ConnectionProvider, PoolContext, TlsConfig};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::runtime::{self, Handle};
use tokio::time::Instant;
use url::{Host, Url};

use super::error::{DnsErrorReason, LookupFailure};
use super::servers::Upstream;
use crate::clock;
use crate::config_error::ConfigError;
use crate::destination::shown;
use crate::roots;

/// A name server, and how it proves its identity.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Encrypted {
    /// With the name in its certificate.
    Tls(SocketAddr, String),
    /// With the URL that queries are posted to.
    Https(SocketAddr, String),
}

impl Encrypted {
    fn addr(&self) -> SocketAddr {
        match self {
            Self::Tls(addr, _) | Self::Https(addr, _) => *addr,
        }
    }

    fn connection(&self) -> Result<ConnectionConfig, ConfigError> {
        match self {
            Self::Tls(_, name) => {
                let refused =
                    || ConfigError::invalid("resolver.tls_servers", name, "a TLS server name");
                Ok(ConnectionConfig::tls(certified(name).ok_or_else(refused)?))
            }
            Self::Https(_, whole) => {
                let expected = "an https URL of a host and a path";
                let refused =
                    || ConfigError::invalid("resolver.https_servers", shown(whole), expected);
                let url = Url::parse(whole).map_err(|_| refused())?;
                let is_own_port = url.port().is_none_or(|port| port == self.addr().port());
                let name = host(&url).filter(|_| is_own_port).ok_or_else(refused)?;
                let path = Some(url.path().into());
                Ok(ConnectionConfig::https(name, path))
            }
        }
    }
}

impl fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, addr, text) = match self {
            Self::Tls(addr, name) => ("Tls", addr, &**name),
            Self::Https(addr, url) => ("Https", addr, shown(url)),
        };
        f.debug_tuple(name).field(addr).field(&text).finish()
    }
}

fn host(url: &Url) -> Option<Arc<str>> {
    // hickory does not support these parts of a URL, and they must not be ignored silently.
    let has_userinfo = !url.username().is_empty() || url.password().is_some();
    if url.scheme() != "https" || url.query().is_some() || url.fragment().is_some() || has_userinfo
    {
        return None;
    }
    match url.host()? {
        Host::Domain(name) => certified(name),
        Host::Ipv4(address) => Some(address.to_string().into()),
        Host::Ipv6(address) => Some(address.to_string().into()),
    }
}

fn certified(name: &str) -> Option<Arc<str>> {
    ServerName::try_from(name).is_ok().then(|| name.into())
}

/// Returns the TLS config with the system's root certificates, unless another one is configured.
pub(crate) fn trust(configured: Option<&ClientConfig>) -> Result<ClientConfig, ConfigError> {
    if let Some(config) = configured {
        return Ok(config.clone());
    }
    roots::system()
}

/// The connections to one encrypted server.
///
/// A connection is driven by the runtime that opened it, and hangs while that runtime is not running. So each runtime
/// has its own connection. The oldest one is in front.
pub(crate) struct Channel {
    server: SocketAddr,
    config: ConnectionConfig,
    context: PoolContext,
    /// A connection that is silent for this time is not used again: its path may be dead.
    patience: Duration,
    open: Mutex<PerRuntime>,
}

type Connection = DnsExchange<TokioRuntimeProvider>;
type PerRuntime = VecDeque<(Option<runtime::Id>, Connection)>;

impl Channel {
    pub(crate) fn new(server: &Encrypted, upstream: &Upstream) -> Result<Self, ConfigError> {
        let mut config = server.connection()?;
        config.port = server.addr().port();
        let mut options = ResolverOpts::default();
        options.timeout = upstream.limit;
        let mut tls = TlsConfig::new().map_err(|error| ConfigError::failed("resolver", error))?;
        tls.config = trust(upstream.tls.as_ref())?;
        Ok(Self {
            server: server.addr(),
            config,
            context: PoolContext::new(options, tls),
            patience: upstream.limit / 2,
            open: Mutex::default(),
        })
    }

    /// Sends a query on the connection of this runtime. A connection that was closed since its last use is replaced
    /// once.
    pub(crate) async fn send(&self, request: DnsRequest) -> Result<Message, LookupFailure> {
        let here = Handle::try_current().ok().map(|runtime| runtime.id());
        if let Some(connection) = self.opened(here) {
            match self.query((here, connection), request.clone()).await {
                Ok(response) => return Ok(response),
                Err(NetError::Timeout) => return Err(failure(NetError::Timeout)),
                Err(_) => {}
            }
        }
        let provider = TokioRuntimeProvider::default();
        let opening = provider.new_connection(self.server.ip(), &self.config, &self.context);
        let connection = opening.map_err(failure)?.await.map_err(failure)?;
        self.keep(here, Some(connection.clone()));
        let response = self.query((here, connection), request).await;
        response.map_err(failure)
    }

    /// The walk over the servers usually drops this future before hickory's timeout.
    async fn query(
        &self,
        (here, connection): (Option<runtime::Id>, Connection),
        request: DnsRequest,
    ) -> Result<Message, NetError> {
        let mut silence = Silence {
            channel: self,
            here,
            since: clock::now(),
            is_over: false,
        };
        let response = connection.send(request).first_answer().await;
        silence.is_over = !matches!(response, Err(NetError::Timeout));
        response.map(Message::from)
    }

    fn opened(&self, here: Option<runtime::Id>) -> Option<Connection> {
        let open = self.open();
        let (_, connection) = open.iter().find(|(there, _)| *there == here)?;
        Some(connection.clone())
    }

    /// Replaces the connection of this runtime, or removes it.
    fn keep(&self, here: Option<runtime::Id>, connection: Option<Connection>) {
        let mut gone = VecDeque::new();
        let mut open = self.open();
        while let Some(place) = open.iter().position(|(there, _)| *there == here) {
            gone.extend(open.remove(place));
        }
        if let Some(connection) = connection {
            if open.len() >= MOST_RUNTIMES {
                gone.extend(open.pop_front());
            }
            open.push_back((here, connection));
        }
        drop(open);
        drop(gone); // not under the lock: it may close sockets
    }

    fn open(&self) -> MutexGuard<'_, PerRuntime> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A query on a connection, until its end or until it is dropped.
struct Silence<'c> {
    channel: &'c Channel,
    here: Option<runtime::Id>,
    since: Instant,
    is_over: bool,
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        let silent = clock::now().saturating_duration_since(self.since);
        if !self.is_over && silent >= self.channel.patience {
            self.channel.keep(self.here, None);
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channel").field(&self.config).finish()
    }
}

fn failure(error: NetError) -> LookupFailure {
    let reason = match &error {
        NetError::Timeout => DnsErrorReason::Timeout,
        NetError::Io(_) | NetError::NoConnections | NetError::Busy => DnsErrorReason::Unreachable,
        _ => DnsErrorReason::Protocol,
    };
    LookupFailure::because(reason, error)
}

/// One connection for each core of a large machine.
const MOST_RUNTIMES: usize = 64;
