//! How a [`Resolver`] is told what to do.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::build_error::{BuildError, Wrong};
use super::cache::{Cache, Rules};
use super::flight::Board;
use super::hosts::Hosts;
use super::resolver::{Inner, Resolver};
use super::search::Search;
use super::source::{Hickory, Source};
use super::system::{HOSTS, RESOLV_CONF, System};
use crate::limit::Limit;

/// Builds a [`Resolver`].
///
/// | setting | default | why |
/// |---|---|---|
/// | name servers, search list, ndots | the system's | |
/// | hosts file | the system's | |
/// | limit | 2 s, for the whole look-up | two one-second tries |
/// | TTL | at least 1 s, at most 1 h | RFC 8767 §4 asks for a cap |
/// | negative answers | at most 60 s | a name that was just made is found soon |
/// | failure back-off | 1 s, doubled up to 30 s | no query storm (RFC 9520 §3.2) |
/// | capacity | 4,096 names | bounded |
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct ResolverBuilder {
    name_servers: Option<Vec<SocketAddr>>,
    search: Option<Vec<String>>,
    ndots: Option<usize>,
    hosts_file: HostsFile,
    resolv_conf: PathBuf,
    limit: Limit,
    rules: Rules,
}

impl ResolverBuilder {
    pub(crate) fn new() -> Self {
        Self {
            name_servers: None,
            search: None,
            ndots: None,
            hosts_file: HostsFile::System,
            resolv_conf: RESOLV_CONF.into(),
            limit: Limit::from_secs(2),
            rules: Rules {
                floor: Duration::from_secs(1),
                ceiling: Duration::from_secs(60 * 60),
                negative_ceiling: Duration::from_secs(60),
                backoff: (Duration::from_secs(1), Duration::from_secs(30)),
                capacity: 4_096,
            },
        }
    }

    /// Asks these servers, over UDP and TCP, instead of the system's. The system's search list is not used
    /// either then: it belongs to its servers.
    pub fn name_servers(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.name_servers = Some(servers.into_iter().collect());
        self
    }

    /// Completes short names with these domains; with none, every name is absolute.
    pub fn search<D: Into<String>>(mut self, domains: impl IntoIterator<Item = D>) -> Self {
        self.search = Some(domains.into_iter().map(Into::into).collect());
        self
    }

    /// Tries names with at least `dots` dots as they are before it completes them.
    pub fn ndots(mut self, dots: usize) -> Self {
        self.ndots = Some(dots);
        self
    }

    /// Uses the system's hosts file (`true`), none (`false`), or the one at a path.
    ///
    /// `localhost` is this machine in any case.
    pub fn hosts_file(mut self, file: impl Into<HostsFile>) -> Self {
        self.hosts_file = file.into();
        self
    }

