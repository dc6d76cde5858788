//! The builder of a [`Resolver`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::cache::Cache;
#[cfg(feature = "encrypted-dns")]
use super::encrypted::Encrypted;
use super::hosts::HostsFile;
use super::query::QuerySource;
use super::record::CachePolicy;
use super::resolver::{Resolver, ResolverConfig, ResolverInner};
use super::search::NDOTS;
use super::servers::{Server, Upstream};
use super::singleflight::QueryPool;
use super::system::{NSSWITCH, RESOLV_CONF, System};
use super::watch::{FileWatch, Plan, QueryPlan};
use crate::config_error::ConfigError;
use crate::timeout::LONGEST;

/// Builds a [`Resolver`].
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::dns::Resolver;
///
/// let resolver = Resolver::builder()
///     .name_servers(["127.0.0.1:53".parse()?])
///     .search(["corp.test"])
///     .ttl_ceiling(Duration::from_secs(60))
///     .stale_limit(Duration::ZERO)
///     .build()?;
/// # drop(resolver); Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Defaults
///
/// | option | default | reason |
/// |---|---|---|
/// | name servers, search list, ndots, `use-vc` | the system's resolv.conf | |
/// | hosts file | the system's, where nsswitch.conf has it | before DNS, after it, or not at all |
/// | timeout | 2 s, for the whole lookup | half of it is left for the last name server |
/// | TTL | at least 1 s, at most 1 h | RFC 8767 §4 asks for a cap |
/// | negative answers | at most 60 s | a new name is found soon |
/// | addresses of a denied name | until it is denied again after the negative TTL, at most 61 s | a short NXDOMAIN loses no addresses |
/// | failure backoff | 1 s, doubled up to 30 s | no query storm (RFC 9520 §3.2) |
/// | refresh | at 80 to 90 % of the TTL, for names in use | no call waits, and the queries are spread over time |
/// | stale answers | for 24 h after their end | RFC 8767 §5: old addresses are better than none |
/// | silence before they are used | 1.8 s, or half of the timeout | RFC 8767 §5 |
/// | capacity | 4,096 names | bounded |
///
/// The system's files are read again when they change. A lookup that needs a query checks their size and date, at most
/// once in three seconds. If the name servers changed, all earlier results expire. A file that can no longer be used is
/// reported once as a `tracing` warning, and its last content stays in use. If a file exists and cannot be read, for
/// example because the process lacks file descriptors, it is read again at the next check. Malformed lines are ignored,
/// with one warning for each file.
///
/// Without a name server, the resolver can still be built: literals and names of the hosts file resolve. A lookup that
/// needs a name server fails, and its error says what to set. A public resolver is never used instead.
///
/// The servers are queried in their order. If one fails, the next one is queried immediately. If one is silent, the
/// next one is queried in addition after 300 ms. A response is negative only with authority: NXDOMAIN, or no records
/// with an SOA or as an authoritative answer. A server fails if it sends a referral, an empty response, or a response
/// to another question.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct ResolverBuilder {
    plan: Plan,
    rules: CachePolicy,
}

impl Resolver {
    /// Creates a resolver with the system's configuration: its name servers, search list and hosts file.
    ///
    /// # Errors
    ///
    /// Does not fail today. Without a name server, each lookup that needs one fails instead, and its error names the
    /// file.
    pub fn from_system() -> Result<Self, ConfigError> {
        Self::builder().build()
    }

    /// Creates a builder with the system's configuration and the defaults of this crate.
    pub fn builder() -> ResolverBuilder {
        ResolverBuilder::new()
    }
}

impl ResolverBuilder {
    pub(crate) fn new() -> Self {
        Self {
            plan: Plan {
                servers: None,
                search: None,
                ndots: None,
                resolv_conf: RESOLV_CONF.into(),
                hosts_file: HostsFile::System,
                nsswitch: NSSWITCH.into(),
                upstream: Upstream::new(Duration::from_secs(2)),
                #[cfg(test)]
                port: None,
            },
            rules: CachePolicy {
                floor: Duration::from_secs(1),
                ceiling: Duration::from_secs(60 * 60),
                negative_ceiling: Duration::from_secs(60),
                backoff: (Duration::from_secs(1), Duration::from_secs(30)),
                stale: Some(Duration::from_secs(24 * 60 * 60)),
                capacity: 4_096,
            },
        }
    }

