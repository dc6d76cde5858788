//! The route to a destination, computed once for all of its requests.

use std::sync::{Arc, OnceLock};

use http::HeaderValue;
use http::header::InvalidHeaderValue;
use rustls::ClientConfig;

use super::dial::{NoRoots, Route};
use super::proxy::{Proxies, Via};
use super::target::{Dial, Target};
use super::tls;
use crate::config_error::ConfigError;
use crate::dns::Answer;

/// Whether a connection may show the client's certificate. A connection of one kind is not used for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    Shown,
    Withheld,
}

/// The route to a destination (RFC 9110 §7.3).
#[derive(Debug)]
pub(super) struct Routing {
    pub(super) target: Target,
    /// The proxy, if there is one.
    pub(super) via: Option<Arc<Via>>,
    /// The `Host` field of its requests.
    pub(super) host: HeaderValue,
    /// The address to dial, if no lookup is needed.
    pub(super) literal: Option<Answer>,
    route: OnceLock<Arc<Route>>,
    /// The same without the client's certificate.
    anonymous: OnceLock<Arc<Route>>,
}

impl Routing {
    pub(super) fn new(target: Target, proxies: &Proxies) -> Result<Self, InvalidHeaderValue> {
        let via = proxies.proxy_for(target.is_secure, &target.dial, target.port);
        let mut routing = Self {
            host: HeaderValue::from_str(target.authority.as_str())?,
            target,
            via,
            literal: None,
            route: OnceLock::new(),
            anonymous: OnceLock::new(),
        };
        if let (Dial::Address(address), _) = routing.dialled() {
            routing.literal = Some(Answer::literal(*address));
        }
        Ok(routing)
    }

    /// Returns the host to dial: the destination, or the proxy, which looks the destination up itself.
    pub(super) fn dialled(&self) -> (&Dial, u16) {
        match &self.via {
            Some(via) => (&via.dial, via.port),
            None => (&self.target.dial, self.target.port),
        }
    }

    /// Returns the route of its connections, which share the session tickets of the destination.
    ///
    /// # Errors
    ///
    /// Fails if a TLS configuration is needed and there is none.
    pub(super) fn route(
        &self,
        config: Result<&ClientConfig, &Arc<ConfigError>>,
        identity: Identity,
    ) -> Result<&Arc<Route>, NoRoots> {
        let kept = match identity {
            Identity::Shown => &self.route,
            Identity::Withheld => &self.anonymous,
        };
        if let Some(route) = kept.get() {
            return Ok(route);
        }
        let via = self.via.as_deref();
        let is_proxy_secure = via.is_some_and(Via::is_secure);
        let tls = match (self.target.is_secure, config) {
            // Without roots there is no config for the proxy either.
            (false, Err(none)) if is_proxy_secure => return Err(NoRoots(Arc::clone(none))),
            (false, _) => None,
            (true, Ok(config)) => Some(Arc::new(tls::with_tickets(config))),
            (true, Err(none)) => return Err(NoRoots(Arc::clone(none))),
        };
        Ok(kept.get_or_init(|| {
            Arc::new(Route {
                host: Arc::clone(&self.target.host),
                port: self.target.port,
                tls,
                via: self.via.clone(),
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Uri};

    use super::super::proxy::Choice;
    use super::*;

    #[test]
    fn proxy_that_is_reached_over_tls_needs_roots_even_for_plain_http() {
        for (url, proxy, needs) in [
            ("https://api.test/", "http://proxy.test:3128", true),
            ("https://api.test/", "https://proxy.test:3128", true),
            ("http://api.test/", "https://proxy.test:3128", true),
            ("http://api.test/", "http://proxy.test:3128", false),
        ] {
            let uri: Uri = url.parse().unwrap();
            let target = Target::of(&uri, &mut HeaderMap::new()).unwrap();
            let proxies = Proxies::of(&Choice::Through(proxy.to_owned()), "", |_| None);
            let routing = Routing::new(target, &proxies.unwrap()).unwrap();
            let none = Arc::new(ConfigError::refused("tls", "none"));
            let route = routing.route(Err(&none), Identity::Shown);
            assert_eq!(route.is_err(), needs, "{url} by {proxy}");
        }
    }
}
