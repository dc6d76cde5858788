//! A DNS server with a script.
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
//! They expect a changed script to show at once: a resolver caches addresses until their TTL is over. Or they count
//! queries of a slow server: a client may send a query again, over UDP after a third of a second.

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

    /// Starts a server on `addr`, a loopback address; port 0 stands for any that is free.
    ///
    /// # Errors
    ///
    /// Fails if `addr` is not a loopback address, or is taken.
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

    /// Where the server listens, over UDP and TCP.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sets the script of `name`, in place of the one before.
    ///
    /// A name without a script does not exist: NXDOMAIN, with an SOA.
    pub fn set(&self, name: &str, script: DnsScript) {
        self.shared.zone().set(name, script);
    }

    /// Says from now on what `script` says about `name` if asked for `record_type`; other types are answered
    /// as before.
    pub fn set_type(&self, name: &str, record_type: RecordType, script: DnsScript) {
        self.shared.zone().set_type(name, record_type, script);
    }

    /// Every query so far, in the order in which they came.
    #[must_use]
    pub fn queries(&self) -> Vec<DnsQuery> {
        self.shared.queries.borrow().clone()
    }

    /// How often `name` was asked for, whatever the type. A host with addresses to be looked up is asked for
    /// twice, once for each family.
    #[must_use]
    pub fn queries_for(&self, name: &str) -> usize {
        let name = zone::canonical(name);
        let queries = self.shared.queries.borrow();
        queries.iter().filter(|query| query.name == name).count()
    }

    /// Waits until the queries so far are as `expected`. Has no limit of its own.
    pub async fn wait_until(&self, expected: impl Fn(&[DnsQuery]) -> bool) {
        let mut queries = self.shared.queries.subscribe();
        // The sender lives as long as `self`, so there is no other end than the expected one.
        let _ = queries.wait_for(|queries| expected(queries)).await;
    }

    /// A resolver that asks this server only: no hosts file, no search list, nothing of the system's.
    #[must_use]
    pub fn resolver(&self) -> Resolver {
        self.resolver_builder()
            .build()
            .unwrap_or_else(|error| unreachable!("the defaults do not contradict: {error}"))
    }

    /// The beginnings of [`resolver`](Self::resolver), to change a limit or a TTL.
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

/// A query that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsQuery {
    /// The name, in lower case and without the trailing dot.
    pub name: String,
    /// The type of the query.
    pub record_type: RecordType,
    /// How it came.
    pub transport: QueryTransport,
    /// Whether it has an OPT record (RFC 6891).
    pub edns: bool,
}

/// The type of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RecordType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Another type; there are no records of it.
    Other,
}

/// How a query comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum QueryTransport {
    /// A datagram.
    Udp,
    /// A stream.
    Tcp,
}

/// Binds one port for both; a free one for UDP may be taken for TCP, so several are tried.
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

/// Enough that bad luck alone does not exhaust them.
const PORTS: u32 = 16;
