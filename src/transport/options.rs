//! The options of connections. The transport honors each, or refuses it and names it.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config_error::ConfigError;

/// The options of connections, as the user sets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// The maximum number of connections, in total and to one destination.
    pub(super) most: Option<usize>,
    pub(super) most_leases: Option<usize>,
    /// How long a connection may be idle.
    pub(super) idle_timeout: Duration,
    pub(super) http1_only: bool,
    /// Whether HTTP/2 is used without TLS, by prior knowledge (RFC 9113 §3.3).
    pub(super) prior_knowledge: bool,
    pub(super) title_case: bool,
    /// The bounds of a response head.
    pub(super) http1_headers: Option<usize>,
    pub(super) http1_header_bytes: Option<usize>,
    pub(super) http2_header_bytes: Option<u32>,
    /// The local end of the connections.
    pub(super) local_address: Option<IpAddr>,
    pub(super) interface: Option<String>,
    pub(super) scope_id: Option<u32>,
    pub(super) keep_alive: Option<KeepAlive>,
    /// The unix socket of all connections, instead of addresses.
    pub(super) unix_socket: Option<Arc<Path>>,
}

/// The silence before the kernel's first probe of a peer, the interval of further probes, and their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeepAlive {
    pub(crate) time: Duration,
    pub(crate) interval: Duration,
    pub(crate) retries: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            most: None,
            most_leases: None,
            idle_timeout: IDLE_TIMEOUT,
            http1_only: false,
            prior_knowledge: false,
            title_case: false,
            http1_headers: None,
            http1_header_bytes: None,
            http2_header_bytes: None,
            local_address: None,
            interface: None,
            scope_id: None,
            keep_alive: None,
            unix_socket: None,
        }
    }
}

impl Options {
    /// The names of the options that are set.
    fn names(&self) -> impl Iterator<Item = &'static str> {
        let unset = Self::default();
        let all = [
            ("max_connections", self.most != unset.most),
            (
                "max_connections_per_destination",
                self.most_leases != unset.most_leases,
            ),
            ("idle_timeout", self.idle_timeout != unset.idle_timeout),
            ("http1_only", self.http1_only),
            ("http2_prior_knowledge", self.prior_knowledge),
            ("http1_title_case_headers", self.title_case),
            ("http1_max_headers", self.http1_headers.is_some()),
            ("http1_max_header_bytes", self.http1_header_bytes.is_some()),
            ("http2_max_header_bytes", self.http2_header_bytes.is_some()),
            ("local_address", self.local_address.is_some()),
            ("interface", self.interface.is_some()),
            ("scope_id", self.scope_id.is_some()),
            ("tcp_keepalive", self.keep_alive.is_some()),
            ("unix_socket", self.unix_socket.is_some()),
        ];
        all.into_iter()
            .filter_map(|(name, set)| set.then_some(name))
    }

    /// Refuses all options, for a client with its own connections.
    #[cfg(any(feature = "hyper-util", feature = "reqwest"))]
    pub(super) fn refuse_all(&self) -> Result<(), ConfigError> {
        match self.names().next() {
            Some(name) => Err(ConfigError::refused(named(name), FOREIGN)),
            None => Ok(()),
        }
    }

    /// Refuses values that cannot be honored.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let http2 = self.http2_header_bytes.map(|bytes| bytes as usize);
        let counts = [
            ("max_connections", self.most),
            ("max_connections_per_destination", self.most_leases),
            ("http1_max_headers", self.http1_headers),
            ("http1_max_header_bytes", self.http1_header_bytes),
            ("http2_max_header_bytes", http2),
            ("scope_id", self.scope_id.map(|id| id as usize)),
        ];
        let none = counts.into_iter().find(|(_, count)| *count == Some(0));
        if let Some((field, _)) = none {
            return Err(ConfigError::invalid(named(field), 0, "at least 1"));
        }
        if let Some(fields) = self.http1_headers.filter(|fields| *fields > MOST_FIELDS) {
            let range = format_args!("1..={MOST_FIELDS}");
            return Err(ConfigError::invalid(
                named("http1_max_headers"),
                fields,
                range,
            ));
        }
        if self.http1_only && self.prior_knowledge {
            let why = "http1_only(true) and http2_prior_knowledge(true) contradict each other: leave one out";
            return Err(ConfigError::refused(named("http1_only"), why));
        }
        self.keep_alive.map_or(Ok(()), KeepAlive::check)?;
        if let Some(path) = &self.unix_socket {
            check_unix_socket(path)?;
            let mut names = self.names();
            if let Some(name) = names.find(|name| OF_ADDRESSES.contains(name)) {
                return Err(ConfigError::refused(named(name), NO_ADDRESS));
            }
        }
        match &self.interface {
            Some(name) => check_interface(name),
            None => Ok(()),
        }
    }

    /// Returns a link-local address together with the link that it is on.
    pub(super) fn scoped(&self, address: SocketAddr) -> SocketAddr {
        match (address, self.scope_id) {
            (SocketAddr::V6(v6), Some(id)) if v6.ip().is_unicast_link_local() => {
                SocketAddrV6::new(*v6.ip(), v6.port(), v6.flowinfo(), id).into()
            }
            _ => address,
        }
    }
}

