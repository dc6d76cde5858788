//! The parts for a client of hyper-util.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use http::Uri;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use rustls::ClientConfig;
use tower_layer::Layer;
use tower_service::Service;

use super::connector_layer::{ConnectorFuture, ConnectorLayer};
use super::current::with_observer;
use super::judge::Seen;
use super::pool_layer::PoolLayer;
use super::resolver_service::{Others, ResolverService};
use crate::box_error::BoxError;
use crate::config_error::ConfigError;
use crate::transport::builder::{Parts, TransportBuilder};

/// The parts for a client of hyper-util: see [`sdk::hyper`](crate::sdk::hyper).
#[derive(Clone, Debug)]
pub struct HyperParts {
    names: ResolverService,
    connector: ConnectorLayer,
    tls: ClientConfig,
    pool: PoolLayer,
}

impl HyperParts {
    /// The resolver, for `HttpConnector::new_with_resolver`.
    #[must_use]
    pub fn resolver(&self) -> ResolverService {
        self.names.clone()
    }

    /// The TLS configuration, for the connector that speaks TLS. That connector sets the ALPN protocols.
    #[must_use]
    pub fn tls(&self) -> ClientConfig {
        self.tls.clone()
    }

    /// The layer around the whole connector.
    #[must_use]
    pub fn connector_layer(&self) -> ConnectorLayer {
        self.connector.clone()
    }

    /// The layer around the client.
    #[must_use]
    pub fn layer(&self) -> PoolLayer {
        self.pool.clone()
    }

    /// Returns the connector that goes inside the TLS connector. It has the resolver, and divides the connect timeout
    /// among the addresses of a name. It connects for `https` URLs, too.
    ///
    /// A connector made by `HttpConnector::new_with_resolver` waits for the first address until the connect timeout
    /// expires, unless `set_connect_timeout` divides that time.
    #[must_use]
    pub fn http_connector(&self) -> HttpConnector<ResolverService> {
        let names = self.resolver();
        let divided = names.divided;
        let mut connector = HttpConnector::new_with_resolver(names);
        connector.set_connect_timeout(Some(divided));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        connector
    }
}

impl TransportBuilder {
    /// Builds the parts for a client of hyper-util: see [`sdk::hyper`](crate::sdk::hyper). (Feature `hyper-util`.)
    ///
    /// # Errors
    ///
    /// Fails like [`build`](Self::build). Fails also if there is chaos, an option of connections, or a proxy: the
    /// connector is yours. Fails without roots or name servers of the system, even if every URL is plain HTTP: set
    /// [`tls`](Self::tls) or [`resolver`](Self::resolver) then.
    ///
    /// If the connector connects to a proxy and there is a filter, declare with [`proxy_filters`](Self::proxy_filters)
    /// that the proxy filters. Otherwise the connector layer refuses its connections.
    pub fn build_hyper(self) -> Result<HyperParts, ConfigError> {
        self.options.refuse_all()?;
        let Parts {
            tls,
            timeouts,
            resolver,
            filter,
            proxies,
            proxy_filters,
            ..
        } = self.parts()?;
        if proxies.is_some() {
            let why = "the connector is yours: set the proxy there";
            return Err(ConfigError::refused("transport.proxy", why));
        }
        let connector = ConnectorLayer {
            filter: filter.clone(),
            timeouts,
            proxied: proxy_filters,
            single_leg: false,
        };
        let names = ResolverService {
            resolver,
            filter,
            timeouts,
            others: if proxy_filters {
                Others::All
            } else {
                Others::These(Arc::default())
            },
            divided: timeouts.connect(),
        };
        let shown = Arc::default();
        Ok(HyperParts {
            tls: with_observer(tls?, &shown),
            pool: PoolLayer::new(names.clone(), shown),
            names,
            connector,
        })
    }
}

impl<S> Layer<S> for ConnectorLayer {
    type Service = TrackedConnector<S>;

    fn layer(&self, inner: S) -> TrackedConnector<S> {
        TrackedConnector {
            inner,
            layer: self.clone(),
        }
    }
}

/// The connector of [`ConnectorLayer`].
#[derive(Clone, Debug)]
pub struct TrackedConnector<S> {
    inner: S,
    layer: ConnectorLayer,
}

impl<S> Service<Uri> for TrackedConnector<S>
where
    S: Service<Uri, Response: Connection>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ConnectorFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let seen = Seen::of_uri(&uri);
        self.layer.begin(seen, || self.inner.call(uri))
    }
}

impl Service<Name> for ResolverService {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let looking = self.lookup(name.as_str());
        Box::pin(async move { Ok(looking.await?.into_iter()) })
    }
}
