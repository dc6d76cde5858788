use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::config::CircuitBreakerConfig;
use super::event::{Change, EventObserver, Observers};
use super::rules::{CircuitRules, SharedRules};
use super::shared::SharedCircuit;
use super::snapshot::CircuitSnapshot;
use super::state::{CircuitState, Position};
use super::verdict::Judge;
use super::watch::CircuitWatcher;
use crate::clock;
use crate::destination::{Destination, Hosts, Origin};
#[cfg(feature = "otel")]
use crate::metrics::{Look, Metrics};
use crate::policy::follow_latest;
use crate::registry::{self, Entry, Registry};
use crate::telemetry::Span;
use crate::timeout::Timeouts;

/// A handle to the circuits of a [`CircuitBreakerLayer`](crate::CircuitBreakerLayer). It shows their state and
/// controls them by hand. It is cheap to clone. Every clone of the layer shares the circuits.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{policy::breaker::CircuitState, CircuitBreakerLayer, Timeouts};
///
/// let breaker = CircuitBreakerLayer::new(Timeouts::new(Duration::from_secs(10))?).breaker_handle();
/// let api = "https://api.test".parse()?;
/// breaker.isolate(&api); // maintenance: refuse everything
/// assert_eq!(breaker.state(&api), CircuitState::Isolated);
/// breaker.close(&api);
/// assert_eq!(breaker.state(&api), CircuitState::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct CircuitBreakerHandle(Arc<HandleInner>);

struct HandleInner {
    /// The rules of circuits that are created from now on.
    rules: ArcSwap<Hosts<SharedRules>>,
    circuits: Registry<SharedCircuit>,
    /// The latest value of [`CircuitBreakerHandle::observe_only`]. Until it is called, the config decides.
    observe_override: AtomicU8,
    observers: Arc<Observers>,
}

impl CircuitBreakerHandle {
    /// Creates circuits that all follow the same rules.
    pub(crate) fn new(timeouts: &Timeouts, config: &CircuitBreakerConfig) -> Self {
        Self::by(Hosts::all(config.rules(timeouts)))
    }

    /// Creates circuits that follow the rules of their host.
    pub(crate) fn by(rules: Hosts<CircuitRules>) -> Self {
        Self(Arc::new(HandleInner {
            rules: ArcSwap::from_pointee(shared(&rules)),
            circuits: Registry::new(clock::now()),
            observe_override: AtomicU8::new(NOTHING),
            observers: Arc::default(),
        }))
    }

    /// Applies new rules to all circuits, existing and future.
    pub(crate) fn follow(&self, rules: Hosts<CircuitRules>) {
        let now = clock::now();
        let rules = Arc::new(shared(&rules));
        self.0.rules.store(Arc::clone(&rules));
        let follow = |key: &Destination, shared: &SharedCircuit| shared.follow(rules.of(key), now);
        self.0.circuits.each(follow);
    }

    /// Returns the state of a destination's circuit. An unknown destination is closed.
    ///
    /// An open circuit stays [`CircuitState::Open`] after its open time, until the next request.
    #[must_use]
    pub fn state(&self, destination: &Destination) -> CircuitState {
        let state = |shared: &SharedCircuit| shared.position().state;
        let known = self.0.circuits.peek(destination, state);
        known.unwrap_or(CircuitState::Closed)
    }

    /// Returns the destinations that the breaker knows, with their states, in no order.
    #[must_use]
    pub fn destinations(&self) -> Vec<(Destination, CircuitState)> {
        let row =
            |key: &Destination, shared: &SharedCircuit| (key.clone(), shared.position().state);
        self.0.circuits.each(row)
    }

    /// Returns the state and the window of a destination; `None` if the breaker does not know it.
    #[must_use]
    pub fn snapshot(&self, destination: &Destination) -> Option<CircuitSnapshot> {
        let now = clock::now();
        let look = |shared: &SharedCircuit| {
            CircuitSnapshot::new(shared.position().state, shared.counts(now))
        };
        self.0.circuits.peek(destination, look)
    }

    pub(crate) fn observe(&self, observer: EventObserver) {
        self.0.observers.add(observer);
    }

    /// Shows the state of each destination in these metrics, and counts the events there.
    #[cfg(feature = "otel")]
    pub(crate) fn report_to(&self, metrics: &Metrics) {
        let look = Look::at(&self.0, |inner| {
            let destinations = Self(inner).destinations().into_iter();
            let words = destinations.map(|(destination, state)| (destination, state.as_str()));
            words.collect()
        });
        metrics.gauges().circuits.watch(look);
        self.0.observers.count_in(metrics);
    }

