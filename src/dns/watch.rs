//! The files that configure name resolution, read again when they change.
//!
//! There is no background task: a lookup that needs a query looks at their size and date first, once in a few seconds.
//! Unreadable files are ignored; the content that was read last stays in use. A file that exists and could not be read
//! is read again at the next look: the process may have lacked file descriptors.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::hosts::{Hosts, HostsFile};
use super::nsswitch::HostsOrder;
use super::query::QuerySource;
use super::search::Search;
use super::servers::{Server, Upstream};
use super::system::{NoServer, System};
use crate::box_error::BoxError;
use crate::chain::chain;
use crate::config_error::ConfigError;

/// The files that a resolver reads, and the values that are configured instead.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The name servers, instead of the system's.
    pub(crate) servers: Option<Vec<Server>>,
    pub(crate) search: Option<Vec<String>>,
    pub(crate) ndots: Option<usize>,
    pub(crate) resolv_conf: PathBuf,
    pub(crate) hosts_file: HostsFile,
    pub(crate) nsswitch: PathBuf,
    pub(crate) upstream: Upstream,
    #[cfg(test)]
    pub(crate) port: Option<u16>,
}

/// The servers, and the search list.
#[derive(Debug)]
pub(crate) struct QueryPlan {
    pub(crate) servers: Vec<Server>,
    pub(crate) search: Search,
}

impl Plan {
    /// Completes the configured values with the system's configuration.
    pub(crate) fn asking(&self) -> Result<QueryPlan, NoServer> {
        let system = match &self.servers {
            Some(_) => System::default(),
            None => System::read(&self.resolv_conf)?,
        };
        Ok(self.asking_with(&system))
    }

    /// Does the same with a system configuration that was already read.
    pub(crate) fn asking_with(&self, system: &System) -> QueryPlan {
        let addrs = system.name_servers.iter();
        let own = || addrs.map(|addr| self.server(*addr, system.tcp)).collect();
        let servers = self.servers.clone().unwrap_or_else(own);
        let search = self.search.as_ref().unwrap_or(&system.search).iter();
        let search = search.map(|domain| {
            let domain = domain.strip_suffix('.').unwrap_or(domain);
            domain.to_ascii_lowercase().into()
        });
        let ndots = self.ndots.or(system.ndots).unwrap_or(1);
        QueryPlan {
            servers,
            search: Search::new(search.collect(), ndots),
        }
    }

    /// Returns the place of the hosts file among the sources. nsswitch.conf applies only to the system's file.
    pub(crate) fn hosts_order(&self) -> io::Result<HostsOrder> {
        match self.hosts_file {
            HostsFile::System => HostsOrder::read(&self.nsswitch),
            HostsFile::Ignore | HostsFile::At(_) => Ok(HostsOrder::First),
        }
    }

    /// Returns a server that a file names. A file cannot name a port, so tests set it.
    fn server(&self, addr: SocketAddr, tcp: bool) -> Server {
        #[cfg(test)]
        let addr = SocketAddr::new(addr.ip(), self.port.unwrap_or_else(|| addr.port()));
        match tcp {
            true => Server::Tcp(addr),
            false => Server::Plain(addr),
        }
    }

    fn files(&self) -> [Option<WatchedFile>; 3] {
        let conf = self.servers.is_none().then_some(&*self.resolv_conf);
        let nsswitch = (self.hosts_file == HostsFile::System).then_some(&*self.nsswitch);
        [conf, self.hosts_file.path(), nsswitch].map(|path| path.map(WatchedFile::at))
    }
}

/// The changes that a look has found.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) hosts: Option<Arc<Hosts>>,
    pub(crate) order: Option<HostsOrder>,
    pub(crate) search: Option<Search>,
    /// Another source, if the name servers changed.
    pub(crate) source: Option<Arc<dyn QuerySource>>,
}

/// The files, and their marks when they were read.
#[derive(Debug)]
pub(crate) struct FileWatch {
    plan: Plan,
    state: Mutex<WatchState>,
}

#[derive(Debug)]
struct WatchState {
    next: Option<Instant>,
    servers: Vec<Server>,
    resolv_conf: Option<WatchedFile>,
    hosts_file: Option<WatchedFile>,
    nsswitch: Option<WatchedFile>,
}

impl FileWatch {
    /// Creates the watch. This must happen before the files are read: a change in between is then read twice, and not
    /// missed.
    pub(crate) fn new(plan: Plan) -> Self {
        let [resolv_conf, hosts_file, nsswitch] = plan.files();
        let state = WatchState {
            next: None,
            servers: Vec::new(),
            resolv_conf,
            hosts_file,
            nsswitch,
        };
        Self {
            plan,
            state: Mutex::new(state),
        }
    }

