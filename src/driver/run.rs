//! One request on its way through the policies: what they decide, without polling anything.

use std::sync::Arc;

use http::response::Parts;
use http::{HeaderMap, Method, Request, Uri};
use tokio::time::Instant;

use super::attempt::{Attempt, Flight};
use super::drain::Kept;
use super::judge::Seen;
use super::later::Resend;
use super::legs::Legs;
use super::policies::Policies;
use super::scope::Scope;
use super::turn::Turn;
use crate::box_error::BoxError;
use crate::call::{Call, Follows};
use crate::clock;
use crate::destination::Destination;
use crate::diagnose::{Edge, Failure, View};
use crate::error::Error;
use crate::hop::{Diagnosis, Kind, Policy};
use crate::limit::Waited;
use crate::telemetry::{Span, call_span};

/// The way of one request through a driver.
pub(super) struct Run {
    pub(super) policies: Arc<Policies>,
    pub(super) call: Call,
    /// Whether layers below can find the call.
    pub(super) is_shared: bool,
    pub(super) turn: Option<Turn>,
    pub(super) legs: Option<Legs>,
    /// The last real response or error, while a retry of it is tried.
    pub(super) last: Option<Box<Last>>,
    /// The effect that the attempts and legs so far may have had.
    pub(super) seen: Seen,
    /// How many attempts the call had made before.
    pub(super) from: u32,
    // Dropped last: the call ends when everything else has.
    pub(super) scope: Option<Scope>,
}

/// The last real response or error.
pub(super) enum Last {
    /// Its body is being drained.
    Head(Parts),
    Response(Parts, Kept),
    Failure(Failure),
}

impl Run {
    /// Begins the call, or joins the one that the request belongs to. A policy may reject it at once.
    pub(super) fn begin<B>(
        policies: &Arc<Policies>,
        request: &mut Request<B>,
    ) -> (Self, Option<Failure>) {
        let mut run = match &policies.deadline {
            Some(deadline) => {
                let call = match policies.shares_call() {
                    true => Call::begin(request, deadline.limit),
                    false => Call::begin_at_wire(request, deadline.limit),
                };
                let span = call_span(&deadline.maker, &call, (request.method(), request.uri()));
                call.listen(span.clone(), deadline.observer.clone());
                #[cfg(feature = "middleware")]
                call.begin_callers_try();
                // Before anything is sent: whatever happens there, the call has an end.
                let scope = Scope::new(call.clone(), span);
                Self::new(policies, call, Some(scope))
            }
            None => Self::join(policies, request),
        };
        let span = run.span();
        let entered = span.enter();
        if let Some(idempotency) = &policies.idempotency
            && let Some(rejected) = idempotency.apply(request, &run.call)
        {
            drop(entered);
            return (run, Some(rejected.into()));
        }
        let redirect = policies.redirect.as_deref();
        let follows = redirect.is_some_and(|redirect| redirect.follows(&run.call));
        run.legs = follows.then(Legs::default);
        run.turn = run.turn_to((request.method(), request.uri(), request.headers()));
        drop(entered);
        (run, None)
    }

    /// Joins the call of a driver around this one, or begins one that has no deadline of its own.
    fn join<B>(policies: &Arc<Policies>, request: &mut Request<B>) -> Self {
        if let Some(call) = Call::of(request.extensions()) {
            return Self {
                is_shared: true,
                ..Self::new(policies, call, None)
            };
        }
        let call = match policies.shares_call() {
            true => Call::begin(request, policies.longest()),
            false => Call::alone(request, policies.longest()),
        };
        Self::new(policies, call, None)
    }

    fn new(policies: &Arc<Policies>, call: Call, scope: Option<Scope>) -> Self {
        let from = call.attempt_count();
        Self {
            policies: Arc::clone(policies),
            call,
            is_shared: policies.shares_call(),
            turn: None,
            legs: None,
            last: None,
            seen: Seen::NOTHING,
            from,
            scope,
        }
    }

    /// The attempts of a leg by this request, where they are retried.
    pub(super) fn turn_to(&self, head: (&Method, &Uri, &HeaderMap)) -> Option<Turn> {
        let policy = self.policies.retry.as_ref()?;
        let now = clock::now();
        let budget = policy.budget(head, now);
        let (_, uri, _) = head;
        let destination = || Some(Destination::of_request(uri));
        Some(Turn::new(policy, &self.call, (budget, now), destination))
    }

    /// The span to be entered while anything of this call is polled.
    pub(super) fn span(&self) -> Span {
        let scope = self.scope.as_ref();
        scope.map_or_else(Span::none, |scope| scope.span.clone())
    }

