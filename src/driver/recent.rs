//! Each thread remembers the destination of its latest calls, so their budget and circuit need no lookup.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, Uri};
use tokio::time::Instant;

use super::policies::Policies;
use crate::clock;
use crate::destination::Origin;
use crate::policy::breaker::SharedCircuit;
use crate::policy::retry::SharedBudget;

/// The method, the URL and the headers of a request.
pub(super) type Head<'a> = (&'a Method, &'a Uri, &'a HeaderMap);

/// The budget and the circuit of a destination, if the driver has these policies.
#[derive(Default)]
pub(super) struct DestinationState {
    pub(super) budget: Option<Arc<SharedBudget>>,
    pub(super) circuit: Option<Arc<SharedCircuit>>,
}

impl DestinationState {
    /// Finds both for the request's destination, or for the key that the user's function returns.
    pub(super) fn of(policies: &Arc<Policies>, head: Head<'_>, now: Instant) -> Self {
        if policies.retry.is_none() && policies.breaker.is_none() {
            return Self::default();
        }
        let retry = policies.retry.as_ref();
        if retry.is_some_and(|retry| retry.key.is_some()) {
            // The URL does not say which budget applies. A breaker with `key_by` finds its circuit itself.
            return Self::lookup(policies, head, now);
        }
        let (_, uri, _) = head;
        // A thread that is ending has no remembered destination.
        let recent = RECENT.try_with(|recent| {
            let recent = recent.try_borrow().ok()?;
            recent.as_ref()?.known(policies, uri, now)
        });
        recent.ok().flatten().unwrap_or_else(|| {
            let known = Self::lookup(policies, head, now);
            Recent::replace(policies, uri, (&known, now));
            known
        })
    }

    fn lookup(policies: &Policies, head: Head<'_>, now: Instant) -> Self {
        let (_, uri, _) = head;
        let origin = Origin::of_request(uri);
        let (retry, breaker) = (policies.retry.as_ref(), policies.breaker.as_ref());
        Self {
            budget: retry.map(|policy| policy.budget(head, &origin, now)),
            circuit: breaker.and_then(|breaker| breaker.at(&origin, now)),
        }
    }

    /// Returns whether the registries keep the entries, so that other calls find the same ones.
    fn is_kept(&self) -> bool {
        let is_kept = |budget: &Arc<SharedBudget>| Arc::strong_count(budget) > 1;
        self.budget.as_ref().is_none_or(is_kept)
            && (self.circuit.as_ref()).is_none_or(|circuit| Arc::strong_count(circuit) > 1)
    }
}

/// A destination, with its budget and its circuit. It holds them weakly, so a registry can still remove them.
struct Recent {
    policies: Weak<Policies>,
    scheme: Scheme,
    authority: Authority,
    budget: Option<Weak<SharedBudget>>,
    circuit: Option<Weak<SharedCircuit>>,
    /// The registries record a use at most once a second: the next one is recorded after this instant.
    until: Instant,
    /// Whether the latest call went to another destination.
    was_missed: Cell<bool>,
}

impl Recent {
    fn known(&self, policies: &Arc<Policies>, uri: &Uri, now: Instant) -> Option<DestinationState> {
        let is_same = self.policies.as_ptr() == Arc::as_ptr(policies)
            && uri.authority().map(Authority::as_str) == Some(self.authority.as_str())
            && uri.scheme() == Some(&self.scheme);
        if !is_same || self.until <= now {
            return None;
        }
        self.was_missed.set(false);
        let Self {
            budget, circuit, ..
        } = self;
        let known = DestinationState {
            budget: budget.as_ref().and_then(Weak::upgrade),
            circuit: circuit.as_ref().and_then(Weak::upgrade),
        };
        let is_whole = known.budget.is_some() == budget.is_some()
            && known.circuit.is_some() == circuit.is_some();
        is_whole.then_some(known)
    }

    /// Remembers another destination, unless the remembered one is still in use. If calls go to many destinations in
    /// turn, one of them remains remembered.
    fn replace(policies: &Arc<Policies>, uri: &Uri, (known, now): (&DestinationState, Instant)) {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return;
        };
        let _ = RECENT.try_with(|recent| {
            let Ok(mut recent) = recent.try_borrow_mut() else {
                return;
            };
            let stays = |recent: &Self| recent.until > now && !recent.was_missed.replace(true);
            if recent.as_ref().is_some_and(stays) || !known.is_kept() {
                return;
            }
            *recent = Some(Self {
                policies: Arc::downgrade(policies),
                scheme: scheme.clone(),
                authority: authority.clone(),
                budget: known.budget.as_ref().map(Arc::downgrade),
                circuit: known.circuit.as_ref().map(Arc::downgrade),
                until: clock::after(now, LOOK_AGAIN),
                was_missed: Cell::new(false),
            });
        });
    }
}

thread_local! {
    static RECENT: RefCell<Option<Recent>> = const { RefCell::new(None) };
}

