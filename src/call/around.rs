//! How a call of ours hears of the operation that it is made in, where the SDK between them carries
//! nothing: by the task that polls it.
//!
//! What is taken from there can only make a call shorter and rarer, never longer, more often or
//! another one: the time left, whether somebody repeats already, and a place in the timeline. The
//! idempotency key is not: an operation may make several calls, and which one it is meant for, only
//! the closure knows.

use std::sync::Arc;

use http::Method;
use tokio::task::futures::TaskLocalFuture;
use tokio::time::Instant;

use super::Call;
use crate::hop::Effect;
use crate::record::effect_of;
#[cfg(feature = "client")]
use crate::record::tracker;
use crate::record::tracker::Tracker;

tokio::task_local! {
    static AROUND: Around;
}

/// The attempt of an operation that is being polled right here.
#[derive(Clone, Debug)]
pub(crate) struct Around {
    pub(crate) call: Call,
    pub(crate) attempt: Arc<Tracker>,
    /// When the attempt has to be over.
    pub(crate) ends: Instant,
}

impl Around {
    pub(super) fn current() -> Option<Self> {
        AROUND.try_with(Self::clone).ok()
    }

    /// Lets the calls that `future` makes hear of this attempt.
    pub(crate) fn scope<F: Future>(self, future: F) -> TaskLocalFuture<Self, F> {
        AROUND.scope(self, future)
    }

    /// A call begins in the attempt.
    pub(super) fn heard(&self, call: &Call) {
        self.attempt.facts(|facts| {
            if facts.calls.len() < MOST_CALLS {
                facts.calls.push(call.clone());
            }
        });
    }
}

/// The attempt of one request that is being polled right here. That of an operation is none: it may make
/// many requests, and one that is given up or was taken says nothing of the next.
#[cfg(feature = "client")]
pub(crate) fn attempt_of_request() -> Option<Arc<Tracker>> {
    let is_operations =
        |tracker: &Arc<Tracker>| AROUND.try_with(|around| Arc::ptr_eq(&around.attempt, tracker));
    tracker::current().filter(|tracker| !is_operations(tracker).unwrap_or(false))
}

/// A request goes out in an operation, and no call of ours is around it.
#[cfg(feature = "client")]
pub(crate) fn heard_alone(method: &Method, tracker: &Arc<Tracker>) {
    if method.is_safe() {
        return;
    }
    let _ = AROUND.try_with(|around| {
        around.attempt.facts(|facts| {
            if facts.alone.len() < MOST_CALLS {
                facts.alone.push(Arc::clone(tracker));
            }
        });
    });
}

/// What the calls in an attempt may have done, as far as the operation is concerned: of a part of it that
/// is done, the whole is not. What was only asked for changes nothing.
pub(crate) fn effect_of_calls(attempt: &Tracker) -> Effect {
    let calls = attempt.facts(|facts| facts.calls.clone());
    if calls.len() >= MOST_CALLS {
        // There may have been more.
        return Effect::Possible;
    }
    let changing = calls
        .iter()
        .filter(|call| !call.method().is_some_and(Method::is_safe));
    let effects = changing.map(Call::effect_from_outside);
    let alone = attempt.facts(|facts| facts.alone.clone());
    if alone.len() >= MOST_CALLS {
        return Effect::Possible;
    }
    let alone = alone.iter().map(|tracker| effect_of(tracker));
    effects
        .chain(alone)
        .max()
        .unwrap_or(Effect::None)
        .min(Effect::Possible)
}

/// Whether an attempt of an operation has heard of the call whose error this is; a connector's is nobody's.
pub(crate) fn has_heard_of(attempt: &Tracker, of: Option<&Call>) -> bool {
    let Some(of) = of else { return true };
    let calls = attempt.facts(|facts| facts.calls.clone());
    calls.iter().any(|call| call.is(of) || call.leads_to(of))
}

/// More than anybody reads; a bound for a closure that goes round in circles.
pub(super) const MOST_CALLS: usize = 100;
