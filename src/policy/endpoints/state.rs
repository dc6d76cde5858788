use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Uri;
use http::uri::PathAndQuery;
use tokio::time::Instant;

use super::EndpointsConfig;
use super::decide::{EndpointHealth, order, outcome};
use crate::hop::Diagnosis;

/// The endpoints of all logical names, and their health.
#[derive(Debug, Default)]
pub(crate) struct Endpoints(HashMap<String, Arc<EndpointSet>>);

/// The endpoints of one logical name.
#[derive(Debug)]
struct EndpointSet {
    config: EndpointsConfig,
    urls: Vec<Uri>,
    health: Mutex<Vec<EndpointHealth>>,
}

/// The endpoints of one call, in the order in which it tries them.
#[derive(Debug)]
pub(crate) struct EndpointChoice {
    set: Arc<EndpointSet>,
    order: Vec<usize>,
    /// The position of the current one.
    at: usize,
    /// How many of them the call has tried.
    tried: usize,
    is_trial: bool,
    path: Option<PathAndQuery>,
}

impl Endpoints {
    /// Prepares checked configs. `None` if there are none.
    pub(crate) fn new(all: &[(String, EndpointsConfig)]) -> Option<Arc<Self>> {
        let sets = all.iter().map(|(name, config)| {
            let urls = config.get_urls().iter();
            let urls = urls.filter_map(|endpoint| endpoint.get_url().parse().ok());
            let set = EndpointSet {
                config: config.clone(),
                urls: urls.collect(),
                health: Mutex::new(vec![EndpointHealth::default(); config.get_urls().len()]),
            };
            (name.clone(), Arc::new(set))
        });
        (!all.is_empty()).then(|| Arc::new(Self(sets.collect())))
    }

    /// Chooses the endpoints of a call; `None` if its host is not a logical name.
    pub(crate) fn choose(
        &self,
        uri: &Uri,
        seed: impl FnOnce() -> u64,
        now: Instant,
    ) -> Option<EndpointChoice> {
        let host = uri.host()?;
        let set = match self.0.get(host) {
            Some(set) => set,
            None => self.0.get(&host.to_ascii_lowercase())?,
        };
        let mut health = set.health();
        let is_aside = |at: usize| health.get(at).is_some_and(|health| health.is_aside(now));
        let order = order(set.config.get_urls(), is_aside, seed());
        let first = health.get_mut(*order.first()?)?;
        let is_trial = first.begin(now);
        drop(health);
        Some(EndpointChoice {
            set: Arc::clone(set),
            order,
            at: 0,
            tried: 1,
            is_trial,
            path: uri.path_and_query().cloned(),
        })
    }
}

impl EndpointSet {
    fn health(&self) -> MutexGuard<'_, Vec<EndpointHealth>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EndpointChoice {
    /// Returns the URL of the call at the current endpoint.
    pub(crate) fn uri(&self) -> Option<Uri> {
        let base = self.set.urls.get(*self.order.get(self.at)?)?;
        let mut parts = base.clone().into_parts();
        let path = self.path.as_ref().map_or("/", PathAndQuery::as_str);
        let before = base.path().trim_end_matches('/');
        parts.path_and_query = Some(format!("{before}{path}").parse().ok()?);
        Uri::from_parts(parts).ok()
    }

    /// Returns whether the endpoints share one store of idempotency keys.
    pub(crate) fn shares_keys(&self) -> bool {
        self.set.config.get_share_keys()
    }

    /// Returns whether the call has not tried one of the endpoints.
    pub(crate) fn has_untried(&self) -> bool {
        self.tried < self.order.len()
    }

    /// Returns whether there is another endpoint.
    pub(crate) fn has_other(&self) -> bool {
        self.order.len() > 1
    }

    /// Goes on to the next endpoint, in the end to the first one again.
    pub(crate) fn go_on(&mut self) {
        self.at = (self.at + 1) % self.order.len();
        self.tried = self.tried.saturating_add(1);
        self.is_trial = false;
    }

    /// Records the result of an attempt at the current endpoint. `None` is a success.
    pub(crate) fn record(&mut self, failed: Option<&Diagnosis>, now: Instant) {
        let is_trial = std::mem::take(&mut self.is_trial);
        let mut health = self.set.health();
        let current = self.order.get(self.at);
        if let Some(current) = current.and_then(|at| health.get_mut(*at)) {
            current.record(outcome(failed), is_trial, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::EndpointConfig;
    use super::*;
    use crate::clock;
    use crate::hop::{Hop, Kind};

    fn two() -> Arc<Endpoints> {
        let config = EndpointsConfig::new()
            .endpoint(EndpointConfig::new("https://eu.pay.test/api/"))
            .endpoint(EndpointConfig::new("https://us.pay.test:8443").priority(1));
        Endpoints::new(&[("pay.internal".to_owned(), config)]).unwrap()
    }

    fn choose(endpoints: &Endpoints, uri: &str, now: Instant) -> Option<EndpointChoice> {
        endpoints.choose(&uri.parse().unwrap(), || 7, now)
    }

    #[tokio::test(start_paused = true)]
    async fn path_and_query_are_appended_to_the_base_url_of_each_endpoint() {
        let (endpoints, now) = (two(), clock::now());
        let mut choice = choose(&endpoints, "https://PAY.internal/v1?a=b", now).unwrap();
        let told = |choice: &EndpointChoice| choice.uri().unwrap().to_string();
        assert_eq!(told(&choice), "https://eu.pay.test/api/v1?a=b");
        assert!(choice.has_other() && choice.has_untried() && !choice.shares_keys());
        choice.go_on();
        assert_eq!(told(&choice), "https://us.pay.test:8443/v1?a=b");
        assert!(!choice.has_untried());
        choice.go_on();
        assert_eq!(told(&choice), "https://eu.pay.test/api/v1?a=b");
        assert!(choose(&endpoints, "https://eu.pay.test/v1", now).is_none());
        assert!(choose(&endpoints, "/v1", now).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn endpoint_that_cannot_be_reached_is_set_aside_for_all_calls() {
        let (endpoints, now) = (two(), clock::now());
        let at = |now| choose(&endpoints, "https://pay.internal/", now).unwrap();
        let host = |choice: &EndpointChoice| choice.uri().unwrap().host().unwrap().to_owned();
        at(now).record(Some(&Diagnosis::unsent(Hop::Connect, Kind::Refused)), now);
        assert_eq!(host(&at(now)), "us.pay.test");
        let later = now + std::time::Duration::from_secs(1);
        let mut trial = at(later);
        assert_eq!(
            (host(&trial), trial.is_trial),
            ("eu.pay.test".to_owned(), true)
        );
        assert_eq!(host(&at(later)), "us.pay.test", "one trial");
        trial.record(None, later);
        assert_eq!(host(&at(later)), "eu.pay.test");
    }
}
