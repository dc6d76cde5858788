use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::time::Instant;

use super::Settings;
use super::backoff::after_hint;
use super::bucket::SharedBudget;
use crate::call::{Call, redacted};
#[cfg(feature = "otel")]
use crate::clock;
use crate::destination::{Destination, Origin};
use crate::hop::{Class, Diagnosis, Kind, NotRepeated, Outcome};
use crate::registry::Registry;
#[cfg(feature = "otel")]
use crate::telemetry::otel::Look;

/// What the services of one layer share: settings, the user's word, and the budgets.
pub(crate) struct Policy {
    pub(super) settings: Settings,
    pub(super) classify: Option<Arc<Classify>>,
    pub(super) budgets: Arc<Registry<SharedBudget>>,
}

pub(super) type Classify = dyn Fn(&Failure<'_>) -> Option<Class> + Send + Sync;

/// A failed attempt, as a classifier sees it.
pub struct Failure<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) diagnosis: Diagnosis,
    pub(super) headers: Option<&'a HeaderMap>,
}

impl Failure<'_> {
    /// The request's method.
    #[must_use]
    pub fn method(&self) -> &Method {
        self.method
    }

    /// The request's URL, whole: it may hold secrets.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        self.uri
    }

    /// How the attempt ended: hop, kind, effect, status.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.diagnosis.into()
    }

    /// The headers of the answer, if there was one.
    #[must_use]
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.headers
    }
}

/// Shows what is left of each destination's budget, while somebody has it.
#[cfg(feature = "otel")]
pub(super) fn look(budgets: &Arc<Registry<SharedBudget>>) -> Look<i64> {
    let budgets = Arc::downgrade(budgets);
    Box::new(move || {
        let now = clock::now();
        let left = |key: &Destination, budget: &SharedBudget| {
            budget.balance(now).map(|left| (key.clone(), left))
        };
        let left = budgets.upgrade()?.each(left);
        Some(left.into_iter().flatten().collect())
    })
}

impl Policy {
    /// What the operations to some destinations share.
    pub(crate) fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            classify: None,
            budgets: Arc::new(Registry::new(now)),
        }
    }

    /// Shows what is left of each destination's budget.
    #[cfg(feature = "otel")]
    pub(crate) fn look(&self) -> Look<i64> {
        look(&self.budgets)
    }

    /// The budget of a destination by any name.
    pub(crate) fn budget_of(&self, destination: &Destination, now: Instant) -> Arc<SharedBudget> {
        self.budgets.get(destination, now).unwrap_or_else(|| {
            let fresh = SharedBudget::new(self.settings.budget, now);
            self.budgets.get_or_keep(destination.clone(), fresh, now)
        })
    }

    /// The budget of a request's destination; a request without one has a budget nobody shares.
    pub(super) fn budget(&self, uri: &Uri, now: Instant) -> Arc<SharedBudget> {
        let make = || SharedBudget::new(self.settings.budget, now);
        let Some(origin) = Origin::of(uri) else {
            return Arc::new(make());
        };
        self.budgets.get(&origin, now).unwrap_or_else(|| {
            self.budgets
                .get_or_keep(origin.to_destination(), make(), now)
        })
    }

    /// How many attempts a call may make, and why there are no repeats, if so.
    pub(super) fn most(&self, call: &Call, uri: &Uri) -> (u32, Option<NotRepeated>) {
        self.most_to(call, || Destination::of(uri))
    }

    pub(crate) fn most_to(
        &self,
        call: &Call,
        destination: impl FnOnce() -> Option<Destination>,
    ) -> (u32, Option<NotRepeated>) {
        let options = call.options();
        if options.no_retry {
            return (1, Some(NotRepeated::SwitchedOff));
        }
        let only = &self.settings.only;
        let meant = || destination().is_some_and(|to| only.contains(&to));
        if !only.is_empty() && !meant() {
            return (1, Some(NotRepeated::OtherDestination));
        }
        (options.most_attempts(self.settings.attempts), None)
    }

    pub(crate) fn lists(&self, call: &Call, status: StatusCode) -> bool {
        call.options().lists(&self.settings.statuses, status)
    }

    /// How long the next attempt waits: our own back-off, and all of it.
    pub(crate) fn wait(
        &self,
        (kind, hint): (Kind, Option<Duration>),
        (repeat, previous): (u32, Option<Duration>),
        left: Duration,
    ) -> (Duration, Duration) {
        let mut backoff = self.settings.backoff;
        if kind == Kind::Throttled && hint.is_none() {
            backoff = backoff.throttled();
        }
        let own = backoff.wait(repeat, previous, fastrand::f64());
        let wait = after_hint(own, hint, fastrand::f64());
        // Luck takes no more than half of what the wait itself leaves.
        let least = own.max(hint.unwrap_or_default());
        let spare = left.saturating_sub(least) / 2;
        let wait = wait.min(least.saturating_add(spare));
        (own, wait)
    }
}

impl fmt::Debug for Failure<'_> {
    /// Without headers, query and userinfo: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("method", &self.method)
            .field("url", &redacted(self.uri))
            .field("outcome", &self.outcome())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