    /// Bounds the whole look-up: both families, all tries, the walk through the search list.
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limit = limit;
        self
    }

    /// Keeps answers for at least this long, unless their TTL is zero: those are never kept.
    pub fn ttl_floor(mut self, floor: Duration) -> Self {
        self.rules.floor = floor;
        self
    }

    /// Keeps answers for at most this long.
    pub fn ttl_ceiling(mut self, ceiling: Duration) -> Self {
        self.rules.ceiling = ceiling;
        self
    }

    /// Remembers for at most this long that a name is not there.
    pub fn negative_ceiling(mut self, ceiling: Duration) -> Self {
        self.rules.negative_ceiling = ceiling;
        self
    }

    /// Waits for `first` after a failed query before the next one, twice as long after each further failure,
    /// and at most for `most`. Until then, the failure is the answer.
    pub fn failure_backoff(mut self, first: Limit, most: Limit) -> Self {
        self.rules.backoff = (first.get(), most.get());
        self
    }

    /// Remembers at most this many names.
    pub fn capacity(mut self, names: usize) -> Self {
        self.rules.capacity = names;
        self
    }

    #[cfg(test)]
    pub(crate) fn resolv_conf(mut self, path: impl Into<PathBuf>) -> Self {
        self.resolv_conf = path.into();
        self
    }

    /// Builds the resolver.
    ///
    /// # Errors
    ///
    /// Fails if settings contradict each other, if the system's configuration is needed and cannot be read
    /// or names no server, or if a hosts file that was asked for cannot be read.
    pub fn build(mut self) -> Result<Resolver, BuildError> {
        self.check()?;
        let servers = match self.name_servers.take() {
            Some(servers) => servers,
            None => self.take_system()?,
        };
        if servers.is_empty() {
            return Err(BuildError::from(Wrong::Nothing("name_servers")));
        }
        let source = Hickory::new(&servers, self.limit).map_err(Wrong::client)?;
        self.finish(Arc::new(source))
    }

    pub(crate) fn finish(self, source: Arc<dyn Source>) -> Result<Resolver, BuildError> {
        self.check()?;
        let hosts = self.hosts_file.read()?;
        let search = self.search.unwrap_or_default();
        let search = search.iter().map(|domain| {
            let domain = domain.strip_suffix('.').unwrap_or(domain);
            domain.to_ascii_lowercase().into()
        });
        let board = Board::new(Cache::new(self.rules), source, self.limit);
        Ok(Resolver::from_inner(Inner {
            hosts,
            search: Search::new(search.collect(), self.ndots.unwrap_or(1)),
            board: Arc::new(board),
            limit: self.limit,
        }))
    }

    fn take_system(&mut self) -> Result<Vec<SocketAddr>, BuildError> {
        let system = System::read(&self.resolv_conf).map_err(|unreadable| {
            let message = unreadable.to_string();
            Wrong::Unreadable(message, unreadable.cause)
        })?;
        self.search.get_or_insert(system.search);
        self.ndots.get_or_insert(system.ndots);
        Ok(system.name_servers)
    }

    fn check(&self) -> Result<(), Wrong> {
        let Rules {
            floor,
            ceiling,
            negative_ceiling,
            backoff,
            capacity,
        } = self.rules;
        ordered(("ttl_floor", floor), ("ttl_ceiling", ceiling))?;
        let (first, most) = backoff;
        ordered(
            ("failure_backoff.first", first),
            ("failure_backoff.most", most),
        )?;
        for (field, nothing) in [
            ("ttl_ceiling", ceiling.is_zero()),
            ("negative_ceiling", negative_ceiling.is_zero()),
            ("capacity", capacity == 0),
        ] {
            if nothing {
                return Err(Wrong::Nothing(field));
            }
        }
        ordered(
            ("ttl_ceiling", ceiling),
            ("the longest that is kept", super::UNCHANGING),
        )?;
        match self.ndots {
            Some(dots) if dots > NDOTS => Err(Wrong::TooManyDots(dots)),
            _ => Ok(()),
        }
    }
}

fn ordered(less: (&'static str, Duration), more: (&'static str, Duration)) -> Result<(), Wrong> {
    if less.1 > more.1 {
        return Err(Wrong::Contradiction { less, more });
    }
    Ok(())
}

/// Which hosts file is read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostsFile {
    /// The system's, if there is one.
    System,
    /// None.
    Ignore,
    /// The one at a path, which has to be there.
    At(PathBuf),
}

impl HostsFile {
    fn read(&self) -> Result<Hosts, BuildError> {
        let lines = match self {
            Self::Ignore => String::new(),
            // Without one the system resolves all the same, and so do we.
            Self::System => std::fs::read(HOSTS).map_or_else(|_| String::new(), lossy),
            Self::At(path) => std::fs::read(path).map(lossy).map_err(|error| {
                let message = format!("cannot read the hosts file {}", path.display());
                Wrong::Hosts(message, Arc::new(error))
            })?,
        };
        Ok(Hosts::parse(&lines))
    }
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

impl From<bool> for HostsFile {
    fn from(system: bool) -> Self {
        if system { Self::System } else { Self::Ignore }
    }
}

impl From<&Path> for HostsFile {
    fn from(path: &Path) -> Self {
        Self::At(path.to_owned())
    }
}

impl From<PathBuf> for HostsFile {
    fn from(path: PathBuf) -> Self {
        Self::At(path)
    }
}

/// As many as glibc counts.
pub(crate) const NDOTS: usize = 15;

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
