//! Bare reqwest clients: no layer of this crate is around them.

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::Connection;
use rustls::ClientConfig;
use tower_layer::Layer;
use tower_service::Service;
use url::Url;

use super::connector_layer::{ConnectorFuture, ConnectorLayer};
use super::current::with_observer;
use super::judge::Seen;
use super::resolver_service::{Others, ResolverService};
use crate::box_error::BoxError;
use crate::config_error::ConfigError;
use crate::diagnose::is_unprocessed;
use crate::record::tracker;
use crate::timeout::Timeouts;
use crate::transport::builder::{Parts, TransportBuilder};
use crate::transport::dial::dead_peer::DeadPeerTimeouts;
use crate::transport::options::IDLE_TIMEOUT;
use crate::transport::proxy::Proxies;
use crate::transport::target::dial;
use crate::transport::tls;

impl TransportBuilder {
    /// Builds a bare [`reqwest::Client`] for an SDK that accepts nothing else: see [`sdk::bare`](crate::sdk::bare).
    /// Every request ends within the deadline of the timeouts, to the last byte of its body. A request's own timeout
    /// (`RequestBuilder::timeout`) replaces that deadline. (Feature `reqwest`.)
    ///
    /// # Errors
    ///
    /// Fails like [`build`](Self::build). Fails also if there is chaos, or an option of connections: a client of
    /// another crate cannot apply them. Fails without roots or name servers of the system, even if every URL is plain
    /// HTTP: set [`tls`](Self::tls) or [`resolver`](Self::resolver) then.
    pub fn build_reqwest(self) -> Result<reqwest::Client, ConfigError> {
        self.options.refuse_all()?;
        let parts = self.parts()?;
        parts.refuse_unfiltered()?;
        let Parts {
            tls,
            timeouts,
            resolver,
            filter,
            proxies,
            ..
        } = parts;
        let names = ResolverService {
            resolver,
            filter: filter.clone(),
            timeouts,
            others: Others::These(proxies.dials()),
            divided: set_up_within(&timeouts),
        };
        let connector = ConnectorLayer {
            filter,
            timeouts,
            proxied: proxies.is_some(),
            single_leg: true,
        };
        // No part of this crate retries above the connector. A request that the peer did not process is sent again, as
        // reqwest does by itself, but within a budget.
        let repeat = reqwest::retry::for_host(Everywhere)
            .max_retries_per_request(MOST_REPEATS)
            .classify_fn(|answered| match answered.error() {
                // The driver of the attempt retries it, from its budget.
                Some(error) if is_unprocessed(error) && tracker::current().is_none() => {
                    answered.retryable()
                }
                _ => answered.success(),
            });
        let tls = tls::with_alpn(with_observer(tls?, &Arc::default()));
        let built = begin(tls, &timeouts)
            // This is both the time that the connector divides among the addresses, and the timeout of the whole setup.
            .connect_timeout(set_up_within(&timeouts))
            .dns_resolver(names)
            .connector_layer(BareLayer(connector))
            .retry(repeat)
            .proxy(proxy_of(proxies))
            .timeout(timeouts.deadline())
            .build();
        built.map_err(|error| ConfigError::failed("tls", error.without_url()))
    }
}

/// Returns a builder without the parts of reqwest that this crate could not see.
fn begin(tls: ClientConfig, timeouts: &Timeouts) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .tcp_nodelay(true)
        .pool_idle_timeout(IDLE_TIMEOUT);
    DeadPeerTimeouts::of(timeouts).apply(builder)
}

/// Chooses the proxy for reqwest, and keeps the URL that reqwest passes. The connector layer gets it in a type that has
/// no name and no accessor.
fn proxy_of(proxies: Proxies) -> reqwest::Proxy {
    reqwest::Proxy::custom(move |url| {
        note(url);
        let (dial, port) = dial(url).ok()?;
        let via = proxies.proxy_for(url.scheme() == "https", &dial, port)?;
        Some(via.url().clone())
    })
}

fn note(url: &Url) {
    // reqwest also calls this elsewhere, for the headers of a proxy.
    let _ = ASKED.try_with(|asked| asked.set(Some(url.clone())));
}

tokio::task_local! {
    /// The URL for which the connector that is being called right here must connect.
    static ASKED: Cell<Option<Url>>;
}

/// The [`ConnectorLayer`] in the form that reqwest accepts.
#[derive(Clone)]
struct BareLayer(ConnectorLayer);

impl<S> Layer<S> for BareLayer {
    type Service = BareConnector<S>;

    fn layer(&self, inner: S) -> BareConnector<S> {
        BareConnector {
            inner,
            layer: self.0.clone(),
        }
    }
}

#[derive(Clone)]
struct BareConnector<S> {
    inner: S,
    layer: ConnectorLayer,
}

impl<S, T> Service<T> for BareConnector<S>
where
    S: Service<T, Response: Connection>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ConnectorFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    /// reqwest's connector asks for the proxy while it is called, and connects only when its future is polled. If a
    /// connector asks later, its destination is not known here, and a filter refuses it.
    fn call(&mut self, target: T) -> Self::Future {
        let (connecting, asked) = ASKED.sync_scope(Cell::default(), || {
            (self.inner.call(target), ASKED.with(Cell::take))
        });
        let seen = asked.as_ref().and_then(Seen::of_url);
        self.layer.begin(seen, || connecting)
    }
}

/// Returns a time within which one of the three timeouts has ended every setup. Those name their hop, and reqwest's own
/// timeout would not. An outer stack may give them more time than these timeouts do.
fn set_up_within(timeouts: &Timeouts) -> Duration {
    let own = [timeouts.dns(), timeouts.connect(), timeouts.tls()];
    own.iter().sum::<Duration>() + SPARE
}

/// A value that is equal to every host.
struct Everywhere;

impl PartialEq<&str> for Everywhere {
    fn eq(&self, _host: &&str) -> bool {
        true
    }
}

/// The three timeouts together are at most 8 s, unless an outer stack sets longer ones.
const SPARE: Duration = Duration::from_secs(30);
/// The default of reqwest.
const MOST_REPEATS: u32 = 2;

#[cfg(test)]
#[path = "bare_tests.rs"]
mod tests;
