//! The state of hedges: for each destination and route, its response times and its share of hedges.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::HedgeConfig;
use super::config::Trigger;
use super::latencies::Latencies;
use super::share::HedgeShare;
use crate::clock;
use crate::destination::{Destination, Origin};
use crate::registry::{Entry, Registry};

/// The hedges of a driver: their config, and the state of all destinations.
#[derive(Clone)]
pub(crate) struct HedgePolicy {
    pub(crate) config: HedgeConfig,
    states: HedgeStates,
}

/// The state of all destinations. Clones share it.
#[derive(Clone)]
pub(crate) struct HedgeStates(Arc<Registry<HedgeState>>);

/// The state of one destination, or of one route to it.
#[derive(Debug)]
pub(crate) struct HedgeState(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    latencies: Latencies,
    share: HedgeShare,
    /// Until when the destination asks for fewer requests.
    throttled_until: Option<Instant>,
}

impl HedgeStates {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Registry::bounded(MOST_STATES, clock::now())))
    }

    /// Returns the state of an origin, or of one route to it.
    fn of(&self, origin: &Origin, route: Option<&str>, now: Instant) -> Arc<HedgeState> {
        let Some(route) = route else {
            let known = self.0.get(origin, now);
            return known.unwrap_or_else(|| self.keep(origin.to_destination(), now));
        };
        let named = Destination::named(format!("{} {route}", origin.to_destination()));
        let known = self.0.find(&named, now);
        known.unwrap_or_else(|| self.keep(named, now))
    }

    fn keep(&self, named: Destination, now: Instant) -> Arc<HedgeState> {
        self.0.get_or_keep(named, HedgeState::new(), now)
    }
}

impl HedgePolicy {
    pub(crate) fn new(config: HedgeConfig, states: HedgeStates) -> Self {
        Self { config, states }
    }

    /// Returns the state of an origin, or of one route to it.
    pub(crate) fn state(
        &self,
        origin: &Origin,
        route: Option<&str>,
        now: Instant,
    ) -> Arc<HedgeState> {
        self.states.of(origin, route, now)
    }

    /// Begins a call. Returns how long its first attempt may take before a hedge follows, if one may follow at all.
    pub(crate) fn begin(&self, state: &HedgeState) -> Option<Duration> {
        match self.config.trigger() {
            Trigger::Delay(delay) => Some(delay),
            Trigger::Quantile(quantile) => {
                let mut counts = state.counts();
                counts.share.deposit();
                counts.latencies.quantile(quantile)
            }
        }
    }

    /// Takes one hedge from the share of the calls. Returns false if the share is spent. With a fixed delay, only the
    /// budget bounds hedges.
    pub(crate) fn withdraw(&self, state: &HedgeState) -> bool {
        match self.config.trigger() {
            Trigger::Delay(_) => true,
            Trigger::Quantile(_) => state.counts().share.withdraw(),
        }
    }

    /// Returns a hedge that was not sent to the share.
    pub(crate) fn give_back(&self, state: &HedgeState) {
        if let Trigger::Quantile(_) = self.config.trigger() {
            state.counts().share.give_back();
        }
    }

    /// Records how long an attempt took until its response, or until it lost to another one.
    pub(crate) fn record(&self, state: &HedgeState, took: Duration) {
        if let Trigger::Quantile(_) = self.config.trigger() {
            state.counts().latencies.record(took);
        }
    }
}

impl HedgeState {
    fn new() -> Self {
        Self(Mutex::new(Counts {
            latencies: Latencies::new(),
            share: HedgeShare::default(),
            throttled_until: None,
        }))
    }

    /// Records that the destination asks for fewer requests, until this instant.
    pub(crate) fn throttle(&self, until: Instant) {
        let mut counts = self.counts();
        counts.throttled_until = counts.throttled_until.max(Some(until));
    }

    /// Returns whether the destination asks for fewer requests now.
    pub(crate) fn is_throttled(&self, now: Instant) -> bool {
        self.counts()
            .throttled_until
            .is_some_and(|until| now < until)
    }

    /// A panic under the lock leaves counts that are wrong by at most one entry, which is acceptable.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Never pinned: response times of minutes ago say little.
impl Entry for HedgeState {}

impl fmt::Debug for HedgePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgePolicy")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for HedgeStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeStates").finish_non_exhaustive()
    }
}

/// A state takes about 1 KB. One that is forgotten is learned again within 20 calls.
const MOST_STATES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MILLIS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn quantile_hedges_one_call_in_twenty_of_each_destination_and_route() {
        let policy = HedgePolicy::new(HedgeConfig::new(), HedgeStates::new());
        let now = clock::now();
        let origin = Origin::of_request(&http::Uri::from_static("https://api.test/"));
        let state = policy.state(&origin, None, now);
        for _ in 0..20 {
            assert_eq!(policy.begin(&state), None);
            policy.record(&state, MILLIS(5));
        }
        assert!(policy.begin(&state).is_some_and(|delay| delay < MILLIS(6)));
        assert!(policy.withdraw(&state));
        assert!(!policy.withdraw(&state));
        policy.give_back(&state);
        assert!(policy.withdraw(&state));
        let again = policy.state(&origin, None, now);
        assert!(Arc::ptr_eq(&state, &again));
        let route = policy.state(&origin, Some("/v1/{id}"), now);
        assert_eq!(policy.begin(&route), None);
        assert!(Arc::ptr_eq(
            &route,
            &policy.state(&origin, Some("/v1/{id}"), now)
        ));
    }

    #[test]
    fn fixed_delay_needs_no_calls_before_it() {
        let policy = HedgePolicy::new(HedgeConfig::new().delay(MILLIS(10)), HedgeStates::new());
        let origin = Origin::of_request(&http::Uri::from_static("https://api.test/"));
        let state = policy.state(&origin, None, clock::now());
        assert_eq!(policy.begin(&state), Some(MILLIS(10)));
        assert!((0..100).all(|_| policy.withdraw(&state)));
    }

    #[test]
    fn destination_is_throttled_until_the_latest_instant() {
        let (state, now) = (HedgeState::new(), clock::now());
        assert!(!state.is_throttled(now));
        state.throttle(now + MILLIS(20));
        state.throttle(now + MILLIS(10));
        assert!(state.is_throttled(now + MILLIS(19)));
        assert!(!state.is_throttled(now + MILLIS(20)));
    }
}
