//! The config of a stack while it runs.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
#[cfg(feature = "client")]
use http::{HeaderMap, Method, Uri};

use crate::clock;
use crate::config::{Config, Effective, Plan};
use crate::config_error::ConfigError;
use crate::destination::Table;
use crate::driver::{Attempts, Base, Deadline, Hedging, Live, LoadRules, Policies};
use crate::policy::breaker::{CircuitBreakerHandle, CircuitBreakers};
use crate::policy::hedge::HedgePolicy;
#[cfg(feature = "client")]
use crate::policy::redirect::{HeaderRules, NextLeg, prune};
use crate::policy::retry::{Budget, Budgets, RetryPolicy};
use crate::policy::stale::{self, Store};
use crate::timeout::Timeouts;

/// A handle to the config of a client or a [`StandardLayer`](crate::StandardLayer). It reads the config, and replaces
/// it while calls run. It is cheap to clone. Clones of the client or layer, and all services of the layer, share the
/// config.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{Config, DestinationConfig, RetryConfig, StandardLayer};
///
/// let config = Config::new(Duration::from_secs(10));
/// let layer = StandardLayer::from_config(&config)?;
/// let handle = layer.config_handle();
///
/// // The file has changed.
/// let once = DestinationConfig::new().retry(RetryConfig::new().attempts(1));
/// handle.reload(&config.clone().destination("*.bank.test", once))?;
///
/// // A bad config is refused whole, and the old one stays.
/// let bad = config.retry(RetryConfig::new().attempts(0));
/// let refused = handle.reload(&bad).unwrap_err();
/// assert_eq!(refused.to_string(), "retry.attempts: 0 is invalid: expected 1..=255");
/// assert_eq!(handle.current().get_destinations().count(), 1);
/// # Ok::<(), sevenhops::ConfigError>(())
/// ```
///
/// # Effects of a reload
///
/// | | after a reload |
/// |---|---|
/// | calls | calls that begin later use the new config; calls in flight keep the old one. If a `call_layer` of a client waits, the policies below it use the config of the moment when it passes the request on |
/// | circuits | keep their state and counts, and follow the new thresholds at once |
/// | an open circuit | keeps its current open time; the next opening has a new one |
/// | a breaker's window | begins empty if its length or kind changed, also by a new attempt timeout |
/// | concurrency limits | follow the first later call to their destination; a fixed limit is set, a learned one stays within the new bounds |
/// | calls that wait for a permit | keep their place; a larger limit serves them |
/// | rate limits | follow the first later call; requests that were sent count as many at the new rate |
/// | calls that wait for a slot | keep it |
/// | a throttle's window | begins empty if its length changed, with the first later call |
/// | budgets | keep what was spent; a budget of another kind begins anew |
/// | stored responses | stay, under the new windows; a smaller store evicts; a config without a store forgets all |
/// | the health of endpoints | stays, for those that both configs have under one name |
/// | connections, DNS | stay as they are; new connections of a client use the new timeouts |
///
/// A call that began before the reload brings no old limit back: the newest rules hold for all calls.
///
/// # Values that stay
///
/// A config does not hold TLS, the resolver, proxies and the other options of a `Transport`: they stay as they were
/// built. The functions that a layer or a builder was given (`classify`, `key_by`, callbacks) stay too. A switch that
/// was set by hand ([`CircuitBreakerHandle::observe_only`](crate::policy::breaker::CircuitBreakerHandle::observe_only))
/// takes precedence over the config.
///
/// A layer that uses the budgets of others ([`StandardLayer::share_budgets`](crate::StandardLayer::share_budgets))
/// keeps their terms: a config with a budget with other values is refused. That holds for the handle, and so for all
/// clones of the layer. A reload of the stack that the budgets belong to changes their terms for all that share them.
#[derive(Clone)]
pub struct ConfigHandle(Arc<Inner>);

