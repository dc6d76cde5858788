//! The policies of a driver, outermost first: their order, and the reason for each place.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::call::Observer;
use crate::clock;
#[cfg(feature = "otel")]
use crate::metrics::Gauges;
use crate::policy::endpoints::Endpoints;
use crate::policy::idempotency::IdempotencyConfig;
use crate::policy::redirect::RedirectConfig;
use crate::policy::{
    Classifier, breaker, concurrency, fallback, hedge, rate_limit, retry, stale, throttle,
};
use crate::retry_after::Hints;
use crate::telemetry::{Maker, Propagator};
use crate::timeout::{LONGEST, Timeouts};

/// The policies of a driver. Each policy is on or off; a public layer is a driver with one of them.
#[derive(Clone, Default)]
pub(crate) struct Policies {
    /// Around everything: the deadline spans all attempts, the waits between them, and the body.
    pub(crate) deadline: Option<Deadline>,
    /// Around all that sends. A default is further from the truth than the last good response, so that one goes first.
    pub(crate) fallback: Option<fallback::Policy>,
    /// Around all that sends: the last good response stands in for any failure, also for a passed deadline.
    pub(crate) stale: Option<stale::Policy>,
    /// Over the key: an attempt at another endpoint carries the same one.
    pub(crate) endpoints: Option<Arc<Endpoints>>,
    /// Over the legs: each attempt, and each leg to the same origin, carries the same key.
    pub(crate) idempotency: Option<Arc<IdempotencyConfig>>,
    /// Over the retry: each leg is a request of its own, with its own destination and budget.
    pub(crate) redirect: Option<Arc<RedirectConfig>>,
    /// Over the attempts: from here down, a request may be sent more than once.
    pub(crate) retry: Option<Arc<retry::RetryPolicy>>,
    /// Beside the retry: it sends an attempt before the one in flight has ended, out of the same budget.
    pub(crate) hedge: Option<Hedging>,
    /// Under the retry: it counts each attempt. Over the breaker: an attempt that it rejects says nothing about the
    /// destination.
    pub(crate) throttle: Option<throttle::Policy>,
    /// Under the retry: it judges each attempt, and a rejection costs no time.
    pub(crate) breaker: Option<breaker::CircuitBreakers>,
    /// Under the breaker: a call that an open circuit rejects does not wait in the queue.
    pub(crate) concurrency: Option<concurrency::Policy>,
    /// Under the concurrency limit: a slot is not lost in a queue.
    pub(crate) rate_limit: Option<rate_limit::Policy>,
    /// Next to the wire: its timeouts and its record are those of one attempt.
    pub(crate) attempt: Option<Attempts>,
    /// The user's classifier of attempts, for retry and breaker alike.
    pub(crate) classifier: Option<Classifier>,
    /// Whether the inner service is the wire. Then there are no inner layers of this crate that have to find the call.
    pub(crate) is_at_wire: bool,
    /// Whether this driver continues a call that it finds. The driver that began the call enforces the deadline.
    pub(crate) joins: bool,
    /// Whether the attempts are those of a driver of the same client below.
    pub(crate) leaves_attempts: bool,
}

/// The deadline of a whole call, and the observer of its end.
#[derive(Clone)]
pub(crate) struct Deadline {
    pub(crate) limit: Duration,
    pub(crate) observer: Option<Observer>,
    pub(crate) maker: Maker,
}

/// The hedges of calls, and the budgets that they use if the driver has no retries.
#[derive(Clone)]
pub(crate) struct Hedging {
    pub(crate) policy: Arc<hedge::HedgePolicy>,
    pub(crate) budgets: retry::Budgets,
}

/// The timeouts of attempts, and the propagator of their context.
#[derive(Clone)]
pub(crate) struct Attempts {
    /// The timeouts of a first attempt that another one may follow.
    pub(crate) timeouts: Arc<Timeouts>,
    /// The timeouts of a first attempt that is also the last one.
    pub(crate) alone: Arc<Timeouts>,
    /// If a call uses less than this before its first attempt, the precomputed timeouts are used.
    usual: Duration,
    pub(crate) propagate_deadline: bool,
    pub(crate) propagator: Option<Arc<dyn Propagator>>,
}