impl KeepAlive {
    /// Returns the silence after which the kernel considers the peer gone.
    pub(crate) fn whole(self) -> Duration {
        self.time + self.interval * self.retries
    }

    fn check(self) -> Result<(), ConfigError> {
        for (field, value) in [
            ("tcp_keepalive.time", self.time),
            ("tcp_keepalive.interval", self.interval),
        ] {
            let is_whole = value.subsec_nanos() == 0;
            if !is_whole || !(1..=MOST_SECONDS).contains(&value.as_secs()) {
                let range = "whole seconds from 1s to 32767s";
                return Err(ConfigError::invalid(named(field), value, range));
            }
        }
        if !(1..=MOST_RETRIES).contains(&self.retries) {
            let (field, range) = ("tcp_keepalive.retries", "1..=127");
            return Err(ConfigError::invalid(named(field), self.retries, range));
        }
        Ok(())
    }
}

fn named(option: &str) -> String {
    format!("transport.{option}")
}

#[cfg(unix)]
fn check_unix_socket(path: &Path) -> Result<(), ConfigError> {
    match std::os::unix::net::SocketAddr::from_pathname(path) {
        Ok(address) if !address.is_unnamed() => Ok(()),
        _ => {
            let range = "the path of a socket, 1 to about 100 bytes";
            Err(ConfigError::invalid(named("unix_socket"), path, range))
        }
    }
}

#[cfg(not(unix))]
fn check_unix_socket(_: &Path) -> Result<(), ConfigError> {
    let why = "this operating system has no unix sockets that tokio can connect to";
    Err(ConfigError::refused(named("unix_socket"), why))
}

#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
fn check_interface(name: &str) -> Result<(), ConfigError> {
    let is_wrong = |byte: u8| matches!(byte, 0 | b'/') || byte.is_ascii_whitespace();
    if (1..=15).contains(&name.len()) && !name.bytes().any(is_wrong) {
        return Ok(());
    }
    let range = "the name of a network interface, 1 to 15 bytes";
    Err(ConfigError::invalid(named("interface"), name, range))
}

#[cfg(not(any(target_os = "android", target_os = "fuchsia", target_os = "linux")))]
fn check_interface(_: &str) -> Result<(), ConfigError> {
    let why = "this operating system cannot bind a socket to an interface: use local_address(..)";
    Err(ConfigError::refused(named("interface"), why))
}

/// Load balancers drop idle connections after 60 s: this timeout is shorter.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// hyper allocates space for this number of fields whenever it reads a head. A `HeaderMap` cannot hold more.
const MOST_FIELDS: usize = 32_768;
/// The limit of Linux.
const MOST_SECONDS: u64 = 32_767;
const MOST_RETRIES: u32 = 127;
/// These options have no meaning without an address.
const OF_ADDRESSES: &[&str] = &["local_address", "interface", "scope_id", "tcp_keepalive"];
pub(super) const NO_ADDRESS: &str = "it has no meaning together with unix_socket(..), which has no address: leave one of the two out";
#[cfg(any(feature = "hyper-util", feature = "reqwest"))]
const FOREIGN: &str = "the client has its own connections: set the option there";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_of_a_link_local_address_is_set_and_of_no_other() {
        let options = Options {
            scope_id: Some(7),
            ..Options::default()
        };
        for (address, scoped) in [
            ("[fe80::1]:80", "[fe80::1%7]:80"),
            ("[fd00::1]:80", "[fd00::1]:80"),
            ("127.0.0.1:80", "127.0.0.1:80"),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(options.scoped(address).to_string(), scoped);
            assert_eq!(Options::default().scoped(address), address);
        }
    }
}
