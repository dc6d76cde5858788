//! Clients that nothing of ours stands in front of, or not ours alone.

#[cfg(feature = "hyper")]
use std::sync::Arc;

use super::anywhere::ConnectorLayer;
use super::builder::{Parts, TransportBuilder};
use super::names::{Names, Others};
#[cfg(feature = "hyper")]
use super::pooled::Hops;
use crate::config_error::SettingError;
use crate::diagnose::is_unprocessed;
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
            recipe,
            resolver,
            filter,
            proxies,
            ..
        } = parts;
        let recipe = recipe.checked()?;
        let limits = recipe.limits;
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
        let built = recipe
            .begin()
            .dns_resolver(names)
            .connector_layer(connector)
            .retry(repeat)
            .proxy(proxies.into_reqwest())
            .timeout(limits.deadline().get())
            .build();
        built.map_err(|error| SettingError::failed("reqwest hook or tls", error.without_url()))
    }
}

#[cfg(feature = "hyper")]
impl TransportBuilder {
    /// Makes the pieces of a client of hyper-util's own: see [`sdk::hyper`](crate::sdk::hyper).
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build). Fails too if there is chaos, a hook for reqwest, or a proxy: the
    /// connector is yours. If yours leads to a proxy and there is a filter,
    /// [`proxy_filters`](Self::proxy_filters) has to say that the proxy filters: else the connector layer
    /// refuses what it connects to.
    pub fn build_hyper(self) -> Result<Hops, SettingError> {
        let Parts {
            recipe,
            resolver,
            filter,
            proxies,
            proxy_filters,
        } = self.parts()?;
        let unused = [
            ("reqwest hook", recipe.hook.is_some()),
            ("proxy", proxies.is_some()),
        ];
        if let Some((field, _)) = unused.into_iter().find(|(_, set)| *set) {
            let range = "what a connector of your own can be told";
            return Err(SettingError::out_of_range(field, "set", range));
        }
        let limits = recipe.limits;
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
        Ok(Hops::new(names, connector, recipe.tls))
    }
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
