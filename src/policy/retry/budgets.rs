use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Budget, SharedBudget};
use crate::clock;
use crate::config_error::SettingError;
use crate::destination::{Destination, Origin};
use crate::registry::Registry;

/// The budgets of all destinations, to look at and to share between clients. Cheap to clone; clones are the same
/// budgets.
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
pub struct Budgets {
    terms: Budget,
    known: Arc<Registry<SharedBudget>>,
}

impl Budgets {
    /// Creates budgets on these terms, one for each destination.
    ///
    /// # Errors
    ///
    /// Fails if the terms are out of range, naming field and value.
    pub fn new(terms: Budget) -> Result<Self, SettingError> {
        terms.validate()?;
        Ok(Self::on(terms, clock::now()))
    }

    pub(super) fn on(terms: Budget, now: Instant) -> Self {
        Self {
            terms,
            known: Arc::new(Registry::new(now)),
        }
    }

    /// Returns the terms.
    #[must_use]
    pub const fn terms(&self) -> Budget {
        self.terms
    }

    /// Returns how many retries the calls to a destination can afford now; `None` if no call went there, or if
    /// the budget is unlimited.
    #[must_use]
    pub fn left(&self, destination: &Destination) -> Option<i64> {
        let now = clock::now();
        let left = |budget: &SharedBudget| budget.balance(now);
        self.known.peek(destination, left).flatten()
    }

    /// Returns the destinations that calls went to, and how many retries each can afford, in no order.
    #[must_use]
    pub fn destinations(&self) -> Vec<(Destination, i64)> {
        let now = clock::now();
        let left = |key: &Destination, budget: &SharedBudget| {
            budget.balance(now).map(|left| (key.clone(), left))
        };
        self.known.each(left).into_iter().flatten().collect()
    }

    /// The budget of a destination by any name.
    pub(super) fn of(&self, destination: &Destination, now: Instant) -> Arc<SharedBudget> {
        self.known.find(destination, now).unwrap_or_else(|| {
            let fresh = SharedBudget::new(self.terms, now);
            self.known.get_or_keep(destination.clone(), fresh, now)
        })
    }

    /// The budget of an origin.
    pub(super) fn at(&self, origin: &Origin, now: Instant) -> Arc<SharedBudget> {
        let known = self.known.get(origin, now);
        known.unwrap_or_else(|| self.of(&origin.to_destination(), now))
    }

    /// Shows what is left of each, as long as there are any.
    #[cfg(feature = "otel")]
    pub(super) fn look(&self) -> crate::metrics::Look<i64> {
        let (terms, known) = (self.terms, Arc::downgrade(&self.known));
        Box::new(move || {
            let known = known.upgrade()?;
            Some(Self { terms, known }.destinations())
        })
    }
}

impl fmt::Debug for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgets")
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}