    /// Reads the servers and the search list for the first time.
    pub(crate) fn first_asking(&mut self) -> Result<QueryPlan, NoServer> {
        let asking = self.plan.asking();
        self.begin_with(&asking, |state| &mut state.resolv_conf);
        asking
    }

    /// Reads the hosts file for the first time. The system also resolves names without its file.
    pub(crate) fn first_hosts(&mut self) -> Result<Hosts, ConfigError> {
        let hosts = self.plan.hosts_file.read();
        self.begin_with(&hosts, |state| &mut state.hosts_file);
        match hosts {
            Err(_) if self.plan.hosts_file == HostsFile::System => Ok(Hosts::default()),
            hosts => hosts,
        }
    }

    /// Reads the place of the hosts file for the first time.
    pub(crate) fn first_order(&mut self) -> HostsOrder {
        let order = self.plan.hosts_order();
        self.begin_with(&order, |state| &mut state.nsswitch);
        order.unwrap_or_default()
    }

    /// Records whether the first read of a file failed.
    fn begin_with<T, E: StdError + 'static>(
        &mut self,
        read: &Result<T, E>,
        file: fn(&mut WatchState) -> &mut Option<WatchedFile>,
    ) {
        if let (Err(error), Ok(state)) = (read, self.state.get_mut())
            && let Some(file) = file(state)
        {
            file.is_unread = is_there(error);
        }
    }

    /// Sets the servers that the resolver uses at first.
    pub(crate) fn begin(&mut self, servers: Vec<Server>) {
        if let Ok(state) = self.state.get_mut() {
            state.servers = servers;
        }
    }

    /// Looks for changes, if the last look is long enough ago and no other lookup is looking now. Files are read under
    /// the lock, and no lookup waits for it.
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
        if state
            .hosts_file
            .as_mut()
            .is_some_and(WatchedFile::has_changed)
        {
            let read = self.plan.hosts_file.read();
            let file = state.hosts_file.as_mut()?;
            news.hosts = file.accept(read.map_err(BoxError::from)).map(Arc::new);
        }
        if state
            .nsswitch
            .as_mut()
            .is_some_and(WatchedFile::has_changed)
        {
            let read = self.plan.hosts_order();
            let file = state.nsswitch.as_mut()?;
            news.order = file.accept(read.map_err(BoxError::from));
        }
        if state
            .resolv_conf
            .as_mut()
            .is_some_and(WatchedFile::has_changed)
        {
            let asking = self.plan.asking().map_err(BoxError::from);
            let file = state.resolv_conf.as_mut()?;
            if let Some(asking) = file.accept(asking) {
                if asking.servers != state.servers {
                    // Plain servers only: a file cannot name others, and opening these cannot fail.
                    news.source = self.plan.upstream.source(&asking.servers).ok();
                }
                news.search = Some(asking.search);
                state.servers = asking.servers;
            }
        }
        let is_any = news.hosts.is_some() || news.order.is_some() || news.search.is_some();
        is_any.then_some(news)
    }
}

/// A file, and its marks at the last look.
#[derive(Debug)]
struct WatchedFile {
    path: PathBuf,
    stamp: Option<Stamp>,
    /// Whether it could not be used at the last look, and was reported.
    unusable: bool,
    /// Whether it exists, and the last read failed. Its marks do not show that a read would succeed now.
    is_unread: bool,
}

/// The marks of a file. If they differ, the file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

impl WatchedFile {
    fn at(path: &Path) -> Self {
        Self {
            stamp: stamp(path),
            path: path.to_owned(),
            unusable: false,
            is_unread: false,
        }
    }

    fn has_changed(&mut self) -> bool {
        let stamp = stamp(&self.path);
        std::mem::replace(&mut self.stamp, stamp) != stamp || self.is_unread
    }

    /// Returns the content that was read. A file that cannot be used is reported once.
    fn accept<T>(&mut self, read: Result<T, BoxError>) -> Option<T> {
        self.is_unread = read.as_ref().is_err_and(|error| is_there(&**error));
        let was_unusable = std::mem::replace(&mut self.unusable, read.is_err());
        match read {
            Ok(read) => {
                tracing::info!(file = %self.path.display(), "read again");
                Some(read)
            }
            Err(error) => {
                if !was_unusable {
                    let (file, error): (_, &dyn std::error::Error) = (self.path.display(), &*error);
                    tracing::warn!(%file, error, "cannot be used any more: its last content stays in use");
                }
                None
            }
        }
    }
}

/// Returns whether a read failed although the file exists, as far as the error says.
fn is_there(error: &(dyn StdError + 'static)) -> bool {
    let mut causes = chain(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() != io::ErrorKind::NotFound)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let seen = std::fs::metadata(path).ok()?;
    Some(Stamp {
        modified: seen.modified().ok(),
        bytes: seen.len(),
    })
}

/// The time between looks at the files: a `stat` costs a microsecond, and a delay of three seconds does no harm.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
