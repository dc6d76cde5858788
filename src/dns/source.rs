//! One query for one family of one absolute name, and what came of it.

use std::collections::VecDeque;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::runtime::{self, Handle};

use super::build_error::{BuildError, Wrong};
#[cfg(feature = "doh")]
use super::encrypted::{Encrypted, trust};
use super::error::{Failure, Reason};
use super::query::{Outcome, Source};
use super::{Family, Question};
use crate::limit::Limit;

/// hickory, as a plain client: its cache, search list, hosts file and own idea of servers are off.
#[derive(Debug)]
pub(crate) struct Hickory {
    servers: Box<[Server]>,
    upstream: Upstream,
    /// What hickory connects is driven by the runtime that it was connected on, and hangs while that one stands
    /// still: so each runtime has its own, the one that came first in front.
    clients: Mutex<PerRuntime>,
}

type PerRuntime = VecDeque<(Option<runtime::Id>, Clients)>;

/// The clients of one runtime.
#[derive(Clone, Debug)]
struct Clients {
    /// All the servers, two asked at a time; silence and unreachability move on to the next.
    together: TokioResolver,
    /// Each by itself, if there are several: the pool takes the first SERVFAIL or REFUSED for the answer,
    /// though the next server may know (glibc moves on, too).
    apart: Vec<TokioResolver>,
}

/// A name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// Over UDP and TCP.
    Plain(SocketAddr),
    #[cfg(feature = "doh")]
    Encrypted(Encrypted),
}

impl Server {
    fn config(&self) -> Result<NameServerConfig, BuildError> {
        let (addr, mut connections) = match self {
            Self::Plain(addr) => (
                *addr,
                vec![ConnectionConfig::udp(), ConnectionConfig::tcp()],
            ),
            #[cfg(feature = "doh")]
            Self::Encrypted(server) => (server.addr(), vec![server.connection()?]),
        };
        for connection in &mut connections {
            connection.port = addr.port();
        }
        Ok(NameServerConfig::new(addr.ip(), true, connections))
    }

    #[cfg(feature = "doh")]
    fn is_encrypted(&self) -> bool {
        matches!(self, Self::Encrypted(_))
    }
}

/// How servers are asked.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) limit: Limit,
    /// Whom encrypted servers are certified by, if not by those that the system trusts.
    #[cfg(feature = "doh")]
    pub(crate) tls: Option<rustls::ClientConfig>,
}

impl Upstream {
    pub(crate) fn new(limit: Limit) -> Self {
        Self {
            limit,
            #[cfg(feature = "doh")]
            tls: None,
        }
    }

    pub(crate) fn source(&self, servers: &[Server]) -> Result<Arc<dyn Source>, BuildError> {
        if servers.is_empty() {
            return Err(BuildError::from(Wrong::Nothing("name_servers")));
        }
        Ok(Arc::new(Hickory::new(servers, self)?))
    }

    /// The same with the roots that these servers need: those of the system are read once.
    #[cfg(feature = "doh")]
    fn trusting(&self, servers: &[Server]) -> Result<Self, BuildError> {
        let mut trusting = self.clone();
        if servers.iter().any(Server::is_encrypted) {
            trusting.tls = Some(trust(self.tls.as_ref())?);
        }
        Ok(trusting)
    }

    fn client(
        &self,
        servers: &[Server],
        (timeout, retries): (Duration, usize),
    ) -> Result<TokioResolver, BuildError> {
        let configs = servers.iter().map(Server::config).collect::<Result<_, _>>();
        let config = ResolverConfig::from_name_servers(configs?);
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        let options: &mut ResolverOpts = builder.options_mut();
        options.timeout = timeout;
        options.attempts = retries;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.preserve_intermediates = true; // the TTLs of the whole chain count
        options.try_tcp_on_error = true;
        options.case_randomization = false;
        #[cfg(feature = "doh")]
        if let Some(tls) = &self.tls {
            builder = builder.with_tls_config(tls.clone());
        }
        Ok(builder.build().map_err(Wrong::client)?)
    }
}

impl Hickory {
    fn new(servers: &[Server], upstream: &Upstream) -> Result<Self, BuildError> {
        #[cfg(feature = "doh")]
        let upstream = &upstream.trusting(servers)?;
        // What cannot be built is to be heard of now.
        Clients::new(servers, upstream)?;
        Ok(Self {
            servers: servers.into(),
            upstream: upstream.clone(),
            clients: Mutex::default(),
        })
    }

    /// The clients of the runtime that this is called on, made on first use.
    fn clients(&self) -> Result<Clients, BuildError> {
        let here = Handle::try_current().ok().map(|runtime| runtime.id());
        let known = |all: &PerRuntime| {
            let mut all = all.iter();
            all.find_map(|(there, clients)| (*there == here).then(|| clients.clone()))
        };
        if let Some(clients) = known(&self.lock()) {
            return Ok(clients);
        }
        // Made outside of the lock; if two make some at once, the first stay.
        let made = Clients::new(&self.servers, &self.upstream)?;
        let mut all = self.lock();
        if let Some(clients) = known(&all) {
            return Ok(clients);
        }
        let oldest = (all.len() >= MOST_RUNTIMES).then(|| all.pop_front());
        all.push_back((here, made.clone()));
        drop(all);
        drop(oldest); // not under the lock: it may close sockets
        Ok(made)
    }

