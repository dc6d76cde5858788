//! One request in the policies: their decisions, without any polling.

use std::sync::Arc;

use http::response::Parts;
use http::{Request, Uri};
use tokio::time::Instant;

use super::admit::Entry;
use super::attempt::AttemptInFlight;
use super::choice::{Chosen, Elsewhere, of_leg};
use super::drain::DrainedBody;
use super::hedges::Hedges;
use super::judge::SeenEffects;
use super::later::Resend;
use super::legs::Legs;
use super::passed::Passed;
use super::policies::Policies;
use super::recent::{DestinationState, Head};
use super::retry_loop::RetryLoop;
use super::scope::Scope;
use crate::box_error::BoxError;
use crate::call::{Call, Follows, Since};
use crate::clock;
use crate::destination::Destination;
use crate::diagnose::{AttemptFailure, Edge, View};
use crate::error::{Error, ReasonText};
use crate::hop::Diagnosis;
use crate::policy::breaker::SharedCircuit;
use crate::policy::endpoints::EndpointChoice;
use crate::policy::stale::StoreUse;
use crate::replay::Saved;
use crate::telemetry::{Span, call_span};
use crate::timeout::TimeoutKind;

/// The state of one request in a driver.
pub(super) struct Run {
    pub(super) policies: Arc<Policies>,
    pub(super) elsewhere: Option<Elsewhere>,
    pub(super) call: Call,
    /// Whether inner layers can find the call.
    pub(super) is_shared: bool,
    pub(super) turn: Option<RetryLoop>,
    /// In a box, so that a driver without hedges has no room for them.
    pub(super) hedges: Option<Box<Hedges>>,
    /// The circuit of a new leg, until its first attempt is admitted.
    pub(super) circuit: Option<Arc<SharedCircuit>>,
    /// The parts that a request holds while it waits for a permit or a slot.
    pub(super) waiting: Option<Box<Passed>>,
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
            return Self {
                elsewhere,
                ..Self::join(policies, request)
            };
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
    ) -> Result<Entry, AttemptFailure> {
        let span = self.live_span();
        let entered = span.as_ref().map(Span::enter);
        self.choose_endpoint(request)
            .map_err(|invalid| Error::invalid().because(invalid))?;
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
        self.admit_first(request, is_replayable)
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
            hedges: None,
            circuit: None,
            waiting: None,
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

    /// Begins the leg of a redirect. From here on, the policies of the new URL apply. If its host is a logical name, the
    /// leg goes to one of the endpoints. If its origin is that of the current endpoint, the leg stays there.
    ///
    /// # Errors
    ///
    /// Fails if the URL has a part that no endpoint would honor.
    pub(super) fn lead_to<B>(
        &mut self,
        saved: &mut Saved<B>,
        now: Instant,
    ) -> Result<(), ReasonText> {
        if let Some(StoreUse::Write(write)) = self.stale.as_deref_mut()
            && !saved.method.is_safe()
        {
            write.lead_to(&saved.uri);
        }
        if self.stays_at_endpoint(&saved.uri) {
            self.follow_config(&saved.uri, None);
        } else {
            self.record_endpoint(None, now);
            match self.endpoint_of(&saved.uri)? {
                Some(uri) => {
                    self.lead_to_endpoint(&uri);
                    saved.uri = uri;
                }
                None => self.follow_config(&saved.uri, None),
            }
        }
        self.turn_to((&saved.method, &saved.uri, &saved.headers), now);
        Ok(())
    }

    /// Returns the route of the current leg. That of the call does not apply to the target of a redirect.
    pub(super) fn route_of_leg(&self) -> Option<Arc<str>> {
        let route = self.call.options().route.clone();
        route.filter(|_| !self.call.is_redirected())
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
        let (_, uri, _) = head;
        self.hedge_at(uri, now);
    }

    /// From here on, calls are hedged by the policy and the response times of this URL.
    pub(super) fn hedge_at(&mut self, uri: &Uri, now: Instant) {
        let before = (self.turn.is_some(), self.hedges.take());
        let hedging = self.policies.hedge.as_ref();
        self.hedges = hedging.map(|hedging| Hedges::new(hedging, (&self.call, uri, now), before));
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
            || self.hedges.is_some()
            || self.endpoints.is_some()
            || self.turn.as_ref().is_some_and(RetryLoop::may_retry)
    }

    /// Admits a request while no other one is in flight.
    ///
    /// # Errors
    ///
    /// Fails with the rejection of a policy: nothing was sent.
    pub(super) fn admit_first<B>(
        &mut self,
        request: &mut Request<B>,
        is_replayable: bool,
    ) -> Result<Entry, AttemptFailure> {
        if let Some(hedges) = &mut self.hedges {
            hedges.begin(self.call.attempt_count(), clock::now());
            if let Some(turn) = &mut self.turn {
                turn.set_beside(0);
            }
        }
        self.admit(request, is_replayable)
    }

    /// Returns whether another attempt may follow this one, and records it for the inner layers.
    pub(super) fn follows<B>(&self, request: &Request<B>, is_replayable: bool) -> Follows {
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
        let request = self.again_beside(later)?;
        if let Some(turn) = self.turn.as_mut().filter(|_| self.last.is_some()) {
            turn.prepare(&self.call);
        }
        Some(request)
    }

    /// Returns the request of an attempt beside the one in flight.
    pub(super) fn again_beside<N: Resend>(&self, later: &mut N) -> Option<Request<N::Body>> {
        let mut request = later.again()?;
        if self.is_shared {
            request.extensions_mut().insert(self.call.clone());
        }
        Some(request)
    }

    /// Returns which attempts may follow those in flight, now that there are more of them.
    pub(super) fn follows_beside(&self) -> Option<Follows> {
        self.turn.as_ref().and_then(|turn| turn.follows(true))
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
        self.hedges = None;
        self.last = None;
        match self.scope.take() {
            Some(scope) => scope.fail(failure, self.seen.all),
            None => {
                let edge = Edge {
                    call: &self.call,
                    from: self.from,
                    seen: self.seen.all,
                };
                let error = Error::at_edge(edge, failure);
                // Another layer of the call may send the request again, and then get an error that proves nothing.
                self.call.saw(error.effect());
                error
            }
        }
    }
}
