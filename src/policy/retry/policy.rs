use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::response::Parts;
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::time::Instant;

use super::bucket::SharedBudget;
use super::formula::{Step, after_hint};
use super::settings::MAX_HINT;
use super::{Failed, Settings};
use crate::call::Call;
use crate::clock;
use crate::destination::{Destination, Origin};
use crate::hint::{Hints, should_retry};
use crate::hop::{Class, Diagnosis, Effect, Kind, NotRepeated, Outcome};
use crate::luck::luck;
#[cfg(feature = "otel")]
use crate::metrics::Look;
use crate::redact::redacted;
use crate::registry::Registry;
use crate::replay::Saved;

/// What the services of one layer share: settings, the user's word, and the budgets.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(super) settings: Settings,
    pub(crate) classify: Option<Arc<Classify>>,
    pub(crate) hints: Hints,
    budgets: Arc<Registry<SharedBudget>>,
}

type Classify = dyn Fn(&Failure<'_>) -> Option<Class> + Send + Sync;

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

impl Policy {
    /// Retries as these settings say.
    pub(crate) fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            classify: None,
            hints: Hints::default(),
            budgets: Arc::new(Registry::new(now)),
        }
    }

    /// Shows what is left of each destination's budget.
    #[cfg(feature = "otel")]
    pub(crate) fn look(&self) -> Look<i64> {
        let budgets = Arc::downgrade(&self.budgets);
        Box::new(move || {
            let now = clock::now();
            let left = |key: &Destination, budget: &SharedBudget| {
                budget.balance(now).map(|left| (key.clone(), left))
            };
            let left = budgets.upgrade()?.each(left);
            Some(left.into_iter().flatten().collect())
        })
    }

    /// The budget of a destination by any name.
    pub(crate) fn budget_of(&self, destination: &Destination, now: Instant) -> Arc<SharedBudget> {
        self.budgets.get(destination, now).unwrap_or_else(|| {
            let fresh = SharedBudget::new(self.settings.budget, now);
            self.budgets.get_or_keep(destination.clone(), fresh, now)
        })
    }

    /// The budget of a request's destination; all relative URIs share one.
    pub(crate) fn budget(&self, uri: &Uri, now: Instant) -> Arc<SharedBudget> {
        let make = || SharedBudget::new(self.settings.budget, now);
        let origin = Origin::of_request(uri);
        self.budgets.get(&origin, now).unwrap_or_else(|| {
            self.budgets
                .get_or_keep(origin.to_destination(), make(), now)
        })
    }

    /// How many attempts a call may make, and why there are no retries, if so.
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

    /// How many attempts of a call may stay unsent.
    pub(crate) fn most_unsent(&self) -> u32 {
        self.settings.unsent_attempts
    }

    pub(crate) fn lists(&self, call: &Call, status: StatusCode) -> bool {
        call.options().lists(&self.settings.statuses, status)
    }

    /// What a response says of when to come back.
    pub(crate) fn hint(&self, head: &Parts) -> Option<Duration> {
        self.hints.read(head.status, &head.headers, clock::wall)
    }

    /// Refuses a hint of the server's that a call of this length does not wait for.
    pub(crate) fn check_hint(&self, hint: Duration, deadline: Duration) -> Result<(), NotRepeated> {
        let most = self.settings.max_hint;
        let most = most.unwrap_or_else(|| MAX_HINT.min(deadline / 2));
        match hint > most {
            true => Err(NotRepeated::HintTooLong { hint, most }),
            false => Ok(()),
        }
    }

    /// How long the next attempt waits: our own back-off, and all of it.
    pub(crate) fn wait(
        &self,
        (kind, hint): (Kind, Option<Duration>),
        (retry, previous): (u32, Option<Duration>),
        (left, deadline): (Duration, Duration),
    ) -> (Duration, Duration) {
        let backoff = &self.settings.backoff;
        let is_throttled = kind == Kind::Throttled && hint.is_none();
        let step = Step {
            retry,
            previous,
            base: backoff.base_within(deadline, is_throttled),
        };
        let own = backoff.wait_within(&step, left, luck);
        let wait = after_hint(own, hint, luck());
        // Luck takes no more than half of what the wait itself leaves.
        let least = own.max(hint.unwrap_or_default());
        let spare = left.saturating_sub(least) / 2;
        let wait = wait.min(least.saturating_add(spare));
        (own, wait)
    }
}

/// What the decision goes by, for a request that was kept.
pub(crate) fn failed<'a, B>(
    call: &Call,
    (saved, policy): (&'a Saved<B>, &Policy),
    (diagnosis, before): (Diagnosis, Effect),
    headers: Option<&HeaderMap>,
) -> Failed<'a> {
    let Saved { method, uri, .. } = saved;
    let named = headers.zip(policy.settings.should_retry_header.as_ref());
    let status = diagnosis.status;
    Failed {
        method: Some(method),
        idempotent: call.is_idempotent(method),
        diagnosis,
        before,
        keyed: call.carries_key(&saved.headers),
        vouched: call.vouches(&saved.headers),
        key_left: call.key_left(&saved.headers),
        replayable: saved.is_replayable(),
        whole_body: call.options().whole_body.is_some(),
        listed: status.is_some_and(|status| policy.lists(call, status)),
        should_retry: named.and_then(|(headers, name)| should_retry(headers, name)),
        class: policy.classify.as_deref().and_then(|classify| {
            classify(&Failure {
                method,
                uri,
                diagnosis,
                headers,
            })
        }),
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
