//! The files that configure name resolution, read again when they change.
//!
//! Nobody watches them all the time: whoever has to ask anyway looks at their size and date, once in a few
//! seconds. What cannot be read does not count; what was read last does.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::build_error::{BuildError, Wrong};
use super::hosts::{Hosts, HostsFile};
use super::query::Source;
use super::search::Search;
use super::servers::{Server, Upstream};
use super::system::System;

/// What a resolver takes from files, and what it was told instead.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Whom to ask, if not those that the system asks.
    pub(crate) servers: Option<Vec<Server>>,
    pub(crate) search: Option<Vec<String>>,
    pub(crate) ndots: Option<usize>,
    pub(crate) resolv_conf: PathBuf,
    pub(crate) hosts_file: HostsFile,
    pub(crate) upstream: Upstream,
    #[cfg(test)]
    pub(crate) port: Option<u16>,
}

/// Whom to ask, and for which names.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) servers: Vec<Server>,
    pub(crate) search: Search,
}

impl Plan {
    /// What was told, completed by what the system says.
    pub(crate) fn asking(&self) -> Result<Asking, BuildError> {
        let (servers, system) = match &self.servers {
            Some(servers) => (servers.clone(), System::silent()),
            None => {
                let system = System::read(&self.resolv_conf).map_err(|unreadable| {
                    let message = unreadable.to_string();
                    Wrong::Unreadable(message, unreadable.cause)
                })?;
                let servers = system.name_servers.iter().copied();
                (servers.map(|addr| self.plain(addr)).collect(), system)
            }
        };
        let search = self.search.as_ref().unwrap_or(&system.search).iter();
        let search = search.map(|domain| {
            let domain = domain.strip_suffix('.').unwrap_or(domain);
            domain.to_ascii_lowercase().into()
        });
        let ndots = self.ndots.unwrap_or(system.ndots);
        Ok(Asking {
            servers,
            search: Search::new(search.collect(), ndots),
        })
    }

    /// A server that a file names. A file cannot name a port, so tests do.
    fn plain(&self, addr: SocketAddr) -> Server {
        #[cfg(test)]
        let addr = SocketAddr::new(addr.ip(), self.port.unwrap_or_else(|| addr.port()));
        Server::Plain(addr)
    }

    fn files(&self) -> [Option<File>; 2] {
        let conf = self.servers.is_none().then_some(&*self.resolv_conf);
        [conf, self.hosts_file.path()].map(|path| path.map(File::at))
    }
}

/// What has changed.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) hosts: Option<Arc<Hosts>>,
    pub(crate) search: Option<Search>,
    /// Asks other servers than the one before.
    pub(crate) source: Option<Arc<dyn Source>>,
}

/// The files, and how they looked when they were read.
#[derive(Debug)]
pub(crate) struct Watch {
    plan: Plan,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: Option<Instant>,
    servers: Vec<Server>,
    resolv_conf: Option<File>,
    hosts_file: Option<File>,
}

impl Watch {
    /// Has to be made before the files are read: what changes in between is then read twice, and not never.
    pub(crate) fn new(plan: Plan) -> Self {
        let [resolv_conf, hosts_file] = plan.files();
        let state = State {
            next: None,
            servers: Vec::new(),
            resolv_conf,
            hosts_file,
        };
        Self {
            plan,
            state: Mutex::new(state),
        }
    }

    /// Remembers whom the resolver asks to begin with.
    pub(crate) fn begin(&mut self, servers: Vec<Server>) {
        if let Ok(state) = self.state.get_mut() {
            state.servers = servers;
        }
    }

    /// Looks whether anything has changed, if the last look is long enough ago and nobody else is looking.
    /// Files are read under the lock, which nobody waits for.
    pub(crate) fn look(&self, now: Instant) -> Option<News> {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if state.next.is_some_and(|next| now < next) {
            return None;
        }
        state.next = Some(now + LOOK_AGAIN);
        let mut news = News::default();
        if state.hosts_file.as_mut().is_some_and(File::has_changed) {
            let read = self.plan.hosts_file.read_again();
            let file = state.hosts_file.as_mut()?;
            news.hosts = file.heed(read).map(Arc::new);
        }
        if state.resolv_conf.as_mut().is_some_and(File::has_changed) {
            let asking = self.plan.asking().and_then(|asking| {
                let source = self.plan.upstream.source(&asking.servers)?;
                Ok((asking, source))
            });
            let file = state.resolv_conf.as_mut()?;
            if let Some((asking, source)) = file.heed(asking) {
                news.source = (asking.servers != state.servers).then_some(source);
                news.search = Some(asking.search);
                state.servers = asking.servers;
            }
        }
        (news.hosts.is_some() || news.search.is_some()).then_some(news)
    }
}

/// A file, and how it looked last.
#[derive(Debug)]
struct File {
    path: PathBuf,
    stamp: Option<Stamp>,
    /// It could not be used when it was last looked at, which was said.
    unusable: bool,
}

/// What shows that a file is another one than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

impl File {
    fn at(path: &Path) -> Self {
        Self {
            stamp: stamp(path),
            path: path.to_owned(),
            unusable: false,
        }
    }

    fn has_changed(&mut self) -> bool {
        let stamp = stamp(&self.path);
        std::mem::replace(&mut self.stamp, stamp) != stamp
    }

    /// What was read of it, if it could be; that it could not is said once.
    fn heed<T>(&mut self, read: Result<T, BuildError>) -> Option<T> {
        let was_unusable = std::mem::replace(&mut self.unusable, read.is_err());
        match read {
            Ok(read) => {
                tracing::info!(file = %self.path.display(), "read again, since it has changed");
                Some(read)
            }
            Err(error) => {
                if !was_unusable {
                    let (file, error): (_, &dyn std::error::Error) = (self.path.display(), &error);
                    tracing::warn!(%file, error, "has become unusable: what it said before holds");
                }
                None
            }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let seen = std::fs::metadata(path).ok()?;
    Some(Stamp {
        modified: seen.modified().ok(),
        bytes: seen.len(),
    })
}

/// How long a look at the files is good for: a `stat` costs a microsecond, and nobody notices three seconds.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