    /// Returns a watcher of the state of a destination's circuit.
    #[must_use]
    pub fn watch(&self, destination: &Destination) -> CircuitWatcher {
        CircuitWatcher::new(self.insist(destination))
    }

    /// Rejects every attempt to a destination until [`close`](Self::close) is called.
    pub fn isolate(&self, destination: &Destination) {
        let shared = self.insist(destination);
        report(&shared, shared.isolate(), &Span::current());
    }

    /// Closes the circuit of a destination and clears its history: its failures, and the number of its openings.
    /// Attempts in flight no longer count.
    pub fn close(&self, destination: &Destination) {
        if let Some(shared) = self.0.circuits.find(destination, clock::now()) {
            report(&shared, shared.close(), &Span::current());
        }
    }

    /// Makes an open circuit half-open at once, so that it sends probes. Use it when something has changed at the
    /// destination, such as its addresses. A circuit that is not open does not change.
    pub fn probe_early(&self, destination: &Destination) {
        let now = clock::now();
        if let Some(shared) = self.0.circuits.find(destination, now) {
            report(&shared, shared.half_open_early(now), &Span::current());
        }
    }

    /// Sets whether the breaker only observes, or rejects attempts, whatever the config says. The circuits judge
    /// attempts in both cases.
    pub fn observe_only(&self, observe_only: bool) {
        let observe_override = if observe_only { OBSERVE } else { REJECT };
        self.0
            .observe_override
            .store(observe_override, Ordering::Relaxed);
    }

    pub(super) fn is_observe_only(&self, judge: &Judge) -> bool {
        match self.0.observe_override.load(Ordering::Relaxed) {
            OBSERVE => true,
            REJECT => false,
            _ => judge.observe_only,
        }
    }

    /// Returns the circuit of a URL's destination.
    pub(super) fn at(&self, origin: &Origin, now: Instant) -> Arc<SharedCircuit> {
        let known = self.0.circuits.get(origin, now);
        known.unwrap_or_else(|| self.keep(origin.to_destination(), now))
    }

    /// Returns the circuit of a destination, which may have a custom name.
    pub(crate) fn of(&self, destination: Destination, now: Instant) -> Arc<SharedCircuit> {
        let known = self.0.circuits.find(&destination, now);
        known.unwrap_or_else(|| self.keep(destination, now))
    }

    #[cold]
    fn keep(&self, destination: Destination, now: Instant) -> Arc<SharedCircuit> {
        self.begin(&destination, now, |fresh| {
            (self.0.circuits).get_or_keep(destination.clone(), fresh, now)
        })
    }

    /// Creates a circuit and registers it.
    fn begin(
        &self,
        destination: &Destination,
        now: Instant,
        keep: impl FnOnce(SharedCircuit) -> Arc<SharedCircuit>,
    ) -> Arc<SharedCircuit> {
        let rules = self.0.rules.load_full();
        let fresh = SharedCircuit::new(Arc::clone(rules.of(destination)), now);
        let observers = Arc::clone(&self.0.observers);
        fresh.watch.about(destination.clone(), observers);
        let kept = keep(fresh);
        // Rules that were applied in between did not reach this circuit, because it was not registered yet.
        let load = || self.0.rules.load_full();
        follow_latest(rules, load, |latest| {
            kept.follow(latest.of(destination), now)
        });
        kept
    }

    fn insist(&self, destination: &Destination) -> Arc<SharedCircuit> {
        let now = clock::now();
        let known = self.0.circuits.find(destination, now);
        known.unwrap_or_else(|| {
            self.begin(destination, now, |fresh| {
                (self.0.circuits).get_or_insist(destination.clone(), fresh, now)
            })
        })
    }
}

/// Lets the circuits of a host share its rules.
fn shared(rules: &Hosts<CircuitRules>) -> Hosts<SharedRules> {
    rules.map(|rules| Arc::new(rules.clone()))
}

/// Values of `observe_override`.
const NOTHING: u8 = 0;
const OBSERVE: u8 = 1;
const REJECT: u8 = 2;

/// Reports the new position of a circuit, if there is one.
pub(super) fn report(shared: &SharedCircuit, entered: Option<Position>, span: &Span) {
    if let Some(position) = entered {
        shared.watch.report(Change::to(&position), span);
    }
}

impl Entry for SharedCircuit {
    /// A circuit that is not closed is kept. One without a request since its open time ended counts as idle.
    fn is_pinned(&self, now: Instant) -> bool {
        self.is_needed(now, registry::IDLE)
    }
}

impl fmt::Debug for CircuitBreakerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerHandle")
            .field("rules", self.0.rules.load().rest())
            .finish_non_exhaustive()
    }
}
