//! One request in the policies: their decisions, without any polling.

use std::sync::Arc;

use http::response::Parts;
use http::{Request, Uri};
use tokio::time::Instant;

use super::attempt::{ActiveAttempt, AttemptInFlight};
use super::choice::{Chosen, Elsewhere, of_leg};
use super::drain::DrainedBody;
use super::judge::SeenEffects;
use super::later::Resend;
use super::legs::Legs;
use super::policies::Policies;
use super::recent::{DestinationState, Head};
use super::retry_loop::RetryLoop;
use super::scope::Scope;
use crate::box_error::BoxError;
use crate::call::{Call, Follows, Since};
use crate::clock;
use crate::destination::Destination;
use crate::diagnose::{AttemptFailure, Edge, View};
use crate::error::Error;
use crate::hop::{Diagnosis, Kind, Policy};
use crate::policy::breaker::SharedCircuit;
use crate::policy::endpoints::EndpointChoice;
use crate::policy::stale::StoreUse;
use crate::redact::redacted;
use crate::telemetry::{Span, call_span};
use crate::timeout::TimeoutKind;

/// The state of one request in a driver.
pub(super) struct Run {
    pub(super) policies: Arc<Policies>,
    elsewhere: Option<Elsewhere>,
    pub(super) call: Call,
    /// Whether inner layers can find the call.
    pub(super) is_shared: bool,
    pub(super) turn: Option<RetryLoop>,
    /// The circuit of a new leg, until its first attempt is admitted.
    circuit: Option<Arc<SharedCircuit>>,
    pub(super) legs: Option<Legs>,
    /// The endpoints of a call to a logical name.
    pub(super) endpoints: Option<Box<EndpointChoice>>,
    /// The last real response or error, while its retry is tried.
    pub(super) last: Option<Box<Last>>,
    /// The use of the store for stale responses, if the call may use it.
    pub(super) stale: Option<Box<StoreUse>>,
    /// The effect that the attempts and legs so far may have had.
    pub(super) seen: SeenEffects,
    /// The position in the call's log when this request began.
    pub(super) from: Since,
    /// The attempts that may follow, according to an outer driver.
    follows_above: Follows,
    // Dropped last: the call ends after everything else.
    pub(super) scope: Option<Scope>,
}

/// The last real response or error.
pub(super) enum Last {
    /// The head of a response whose body is being drained.
    Head(Parts),
    Response(Parts, DrainedBody),
    Failure(AttemptFailure),
}

impl Run {
    /// Begins the call of a new request, or joins the existing one.
    pub(super) fn of<B>((policies, elsewhere): Chosen, request: &mut Request<B>) -> Self {
        let joins = policies.joins && Call::of(request.extensions()).is_some();
        let Some(deadline) = policies.deadline.as_ref().filter(|_| !joins) else {
            return Self::join(policies, request);
        };
        let call = match policies.shares_call() {
            true => Call::begin(request, deadline.limit),
            false => Call::begin_at_wire(request, deadline.limit),
        };
        let span = call_span(&deadline.maker, &call, (request.method(), request.uri()));
        call.listen(&span, deadline.observer.as_ref());
        #[cfg(feature = "reqwest-middleware")]
        call.begin_callers_try();
        // Created before anything is sent, so that the end of the call is recorded in every case.
        let scope = Scope::new(&call);
        Self {
            elsewhere,
            ..Self::new(policies, call, Some(scope))
        }
    }

    /// Begins the first leg and its first attempt. Between the two, `keep` saves the request for later attempts, and
    /// returns whether it can be sent again.
    ///
    /// # Errors
    ///
    /// Fails with the rejection of a policy: nothing was sent.
    pub(super) fn begin<B>(
        &mut self,
        request: &mut Request<B>,
        keep: impl FnOnce(&Self, &mut Request<B>) -> bool,
    ) -> Result<AttemptInFlight, AttemptFailure> {
        let span = self.live_span();
        let entered = span.as_ref().map(Span::enter);
        if let Some(endpoints) = self.policies.endpoints.clone() {
            self.choose_endpoint(&endpoints, request);
        }
        if let Some(idempotency) = &self.policies.idempotency
            && let Some(rejected) = idempotency.apply(request, &self.call)
        {
            return Err(rejected.into());
        }
        let redirect = self.policies.redirect.as_deref();
        let follows = redirect.is_some_and(|redirect| redirect.follows(&self.call));
        self.legs = follows.then(Legs::default);
        let now = match self.scope {
            Some(_) => self.call.started(),
            None => clock::now(),
        };
        self.turn_to((request.method(), request.uri(), request.headers()), now);
        drop(entered);
        let is_replayable = keep(self, request);
        let _entered = span.as_ref().map(Span::enter);
        self.admit(request, is_replayable)
    }

