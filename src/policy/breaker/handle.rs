use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::rules::Rules;
use super::settings::Settings;
use super::shared::Shared;
use super::state::State;
use super::verdict::Judge;
use super::watch::Watcher;
use crate::clock;
use crate::destination::{Destination, Origin};
use crate::limit::Limits;
#[cfg(feature = "otel")]
use crate::metrics::Look;
use crate::registry::{self, Entry, Registry};

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
}

impl Breaker {
    pub(crate) fn new(limits: &Limits, settings: &Settings) -> Self {
        let (rules, judge) = settings.resolve(limits);
        Self(Arc::new(Inner {
            rules,
            judge,
            circuits: Registry::new(clock::now()),
            observe_only: AtomicBool::new(settings.is_observe_only()),
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
        self.insist(destination).isolate();
    }

    /// Closes the circuit of a destination and forgets everything about it: failures, and how often
    /// it has opened. Attempts that are under way have no say any more.
    pub fn close(&self, destination: &Destination) {
        if let Some(shared) = self.0.circuits.find(destination, clock::now()) {
            shared.close();
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
        let fresh = Shared::new(self.0.rules, now);
        self.0.circuits.get_or_keep(destination, fresh, now)
    }

    fn insist(&self, destination: &Destination) -> Arc<Shared> {
        let now = clock::now();
        let known = self.0.circuits.find(destination, now);
        known.unwrap_or_else(|| {
            let fresh = Shared::new(self.0.rules, now);
            let circuits = &self.0.circuits;
            circuits.get_or_insist(destination.clone(), fresh, now)
        })
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
