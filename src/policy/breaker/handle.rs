use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::event::{Change, Observer, Observers};
use super::rules::Rules;
use super::settings::Settings;
use super::shared::Shared;
use super::snapshot::Snapshot;
use super::state::{Position, State};
use super::verdict::Judge;
use super::watch::Watcher;
use crate::clock;
use crate::destination::{Destination, Origin};
use crate::limit::Limits;
#[cfg(feature = "otel")]
use crate::metrics::Look;
use crate::registry::{self, Entry, Registry};
use crate::telemetry::Span;

/// The circuits of a [`BreakerLayer`](crate::BreakerLayer), to look at and to work by hand. Cheap to
/// clone; every clone of the layer shares them.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::BreakerLayer;
/// use sevenhops::policy::breaker::State;
/// use sevenhops::limit::Limits;
///
/// let breaker = BreakerLayer::new(Limits::new(Duration::from_secs(10))?).handle();
/// let api = "https://api.test".parse()?;
/// breaker.isolate(&api); // maintenance: refuse everything
/// assert_eq!(breaker.state(&api), State::Isolated);
/// breaker.close(&api);
/// assert_eq!(breaker.state(&api), State::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Breaker(Arc<Inner>);

struct Inner {
    rules: Rules,
    judge: Judge,
    circuits: Registry<Shared>,
    observe_only: AtomicBool,
    observers: Arc<Observers>,
}

impl Breaker {
    pub(crate) fn new(limits: &Limits, settings: &Settings) -> Self {
        let (rules, judge) = settings.resolve(limits);
        Self(Arc::new(Inner {
            rules,
            judge,
            circuits: Registry::new(clock::now()),
            observe_only: AtomicBool::new(settings.is_observe_only()),
            observers: Arc::default(),
        }))
    }

    /// What the breaker does with a destination now. One that it never heard of is closed.
    ///
    /// An open circuit stays [`State::Open`] after its time until somebody asks.
    #[must_use]
    pub fn state(&self, destination: &Destination) -> State {
        let state = |shared: &Shared| shared.position().state;
        let known = self.0.circuits.peek(destination, state);
        known.unwrap_or(State::Closed)
    }

    /// The destinations that the breaker knows of, and what it does with them, in no order.
    #[must_use]
    pub fn destinations(&self) -> Vec<(Destination, State)> {
        let row = |key: &Destination, shared: &Shared| (key.clone(), shared.position().state);
        self.0.circuits.each(row)
    }

    /// What the breaker knows of a destination now; `None` if it never heard of it.
    #[must_use]
    pub fn snapshot(&self, destination: &Destination) -> Option<Snapshot> {
        let now = clock::now();
        let look = |shared: &Shared| Snapshot::new(shared.position().state, shared.counts(now));
        self.0.circuits.peek(destination, look)
    }

    pub(crate) fn observe(&self, observer: Observer) {
        self.0.observers.add(observer);
    }

    /// Shows what it does with each destination.
    #[cfg(feature = "otel")]
    pub(crate) fn look(&self) -> Look<&'static str> {
        let inner = Arc::downgrade(&self.0);
        Box::new(move || {
            let destinations = Self(inner.upgrade()?).destinations().into_iter();
            let words = destinations.map(|(destination, state)| (destination, state.as_str()));
            Some(words.collect())
        })
    }

    /// Follows the state of a destination.
    #[must_use]
    pub fn watch(&self, destination: &Destination) -> Watcher {
        Watcher::new(self.insist(destination))
    }

    /// Refuses every attempt to a destination until it is closed by hand.
    pub fn isolate(&self, destination: &Destination) {
        let shared = self.insist(destination);
        report(&shared, shared.isolate(), &Span::current());
    }

    /// Closes the circuit of a destination and forgets everything about it: failures, and how often
    /// it has opened. Attempts that are under way have no say any more.
    pub fn close(&self, destination: &Destination) {
        if let Some(shared) = self.0.circuits.find(destination, clock::now()) {
            report(&shared, shared.close(), &Span::current());
        }
    }

    /// Asks an open circuit's destination again at once, by probes: something has changed there, such as its
    /// addresses. Nothing happens to a circuit that is not open.
    pub fn probe_early(&self, destination: &Destination) {
        let now = clock::now();
        if let Some(shared) = self.0.circuits.find(destination, now) {
            report(&shared, shared.half_open_early(now), &Span::current());
        }
    }

    /// Refuses nothing from now on, or refuses again. The circuits go on judging either way.
    pub fn observe_only(&self, observe_only: bool) {
        self.0.observe_only.store(observe_only, Ordering::Relaxed);
    }

    pub(crate) fn is_observe_only(&self) -> bool {
        self.0.observe_only.load(Ordering::Relaxed)
    }

    pub(crate) fn judge(&self) -> Judge {
        self.0.judge
    }

    /// The circuit of an URL's destination.
    pub(super) fn at(&self, origin: &Origin, now: Instant) -> Arc<Shared> {
        let known = self.0.circuits.get(origin, now);
        known.unwrap_or_else(|| self.keep(origin.to_destination(), now))
    }

    /// The circuit of a destination by any name.
    pub(crate) fn of(&self, destination: Destination, now: Instant) -> Arc<Shared> {
        let known = self.0.circuits.find(&destination, now);
        known.unwrap_or_else(|| self.keep(destination, now))
    }

    #[cold]
    fn keep(&self, destination: Destination, now: Instant) -> Arc<Shared> {
        let fresh = self.fresh(destination.clone(), now);
        self.0.circuits.get_or_keep(destination, fresh, now)
    }

    fn fresh(&self, destination: Destination, now: Instant) -> Shared {
        let fresh = Shared::new(self.0.rules.clone(), now);
        let observers = Arc::clone(&self.0.observers);
        fresh.watch.about(destination, observers);
        fresh
    }

    fn insist(&self, destination: &Destination) -> Arc<Shared> {
        let now = clock::now();
        let known = self.0.circuits.find(destination, now);
        known.unwrap_or_else(|| {
            let fresh = self.fresh(destination.clone(), now);
            let circuits = &self.0.circuits;
            circuits.get_or_insist(destination.clone(), fresh, now)
        })
    }
}

/// Reports where a circuit went, if it did.
pub(super) fn report(shared: &Shared, entered: Option<Position>, span: &Span) {
    if let Some(position) = entered {
        shared.watch.report(Change::to(&position), span);
    }
}

impl Entry for Shared {
    /// A circuit that is not closed stays; one that nobody asked since its time was over is idle as
    /// any other.
    fn is_pinned(&self, now: Instant) -> bool {
        self.is_needed(now, registry::IDLE)
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("rules", &self.0.rules)
            .field("observe_only", &self.is_observe_only())
            .finish_non_exhaustive()
    }
}
