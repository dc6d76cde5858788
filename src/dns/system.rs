//! The system's own DNS configuration.

use std::error::Error;
use std::fmt;
use std::net::{SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::malformed::Malformed;
use super::query::{QueryOutcome, QuerySource};
use super::{Question, error};
use crate::box_error::BoxError;

/// Name servers, search list and options of the system.
#[derive(Debug, Default)]
pub(crate) struct System {
    pub(crate) name_servers: Vec<SocketAddr>,
    pub(crate) search: Vec<String>,
    pub(crate) ndots: Option<usize>,
    /// Whether servers are asked only over TCP (`options use-vc`).
    pub(crate) tcp: bool,
}

impl System {
    /// Reads `resolv_conf`, or the system's own configuration if the system has no such file.
    pub(crate) fn read(resolv_conf: &Path) -> Result<Self, NoServer> {
        let none = |cause: Option<BoxError>| NoServer {
            path: resolv_conf.to_owned(),
            cause: cause.map(Arc::from),
        };
        let mut system = read(resolv_conf).map_err(|cause| none(Some(cause)))?;
        if system.name_servers.is_empty() {
            return Err(none(None));
        }
        unique(&mut system.name_servers);
        Ok(system)
    }
}

#[cfg(all(unix, not(any(target_os = "android", target_vendor = "apple"))))]
fn read(resolv_conf: &Path) -> Result<System, BoxError> {
    use resolv_conf::{Config, ParseError};

    let (config, errors) = Config::parse_with_errors(&std::fs::read(resolv_conf)?);
    let mut malformed = Malformed::default();
    for error in errors {
        malformed.add(match error {
            ParseError::InvalidUtf8(line, _)
            | ParseError::InvalidValue(line)
            | ParseError::InvalidOptionValue(line)
            | ParseError::InvalidOption(line)
            | ParseError::InvalidDirective(line)
            | ParseError::InvalidIp(line, _)
            | ParseError::ExtraData(line) => line,
        });
    }
    malformed.report(resolv_conf);
    let mut search: Vec<_> = config.get_last_search_or_domain().cloned().collect();
    search.retain(|domain| domain != "--");
    if search.is_empty() {
        search.extend(config.get_system_domain());
    }
    let servers = config.nameservers.iter();
    Ok(System {
        name_servers: servers.map(address).collect(),
        search,
        // The same maximum as in glibc; a larger number means the same.
        ndots: Some((config.ndots as usize).min(super::search::NDOTS)),
        tcp: config.use_vc,
    })
}

/// Returns the address of a name server. A link-local one has a zone: the number of an interface, or its name.
#[cfg(all(unix, not(any(target_os = "android", target_vendor = "apple"))))]
fn address(server: &resolv_conf::ScopedIp) -> SocketAddr {
    let zone = match server {
        resolv_conf::ScopedIp::V6(ip, Some(zone)) => scope_id(zone).map(|scope| (*ip, scope)),
        resolv_conf::ScopedIp::V4(_) | resolv_conf::ScopedIp::V6(_, None) => None,
    };
    match zone {
        Some((ip, scope)) => SocketAddrV6::new(ip, DNS, 0, scope).into(),
        None => SocketAddr::new(server.into(), DNS),
    }
}

/// Returns the number of an interface. Linux shows it as a file.
#[cfg(all(unix, not(any(target_os = "android", target_vendor = "apple"))))]
fn scope_id(zone: &str) -> Option<u32> {
    let named = || {
        let name = Path::new(zone).file_name().filter(|name| *name == zone)?;
        let file = Path::new("/sys/class/net").join(name).join("ifindex");
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    };
    zone.parse().ok().or_else(named)
}

#[cfg(not(all(unix, not(any(target_os = "android", target_vendor = "apple")))))]
fn read(_: &Path) -> Result<System, BoxError> {
    let (config, options) = hickory_resolver::system_conf::read_system_conf()?;
    // Several entries may name one server with different protocols. Here a server is an address.
    let servers = config.name_servers().iter().map(|server| {
        let port = server.connections.first().map_or(DNS, |c| c.port);
        SocketAddr::new(server.ip, port)
    });
    let mut search: Vec<_> = config.search().iter().map(ToString::to_string).collect();
    if search.is_empty() {
        search.extend(config.domain().map(ToString::to_string));
    }
    Ok(System {
        name_servers: servers.collect(),
        search,
        ndots: Some(options.ndots),
        tcp: false,
    })
}

fn unique(servers: &mut Vec<SocketAddr>) {
    let all = std::mem::take(servers);
    for server in all {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
}

/// The error if the system's DNS configuration cannot be read, or names no server.
///
/// As a [`QuerySource`] it fails each lookup that needs a name server, and its text says what to do.
#[derive(Clone, Debug)]
pub(crate) struct NoServer {
    path: PathBuf,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl QuerySource for NoServer {
    fn ask(&self, _: &Question) -> std::pin::Pin<Box<dyn Future<Output = QueryOutcome> + Send>> {
        let failure =
            error::LookupFailure::because(error::DnsErrorReason::Unreachable, self.clone());
        Box::pin(std::future::ready(QueryOutcome::failed(failure)))
    }
}

impl fmt::Display for NoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.cause {
            None => write!(f, "{path} has no line `nameserver ADDRESS`: add one")?,
            Some(cause) => write!(f, "cannot read {path} ({cause}): create it")?,
        }
        f.write_str(", or set `ResolverBuilder::name_servers`")
    }
}

impl Error for NoServer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause = self.cause.as_deref()?;
        Some(cause)
    }
}

const DNS: u16 = 53;

/// Where most systems keep it.
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Where systems with glibc keep it.
pub(crate) const NSSWITCH: &str = "/etc/nsswitch.conf";

/// Where most systems keep it.
pub(crate) const HOSTS: &str = if cfg!(windows) {
    r"C:\Windows\System32\drivers\etc\hosts"
} else {
    "/etc/hosts"
};

#[cfg(test)]
mod messages {
    use super::NoServer;

    crate::messages_tests::list!(NoServer: NoServer {
        path: "/etc/resolv.conf".into(),
        cause: None,
    },
    NoServer {
        path: "/etc/resolv.conf".into(),
        cause: Some(std::sync::Arc::new(std::io::Error::from(std::io::ErrorKind::NotFound))),
    });
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn link_local_name_server_keeps_its_zone() {
        let path = std::env::temp_dir().join(format!("sevenhops-zone-{}", std::process::id()));
        let text = "nameserver fe80::1%lo\nnameserver fe80::2%7\nnameserver 127.0.0.53\n";
        std::fs::write(&path, text).unwrap();
        let system = read(&path);
        std::fs::remove_file(&path).unwrap();
        let named = scope_id("lo").unwrap();
        let [first, second, third] = &system.unwrap().name_servers[..] else {
            panic!("three name servers");
        };
        let scope = |addr: &SocketAddr| match addr {
            SocketAddr::V6(addr) => addr.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        assert!(named > 0);
        assert_eq!([first, second, third].map(scope), [named, 7, 0]);
        assert_eq!(scope_id("../../etc"), None);
    }
}