    fn lock(&self) -> MutexGuard<'_, PerRuntime> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clients {
    fn new(servers: &[Server], upstream: &Upstream) -> Result<Self, BuildError> {
        // hickory takes its timeout once for each try, so a whole look-up takes it twice.
        let timeout = upstream.limit.get() / 2;
        let apart = match servers {
            [_] => Vec::new(),
            servers => servers
                .chunks(1)
                .map(|server| upstream.client(server, (timeout, 0)))
                .collect::<Result<_, _>>()?,
        };
        Ok(Self {
            together: upstream.client(servers, (timeout, 1))?,
            apart,
        })
    }

    async fn look_up(self, name: Name, family: Family) -> Outcome {
        let mut outcome = query(&self.together, &name, family).await;
        let mut others = self.apart.iter();
        while outcome.is_refused()
            && let Some(server) = others.next()
        {
            outcome = query(server, &name, family).await;
        }
        outcome
    }
}

impl Source for Hickory {
    fn ask(&self, question: &Question) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
        let failed = |failure| Box::pin(std::future::ready(Outcome::failed(failure)));
        // From labels, since a backslash in a text would be an escape.
        let mut name = match Name::from_labels(question.name.split('.').map(str::as_bytes)) {
            Ok(name) => name,
            Err(error) => return failed(Failure::because(Reason::NotFound, error)),
        };
        name.set_fqdn(true);
        match self.clients() {
            Ok(clients) => Box::pin(clients.look_up(name, question.family)),
            Err(error) => failed(Failure::because(Reason::Unreachable, error)),
        }
    }
}

async fn query(client: &TokioResolver, name: &Name, family: Family) -> Outcome {
    let record_type = match family {
        Family::V4 => RecordType::A,
        Family::V6 => RecordType::AAAA,
    };
    match client.lookup(name.clone(), record_type).await {
        Ok(lookup) => read(&lookup, name, family),
        Err(error) => explain(error),
    }
}

/// Follows the aliases from `name` to the addresses, keeping the least TTL on the way. Records that are
/// not on it, an answer may hold anything, are not looked at.
fn read(lookup: &Lookup, name: &Name, family: Family) -> Outcome {
    let records = lookup.answers();
    let (mut owner, mut ttl) = (name, u32::MAX);
    for _ in records {
        let alias = records.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *owner => Some((&target.0, record.ttl)),
            _ => None,
        });
        let Some((target, alias_ttl)) = alias else {
            break;
        };
        (owner, ttl) = (target, ttl.min(alias_ttl));
    }
    let mut addresses = Vec::new();
    for record in records.iter().filter(|record| record.name == *owner) {
        let address = match (&record.data, family) {
            (RData::A(address), Family::V4) => IpAddr::V4(address.0),
            (RData::AAAA(address), Family::V6) => IpAddr::V6(address.0),
            _ => continue,
        };
        addresses.push(address);
        ttl = ttl.min(record.ttl);
    }
    if addresses.is_empty() {
        return Outcome::failed(Failure::new(Reason::NoRecords));
    }
    let ttl = Duration::from_secs(ttl.into());
    Outcome::Addresses { addresses, ttl }
}

fn explain(error: NetError) -> Outcome {
    let mut ttl = None;
    let reason = match &error {
        NetError::Timeout => Reason::Timeout,
        NetError::Io(_) | NetError::NoConnections | NetError::Busy => Reason::Unreachable,
        NetError::Dns(DnsError::ResponseCode(_)) => Reason::ServerFailure,
        NetError::Dns(DnsError::NoRecordsFound(missing)) => {
            ttl = missing.negative_ttl; // min(SOA minimum, SOA TTL), RFC 2308 §5
            match missing.response_code {
                ResponseCode::NXDomain => Reason::NotFound,
                ResponseCode::NoError => Reason::NoRecords,
                _ => Reason::ServerFailure,
            }
        }
        _ => Reason::Protocol,
    };
    Outcome::Nothing {
        failure: Failure::because(reason, error),
        ttl: ttl.map(|secs| Duration::from_secs(secs.into())),
    }
}

/// One for each core of a large machine.
const MOST_RUNTIMES: usize = 64;

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn runtime_has_its_clients_once_and_not_too_many_have_some() {
        let server = Server::Plain(([127, 0, 0, 1], 9).into());
        let upstream = Upstream::new(Limit::from_secs(1));
        let hickory = Hickory::new(&[server], &upstream).unwrap();
        let runtime = || Builder::new_current_thread().build().unwrap();
        let runtimes: Vec<_> = (0..=MOST_RUNTIMES).map(|_| runtime()).collect();

        for (before, runtime) in runtimes.iter().enumerate() {
            for _ in 0..2 {
                runtime.block_on(async { hickory.clients() }).unwrap();
                assert_eq!(hickory.lock().len(), MOST_RUNTIMES.min(before + 1));
            }
        }
    }
}
