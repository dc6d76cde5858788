//! One request on its way through the policies: what they decide, without polling anything.

use std::sync::Arc;
use std::time::Duration;

use http::response::Parts;
use http::{Method, Request, Response, Uri};
use http_body::Body;
use tokio::time::Instant;

use super::attempt::Attempt;
use super::body::{DriverBody, Source, Truncated};
use super::drain::{DRAIN_TIME, Kept};
use super::flight::Flight;
use super::later::Resend;
use super::legs::{Lead, Legs};
use super::policies::Policies;
use super::scope::Scope;
use super::turn::{Hint, Turn};
use crate::box_error::BoxError;
use crate::call::Call;
use crate::clock;
use crate::destination::Destination;
use crate::diagnose::{Edge, Failure, View};
use crate::error::Error;
use crate::hint::hint;
use crate::hop::Guard;
use crate::hop::{
    Diagnosis, Effect, Hop, Keyed, Kind, NotRepeated, Outcome, What, effect_of_response,
};
use crate::limit::Waited;
use crate::policy::idempotency::is_replayed;
use crate::policy::retry::failed;
use crate::telemetry::{Span, call_span};
use crate::timeline::Timeline;

/// The way of one request through a driver.
pub(super) struct Run {
    policies: Arc<Policies>,
    call: Call,
    /// Whether the layers below find the call.
    is_shared: bool,
    turn: Option<Turn>,
    legs: Option<Legs>,
    /// The last real response or error, while a retry of it is tried.
    last: Option<Box<Last>>,
    /// What the attempts and legs so far may have done.
    seen: Seen,
    /// How many attempts the call had made before.
    from: u32,
    // Dropped last: the call ends when everything else has.
    scope: Option<Scope>,
}

/// The last real response or error.
enum Last {
    /// Its body is being drained.
    Head(Parts),
    Response(Parts, Kept),
    Failure(Failure),
}

/// What the attempts and legs of a request may have done.
struct Seen {
    all: Effect,
    /// The same of this leg alone: a redirect asks for another request.
    leg: Effect,
}

impl Seen {
    const NOTHING: Self = Self {
        all: Effect::None,
        leg: Effect::None,
    };

    /// An attempt may have had this effect. Returns what those before it in this leg may have done.
    fn attempt(&mut self, effect: Effect) -> Effect {
        self.all = self.all.max(effect);
        let leg = self.leg.max(effect);
        std::mem::replace(&mut self.leg, leg)
    }
}

/// What comes after an attempt.
pub(super) enum Next<R> {
    /// The call is over, but for the body.
    Deliver(Response<DriverBody<R>>),
    Fail(Failure),
    /// What is left of a response is read until then, before another request is sent.
    Drain(DriverBody<R>, Instant),
    /// Another attempt follows when its time has come.
    Backoff,
}

impl Run {
    /// Begins the call, or joins the one that the request belongs to.
    ///
    /// # Errors
    ///
    /// Fails if a policy lets the request through in no case.
    pub(super) fn begin<B>(
        policies: &Arc<Policies>,
        request: &mut Request<B>,
    ) -> Result<Self, (Self, Failure)> {
        let mut run = match &policies.deadline {
            Some(deadline) => {
                let call = Call::begin(request, deadline.limit);
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
            return Err((run, rejected.into()));
        }
        let redirect = policies.redirect.as_deref();
        let follows = redirect.is_some_and(|redirect| redirect.follows(&run.call));
        run.legs = follows.then(Legs::default);
        run.turn = run.turn_to(request.uri());
        drop(entered);
        Ok(run)
    }

    /// Joins the call of a driver around this one, or begins one that has no deadline of its own.
    fn join<B>(policies: &Arc<Policies>, request: &mut Request<B>) -> Self {
        if let Some(call) = Call::of(request.extensions()) {
            return Self::new(policies, call, None);
        }
        let is_shared = policies.shares_call();
        let call = match is_shared {
            true => Call::begin(request, policies.longest()),
            false => Call::alone(request, policies.longest()),
        };
        Self {
            is_shared,
            ..Self::new(policies, call, None)
        }
    }

    fn new(policies: &Arc<Policies>, call: Call, scope: Option<Scope>) -> Self {
        let from = call.attempt_count();
        Self {
            policies: Arc::clone(policies),
            call,
            is_shared: true,
            turn: None,
            legs: None,
            last: None,
            seen: Seen::NOTHING,
            from,
            scope,
        }
    }

    /// The attempts of a leg to this URL, where they are retried.
    fn turn_to(&self, uri: &Uri) -> Option<Turn> {
        let policy = self.policies.retry.as_ref()?;
        let now = clock::now();
        let budget = policy.budget(uri, now);
        let destination = || Destination::of(uri);
        Some(Turn::new(policy, &self.call, budget, destination, now))
    }

    /// The span to be entered while anything of this call is polled.
    pub(super) fn span(&self) -> Span {
        let scope = self.scope.as_ref();
        scope.map_or_else(Span::none, |scope| scope.span.clone())
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
            return Err(Error::refused(Guard::Deadline, diagnosis).into());
        }
        if attempt.is_some()
            && let Some(refused) = self.call.refuse_unmet(&request, true)
        {
            return Err(refused.into());
        }
        let admission = match breaker {
            Some(breaker) => breaker.admit(&request, &self.call, now)?,
            None => None,
        };
        let attempt = attempt.as_ref();
        let attempt = attempt.map(|policy| Attempt::begin(policy, &self.call, &mut request, now));
        let flight = Flight { admission, attempt };
        let span = flight.span();
        let sending = {
            let _entered = span.enter();
            send(request)
        };
        Ok((flight, sending))
    }