impl Attempts {
    /// Creates the policy of attempts with these timeouts.
    pub(crate) fn new(
        timeouts: Timeouts,
        propagate_deadline: bool,
        propagator: Option<Arc<dyn Propagator>>,
    ) -> Self {
        let deadline = timeouts.deadline();
        Self {
            timeouts: Arc::new(timeouts),
            alone: Arc::new(timeouts.for_attempt((deadline, deadline), false)),
            usual: deadline / FIRST,
            propagate_deadline,
            propagator,
        }
    }

    /// Returns the timeouts of an attempt with this much time left of the whole. Those of a first attempt are precomputed
    /// for the deadline of the config.
    pub(super) fn timeouts(
        &self,
        (left, whole): (Duration, Duration),
        may_follow: bool,
    ) -> Arc<Timeouts> {
        let deadline = self.timeouts.deadline();
        let is_usual = |time: Duration| time.abs_diff(deadline) <= self.usual;
        let is_first = is_usual(whole) && (left == whole || is_usual(left));
        match (is_first, may_follow) {
            (true, true) => Arc::clone(&self.timeouts),
            (true, false) => Arc::clone(&self.alone),
            (false, _) => Arc::new(self.timeouts.for_attempt((left, whole), may_follow)),
        }
    }
}

/// The precomputed timeouts are used if a call has used less than a thousandth of its time.
const FIRST: u32 = 1_000;

impl Policies {
    /// Returns how long a call may last that this driver begins without a deadline policy.
    pub(super) fn longest(&self) -> Duration {
        self.attempt
            .as_ref()
            .map_or(LONGEST, |attempt| attempt.timeouts.attempt())
    }

    /// Returns the deadline alone. The other policies are those of a driver below.
    #[cfg(feature = "client")]
    pub(super) fn deadline_alone(&self) -> Self {
        Self {
            deadline: self.deadline.clone(),
            leaves_attempts: true,
            ..Self::default()
        }
    }

    /// Returns the wait that the server asks for, by the user's function or the table.
    pub(super) fn hint(&self, status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
        let by_table = Hints::default();
        let retry = self.retry.as_deref();
        let hints = retry.map_or(&by_table, |retry| &retry.hints);
        hints.read(status, headers, clock::wall)
    }

    /// Returns the user's classifier, if there is one.
    pub(super) fn classifier(&self) -> Option<&Classifier> {
        self.classifier.as_ref()
    }

    /// Shows the limits and the windows of the policies that bound the load of destinations.
    #[cfg(feature = "otel")]
    pub(crate) fn watch_load(&self, gauges: &Gauges) {
        if let Some(concurrency) = &self.concurrency {
            gauges.limits.watch(concurrency.limits.look());
        }
        if let Some(throttle) = &self.throttle {
            gauges.throttles.watch(throttle.throttle.look());
        }
    }

    /// Returns whether a policy bounds the load of destinations.
    pub(crate) fn bounds_load(&self) -> bool {
        self.throttle.is_some() || self.concurrency.is_some() || self.rate_limit.is_some()
    }

    /// Returns whether inner layers have to find the call of this driver. A breaker or a throttle alone does not share
    /// its call.
    pub(super) fn shares_call(&self) -> bool {
        let is_wanted = self.deadline.is_some()
            || self.fallback.is_some()
            || self.stale.is_some()
            || self.idempotency.is_some()
            || self.redirect.is_some()
            || self.retry.is_some()
            || self.hedge.is_some()
            // A wait is part of the call.
            || self.concurrency.is_some()
            || self.rate_limit.is_some()
            || self.attempt.is_some();
        is_wanted && !self.is_at_wire
    }
}