struct Inner {
    plan: ArcSwap<Plan>,
    breaker: CircuitBreakerHandle,
    budgets: Budgets,
    /// The store of stale responses, if the config has one.
    store: ArcSwapOption<Store>,
    /// Whether the stack can refresh stale responses in the background.
    refreshes: bool,
    /// Held during a reload, so that the parts of two configs never mix.
    followers: Mutex<Followers>,
}

/// The services and connections that follow the config.
#[derive(Default)]
struct Followers {
    services: Vec<Weak<Live>>,
    /// The terms of budgets that are shared with others.
    shared: Option<Budget>,
    timeouts: Vec<OnTimeouts>,
}

/// Receives the timeouts of all destinations. Returns whether it wants further updates.
type OnTimeouts = Box<dyn Fn(&[Timeouts]) -> bool + Send>;

impl ConfigHandle {
    /// Stores a checked config, and creates the state that its calls share.
    pub(super) fn new(plan: Plan, refreshes: bool) -> Self {
        let store = plan.config.stale.get_store_bytes();
        let store = store.map(|most| Arc::new(Store::new(most, clock::now())));
        Self(Arc::new(Inner {
            store: ArcSwapOption::new(store),
            refreshes,
            breaker: CircuitBreakerHandle::by(plan.rules()),
            budgets: Budgets::on(plan.budgets(), clock::now()),
            plan: ArcSwap::from_pointee(plan),
            followers: Mutex::default(),
        }))
    }

    /// Returns the config for calls that begin now.
    #[must_use]
    pub fn current(&self) -> Config {
        self.0.plan.load().config.clone()
    }

    /// Replaces the config, for calls that begin from now on: see [above](Self#effects-of-a-reload).
    ///
    /// # Errors
    /// Fails if a layer could not be built with the config, or if a budget has other terms than the shared budgets. The
    /// old config then stays, and no part of the new one is used.
    pub fn reload(&self, config: &Config) -> Result<(), ConfigError> {
        let mut plan = Plan::new(config)?;
        if !self.0.refreshes {
            plan.check_refresh()?;
        }
        let mut followers = self.followers();
        if let Some(shared) = followers.shared {
            plan.check_shared(shared)?;
        }
        plan.follow(&self.0.plan.load());
        self.0.breaker.follow(plan.rules());
        self.0.budgets.follow(plan.budgets(), clock::now());
        self.follow_store(&plan);
        let store = self.0.store.load_full();
        let timeouts = plan.timeouts();
        followers.timeouts.retain(|tell| tell(&timeouts));
        followers.services.retain(|service| {
            let service = service.upgrade();
            service.is_some_and(|service| {
                service.replace(policies(service.base(), &plan, store.as_ref()));
                true
            })
        });
        self.0.plan.store(Arc::new(plan));
        Ok(())
    }

    pub(super) fn breaker(&self) -> CircuitBreakerHandle {
        self.0.breaker.clone()
    }

    pub(super) fn budgets(&self) -> Budgets {
        self.0.budgets.clone()
    }

    /// Creates the policies of a service. They follow the config.
    pub(super) fn service(&self, base: Base) -> Arc<Live> {
        let mut followers = self.followers();
        let store = self.0.store.load_full();
        let table = policies(&base, &self.0.plan.load(), store.as_ref());
        let service = Arc::new(Live::new(base, table));
        followers.services.retain(|other| other.strong_count() > 0);
        followers.services.push(Arc::downgrade(&service));
        service
    }

    /// Sets the bound of the store. A store that stays keeps its responses.
    fn follow_store(&self, plan: &Plan) {
        let before = self.0.store.load_full();
        let now = match (plan.config.stale.get_store_bytes(), before) {
            (None, _) => None,
            (Some(most), None) => Some(Arc::new(Store::new(most, clock::now()))),
            (Some(most), Some(store)) => {
                store.bound(most);
                Some(store)
            }
        };
        self.0.store.store(now);
    }

