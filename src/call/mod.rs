//! The state of a call. The request's extensions carry it through the stack.

mod ambient;
mod arrived;
#[cfg(feature = "reqwest-middleware")]
mod caller;
mod context;
mod effect;
#[cfg(feature = "client")]
mod footprint;
mod hedges;
mod key;
mod lifecycle;
mod log;
mod observed;
mod state;
mod target;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Extensions, Request};
use tokio::time::Instant;

use self::context::Context;
use self::lifecycle::Lifecycle;
use self::log::Log;
use self::state::CallState;
use crate::clock;
use crate::options::Options;

pub(crate) use self::ambient::AmbientOperation;
#[cfg(feature = "client")]
pub(crate) use self::ambient::{attempt_of_request, record_request_alone};
pub(crate) use self::arrived::{restrain, restrain_sync};
#[cfg(feature = "reqwest-middleware")]
pub(crate) use self::caller::{CallerRequest, CallerTry, next_try};
pub(crate) use self::effect::Since;
pub(crate) use self::effect::effect_of_work;
pub(crate) use self::hedges::HedgeClaim;
pub(crate) use self::key::KeyMark;
pub(crate) use self::lifecycle::{Hold, Observer};
pub(crate) use self::observed::ObservedScope;
pub(crate) use self::state::{Follows, RetryClaim};
pub(crate) use self::target::CallTarget;
#[cfg(feature = "reqwest")]
pub(crate) use self::wire::unmet_elsewhere;
#[cfg(feature = "client")]
pub(crate) use self::wire::{affinity_of, unmet};

/// A call in progress: the state that its layers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Call(Arc<CallInner>);

/// The four parts of a call.
struct CallInner {
    context: Context,
    state: CallState,
    log: Log,
    lifecycle: Lifecycle,
}

impl Call {
    /// Begins the call of a request that is about to be sent. No inner layer looks for it.
    pub(crate) fn begin_at_wire<B>(request: &mut Request<B>, timeout: Duration) -> Self {
        let outer = match request.extensions().is_empty() {
            true => None,
            false => request.extensions_mut().remove::<Self>(),
        };
        Self::begin_in(request, timeout, outer)
    }

    /// Begins the call of a request, due after `timeout` at the latest, and puts it into the request's extensions. A
    /// call around it is honored: its deadline applies here too, and if it retries, this call does not.
    pub(crate) fn begin<B>(request: &mut Request<B>, timeout: Duration) -> Self {
        let outer = Self::of(request.extensions());
        let call = Self::begin_in(request, timeout, outer);
        request.extensions_mut().insert(call.clone());
        call
    }

    fn begin_in<B>(request: &mut Request<B>, timeout: Duration, outer: Option<Self>) -> Self {
        let is_plain = request.extensions().is_empty();
        let options = match is_plain {
            true => None,
            false => request.extensions_mut().remove::<Options>(),
        };
        let asked = CallTarget::Request {
            method: request.method().clone(),
            uri: request.uri().clone(),
        };
        let call = Self::start(asked, options.unwrap_or_default(), timeout, outer);
        #[cfg(feature = "reqwest-middleware")]
        if !is_plain && let Some(this) = request.extensions_mut().remove::<CallerTry>() {
            call.mark_callers_try(this);
        }
        call
    }

    /// Begins a call that no other layer finds. Options and extensions of the request are left to the other layers.
    pub(crate) fn alone<B>(request: &Request<B>, timeout: Duration) -> Self {
        let asked = CallTarget::Request {
            method: request.method().clone(),
            uri: request.uri().clone(),
        };
        let started = clock::now();
        let deadline = clock::after(started, timeout);
        let context = Context::new(asked, Options::default(), (started, deadline));
        let state = CallState::new(None, (None, Follows::default()), false);
        Self::new(context, state)
    }

    #[inline]
    fn new(context: Context, state: CallState) -> Self {
        Self(Arc::new(CallInner {
            context,
            state,
            log: Log::default(),
            lifecycle: Lifecycle::new(),
        }))
    }

    /// Begins the call of an operation, due after `timeout` at the latest. An operation around it is honored.
    pub(crate) fn operate(asked: CallTarget, timeout: Duration) -> Self {
        Self::start(asked, Options::default(), timeout, None)
    }

    fn start(
        asked: CallTarget,
        mut options: Options,
        timeout: Duration,
        above: Option<Self>,
    ) -> Self {
        let started = clock::now();
        let own = clock::after(started, options.deadline.unwrap_or(timeout));
        let around = above.is_none().then(AmbientOperation::current).flatten();
        let outer = above
            .as_ref()
            .or_else(|| around.as_ref().map(|around| &around.call));
        let relation = outer.map(|outer| outer.relation_to(&asked));
        if let Some((outer, relation)) = outer.zip(relation) {
            options.inherit_from(outer.options(), relation);
        }
        if above.is_none() {
            arrived::restrain_call(&mut options);
        }
        let ends = around.as_ref().map(|around| around.ends);
        let ends = [options.inherited.deadline, ends];
        let deadline = ends.into_iter().flatten().fold(own, Instant::min);
        // The inner calls find it there.
        options.inherited.deadline = Some(deadline);
        let retries = |outer: &&Self| outer.is_retried();
        let retries = outer.filter(retries).map(|by| by.most_attempts().max(2));
        let most = options.inherited.most.max(retries);
        let outer_key = outer.and_then(Self::key).zip(relation);
        let outer_key =
            outer_key.and_then(|(key, to)| key.below(to, options.honors_idempotency_keys));
        let by_caller = options.inherited.most.map(|_| Follows::BY_CALLER);
        let follows = outer.map(Self::follows).or(by_caller).unwrap_or_default();
        let is_in_attempt = above.as_ref().is_some_and(Self::is_in_attempt);
        let context = Context::new(asked, options, (started, deadline));
        let call = Self::new(
            context,
            CallState::new(outer_key, (most, follows), is_in_attempt),
        );
        if outer.is_some_and(Self::hedges) {
            call.0.state.hedges.store(true, Ordering::Relaxed);
        }
        if let Some(outer) = outer {
            let is_same = (outer.asked().method(), outer.asked().uri())
                == (call.asked().method(), call.asked().uri());
            let earlier = outer.earlier_endpoint().filter(|_| is_same);
            call.keep_to(earlier.or_else(|| outer.endpoint_of_effect(call.asked())));
        }
        match above {
            Some(above) => {
                if above.keeps_responses() {
                    call.keep_responses();
                }
                above.goes_on_in(&call);
            }
            None => call.report_to_observers(around.as_ref()),
        }
        if let Some(around) = around {
            around.record_call(&call);
        }
        call
    }

    /// Returns the call that a request belongs to.
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Self>().cloned()
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("asked", &self.asked().to_string())
            .field("elapsed", &self.elapsed())
            .field("attempts", &self.attempt_count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn call_inside_a_call_keeps_the_earlier_deadline() {
        let mut request = Request::new(());
        let outer = Call::begin(&mut request, Duration::from_secs(1));
        let inner = Call::begin(&mut request, Duration::from_secs(60));
        assert_eq!(inner.deadline(), outer.deadline());
    }
}
