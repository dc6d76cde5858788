//! A scripted DNS server.
//!
//! [`ScriptedDns`] listens on a loopback address, on the same port over UDP and TCP. A test can change its script while
//! it runs, look at the queries, and wait for them.
//!
//! # Example
//!
//! ```
//! use sevenhops::dns::{DnsErrorReason, Resolve};
//! use sevenhops::testing::{DnsScript, ScriptedDns};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dns = ScriptedDns::start().await?;
//! dns.set("api.test", DnsScript::addresses(["127.0.0.1".parse()?]).ttl(60));
//!
//! let resolver = dns.resolver();
//! let answer = resolver.resolve("api.test").answer().await?;
//! assert_eq!(answer.addresses(), ["127.0.0.1".parse::<std::net::IpAddr>()?]);
//! assert_eq!(dns.queries_for("api.test"), 2); // one for each family
//!
//! let error = resolver.resolve("unknown.test").answer().await.unwrap_err();
//! assert_eq!(error.reason(), DnsErrorReason::NotFound);
//! # Ok(())
//! # }
//! ```
//!
//! # How people get it wrong
//!
//! They expect a changed script to take effect at once: a resolver caches addresses until their TTL ends. Or they count
//! the queries to a slow server: a client may send a UDP query again after a third of a second.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::dns::{Resolver, ResolverBuilder};

mod message;
mod script;
mod serve;
mod zone;

pub use script::{DnsScript, Soa};
use zone::Zone;

/// A scripted DNS server. Dropping it stops it.
#[derive(Debug)]
pub struct ScriptedDns {
    addr: SocketAddr,
    shared: Arc<DnsServerInner>,
    tasks: [AbortHandle; 2],
}

/// The state that the server's tasks and its owner share.
#[derive(Debug)]
struct DnsServerInner {
    zone: Mutex<Zone>,
    queries: watch::Sender<Vec<DnsQuery>>,
}

impl DnsServerInner {
    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScriptedDns {
    /// Starts a server on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Fails if no port is free for both UDP and TCP.
    pub async fn start() -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Starts a server on `addr`, a loopback address. With port 0 it takes any free port.
    ///
    /// # Errors
    ///
    /// Fails if `addr` is not a loopback address, or if it is in use.
    pub async fn start_at(addr: SocketAddr) -> io::Result<Self> {
        if !addr.ip().is_loopback() {
            let message = format!("{addr} is not a loopback address");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let (udp, tcp) = bind(addr).await?;
        let addr = udp.local_addr()?;
        let shared = Arc::new(DnsServerInner {
            zone: Mutex::default(),
            queries: watch::Sender::new(Vec::new()),
        });
        let tasks = [
            tokio::spawn(serve::udp(udp, Arc::clone(&shared))).abort_handle(),
            tokio::spawn(serve::tcp(tcp, Arc::clone(&shared))).abort_handle(),
        ];
        Ok(Self {
            addr,
            shared,
            tasks,
        })
    }

    /// Returns the address at which the server listens, over UDP and TCP.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sets the script of `name`, and replaces the earlier one.
    ///
    /// A name without a script does not exist: NXDOMAIN, with an SOA.
    pub fn set(&self, name: &str, script: DnsScript) {
        self.shared.zone().set(name, script);
    }

    /// Sets the script of `name` for queries of `record_type`. Queries of other types are answered as before.
    pub fn set_type(&self, name: &str, record_type: RecordType, script: DnsScript) {
        self.shared.zone().set_type(name, record_type, script);
    }

    /// Returns every query so far, in the order of arrival.
    #[must_use]
    pub fn queries(&self) -> Vec<DnsQuery> {
        self.shared.queries.borrow().clone()
    }

    /// Returns the number of queries for `name`, of any type. A lookup of a host's addresses sends two: one for each
    /// family.
    #[must_use]
    pub fn queries_for(&self, name: &str) -> usize {
        let name = zone::canonical(name);
        let queries = self.shared.queries.borrow();
        queries.iter().filter(|query| query.name == name).count()
    }

    /// Waits until `expected` returns true for the queries so far. It has no timeout of its own.
    pub async fn wait_until(&self, expected: impl Fn(&[DnsQuery]) -> bool) {
        let mut queries = self.shared.queries.subscribe();
        // The sender lives as long as `self`, so the wait cannot end in another way.
        let _ = queries.wait_for(|queries| expected(queries)).await;
    }

    /// Returns a resolver that queries only this server: no hosts file, no search list, no system configuration.
    #[must_use]
    pub fn resolver(&self) -> Resolver {
        self.resolver_builder()
            .build()
            .unwrap_or_else(|error| unreachable!("the defaults do not contradict: {error}"))
    }

    /// Returns the builder of [`resolver`](Self::resolver), to change a timeout or a TTL.
    pub fn resolver_builder(&self) -> ResolverBuilder {
        Resolver::builder()
            .name_servers([self.addr])
            .hosts_file(false)
    }
}

impl Drop for ScriptedDns {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A query that the server received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsQuery {
    /// The name, in lower case and without the trailing dot.
    pub name: String,
    /// The type of the query.
    pub record_type: RecordType,
    /// The protocol over which it came.
    pub transport: QueryTransport,
    /// Whether it has an OPT record (RFC 6891).
    pub edns: bool,
}

/// The record type of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RecordType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Another type. There are no records of it.
    Other,
}

/// The protocol of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum QueryTransport {
    /// A datagram.
    Udp,
    /// A stream.
    Tcp,
}

/// Binds one port for both protocols. A port that is free for UDP may be in use for TCP, so several are tried.
async fn bind(addr: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = if addr.port() == 0 { PORTS } else { 1 };
    loop {
        let udp = UdpSocket::bind(addr).await?;
        tries -= 1;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if tries == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

/// With this many tries, bad luck alone does not make the start fail.
const PORTS: u32 = 16;