    /// Uses shared budgets. A config with other terms is refused, now and later.
    pub(super) fn share(&self, budgets: &Budgets) -> Result<(), ConfigError> {
        let mut followers = self.followers();
        self.0.plan.load().check_shared(budgets.terms())?;
        followers.shared = Some(budgets.terms());
        Ok(())
    }

    /// Passes the timeouts of all destinations to `tell`, now and after each reload, until it returns false.
    #[cfg(feature = "client")]
    pub(crate) fn tell_limits(&self, tell: impl Fn(&[Timeouts]) -> bool + Send + 'static) {
        let mut followers = self.followers();
        if tell(&self.0.plan.load().timeouts()) {
            followers.timeouts.push(Box::new(tell));
        }
    }

    /// Returns whether redirects from a URL are followed.
    #[cfg(feature = "client")]
    pub(crate) fn follows(&self, url: &Uri, route: Option<&str>) -> bool {
        let plan = self.0.plan.load();
        plan.find(url, route).config.redirect.get_enabled()
    }

    /// Removes the headers that a redirect from this URL to another origin removes.
    #[cfg(feature = "client")]
    pub(crate) fn prune(&self, (url, route): (&Uri, Option<&str>), headers: &mut HeaderMap) {
        let plan = self.0.plan.load();
        let kept = plan
            .find(url, route)
            .config
            .redirect
            .get_keep_header_cross_origin();
        let leg = NextLeg {
            method: Method::GET,
            uri: url.clone(),
            away: true,
        };
        prune(headers, &leg, true, &HeaderRules { kept, key: None });
    }

    fn followers(&self) -> MutexGuard<'_, Followers> {
        let followers = self.0.followers.lock();
        followers.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the policies of a service under a config.
fn policies(base: &Base, plan: &Plan, store: Option<&Arc<Store>>) -> Table<Arc<Policies>> {
    let rules = plan.load_rules();
    plan.table.map(|row| {
        Arc::new(Policies {
            stale: store.map(|store| stale::Policy::new(Arc::clone(store), &row.config.stale)),
            endpoints: plan.endpoints.clone(),
            ..under(base, row, &rules)
        })
    })
}

fn under(base: &Base, row: &Effective, rules: &LoadRules) -> Policies {
    let Effective {
        config, timeouts, ..
    } = row;
    let (key, hints) = (&base.key, &base.hints);
    let hedge = config.hedge.as_ref().filter(|hedge| hedge.get_enabled());
    let load = (config.load(), rules);
    Policies {
        deadline: Some(Deadline {
            limit: timeouts.deadline(),
            observer: base.observer.clone(),
            maker: base.maker.clone(),
        }),
        fallback: base.fallback.clone(),
        idempotency: Some(Arc::new(config.idempotency.clone())),
        redirect: Some(Arc::new(config.redirect.clone())),
        retry: Some(Arc::new(RetryPolicy {
            config: config.retry.clone(),
            hints: hints.clone(),
            key: key.clone(),
            budgets: base.budgets.clone(),
        })),
        hedge: hedge.map(|hedge| Hedging {
            policy: Arc::new(HedgePolicy::new(hedge.clone(), base.hedges.clone())),
            budgets: base.budgets.clone(),
        }),
        breaker: Some(CircuitBreakers {
            breaker: base.breaker.clone(),
            judge: config.circuit_breaker.judge(timeouts),
            key: key.clone(),
            hints: hints.clone(),
        }),
        attempt: Some(Attempts::new(
            *timeouts,
            config.propagate_deadline,
            base.propagator.clone(),
        )),
        classifier: base.classifier.clone(),
        is_at_wire: base.is_at_wire,
        joins: base.joins,
        ..base.load.policies(load, key.as_ref(), hints)
    }
}

impl fmt::Debug for ConfigHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.0.plan.load();
        f.debug_tuple("ConfigHandle").field(&plan.config).finish()
    }
}