    /// Sets the name servers, over UDP and TCP, instead of the system's. The system's search list is then not used
    /// either, because it belongs to its servers.
    pub fn name_servers(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.plan.servers = Some(servers.into_iter().map(Server::Plain).collect());
        self
    }

    /// Sets name servers over TLS (RFC 7858), instead of any others. Each server comes with the name in its
    /// certificate. As with [`name_servers`](Self::name_servers), the system's configuration is not used.
    #[cfg(feature = "encrypted-dns")]
    pub fn tls_servers<N: Into<String>>(
        mut self,
        servers: impl IntoIterator<Item = (SocketAddr, N)>,
    ) -> Self {
        let servers = servers.into_iter().map(|(addr, name)| {
            let name = name.into();
            Server::Encrypted(Encrypted::Tls(addr, name))
        });
        self.plan.servers = Some(servers.collect());
        self
    }

    /// Sets name servers over HTTPS (RFC 8484, HTTP/2), instead of any others. Each server comes with the URL that
    /// queries are posted to. The URL's host is not looked up: it is the name in the certificate.
    #[cfg(feature = "encrypted-dns")]
    pub fn https_servers<U: Into<String>>(
        mut self,
        servers: impl IntoIterator<Item = (SocketAddr, U)>,
    ) -> Self {
        let servers = servers.into_iter().map(|(addr, url)| {
            let url = url.into();
            Server::Encrypted(Encrypted::Https(addr, url))
        });
        self.plan.servers = Some(servers.collect());
        self
    }

    /// Sets the TLS config for name servers over TLS or HTTPS. By default the system's root certificates are trusted.
    #[cfg(feature = "encrypted-dns")]
    pub fn tls(mut self, config: rustls::ClientConfig) -> Self {
        self.plan.upstream.tls = Some(config);
        self
    }

