use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::{Budget, SharedBudget};
use crate::clock;
use crate::config_error::ConfigError;
use crate::destination::{Destination, Hosts, Origin};
use crate::policy::follow_latest;
use crate::registry::Registry;

/// A handle to the budgets of all destinations. It shows them, and shares them between clients. It is cheap to clone,
/// and all clones share the same budgets.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::StandardLayer;
/// use sevenhops::policy::retry::{Budget, Budgets};
///
/// let budgets = Budgets::new(Budget::new().ratio(0.1))?;
/// // Two stacks for one service: together they retry no more than one would.
/// let reads = StandardLayer::new(Duration::from_secs(2))?.share_budgets(&budgets)?;
/// let writes = StandardLayer::new(Duration::from_secs(10))?.share_budgets(&budgets)?;
/// assert_eq!(budgets.left(&"https://api.test".parse()?), None); // no call yet
/// # drop((reads, writes)); Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Budgets(Arc<Inner>);

struct Inner {
    /// The terms of budgets that are created from now on.
    terms: ArcSwap<Hosts<Budget>>,
    known: Registry<SharedBudget>,
}

impl Budgets {
    /// Creates budgets on these terms, one for each destination.
    ///
    /// # Errors
    ///
    /// Fails if the terms are out of range. The error names the field and the value.
    pub fn new(terms: Budget) -> Result<Self, ConfigError> {
        terms.validate()?;
        Ok(Self::on(Hosts::all(terms), clock::now()))
    }

    /// Creates budgets that follow the terms of their host.
    pub(crate) fn on(terms: Hosts<Budget>, now: Instant) -> Self {
        Self(Arc::new(Inner {
            terms: ArcSwap::from_pointee(terms),
            known: Registry::new(now),
        }))
    }

    /// Applies new terms to all budgets, existing and future.
    pub(crate) fn follow(&self, terms: Hosts<Budget>, now: Instant) {
        let terms = Arc::new(terms);
        self.0.terms.store(Arc::clone(&terms));
        let follow = |key: &Destination, budget: &SharedBudget| budget.follow(*terms.of(key), now);
        self.0.known.each(follow);
    }

    /// Returns the terms for destinations that have no terms of their own.
    #[must_use]
    pub fn terms(&self) -> Budget {
        *self.0.terms.load().rest()
    }

    /// Returns how many retries the calls to a destination can afford now. `None` if there was no call to it, or if
    /// the budget is unlimited.
    #[must_use]
    pub fn left(&self, destination: &Destination) -> Option<i64> {
        let now = clock::now();
        let left = |budget: &SharedBudget| budget.balance(now);
        self.0.known.peek(destination, left).flatten()
    }

    /// Returns the destinations with calls so far, and how many retries each can afford, in no order.
    #[must_use]
    pub fn destinations(&self) -> Vec<(Destination, i64)> {
        let now = clock::now();
        let left = |key: &Destination, budget: &SharedBudget| {
            budget.balance(now).map(|left| (key.clone(), left))
        };
        self.0.known.each(left).into_iter().flatten().collect()
    }

    /// Returns the budget of a destination, which may have a custom name.
    pub(super) fn of(&self, destination: &Destination, now: Instant) -> Arc<SharedBudget> {
        let known = &self.0.known;
        known.find(destination, now).unwrap_or_else(|| {
            let terms = self.0.terms.load_full();
            let fresh = SharedBudget::new(*terms.of(destination), now);
            let kept = known.get_or_keep(destination.clone(), fresh, now);
            // Terms that were applied in between did not reach this budget, because it was not registered yet.
            let load = || self.0.terms.load_full();
            follow_latest(terms, load, |latest| {
                kept.follow(*latest.of(destination), now)
            });
            kept
        })
    }

    /// Returns the budget of an origin.
    pub(crate) fn at(&self, origin: &Origin, now: Instant) -> Arc<SharedBudget> {
        let known = self.0.known.get(origin, now);
        known.unwrap_or_else(|| self.of(&origin.to_destination(), now))
    }

    /// Returns a view for metrics: the balance of each destination, while the budgets exist.
    #[cfg(feature = "otel")]
    pub(crate) fn look(&self) -> crate::metrics::Look<i64> {
        crate::metrics::Look::at(&self.0, |known| Self(known).destinations())
    }
}

impl fmt::Debug for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgets")
            .field("terms", &self.terms())
            .finish_non_exhaustive()
    }
}
