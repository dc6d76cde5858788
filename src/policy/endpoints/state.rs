use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;
use tokio::time::Instant;

use super::EndpointsConfig;
use super::decide::{EndpointHealth, order, outcome};
use crate::destination::Destination;
use crate::error::ReasonText;
use crate::hop::Diagnosis;

/// The endpoints of all logical names, and their health.
#[derive(Debug, Default)]
pub(crate) struct Endpoints(HashMap<String, Arc<EndpointSet>>);

/// The endpoints of one logical name.
#[derive(Debug)]
struct EndpointSet {
    config: EndpointsConfig,
    urls: Vec<(Uri, Destination)>,
    /// Shared with the sets of the configs before and after this one.
    health: Arc<Mutex<Health>>,
}

type Health = HashMap<Destination, EndpointHealth>;

/// The endpoints of one call, in the order in which it tries them.
#[derive(Debug)]
pub(crate) struct EndpointChoice {
    set: Arc<EndpointSet>,
    order: Vec<Candidate>,
    /// The position of the current one.
    at: usize,
    /// How many of them the call has tried.
    tried: usize,
    is_trial: bool,
    /// Whether a redirect led to another URL at the current one. The call then goes to no other one.
    is_pinned: bool,
    path: Option<PathAndQuery>,
}

/// An endpoint that a call may go to.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    index: usize,
    /// The hint of its latest failure in this call.
    hint: Option<EndpointHint>,
    /// Whether its circuit has rejected an attempt of this call.
    is_rejected: bool,
}

/// When an endpoint may be asked again. It does not hold for the other endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndpointHint {
    pub(crate) until: Instant,
    pub(crate) by_server: bool,
}

/// The endpoint of the next attempt, which is another one.
#[derive(Clone, Debug)]
pub(crate) struct NextEndpoint {
    at: usize,
    pub(crate) uri: Uri,
    /// The call has not tried it, so the attempt waits for nothing.
    pub(crate) is_untried: bool,
    pub(crate) hint: Option<EndpointHint>,
}

impl Endpoints {
    /// Prepares checked configs. `None` if there are none. An endpoint keeps the health that it had under `before`.
    pub(crate) fn new(
        all: &[(String, EndpointsConfig)],
        before: Option<&Self>,
    ) -> Option<Arc<Self>> {
        let sets = all.iter().map(|(name, config)| {
            let urls = config.get_urls().iter();
            let urls = urls.filter_map(|endpoint| {
                let url = endpoint.get_url().parse().ok()?;
                let destination = Destination::of_request(&url);
                Some((url, destination))
            });
            let urls: Vec<_> = urls.collect();
            let before = before.and_then(|before| before.0.get(name));
            let health = before.map_or_else(Arc::default, |before| Arc::clone(&before.health));
            follow(&health, &urls);
            let set = EndpointSet {
                config: config.clone(),
                urls,
                health,
            };
            (name.clone(), Arc::new(set))
        });
        (!all.is_empty()).then(|| Arc::new(Self(sets.collect())))
    }

    /// Chooses the endpoints of a call; `None` if its host is not a logical name.
    ///
    /// # Errors
    ///
    /// Fails if the URL has a part that no endpoint would honor.
    pub(crate) fn choose(
        &self,
        uri: &Uri,
        seed: impl FnOnce() -> u64,
        now: Instant,
    ) -> Result<Option<EndpointChoice>, ReasonText> {
        let Some((name, set)) = uri.host().and_then(|host| self.find(host)) else {
            return Ok(None);
        };
        if let Some(why) = set.refusal(uri) {
            let why = format!("the URL of the logical name {name} {why}");
            return Err(ReasonText::new(why));
        }
        let mut health = lock(&set.health);
        let known = |health: &Health, index: usize| {
            let own = set.urls.get(index).and_then(|(_, own)| health.get(own));
            own.is_some_and(|own| own.is_aside(now))
        };
        let order = order(set.config.get_urls(), |index| known(&health, index), seed());
        let first = order.first().and_then(|first| set.urls.get(*first));
        let first = first.and_then(|(_, first)| health.get_mut(first));
        let is_trial = first.is_some_and(|first| first.begin(now));
        drop(health);
        let candidates = order.into_iter().map(|index| Candidate {
            index,
            hint: None,
            is_rejected: false,
        });
        Ok(Some(EndpointChoice {
            set: Arc::clone(set),
            order: candidates.collect(),
            at: 0,
            tried: 1,
            is_trial,
            is_pinned: false,
            path: uri.path_and_query().cloned(),
        }))
    }

    fn find(&self, host: &str) -> Option<(&String, &Arc<EndpointSet>)> {
        let known = self.0.get_key_value(host);
        known.or_else(|| self.0.get_key_value(&host.to_ascii_lowercase()))
    }
}

