//! How the reqwest client of one address is made.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::connections::Connections;
use super::connector::EarLayer;
use super::dark::Patience;
use super::proxy::Via;
use super::tls;
use crate::callback::Panicked;
use crate::config_error::SettingError;
use crate::limit::Limits;
use rustls::ClientConfig;

/// Changes a reqwest client before ours is laid over it.
pub(super) type Hook = Arc<dyn Fn(reqwest::ClientBuilder) -> Hooked + Send + Sync>;

type Hooked = Result<reqwest::ClientBuilder, Panicked>;

/// How a client is made.
#[derive(Clone)]
pub(super) struct Recipe {
    pub(super) tls: ClientConfig,
    pub(super) hook: Option<Hook>,
    pub(super) limits: Limits,
}

impl Recipe {
    /// Makes the client of one address of a host, or of the proxy that leads to it. The caller's hook comes first and ours last, so that it
    /// cannot undo resolver, redirects or retries.
    pub(super) fn make(
        &self,
        host: &Arc<str>,
        address: SocketAddr,
        via: Option<&Via>,
    ) -> reqwest::Result<(reqwest::Client, Connections)> {
        let connections = Connections::default();
        let mut builder = self
            .begin()
            .dns_resolver(Only(address))
            .connector_layer(EarLayer {
                address,
                host: Arc::clone(host),
                limits: self.limits,
                connections: connections.clone(),
            })
            .retry(reqwest::retry::never())
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd();
        if let Some(via) = via {
            builder = builder.proxy(via.proxy()?);
        }
        Ok((builder.build()?, connections))
    }

    /// What all clients have in common.
    pub(super) fn begin(&self) -> reqwest::ClientBuilder {
        let builder = self
            .hooked()
            .tls_backend_preconfigured(self.tls.clone())
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .tcp_nodelay(true)
            .pool_idle_timeout(IDLE_CONNECTION);
        Patience::of(&self.limits).apply(builder)
    }

    fn hooked(&self) -> reqwest::ClientBuilder {
        let hooked = self.try_hook();
        hooked.unwrap_or_else(|_| reqwest::Client::builder())
    }

    fn try_hook(&self) -> Hooked {
        let builder = reqwest::Client::builder();
        match &self.hook {
            Some(hook) => hook(builder),
            None => Ok(builder),
        }
    }

    /// Tries the recipe once, so that what is wrong with it is heard when the client is built.
    pub(super) fn checked(mut self) -> Result<Self, SettingError> {
        self.tls = tls::with_alpn(self.tls);
        let hooked = self.try_hook();
        let hooked = hooked.map_err(|panicked| SettingError::failed("reqwest hook", panicked))?;
        // There is no way to take back an override of single names, and it would send calls past
        // our own look-up: the debug output is the only place where it shows.
        if format!("{hooked:?}").contains("dns_overrides") {
            return Err(SettingError::out_of_range(
                "reqwest hook",
                "resolve(..)",
                "what leaves name resolution alone; give the client a resolver instead",
            ));
        }
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        match self.make(&"localhost".into(), address, None) {
            Ok((client, _)) => {
                refuse_timeouts(&format!("{:?} {client:?}", self.hooked()))?;
                Ok(self)
            }
            Err(error) => Err(SettingError::failed(
                "reqwest hook or tls",
                error.without_url(),
            )),
        }
    }
}

impl Recipe {
    /// Headers that reqwest adds go to every origin, out of reach of the redirects.
    pub(super) fn refuse_headers(&self) -> Result<(), SettingError> {
        let shown = |builder: reqwest::ClientBuilder| {
            let shown = format!("{builder:?}");
            let from = shown.find("default_headers: ").unwrap_or(shown.len());
            let upto = shown[from..]
                .find('}')
                .map_or(shown.len(), |end| from + end);
            shown[from..upto].to_owned()
        };
        if shown(self.hooked()) == shown(reqwest::Client::builder()) {
            return Ok(());
        }
        Err(SettingError::out_of_range(
            "reqwest hook",
            format_args!("default_headers(..)"),
            "what leaves the headers alone; give the client default headers instead",
        ))
    }
}

/// A timeout below ours would end calls in ways that nobody can name, and cannot be taken back.
fn refuse_timeouts(shown: &str) -> Result<(), SettingError> {
    for set in ["connect_timeout", "read_timeout", "timeout"] {
        if shown.contains(&format!(" {set}: ")) {
            return Err(SettingError::out_of_range(
                "reqwest hook",
                format_args!("{set}(..)"),
                "what leaves the timeouts alone; give the client limits instead",
            ));
        }
    }
    Ok(())
}

/// A resolver that knows one address.
#[derive(Debug)]
struct Only(SocketAddr);

impl reqwest::dns::Resolve for Only {
    fn resolve(&self, _name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let addresses: reqwest::dns::Addrs = Box::new(std::iter::once(self.0));
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

/// Load balancers drop idle connections at 60 s: ours are gone before.
const IDLE_CONNECTION: Duration = Duration::from_secs(50);