    /// Sets the domains that complete short names. With no domain, every name is absolute.
    pub fn search<D: Into<String>>(mut self, domains: impl IntoIterator<Item = D>) -> Self {
        self.plan.search = Some(domains.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the number of dots from which a name is tried unchanged before it is completed.
    pub fn ndots(mut self, dots: usize) -> Self {
        self.plan.ndots = Some(dots);
        self
    }

    /// Sets the hosts file: the system's (`true`), none (`false`), or the one at a path.
    ///
    /// `localhost` always means this machine.
    pub fn hosts_file(mut self, file: impl Into<HostsFile>) -> Self {
        self.plan.hosts_file = file.into();
        self
    }

    /// Sets the time for the whole lookup: both families, all tries, and all names of the search list. At most a day.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.plan.upstream.limit = limit;
        self
    }

    /// Caches answers for at least this long, unless their TTL is zero. Those are never cached.
    pub fn ttl_floor(mut self, floor: Duration) -> Self {
        self.rules.floor = floor;
        self
    }

    /// Caches answers for at most this long.
    pub fn ttl_ceiling(mut self, ceiling: Duration) -> Self {
        self.rules.ceiling = ceiling;
        self
    }

    /// Caches negative answers for at most this long.
    pub fn negative_ceiling(mut self, ceiling: Duration) -> Self {
        self.rules.negative_ceiling = ceiling;
        self
    }

    /// Sets the wait after a failed query: `first`, doubled after each further failure, up to `most`. Until the wait is
    /// over, lookups fail with the same failure.
    pub fn failure_backoff(mut self, first: Duration, most: Duration) -> Self {
        self.rules.backoff = (first, most);
        self
    }

    /// Uses expired addresses for at most this long after their end, as long as the servers fail or are silent. Zero
    /// means never.
    ///
    /// Such answers are [marked](crate::dns::Answer::is_stale). They are used immediately while a failure is known,
    /// otherwise after the servers have been silent for 1.8 s or half of the timeout. In the background, the servers
    /// are still queried, with backoff. A negative response ends the old addresses when it is confirmed. That is when
    /// it comes again after its own TTL, at most 61 s after the first.
    pub fn stale_limit(mut self, limit: Duration) -> Self {
        self.rules.stale = (!limit.is_zero()).then_some(limit);
        self
    }

    /// Caches at most this many names.
    pub fn capacity(mut self, names: usize) -> Self {
        self.rules.capacity = names;
        self
    }

    #[cfg(test)]
    pub(crate) fn resolv_conf(mut self, path: impl Into<std::path::PathBuf>) -> Self {
        self.plan.resolv_conf = path.into();
        self
    }

    #[cfg(test)]
    pub(crate) fn nsswitch(mut self, path: impl Into<std::path::PathBuf>) -> Self {
        self.plan.nsswitch = path.into();
        self
    }

    /// Sets a port for the servers of a resolv.conf, because that file has no ports.
    #[cfg(test)]
    pub(crate) fn port(mut self, port: u16) -> Self {
        self.plan.port = Some(port);
        self
    }

    /// Builds the resolver.
    ///
    /// # Errors
    ///
    /// Fails if an option is out of range or contradicts another one, or if a hosts file at a path cannot be read.
    pub fn build(self) -> Result<Resolver, ConfigError> {
        self.check()?;
        let mut watch = FileWatch::new(self.plan.clone());
        match watch.first_asking() {
            Ok(asking) => {
                let source = self.plan.upstream.source(&asking.servers)?;
                self.finish_with((watch, asking), source)
            }
            Err(no_server) => {
                let asking = self.plan.asking_with(&System::default());
                self.finish_with((watch, asking), Arc::new(no_server))
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn finish(self, source: Arc<dyn QuerySource>) -> Result<Resolver, ConfigError> {
        let builder = match self.plan.servers {
            Some(_) => self,
            // A placeholder, so that the system's files are not read.
            None => self.name_servers([([127, 0, 0, 1], 53).into()]),
        };
        builder.check()?;
        let watch = FileWatch::new(builder.plan.clone());
        let asking = builder.plan.asking_with(&System::default());
        builder.finish_with((watch, asking), source)
    }

    fn finish_with(
        self,
        (mut watch, asking): (FileWatch, QueryPlan),
        source: Arc<dyn QuerySource>,
    ) -> Result<Resolver, ConfigError> {
        let config = ResolverConfig {
            hosts: Arc::new(watch.first_hosts()?),
            order: watch.first_order(),
            search: asking.search,
        };
        watch.begin(asking.servers);
        let limit = self.plan.upstream.limit;
        Ok(Resolver::from_inner(ResolverInner {
            config: ArcSwap::from_pointee(config),
            pool: Arc::new(QueryPool::new(Cache::new(self.rules), source, limit)),
            watch,
            limit,
        }))
    }

    fn check(&self) -> Result<(), ConfigError> {
        let CachePolicy {
            floor,
            ceiling,
            negative_ceiling,
            backoff: (first, most),
            stale,
            capacity,
        } = self.rules;
        let kept = super::UNCHANGING;
        for (path, value, longest) in [
            ("resolver.timeout", self.plan.upstream.limit, LONGEST),
            ("resolver.ttl_ceiling", ceiling, kept),
            ("resolver.negative_ceiling", negative_ceiling, kept),
            ("resolver.failure_backoff.most", most, LONGEST),
            ("resolver.failure_backoff.first", first, most),
        ] {
            if value.is_zero() || value > longest {
                let range = format_args!("more than 0s, at most {longest:?}");
                return Err(ConfigError::invalid(path, value, range));
            }
        }
        if floor > ceiling {
            let ceiling = ("resolver.ttl_ceiling", ceiling);
            return Err(ConfigError::longer(("resolver.ttl_floor", floor), ceiling));
        }
        if let Some(stale) = stale.filter(|stale| *stale > kept) {
            let range = format_args!("at most {kept:?}");
            return Err(ConfigError::invalid("resolver.stale_limit", stale, range));
        }
        if self.plan.servers.as_ref().is_some_and(Vec::is_empty) {
            let none: [SocketAddr; 0] = [];
            let expected = "one server or more";
            return Err(ConfigError::invalid(
                "resolver.name_servers",
                none,
                expected,
            ));
        }
        if capacity == 0 {
            return Err(ConfigError::invalid(
                "resolver.capacity",
                capacity,
                "at least 1",
            ));
        }
        match self.plan.ndots {
            Some(dots) if dots > NDOTS => {
                let expected = format_args!("at most {NDOTS}");
                Err(ConfigError::invalid("resolver.ndots", dots, expected))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