    /// Joins the call of a driver around this one, or begins one without a deadline of its own.
    fn join<B>(policies: Arc<Policies>, request: &mut Request<B>) -> Self {
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

    fn new(policies: Arc<Policies>, call: Call, scope: Option<Scope>) -> Self {
        let (from, follows_above) = (call.since_now(), call.follows());
        Self {
            is_shared: policies.shares_call(),
            policies,
            elsewhere: None,
            call,
            turn: None,
            circuit: None,
            legs: None,
            endpoints: None,
            last: None,
            stale: None,
            seen: SeenEffects::NOTHING,
            from,
            follows_above,
            scope,
        }
    }

    /// Begins the leg of a redirect. From here on, the policies of the new URL apply.
    pub(super) fn lead_to(&mut self, head: Head<'_>, now: Instant) {
        let (_, uri, _) = head;
        self.follow_config(uri, None);
        self.endpoints = None;
        self.turn_to(head, now);
    }

    /// From here on, the policies of this URL hold.
    pub(super) fn follow_config(&mut self, uri: &Uri, route: Option<&str>) {
        if let Some(elsewhere) = &self.elsewhere {
            self.policies = of_leg(elsewhere, uri, route);
        }
    }

    /// Begins a leg with this request: its retries, if they are on, and its circuit.
    fn turn_to(&mut self, head: Head<'_>, now: Instant) {
        let DestinationState { budget, circuit } = DestinationState::of(&self.policies, head, now);
        if let Some((policy, budget)) = self.policies.retry.as_ref().zip(budget) {
            let (_, uri, _) = head;
            let destination = || Some(Destination::of_request(uri));
            // The claim to retry passes to the next leg, or is given back.
            let call = (&self.call, self.turn.take());
            // Resets whether another attempt may follow: this driver may not retry the next leg.
            self.call.set_follows(self.follows_above);
            self.turn = Some(RetryLoop::new(policy, call, (budget, now), destination));
        }
        self.circuit = circuit;
    }

    /// Returns the span to enter while the call is polled, if it has a subscriber.
    pub(super) fn live_span(&self) -> Option<Span> {
        self.scope.as_ref()?.call().live_span()
    }

    /// Returns how many extensions of a request belong to the driver.
    pub(super) fn own_extensions(&self) -> usize {
        usize::from(self.is_shared)
    }

    /// Returns whether another request may follow the first one.
    pub(super) fn may_send_again(&self) -> bool {
        self.legs.is_some()
            || self.endpoints.is_some()
            || self.turn.as_ref().is_some_and(RetryLoop::may_retry)
    }

    /// Asks the policies whether a request may be sent now, and opens the record of its attempt.
    ///
    /// # Errors
    ///
    /// Fails with the rejection of a policy: nothing was sent.
    pub(super) fn admit<B>(
        &mut self,
        request: &mut Request<B>,
        is_replayable: bool,
    ) -> Result<AttemptInFlight, AttemptFailure> {
        let Policies {
            breaker, attempt, ..
        } = &*self.policies;
        let now = clock::now();
        if attempt.is_some() && self.call.deadline() <= now {
            let diagnosis = Diagnosis {
                timeout_kind: Some(TimeoutKind::Deadline),
                ..Diagnosis::refusal(Kind::Timeout)
            };
            return Err(Error::refused(Policy::Deadline, diagnosis).into());
        }
        if attempt.is_some()
            && let Some(unmet) = self.call.unmet(request, true)
        {
            return Err(Error::from(unmet).into());
        }
        let admission = match breaker {
            Some(breaker) => breaker.admit((request, self.circuit.take()), &self.call, now)?,
            None => None,
        };
        let follows = self.follows(request, is_replayable);
        let attempt = attempt.as_ref();
        let begin = |policy| ActiveAttempt::begin(policy, (&self.call, follows), request, now);
        let attempt = attempt.map(begin);
        if let Some(attempt) = attempt.as_ref().filter(|_| self.endpoints.is_some()) {
            let url = redacted(request.uri());
            attempt.tracker.facts(|facts| facts.url = Some(url));
        }
        Ok(AttemptInFlight { admission, attempt })
    }

    /// Returns whether another attempt may follow this one, and records it for the inner layers.
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

    /// Returns when the next attempt may begin. A new leg begins immediately.
    pub(super) fn due(&self) -> Option<Instant> {
        let turn = self.turn.as_ref().filter(|_| self.last.is_some());
        turn.map(RetryLoop::due)
    }

    /// Returns when the wait for readiness ends, if this driver bounds it.
    pub(super) fn end_at(&self) -> Option<Instant> {
        let watches = self.scope.is_some() || self.last.is_some();
        watches.then(|| self.call.deadline())
    }

    /// Returns the request of the next attempt.
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

    /// Diagnoses a failure of the inner service, outside of an attempt of this driver.
    pub(super) fn diagnose(&self, error: BoxError) -> AttemptFailure {
        let view = View {
            call: self.is_shared.then_some(&self.call),
            ..View::default()
        };
        AttemptFailure::below(error, view)
    }

    /// Diagnoses a failure of the inner service in an attempt.
    pub(super) fn diagnose_in(&self, flight: &AttemptInFlight, error: BoxError) -> AttemptFailure {
        match &flight.attempt {
            Some(attempt) => attempt.diagnose(&self.call, error),
            None => self.diagnose(error),
        }
    }

    /// Returns the deadline of the call, if this driver enforces it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.scope.as_ref().map(|scope| scope.call().deadline())
    }

    /// Returns the failure of a passed deadline, while no attempt of this driver is in flight.
    pub(super) fn expire(&self) -> AttemptFailure {
        match &self.scope {
            Some(scope) => scope.expire(),
            None => Diagnosis::timeout_kind(None, TimeoutKind::Deadline).into(),
        }
    }

    /// Ends the call with a failure. Returns the error for the caller.
    pub(super) fn finish(&mut self, failure: AttemptFailure) -> Error {
        // Dropped before the observer is notified of the end of the call.
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