    /// How many extensions of a request are the driver's.
    pub(super) fn own_extensions(&self) -> usize {
        usize::from(self.is_shared)
    }

    /// Whether anything may follow the first request.
    pub(super) fn may_send_again(&self) -> bool {
        self.legs.is_some() || self.turn.as_ref().is_some_and(Turn::may_retry)
    }

    /// Sends a request, if the policies let it through.
    ///
    /// # Errors
    ///
    /// Fails with the rejection of a policy: nothing was sent.
    pub(super) fn launch<B, F>(
        &self,
        mut request: Request<B>,
        is_replayable: bool,
        send: impl FnOnce(Request<B>) -> F,
    ) -> Result<(Flight, F), Failure> {
        let span = self.span();
        let _entered = span.enter();
        let Policies {
            breaker, attempt, ..
        } = &*self.policies;
        let now = clock::now();
        if attempt.is_some() && self.call.deadline() <= now {
            let diagnosis = Diagnosis {
                expired: Some(Waited::Deadline),
                ..Diagnosis::refusal(Kind::Timeout)
            };
            return Err(Error::refused(Policy::Deadline, diagnosis).into());
        }
        if attempt.is_some()
            && let Some(unmet) = self.call.unmet(&request, true)
        {
            return Err(Error::from(unmet).into());
        }
        let admission = match breaker {
            Some(breaker) => breaker.admit(&request, &self.call, now)?,
            None => None,
        };
        let follows = self.follows(&request, is_replayable);
        let attempt = attempt.as_ref();
        let attempt =
            attempt.map(|policy| Attempt::begin(policy, (&self.call, follows), &mut request, now));
        let flight = Flight { admission, attempt };
        let span = flight.span();
        let sending = {
            let _entered = span.enter();
            send(request)
        };
        Ok((flight, sending))
    }

    /// Whether another attempt may follow this one; tells the layers below.
    fn follows<B>(&self, request: &Request<B>, is_replayable: bool) -> Follows {
        let call = &self.call;
        let own = self.turn.as_ref().and_then(|turn| {
            let is_permitted =
                || call.is_idempotent(request.method()) || call.vouches(request.headers());
            turn.follows(is_replayable && is_permitted())
        });
        if let Some(own) = own {
            call.set_follows(own);
        }
        own.unwrap_or_else(|| call.follows())
    }

    /// When the next attempt may begin; a leg begins at once.
    pub(super) fn due(&self) -> Option<Instant> {
        let turn = self.turn.as_ref().filter(|_| self.last.is_some());
        turn.map(Turn::due)
    }

    /// When the wait for readiness ends, if it ends here.
    pub(super) fn end_at(&self) -> Option<Instant> {
        let watches = self.scope.is_some() || self.last.is_some();
        watches.then(|| self.call.deadline())
    }

    /// The request of the next attempt.
    pub(super) fn again<N: Resend>(&mut self, later: &mut N) -> Option<Request<N::Body>> {
        let mut request = later.again()?;
        if self.is_shared {
            request.extensions_mut().insert(self.call.clone());
        }
        if let Some(turn) = self.turn.as_mut().filter(|_| self.last.is_some()) {
            turn.begin(&self.call);
        }
        Some(request)
    }

    /// The service below failed, outside of an attempt of this driver.
    pub(super) fn diagnose(&self, error: BoxError) -> Failure {
        let view = View {
            call: self.is_shared.then_some(&self.call),
            ..View::default()
        };
        Failure::below(error, view)
    }

    /// The service below failed in an attempt.
    pub(super) fn diagnose_in(&self, flight: &Flight, error: BoxError) -> Failure {
        match &flight.attempt {
            Some(attempt) => attempt.diagnose(&self.call, error),
            None => self.diagnose(error),
        }
    }

    /// The deadline of the call, if this driver enforces it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.scope.as_ref().map(|scope| scope.call.deadline())
    }

    /// The deadline passed, and no attempt of this driver is under way.
    pub(super) fn expire(&self) -> Failure {
        match &self.scope {
            Some(scope) => scope.expire(),
            None => Diagnosis::expired(None, Waited::Deadline).into(),
        }
    }

    /// The call fails for good: the error as its caller gets it.
    pub(super) fn finish(&mut self, failure: Failure) -> Error {
        // Dropped before the observer hears of the end of the call.
        self.turn = None;
        self.last = None;
        match self.scope.take() {
            Some(scope) => scope.fail(failure, self.seen.all),
            None => {
                let edge = Edge {
                    call: &self.call,
                    from: self.from,
                    seen: self.seen.all,
                };
                Error::at_edge(edge, failure)
            }
        }
    }
}