    /// The response head of an attempt is here. Returns how many bytes of the body may be received
    /// inside the attempt, if it is wanted there.
    pub(super) fn head<R>(&self, flight: &Flight, response: &Response<R>) -> Option<usize> {
        let attempt = flight.attempt.as_ref()?;
        attempt.head(&self.call, response);
        // What failed by its status is judged by it, whatever becomes of its body.
        let failed = attempt.tracker.failure().is_some();
        self.call.options().whole_body.filter(|_| !failed)
    }

    /// An attempt was answered: what comes next.
    pub(super) fn answered<N, R>(
        &mut self,
        flight: Flight,
        response: Response<Source<R>>,
        later: &mut N,
    ) -> Next<R>
    where
        N: Resend,
        R: Body<Error: Into<BoxError>>,
    {
        let (verdict, tracker) = flight.deliver(&response);
        let (head, source) = response.into_parts();
        let retry = self.retry_response(&head, later);
        let body = DriverBody::new(source, self.effect_of(&head), Timeline(self.call.clone()));
        let body = body.judged(verdict).watched(tracker);
        if let Some(until) = retry {
            self.last = Some(Box::new(Last::Head(head)));
            return Next::Drain(body, until);
        }
        match self.lead(&head, later) {
            Lead::Nowhere => self.deliver(head, body),
            Lead::On(to) => {
                // The claim to retry goes before the next leg makes its own.
                self.turn = None;
                self.turn = self.turn_to(&to);
                self.last = None;
                self.seen.leg = Effect::None;
                let until = clock::after(clock::now(), DRAIN_TIME);
                Next::Drain(body, until.min(self.call.deadline()))
            }
            Lead::Rejected(error) => Next::Fail(error),
        }
    }

    /// What may have been done, as far as this response says.
    fn effect_of(&self, head: &Parts) -> Effect {
        let is_safe = self.call.method().is_some_and(Method::is_safe);
        let response = effect_of_response(head.status, &head.headers, is_safe);
        self.seen.all.max(response)
    }

    fn lead<N: Resend>(&mut self, head: &Parts, later: &mut N) -> Lead {
        match (&mut self.legs, &self.policies.redirect) {
            (Some(legs), Some(redirect)) => {
                legs.lead((&self.call, redirect), head, later, &mut self.seen.all)
            }
            _ => Lead::Nowhere,
        }
    }

    /// Whether an attempt that was answered is retried: until when the rest is read.
    fn retry_response<N: Resend>(&mut self, head: &Parts, later: &mut N) -> Option<Instant> {
        let turn = self.turn.as_mut()?;
        turn.end(&self.call);
        // The attempt knows best what its status meant; without one, there is the status alone.
        let status = head.status;
        let judged = self.call.judged(status);
        let judged = judged.or_else(|| Diagnosis::status(status, &head.headers, Keyed::No))?;
        let before = self.seen.attempt(judged.effect);
        let hint = Hint {
            wait: hint(&head.headers, clock::wall()),
            by_server: true,
        };
        let headers = Some(&head.headers);
        let decided = turn.decide(&self.call, (judged, hint), |policy| {
            let saved = later.saved()?;
            Some(failed(
                &self.call,
                (saved, policy),
                (judged, before),
                headers,
            ))
        });
        match decided {
            Ok(due) => {
                // No longer than the deadline leaves for what comes after.
                let spare = self.call.deadline().saturating_duration_since(due) / 2;
                Some(clock::after(clock::now(), DRAIN_TIME.min(spare)))
            }
            Err(reason) => {
                self.call.stop(Some(reason));
                None
            }
        }
    }

    /// What was left of a response that is retried.
    pub(super) fn drained(&mut self, kept: Kept) {
        self.last = self.last.take().map(|last| match *last {
            Last::Head(head) => Box::new(Last::Response(head, kept)),
            Last::Response(..) | Last::Failure(_) => last,
        });
    }

