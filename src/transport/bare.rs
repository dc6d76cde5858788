//! Clients that nothing of ours stands in front of, or not ours alone.

#[cfg(feature = "hyper")]
use std::sync::Arc;

use rustls::ClientConfig;

use super::anywhere::ConnectorLayer;
use super::builder::{Parts, TransportBuilder};
use super::dial::IDLE_TIMEOUT;
use super::dial::dark::Patience;
use super::names::{Names, Others};
#[cfg(feature = "hyper")]
use super::pooled::Hops;
use super::tls;
use crate::config_error::SettingError;
use crate::diagnose::is_unprocessed;
use crate::limit::Limits;
use crate::record::tracker;

impl TransportBuilder {
    /// Makes a bare [`reqwest::Client`] for an SDK that takes nothing else: see
    /// [`sdk::bare`](crate::sdk::bare). Every request ends within the deadline of the limits, to the last
    /// byte of its body, unless it brings a timeout of its own (`RequestBuilder::timeout`), which then holds
    /// instead.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build). Fails too if there is chaos, which has no place in a client that is not ours.
    pub fn build_reqwest(self) -> Result<reqwest::Client, SettingError> {
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
    /// As [`build`](Self::build). Fails too if there is chaos, or a proxy: the
    /// connector is yours. If yours leads to a proxy and there is a filter,
    /// [`proxy_filters`](Self::proxy_filters) has to say that the proxy filters: else the connector layer
    /// refuses what it connects to.
    pub fn build_hyper(self) -> Result<Hops, SettingError> {
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
        };
        Ok(Hops::new(names, connector, tls::with_ear(tls?)))
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

/// Equal to every host.
struct Everywhere;

impl PartialEq<&str> for Everywhere {
    fn eq(&self, _host: &&str) -> bool {
        true
    }
}

/// As many as reqwest makes by default.
const MOST_REPEATS: u32 = 2;
