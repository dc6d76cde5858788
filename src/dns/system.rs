//! What the system is told about DNS.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;

/// Name servers, search list and ndots of the system.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) name_servers: Vec<SocketAddr>,
    pub(crate) search: Vec<String>,
    pub(crate) ndots: usize,
}

impl System {
    /// A system that says nothing.
    pub(crate) fn silent() -> Self {
        Self {
            name_servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
        }
    }

    /// Reads `resolv_conf`, or where the system keeps no such file, its own settings.
    pub(crate) fn read(resolv_conf: &Path) -> Result<Self, Unreadable> {
        let unreadable = |cause| Unreadable {
            path: resolv_conf.to_owned(),
            cause: Arc::new(cause),
        };
        let (config, options) = read(resolv_conf).map_err(unreadable)?;
        if config.name_servers.is_empty() {
            let none = io::Error::new(io::ErrorKind::InvalidData, "no name server in it");
            return Err(unreadable(none.into()));
        }
        // Several entries may name one server by its protocols; for us, a server is an address.
        let servers = config.name_servers.iter().map(|server| {
            let port = server.connections.first().map_or(53, |c| c.port);
            SocketAddr::new(server.ip, port)
        });
        let domain = config.domain.iter().take(1);
        let search = match config.search.is_empty() {
            true => domain.map(ToString::to_string).collect(),
            false => config.search.iter().map(ToString::to_string).collect(),
        };
        Ok(Self {
            name_servers: unique(servers),
            search,
            ndots: options.ndots,
        })
    }
}

#[cfg(all(unix, not(any(target_os = "android", target_vendor = "apple"))))]
fn read(resolv_conf: &Path) -> Result<(ResolverConfig, ResolverOpts), NetError> {
    hickory_resolver::system_conf::parse_resolv_conf(std::fs::read(resolv_conf)?)
}

#[cfg(not(all(unix, not(any(target_os = "android", target_vendor = "apple")))))]
fn read(_: &Path) -> Result<(ResolverConfig, ResolverOpts), NetError> {
    hickory_resolver::system_conf::read_system_conf()
}

fn unique(servers: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut unique = Vec::new();
    for server in servers {
        if !unique.contains(&server) {
            unique.push(server);
        }
    }
    unique
}

/// The system's DNS configuration is missing, cannot be read, or names no server.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    pub(crate) path: PathBuf,
    pub(crate) cause: Arc<NetError>,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot take name servers from {}", self.path.display())
    }
}

/// Where most systems keep it.
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Where most systems keep it.
pub(crate) const HOSTS: &str = if cfg!(windows) {
    r"C:\Windows\System32\drivers\etc\hosts"
} else {
    "/etc/hosts"
};
