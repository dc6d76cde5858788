//! Name servers that are asked over TLS (RFC 7858) and HTTPS (RFC 8484).

use std::net::SocketAddr;
use std::sync::Arc;

use hickory_resolver::config::ConnectionConfig;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use url::{Host, Url};

use super::build_error::{BuildError, Wrong};
use crate::roots;

/// A name server, and how its answers are known to be its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Encrypted {
    /// The name that its certificate is for.
    Tls(SocketAddr, String),
    /// The URL that queries are posted to.
    Https(SocketAddr, String),
}

impl Encrypted {
    pub(crate) fn addr(&self) -> SocketAddr {
        match self {
            Self::Tls(addr, _) | Self::Https(addr, _) => *addr,
        }
    }

    pub(crate) fn connection(&self) -> Result<ConnectionConfig, BuildError> {
        match self {
            Self::Tls(_, name) => {
                let refused = || Wrong::NoName("tls_servers", name.clone());
                Ok(ConnectionConfig::tls(certified(name).ok_or_else(refused)?))
            }
            Self::Https(_, text) => {
                let refused = || Wrong::NoUrl("https_servers", text.clone());
                let url = Url::parse(text).map_err(|_| refused())?;
                let name = host(&url).ok_or_else(refused)?;
                let path = Some(url.path().into());
                Ok(ConnectionConfig::https(name, path))
            }
        }
    }
}

fn host(url: &Url) -> Option<Arc<str>> {
    // What hickory cannot say must not be left out in silence.
    if url.scheme() != "https" || url.query().is_some() || !url.username().is_empty() {
        return None;
    }
    match url.host()? {
        Host::Domain(name) => certified(name),
        Host::Ipv4(address) => Some(address.to_string().into()),
        Host::Ipv6(address) => Some(address.to_string().into()),
    }
}

fn certified(name: &str) -> Option<Arc<str>> {
    ServerName::try_from(name).is_ok().then(|| name.into())
}

/// What the operating system trusts, if nothing else was told.
pub(crate) fn trust(told: Option<&ClientConfig>) -> Result<ClientConfig, BuildError> {
    if let Some(config) = told {
        return Ok(config.clone());
    }
    let system = roots::system();
    Ok(system.map_err(|error| Wrong::Trust(Arc::new(error)))?)
}
