//! Clients that nothing of ours stands in front of, or not ours alone.

#[cfg(feature = "hyper")]
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "hyper")]
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;

use super::anywhere::ConnectorLayer;
use super::builder::{Parts, TransportBuilder};
use super::dial::dark::Patience;
use super::names::{Names, Others};
use super::options::IDLE_TIMEOUT;
#[cfg(feature = "hyper")]
use super::pooled::Hops;
use super::tls;
use crate::config_error::SettingError;
use crate::diagnose::is_unprocessed;
use crate::limit::{Limit, Limits};
use crate::record::tracker;

impl TransportBuilder {
    /// Makes a bare [`reqwest::Client`] for an SDK that takes nothing else: see
    /// [`sdk::bare`](crate::sdk::bare). Every request ends within the deadline of the limits, to the last
    /// byte of its body, unless it brings a timeout of its own (`RequestBuilder::timeout`), which then holds
    /// instead.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build). Fails too if there is chaos, or an option of connections: they have no place in a
    /// client that is not ours.
    pub fn build_reqwest(self) -> Result<reqwest::Client, SettingError> {
        self.options.refuse_all()?;
        let parts = self.parts()?;
        parts.refuse_unfiltered()?;
        let Parts {
            tls,
            limits,
            resolver,
            filter,
            proxies,
            ..
        } = parts;
        let names = Names {
            resolver,
            filter: filter.clone(),
            limits,
            others: Others::These(proxies.dials()),
            divided: set_up_within(&limits),
        };
        let connector = ConnectorLayer {
            filter,
            limits,
            proxied: proxies.is_some(),
        };
        // Above the connector nothing of ours repeats. What the peer did not process is sent again, as
        // reqwest does by itself, but within a budget.
        let repeat = reqwest::retry::for_host(Everywhere)
            .max_retries_per_request(MOST_REPEATS)
            .classify_fn(|answered| match answered.error() {
                // An attempt of ours is repeated by whoever made it, and paid for.
                Some(error) if is_unprocessed(error) && tracker::current().is_none() => {
                    answered.retryable()
                }
                _ => answered.success(),
            });
        let tls = tls::with_alpn(tls::with_ear(tls?));
        let built = begin(tls, &limits)
            // Both the time that a connector divides among the addresses, and an end of the whole setup.
            .connect_timeout(set_up_within(&limits))
            .dns_resolver(names)
            .connector_layer(connector)
            .retry(repeat)
            .proxy(proxies.into_reqwest())
            .timeout(limits.deadline().get())
            .build();
        built.map_err(|error| SettingError::failed("tls", error.without_url()))
    }
}

#[cfg(feature = "hyper")]
impl TransportBuilder {
    /// Makes the pieces of a client of hyper-util's own: see [`sdk::hyper`](crate::sdk::hyper).
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build). Fails too if there is chaos, an option of connections, or a proxy: the
    /// connector is yours. If yours leads to a proxy and there is a filter,
    /// [`proxy_filters`](Self::proxy_filters) has to say that the proxy filters: else the connector layer
    /// refuses what it connects to.
    pub fn build_hyper(self) -> Result<Hops, SettingError> {
        self.options.refuse_all()?;
        let Parts {
            tls,
            limits,
            resolver,
            filter,
            proxies,
            proxy_filters,
            ..
        } = self.parts()?;
        if proxies.is_some() {
            let range = "what a connector of your own can be told";
            return Err(SettingError::out_of_range("proxy", "set", range));
        }
        let connector = ConnectorLayer {
            filter: filter.clone(),
            limits,
            proxied: proxy_filters,
        };
        let names = Names {
            resolver,
            filter,
            limits,
            others: if proxy_filters {
                Others::All
            } else {
                Others::These(Arc::default())
            },
            divided: limits.connect().get(),
        };
        Ok(Hops::new(names, connector, tls::with_ear(tls?)))
    }
}

#[cfg(feature = "hyper")]
impl Hops {
    /// Makes the connector that goes inside the TLS connector: with the resolver, and with the connect limit divided
    /// among the addresses of a name. It connects for `https` URLs, too.
    ///
    /// A connector made by `HttpConnector::new_with_resolver` waits for the first address until the connect limit
    /// runs out, unless `set_connect_timeout` divides that time.
    #[must_use]
    pub fn http_connector(&self) -> HttpConnector<Names> {
        let names = self.resolver();
        let divided = names.divided;
        let mut connector = HttpConnector::new_with_resolver(names);
        connector.set_connect_timeout(Some(divided));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        connector
    }
}

/// A client without what reqwest would do out of sight.
fn begin(tls: ClientConfig, limits: &Limits) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .tcp_nodelay(true)
        .pool_idle_timeout(IDLE_TIMEOUT);
    Patience::of(limits).apply(builder)
}

/// A time after which every setup has ended by one of the three limits. They name their hop, and reqwest's own
/// timeout would not. A stack above may give them more time than these limits do.
fn set_up_within(limits: &Limits) -> Duration {
    let own = [limits.dns(), limits.connect(), limits.tls()];
    own.map(Limit::get).iter().sum::<Duration>() + SPARE
}

/// Equal to every host.
struct Everywhere;

impl PartialEq<&str> for Everywhere {
    fn eq(&self, _host: &&str) -> bool {
        true
    }
}

/// The three limits together are 8 s at most, unless a stack above sets longer ones.
const SPARE: Duration = Duration::from_secs(30);
/// As many as reqwest makes by default.
const MOST_REPEATS: u32 = 2;
