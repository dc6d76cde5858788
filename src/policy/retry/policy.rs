use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::response::Parts;
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::time::Instant;

use super::formula::{BackoffStep, after_hint};
use super::{Budgets, FailedAttempt, RetryConfig, SharedBudget, is_transient};
use crate::call::Call;
use crate::clock;
use crate::config_error::ConfigError;
use crate::destination::{Destination, Hosts, Origin};
use crate::hop::{Diagnosis, Effect, FailureClass, Kind, NoRetryReason};
use crate::luck::luck;
use crate::policy::DestinationKey;
use crate::replay::Saved;
use crate::retry_after::{Hints, should_retry};

/// The state that the services of one layer share: the config, the user's functions, and the budgets.
#[derive(Clone)]
pub(crate) struct RetryPolicy {
    pub(crate) config: RetryConfig,
    pub(crate) hints: Hints,
    pub(crate) key: Option<DestinationKey>,
    pub(crate) budgets: Budgets,
}

impl RetryPolicy {
    /// Creates a policy with this config.
    pub(crate) fn new(config: RetryConfig, now: Instant) -> Self {
        Self {
            budgets: Budgets::on(Hosts::all(config.get_budget()), now),
            config,
            hints: Hints::default(),
            key: None,
        }
    }

    /// Uses the given budgets instead of its own.
    pub(crate) fn share(&mut self, budgets: &Budgets) -> Result<(), ConfigError> {
        let own = self.config.get_budget();
        if self.config.has_budget() && own != budgets.terms() {
            let expected = format_args!("the terms of the shared budgets ({:?})", budgets.terms());
            return Err(ConfigError::invalid("retry.budget", own, expected));
        }
        self.budgets = budgets.clone();
        Ok(())
    }

    /// Returns the budget of a destination, which may have a custom name.
    pub(crate) fn budget_of(&self, destination: &Destination, now: Instant) -> Arc<SharedBudget> {
        self.budgets.of(destination, now)
    }

    /// Returns the budget of a request. The user's key names it; otherwise the origin does. All relative URIs share
    /// one budget.
    pub(crate) fn budget(
        &self,
        (method, uri, headers): (&Method, &Uri, &HeaderMap),
        origin: &Origin,
        now: Instant,
    ) -> Arc<SharedBudget> {
        let key = self.key.as_deref();
        // A panic fails the call at the breaker, which uses the same function. Here it counts as no key.
        let named = key.and_then(|key| key(method, uri, headers).ok().flatten());
        match named {
            Some(destination) => self.budgets.of(&destination, now),
            None => self.budgets.at(origin, now),
        }
    }

    /// Returns how many attempts a call may make, and why retries are off, if they are.
    pub(crate) fn most_to(
        &self,
        call: &Call,
        destination: impl FnOnce() -> Option<Destination>,
    ) -> (u32, Option<NoRetryReason>) {
        let options = call.options();
        if options.no_retry {
            return (1, Some(NoRetryReason::Disabled));
        }
        let only = self.config.get_only_for();
        let meant = || destination().is_some_and(|to| only.contains(&to));
        if !only.is_empty() && !meant() {
            return (1, Some(NoRetryReason::OtherDestination));
        }
        (options.most_attempts(self.config.get_attempts()), None)
    }

    /// Returns how many attempts of a call may stay unsent.
    pub(crate) fn most_unsent(&self) -> u32 {
        self.config.get_unsent_attempts()
    }

    pub(crate) fn lists(&self, call: &Call, status: StatusCode) -> bool {
        call.options().lists(self.config.get_statuses(), status)
    }

    /// Returns the hint of a response.
    pub(crate) fn hint(&self, head: &Parts) -> Option<Duration> {
        self.hints.read(head.status, &head.headers, clock::wall)
    }

    /// Refuses a server's hint that is too long for a call of this length.
    pub(crate) fn check_hint(
        &self,
        hint: Duration,
        deadline: Duration,
    ) -> Result<(), NoRetryReason> {
        let most = self.config.get_max_hint(deadline);
        match hint > most {
            true => Err(NoRetryReason::HintTooLong { hint, most }),
            false => Ok(()),
        }
    }

    /// Returns the wait before the next attempt: our own part, and the whole.
    pub(crate) fn wait(
        &self,
        (kind, hint): (Kind, Option<Duration>),
        (retry, previous): (u32, Option<Duration>),
        (left, deadline): (Duration, Duration),
    ) -> (Duration, Duration) {
        let backoff = self.config.get_backoff();
        let is_throttled = kind == Kind::Throttled && hint.is_none();
        let step = BackoffStep {
            retry,
            previous,
            base: backoff.base_within(deadline, is_throttled),
        };
        let own = backoff.wait_within(&step, left, luck);
        let wait = after_hint(own, hint, luck());
        // Jitter on a hint takes at most half of the time that the wait itself leaves.
        let least = own.max(hint.unwrap_or_default());
        let spare = left.saturating_sub(least) / 2;
        let wait = wait.min(least.saturating_add(spare));
        (own, wait)
    }
}

/// Returns the facts for the decision, for a request that was kept.
pub(crate) fn failed<'a, B>(
    call: &Call,
    (saved, policy): (&'a Saved<B>, &RetryPolicy),
    (diagnosis, before): (Diagnosis, Effect),
    (headers, class): (Option<&HeaderMap>, Option<FailureClass>),
) -> FailedAttempt<'a> {
    let Saved { method, .. } = saved;
    let named = headers.zip(policy.config.get_should_retry_header());
    let status = diagnosis.status;
    FailedAttempt {
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
        class: class.and_then(FailureClass::for_retry),
        is_throttled: class == Some(FailureClass::Throttled),
    }
}

/// Returns whether a failure may pass, by this policy or by the default one.
pub(crate) fn may_pass(
    policy: Option<&RetryPolicy>,
    call: &Call,
    failed: &Diagnosis,
    (headers, class): (Option<&HeaderMap>, Option<FailureClass>),
) -> bool {
    let default = RetryConfig::default();
    let config = policy.map_or(&default, |policy| &policy.config);
    let statuses = config.get_statuses();
    let is_listed = |status| call.options().lists(statuses, status);
    let named = headers.zip(config.get_should_retry_header());
    let should_retry = named.and_then(|(headers, name)| should_retry(headers, name));
    let class = class.and_then(FailureClass::for_retry);
    let listed = failed.status.is_some_and(is_listed);
    is_transient(failed, listed, (should_retry, class))
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