    /// An attempt failed, or a policy rejected it: what comes next.
    pub(super) fn failed<N, R>(
        &mut self,
        flight: Flight,
        failure: Failure,
        later: &mut N,
    ) -> Next<R>
    where
        N: Resend,
        R: Body<Error: Into<BoxError>>,
    {
        flight.fail(&failure);
        let own = failure.diagnosis();
        let Some(turn) = &mut self.turn else {
            self.seen.attempt(own.effect);
            return Next::Fail(failure);
        };
        // Who stands above the wire and let nothing through.
        let local = |guard: &Guard| matches!(guard, Guard::Breaker | Guard::Deadline);
        if let Some(guard) = failure.rejected_by().filter(local)
            && turn.rejected(&self.call)
        {
            self.call.refused_by(guard);
            return match self.last {
                None => Next::Fail(failure),
                Some(_) => self.end(NotRepeated::Refused(guard)),
            };
        }
        turn.end(&self.call);
        let before = self.seen.attempt(own.effect);
        let hint = Hint {
            wait: failure.retry_after(),
            by_server: false,
        };
        let decided = turn.decide(&self.call, (own, hint), |policy| {
            let saved = later.saved()?;
            Some(failed(&self.call, (saved, policy), (own, before), None))
        });
        match decided {
            Ok(_) => {
                self.last = Some(Box::new(Last::Failure(failure)));
                Next::Backoff
            }
            Err(reason) => {
                self.call.stop(Some(reason));
                Next::Fail(failure)
            }
        }
    }

    /// When the next attempt may begin.
    pub(super) fn due(&self) -> Instant {
        let turn = self.turn.as_ref().filter(|_| self.last.is_some());
        turn.map_or_else(clock::now, Turn::due)
    }

    /// When the wait for readiness ends, if it ends here.
    pub(super) fn end_at(&self) -> Option<Instant> {
        let watches = self.scope.is_some() || self.last.is_some();
        watches.then(|| self.call.deadline())
    }

    /// The request of the next attempt.
    pub(super) fn again<N: Resend>(&mut self, later: &mut N) -> Option<Request<N::Body>> {
        let mut request = later.again()?;
        request.extensions_mut().insert(self.call.clone());
        if let Some(turn) = self.turn.as_mut().filter(|_| self.last.is_some()) {
            turn.begin(&self.call);
        }
        Some(request)
    }

    /// An attempt that was to come does not: the caller gets the response or error before it.
    pub(super) fn end<R>(&mut self, reason: NotRepeated) -> Next<R>
    where
        R: Body<Error: Into<BoxError>>,
    {
        let Some(last) = self.last.take() else {
            let nothing = Diagnosis::new(Hop::Encode, Kind::Other, self.seen.all);
            return Next::Fail(nothing.into());
        };
        self.call.stop(Some(reason));
        let (mut head, kept) = match *last {
            Last::Failure(failure) => return Next::Fail(failure),
            Last::Response(head, kept) => (head, kept),
            Last::Head(head) => (head, Kept::nothing()),
        };
        if kept.truncated {
            head.extensions.insert(Truncated);
        }
        let source = Source::kept(kept, self.seen.all);
        let body = DriverBody::new(source, self.seen.all, Timeline(self.call.clone()));
        self.deliver(head, body)
    }

    /// The service below could not take the next request.
    pub(super) fn unready<R>(&mut self, error: BoxError) -> Next<R>
    where
        R: Body<Error: Into<BoxError>>,
    {
        match self.last {
            // A service that failed to get ready is not asked again.
            Some(_) => self.end(NotRepeated::Unready),
            None => Next::Fail(self.diagnose(error)),
        }
    }

    /// The response of the call, or the deadline's failure where it comes too late.
    fn deliver<R>(&mut self, head: Parts, body: DriverBody<R>) -> Next<R> {
        if self.policies.idempotency.is_some() && is_replayed(&head.headers) {
            self.call.note(What::Replayed);
        }
        if let Some(scope) = &self.scope {
            if !scope.is_in_time() {
                return Next::Fail(scope.expire());
            }
            scope.call.answer(Outcome::Answered(head.status));
        }
        let body = body.ending(self.scope.take());
        Next::Deliver(Response::from_parts(head, body))
    }

    /// The service below failed, outside of an attempt of this driver.
    fn diagnose(&self, error: BoxError) -> Failure {
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

    /// The deadline of the call, where this driver sees to it.
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

    /// The service below was not ready for the next request in time.
    pub(super) fn out_of_time<R>(&mut self) -> Next<R>
    where
        R: Body<Error: Into<BoxError>>,
    {
        match self.last {
            Some(_) => self.end(NotRepeated::NoTime {
                wait: Duration::ZERO,
                left: Duration::ZERO,
            }),
            None => Next::Fail(self.expire()),
        }
    }

    /// The call fails for good: the error as its caller gets it.
    pub(super) fn finish(&mut self, failure: Failure) -> Error {
        // What is below goes before the end of the call is told.
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
