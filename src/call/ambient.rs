//! How a call of this crate finds the operation around it if the SDK between them passes nothing on: by the task that
//! polls it.
//!
//! The call takes over the time left, whether another driver already retries, and the timeline to be recorded in. These
//! can only shorten the call or reduce its attempts; they never change which call it is. The idempotency key is not
//! taken over: an operation may make several calls, and only the closure knows which one the key belongs to.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use tokio::task::futures::TaskLocalFuture;
use tokio::time::Instant;

use super::log::{NestedCalls, Rest};
use super::{Call, CallTarget};
use crate::hop::Diagnosis;
use crate::options::Relation;
#[cfg(feature = "client")]
use crate::record::tracker;
use crate::record::tracker::Tracker;

tokio::task_local! {
    static AROUND: AmbientOperation;
}

/// The attempt of an operation that is being polled in this task.
#[derive(Clone, Debug)]
pub(crate) struct AmbientOperation {
    pub(crate) call: Call,
    pub(crate) attempt: Arc<Tracker>,
    /// When the attempt must be over.
    pub(crate) ends: Instant,
}

impl AmbientOperation {
    pub(super) fn current() -> Option<Self> {
        AROUND.try_with(Self::clone).ok()
    }

    /// Reports the calls that `future` makes to this attempt.
    pub(crate) fn scope<F: Future>(self, future: F) -> TaskLocalFuture<Self, F> {
        AROUND.scope(self, future)
    }

    /// Records a call that begins in the attempt.
    pub(super) fn record_call(&self, call: &Call) {
        self.call.inside(&self.attempt, |inside| {
            if inside.calls.len() < MOST_CALLS {
                inside.calls.push(call.clone());
            }
        });
    }
}

/// Returns the attempt of one request that is being polled in this task. An operation's attempt is not returned,
/// because it may make many requests. If one of them was given up or taken, that says nothing about the next one.
#[cfg(feature = "client")]
pub(crate) fn attempt_of_request() -> Option<Arc<Tracker>> {
    let is_operations =
        |tracker: &Arc<Tracker>| AROUND.try_with(|around| Arc::ptr_eq(&around.attempt, tracker));
    tracker::current().filter(|tracker| !is_operations(tracker).unwrap_or(false))
}

/// Records a request that is sent inside an operation, but not inside a call of this crate.
#[cfg(feature = "client")]
pub(crate) fn record_request_alone(method: &Method, tracker: &Arc<Tracker>) {
    if method.is_safe() {
        return;
    }
    let _ = AROUND.try_with(|around| {
        around.call.inside(&around.attempt, |inside| {
            if inside.alone.len() < MOST_CALLS {
                inside.alone.push(Arc::clone(tracker));
            }
        });
    });
}

impl Call {
    /// The route that a request inherits from the call that it carries.
    pub(crate) fn route_around<B>(request: &Request<B>) -> Option<Arc<str>> {
        let outer = request.extensions().get::<Self>()?;
        let route = outer.options().route.as_ref()?;
        let asked = CallTarget::Request {
            method: request.method().clone(),
            uri: request.uri().clone(),
        };
        (outer.relation_to(&asked) == Relation::Same).then(|| Arc::clone(route))
    }

    /// Returns how a call below, or inside this one, is related to it.
    pub(super) fn relation_to(&self, asked: &CallTarget) -> Relation {
        let own = self.asked();
        if own.method().is_none() || asked.method().is_none() {
            Relation::Operation
        } else if self.is_led_away() {
            Relation::LedAway
        } else if (own.method(), own.uri()) == (asked.method(), asked.uri()) {
            Relation::Same
        } else {
            Relation::Rewritten
        }
    }

    /// Records that an inner stack continues this call's request.
    pub(super) fn goes_on_in(&self, inner: &Self) {
        let mut rest = self.rest();
        if rest.inner.len() < MOST_CALLS {
            rest.inner.push(inner.clone());
        }
    }

    /// Returns whether the other call continues this call's request, at any depth.
    pub(super) fn leads_to(&self, other: &Self) -> bool {
        let inner = self.inner();
        let is_all = inner.len() < MOST_CALLS;
        let leads = |call: &Self| call.is(other) || call.leads_to(other);
        is_all && inner.iter().any(leads)
    }

    /// Returns whether a redirect led this call, or a call that continues its request, to an origin that must not get
    /// the key.
    pub(crate) fn leads_away(&self) -> bool {
        self.is_led_away() || {
            let inner = self.inner();
            inner.iter().any(Self::leads_away)
        }
    }

    /// Returns whether a redirect led this call, or a call that continues its request, to another URL.
    pub(crate) fn leads_elsewhere(&self) -> bool {
        self.is_redirected() || {
            let inner = self.inner();
            inner.len() >= MOST_CALLS || inner.iter().any(Self::leads_elsewhere)
        }
    }

    /// Changes the record of the calls inside an attempt of this operation.
    pub(super) fn inside(&self, attempt: &Arc<Tracker>, change: impl FnOnce(&mut NestedCalls)) {
        let mut rest = self.rest();
        let known = |inside: &NestedCalls| Arc::ptr_eq(&inside.attempt, attempt);
        let at = rest.inside.iter().position(known).unwrap_or_else(|| {
            rest.inside.push(NestedCalls {
                attempt: Arc::clone(attempt),
                calls: Vec::new(),
                alone: Vec::new(),
            });
            rest.inside.len() - 1
        });
        change(&mut rest.inside[at]);
    }

    /// Returns the calls of this crate's clients in an attempt of this operation, in order.
    pub(crate) fn calls_in(&self, attempt: &Arc<Tracker>) -> Vec<Self> {
        let inside = |rest: &Rest| {
            let mut all = rest.inside.iter();
            let inside = all.find(|inside| Arc::ptr_eq(&inside.attempt, attempt))?;
            Some(inside.calls.clone())
        };
        self.kept(inside).flatten().unwrap_or_default()
    }

    /// Returns whether an attempt of this operation has recorded the call that the error belongs to. A connector's
    /// error belongs to no call.
    pub(crate) fn has_recorded(&self, attempt: &Arc<Tracker>, of: Option<&Self>) -> bool {
        of.is_none_or(|of| of.is_among(&self.calls_in(attempt)))
    }

    /// Returns the wait that the last response of this call requested.
    pub(crate) fn hint(&self) -> Option<Duration> {
        self.last()?.facts(|facts| facts.hint)
    }

    /// Returns how the last call of our clients in an attempt failed, and the wait that its response requested.
    pub(crate) fn last_failure_in(
        &self,
        attempt: &Arc<Tracker>,
    ) -> Option<(Diagnosis, Option<Duration>)> {
        let last = self.calls_in(attempt).pop()?;
        Some((last.failed()?, last.hint()))
    }
}

/// More calls than a reader needs. It bounds the memory of a closure that loops.
pub(super) const MOST_CALLS: usize = 100;
