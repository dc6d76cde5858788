use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use url::Url;

use super::places::Places;
use super::recipe::{Hook, Recipe};
use super::target::dial;
use super::{Shared, Transport, tls};
use crate::dns::{Filter, Resolve, Resolver};
use crate::error::SettingError;
use crate::limit::Limits;

/// What a [`Transport`] is told once, when it is made.
#[must_use = "a builder does nothing until it is built"]
#[derive(Clone)]
pub struct TransportBuilder {
    limits: Limits,
    resolver: Option<Arc<dyn Resolve>>,
    filter: Filter,
    tls: Option<ClientConfig>,
    proxy: Option<String>,
    hook: Option<Hook>,
}

impl TransportBuilder {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            resolver: None,
            filter: Filter::new(),
            tls: None,
            proxy: None,
            hook: None,
        }
    }

    /// Brings one's own DNS; by default the system's name servers are asked, through a cache.
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Dials only addresses that pass this filter: those of names and those that stand in an URL, on every leg
    /// of a redirect. Where none passes, the call fails at dns, and nothing was sent.
    ///
    /// A proxy is dialled wherever it is, and looks names up by itself: with one, only the addresses in URLs are
    /// filtered.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Brings one's own TLS: roots, client certificate, versions. Its session store is replaced by
    /// one of the same kind that listens; ALPN is set to HTTP/2 and HTTP/1.1 unless it was set.
    pub fn tls(mut self, config: ClientConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// Sends everything through an HTTP proxy. Its name is looked up here, the destination's by the
    /// proxy; the hops dns and connect are then those of the way to the proxy and its tunnel.
    ///
    /// Without this no proxy is used: the environment is not read.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// Changes the reqwest clients underneath (there is one for each address). The hook comes
    /// first and ours after it: resolver, proxy, redirects, retries and decoding stay as they are.
    pub fn reqwest<F>(mut self, hook: F) -> Self
    where
        F: Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + Send + Sync + 'static,
    {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Makes the transport.
    ///
    /// # Errors
    ///
    /// Fails if the system's name servers or roots cannot be read where they are needed, if the
    /// proxy's URL is none, or if the hook breaks the client.
    pub fn build(self) -> Result<Transport, SettingError> {
        let resolver = match self.resolver {
            Some(resolver) => resolver,
            None => Arc::new(
                Resolver::from_system().map_err(|error| SettingError::failed("resolver", error))?,
            ),
        };
        let tls = match self.tls {
            Some(config) => config,
            None => tls::system()?,
        };
        let proxy = match self.proxy {
            Some(url) => Some(proxy_url(&url)?),
            None => None,
        };
        let dialled = match &proxy {
            Some(url) => Some(dial(url).map_err(|error| SettingError::failed("proxy", error))?),
            None => None,
        };
        let recipe = Recipe {
            tls: tls::with_ear(tls),
            hook: self.hook,
            proxy,
            limits: self.limits,
        };
        recipe.check()?;
        Ok(Transport {
            shared: Arc::new(Shared {
                places: Places::new(recipe),
                resolver,
                filter: self.filter,
                proxy: dialled,
                limits: self.limits,
            }),
        })
    }
}

fn proxy_url(url: &str) -> Result<Url, SettingError> {
    let parsed = Url::parse(url).map_err(|error| SettingError::failed("proxy", error))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        let scheme = parsed.scheme().to_owned();
        return Err(SettingError::out_of_range(
            "proxy scheme",
            scheme,
            "http, https",
        ));
    }
    Ok(parsed)
}

impl fmt::Debug for TransportBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportBuilder")
            .field("limits", &self.limits)
            .field("resolver", &self.resolver)
            .field("filter", &self.filter)
            .field("own_tls", &self.tls.is_some())
            .field("proxied", &self.proxy.is_some())
            .field("hooked", &self.hook.is_some())
            .finish()
    }
}