impl EndpointSet {
    /// Returns why a URL cannot be led to the endpoints, if it has a part that none of them would honor.
    fn refusal(&self, uri: &Uri) -> Option<&'static str> {
        let is = |uri: &Uri, scheme: &str| uri.scheme_str() == Some(scheme);
        let (first, _) = self.urls.first()?;
        if uri.authority()?.as_str().contains('@') {
            Some("has userinfo: set the header Authorization instead")
        } else if uri.port().is_some() {
            Some("has a port: leave it out, each endpoint has its own")
        } else if is(uri, "https") && is(first, "http") {
            Some(
                "is https, and its endpoints are http: give it https endpoints, or use http in the URL",
            )
        } else {
            None
        }
    }
}

/// Forgets endpoints that are gone, and adds new ones.
fn follow(health: &Mutex<Health>, urls: &[(Uri, Destination)]) {
    let mut health = lock(health);
    health.retain(|known, _| urls.iter().any(|(_, own)| own == known));
    for (_, own) in urls {
        health.entry(own.clone()).or_default();
    }
}

fn lock(health: &Mutex<Health>) -> MutexGuard<'_, Health> {
    health.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EndpointChoice {
    /// Returns the URL of the call at the current endpoint.
    pub(crate) fn uri(&self) -> Option<Uri> {
        self.uri_at(self.at)
    }

    fn uri_at(&self, at: usize) -> Option<Uri> {
        let (base, _) = self.set.urls.get(self.order.get(at)?.index)?;
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

    /// Sets when the current endpoint may be asked again.
    pub(crate) fn hinted(&mut self, hint: Option<EndpointHint>) {
        if let Some(current) = self.order.get_mut(self.at) {
            current.hint = hint;
        }
    }

    /// Leaves out the current endpoint until its circuit is closed.
    pub(crate) fn reject(&mut self) {
        if let Some(current) = self.order.get_mut(self.at) {
            current.is_rejected = true;
        }
    }

    /// Stays at the current endpoint for the rest of the call, if the URL of a redirect has the same origin. Returns
    /// false if it has another one.
    pub(crate) fn stay_at(&mut self, uri: &Uri) -> bool {
        let current = self.current();
        let is_there = current.is_some_and(|current| *current == Destination::of_request(uri));
        self.is_pinned |= is_there;
        is_there
    }

    /// Goes to this endpoint only. Returns false if it is none of them.
    pub(crate) fn keep_to(&mut self, uri: &Uri) -> bool {
        let wanted = Destination::of_request(uri);
        let is_it = |own: &Candidate| {
            let own = self.set.urls.get(own.index);
            own.is_some_and(|(_, own)| *own == wanted)
        };
        let at = self.order.iter().position(is_it);
        if let Some(at) = at {
            self.order.swap(0, at);
            (self.is_pinned, self.is_trial) = (true, false);
        }
        at.is_some()
    }

    fn current(&self) -> Option<&Destination> {
        let current = self.order.get(self.at)?;
        let (_, current) = self.set.urls.get(current.index)?;
        Some(current)
    }

    /// Returns the endpoint of the next attempt; `None` if it is the current one.
    ///
    /// That is one that the call has not tried. If there is none, it is the one that may be asked first, and of those
    /// the next one in order. Endpoints whose circuits are open are left out.
    pub(crate) fn next(
        &self,
        now: Instant,
        is_closed: impl Fn(&Uri) -> bool,
    ) -> Option<NextEndpoint> {
        let is_untried = self.tried < self.order.len();
        let in_turn = (1..=self.order.len()).map(|step| (self.at + step) % self.order.len());
        let is_in = |at: &usize| {
            let was_rejected = self.order.get(*at).is_some_and(|own| own.is_rejected);
            !was_rejected || self.uri_at(*at).is_some_and(|uri| is_closed(&uri))
        };
        let wait = |at: &usize| {
            let hint = self.order.get(*at).and_then(|candidate| candidate.hint);
            hint.map_or(Duration::ZERO, |hint| {
                hint.until.saturating_duration_since(now)
            })
        };
        let at = match is_untried {
            true => Some(self.tried),
            false => in_turn.filter(is_in).min_by_key(wait),
        };
        let at = at.filter(|at| *at != self.at && !self.is_pinned)?;
        Some(NextEndpoint {
            at,
            uri: self.uri_at(at)?,
            is_untried,
            hint: self.order.get(at)?.hint,
        })
    }

    /// Goes on to another endpoint.
    pub(crate) fn go_on(&mut self, next: &NextEndpoint) {
        self.at = next.at;
        self.tried = self.tried.max(next.at + 1);
        self.is_trial = false;
    }

    /// Records the result of an attempt at the current endpoint. `None` is a success.
    pub(crate) fn record(&mut self, failed: Option<&Diagnosis>, now: Instant) {
        let is_trial = std::mem::take(&mut self.is_trial);
        if let Some(current) = self.current()
            && let Some(health) = lock(&self.set.health).get_mut(current)
        {
            health.record(outcome(failed), is_trial, now);
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