/// A registry records uses by the second.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::Destination;
    use crate::policy::breaker::CircuitBreakerConfig;
    use crate::policy::retry::RetryConfig;
    use crate::policy::{DestinationKey, breaker, retry};
    use crate::retry_after::Hints;
    use crate::timeout::Timeouts;

    fn policies() -> Arc<Policies> {
        keyed(None)
    }

    fn keyed(key: Option<DestinationKey>) -> Arc<Policies> {
        let timeouts = Timeouts::new(Duration::from_secs(10)).unwrap();
        let breaker = breaker::CircuitBreakerHandle::new(&timeouts, &CircuitBreakerConfig::new());
        let mut retry = retry::RetryPolicy::new(RetryConfig::new(), clock::now());
        retry.key.clone_from(&key);
        Arc::new(Policies {
            retry: Some(Arc::new(retry)),
            breaker: Some(breaker::CircuitBreakers {
                breaker,
                judge: CircuitBreakerConfig::new().judge(&timeouts),
                key,
                hints: Hints::default(),
            }),
            ..Policies::default()
        })
    }

    fn known(policies: &Arc<Policies>, uri: &'static str, now: Instant) -> DestinationState {
        let (uri, headers) = (Uri::from_static(uri), HeaderMap::new());
        DestinationState::of(policies, (&Method::GET, &uri, &headers), now)
    }

    fn circuit(policies: &Arc<Policies>, uri: &'static str, now: Instant) -> Arc<SharedCircuit> {
        let known = known(policies, uri, now);
        assert!(known.budget.is_some());
        known.circuit.unwrap()
    }

    #[test]
    fn destination_that_is_remembered_is_the_one_that_a_registry_keeps() {
        let (one, other, now) = (policies(), policies(), clock::now());
        let later = now + LOOK_AGAIN;
        let a = circuit(&one, "https://a.test/1", now);
        let b = circuit(&one, "https://b.test", now);
        for at in [now, later, now] {
            for (uri, expected) in [
                ("https://a.test/2", &a),
                ("https://A.test", &a),
                ("https://a.test:443", &a),
                ("https://b.test", &b),
                ("https://b.test", &b),
                ("https://a.test", &a),
            ] {
                assert!(Arc::ptr_eq(&circuit(&one, uri, at), expected), "{uri}");
            }
            let others = circuit(&other, "https://a.test/1", at);
            assert!(!Arc::ptr_eq(&others, &a), "another driver has its own");
        }
        for _ in 0..3 {
            circuit(&one, "https://a.test", now);
        }
        let clear = circuit(&one, "http://a.test", now);
        assert!(
            !Arc::ptr_eq(&clear, &a),
            "another scheme is another destination"
        );
    }

    #[test]
    fn destination_that_is_remembered_is_not_held() {
        let (policies, now) = (policies(), clock::now());
        let held = Arc::downgrade(&circuit(&policies, "https://a.test", now));
        assert!(held.upgrade().is_some(), "the registry has it");
        drop(policies);
        assert!(held.upgrade().is_none());
    }

    #[test]
    fn entry_that_no_registry_keeps_is_not_remembered() {
        let (policies, now) = (policies(), clock::now());
        let uri = Uri::from_static("https://a.test");
        let headers = HeaderMap::new();
        let head = (&Method::GET, &uri, &headers);
        let mut known = DestinationState::lookup(&policies, head, now);
        known.budget = Some(Arc::new(SharedBudget::new(retry::Budget::new(), now)));
        Recent::replace(&policies, &uri, (&known, now));
        let found = DestinationState::of(&policies, head, now).budget.unwrap();
        assert!(!Arc::ptr_eq(&found, &known.budget.unwrap()));
    }

    #[test]
    fn key_function_of_the_user_runs_for_each_request() {
        let by_path: DestinationKey =
            Arc::new(|_, uri, _| Ok(Some(Destination::named(uri.path()))));
        let (policies, now) = (keyed(Some(by_path)), clock::now());
        let at = |uri| known(&policies, uri, now);
        let (one, other) = (at("https://a.test/1"), at("https://a.test/2"));
        assert!(one.circuit.is_none(), "the breaker asks for itself");
        let (one, other) = (one.budget.unwrap(), other.budget.unwrap());
        assert!(!Arc::ptr_eq(&one, &other), "a budget for each name");
        let again = at("https://b.test/1").budget.unwrap();
        assert!(Arc::ptr_eq(&one, &again));
    }

    #[test]
    fn relative_urls_share_one_budget_and_one_circuit() {
        let (policies, now) = (policies(), clock::now());
        let (one, other) = (known(&policies, "/1", now), known(&policies, "/2", now));
        assert!(Arc::ptr_eq(&one.budget.unwrap(), &other.budget.unwrap()));
        assert!(Arc::ptr_eq(&one.circuit.unwrap(), &other.circuit.unwrap()));
    }
}
