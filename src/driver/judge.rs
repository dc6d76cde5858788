//! Handles the end of an attempt: the policies decide the next step.

use http::response::Parts;
use http::{HeaderMap, Method, Response};
use http_body::Body;
use tokio::time::Instant;

use super::attempt::AttemptInFlight;
use super::body::DriverBody;
use super::drain::{DRAIN_TIME, DrainedBody};
use super::later::Resend;
use super::legs::Lead;
use super::next_step::NextStep;
use super::retry_loop::Hint;
use super::run::{Last, Run};
use super::scope::Scope;
use super::source::BodySource;
use super::substitute::is_substitute;
use crate::box_error::BoxError;
use crate::clock;
use crate::diagnose::AttemptFailure;
use crate::error::Error;
use crate::hop::{
    Diagnosis, Effect, FailureClass, Keyed, Kind, NoRetryReason, Policy, effect_of_response,
    is_failure,
};
use crate::options::Unmet;
use crate::policy::Classified;
use crate::policy::retry::{failed, may_pass};
use crate::timeline::Timeline;

/// The effect that the attempts and legs of a request may have had.
pub(super) struct SeenEffects {
    pub(super) all: Effect,
    /// The effect of this leg alone. A redirect begins a new leg.
    leg: Effect,
}

impl SeenEffects {
    pub(super) const NOTHING: Self = Self {
        all: Effect::None,
        leg: Effect::None,
    };

    /// Adds the effect that an attempt may have had. Returns the effect of the attempts before it in this leg.
    pub(super) fn attempt(&mut self, effect: Effect) -> Effect {
        self.all = self.all.max(effect);
        let leg = self.leg.max(effect);
        std::mem::replace(&mut self.leg, leg)
    }
}

/// The headers of a failed response, and the class of the user's classifier.
type SeenFailure<'a> = (Option<&'a HeaderMap>, Option<FailureClass>);

impl Run {
    /// Handles a response. Returns the next step.
    pub(super) fn on_response<N, R>(
        &mut self,
        (flight, now): (&mut AttemptInFlight, Instant),
        response: Response<BodySource<R>>,
        later: &mut N,
    ) -> NextStep<R>
    where
        N: Resend,
        R: Body<Error: Into<BoxError>>,
    {
        if let Some(failure) = self.leaves_its_address(flight, &response) {
            let flight = std::mem::take(flight);
            return self.failed(flight, failure, later);
        }
        let classified = self.classify_response(flight, &response, later);
        self.answered_as((flight, now), (response, classified), later)
    }

    /// Handles a response that was classified. Returns the next step.
    pub(super) fn answered_as<N, R>(
        &mut self,
        (flight, now): (&mut AttemptInFlight, Instant),
        (response, classified): (Response<BodySource<R>>, Classified),
        later: &mut N,
    ) -> NextStep<R>
    where
        N: Resend,
        R: Body<Error: Into<BoxError>>,
    {
        self.settle_hedges(&response, classified);
        let judged = || self.call.judged(response.status());
        let at_endpoint = self.endpoints.is_some();
        let failed = at_endpoint
            .then(|| classified.failed.or_else(judged))
            .flatten();
        // If a redirect stays at its endpoint, the result is that of the next leg.
        let may_lead = failed.is_none() && response.status().is_redirection();
        if !may_lead {
            self.record_endpoint(failed.as_ref(), now);
        }
        let (verdict, watched, passed) = flight.deliver(&response, (classified, now));
        let (head, source) = response.into_parts();
        let retry = self.retry_response((&head, classified), later);
        // A driver below has served it for a failure, perhaps for that of the deadline. It says nothing about the request.
        let is_substitute = is_substitute(&head.extensions);
        let effect = match is_substitute {
            true => self.seen.all,
            false => self.effect_of(&head, classified.failed),
        };
        let mut body = DriverBody::new(source, effect, Timeline(self.call.clone()));
        body.belongs_to(watched, verdict, passed);
        if is_substitute {
            body.never_is_late();
        } else if !self.call.has_record_after(flight.records_before) {
            // Nothing else keeps the effect of this response for an attempt that another layer adds.
            self.call.saw(effect.of_part());
        }
        if let Some(until) = retry {
            self.call.saw(self.seen.all);
            self.last = Some(Box::new(Last::Head(head)));
            return NextStep::Drain(body, until);
        }
        let lead = self.lead(&head, later);
        if may_lead && !matches!(lead, Lead::On) {
            self.record_endpoint(None, now);
        }
        self.call.saw(self.seen.all);
        match lead {
            Lead::Nowhere => {
                let late = |scope: &&Scope| !is_substitute && scope.is_late(now);
                match self.scope.as_ref().filter(late) {
                    Some(scope) => NextStep::Fail(scope.expire()),
                    None => self.deliver(head, body),
                }
            }
            Lead::On => {
                // The next leg is another request, with its own destination, budget and circuit.
                if let Some(saved) = later.saved()
                    && let Err(invalid) = self.lead_to(saved, now)
                {
                    let refused = Diagnosis::refusal(Kind::RedirectRefused);
                    let error = Error::refused(Policy::Redirect, refused).because(invalid);
                    return NextStep::Fail(error.into());
                }
                self.last = None;
                self.seen.leg = Effect::None;
                let until = clock::after(now, DRAIN_TIME);
                NextStep::Drain(body, until.min(self.call.deadline()))
            }
            Lead::Rejected(error) => NextStep::Fail(error),
        }
    }

    /// Returns how a response failed, if it may pass: then the attempts beside it go on.
    pub(super) fn may_pass_response<R>(
        &self,
        response: &Response<R>,
        classified: Classified,
    ) -> Option<Diagnosis> {
        let (status, headers) = (response.status(), response.headers());
        let by_status = || {
            let judged = self.call.judged(status);
            judged.or_else(|| Diagnosis::status(status, headers, Keyed::No))
        };
        let failed = classified.failed.or_else(by_status)?;
        let retry = self.policies.retry.as_deref();
        let seen = (Some(headers), classified.class);
        may_pass(retry, &self.call, &failed, seen).then_some(failed)
    }

    /// Returns whether the attempts beside a failed one go on: the failure may pass, or it sent nothing, and so says
    /// nothing about them.
    pub(super) fn may_pass_failure(
        &self,
        failure: &AttemptFailure,
        class: Option<FailureClass>,
    ) -> bool {
        let failed = failure.diagnosis();
        let retry = self.policies.retry.as_deref();
        failed.effect.is_none() || may_pass(retry, &self.call, &failed, (None, class))
    }

    /// Sets a failed response aside, because other attempts are in flight. Returns its body, which is read to its end.
    pub(super) fn set_aside<R>(
        &mut self,
        (flight, now): (&mut AttemptInFlight, Instant),
        response: Response<BodySource<R>>,
        (classified, failed): (Classified, Diagnosis),
    ) -> DriverBody<R>
    where
        R: Body<Error: Into<BoxError>>,
    {
        let (verdict, watched, passed) = flight.deliver(&response, (classified, now));
        self.record_endpoint(Some(&failed), now);
        let (head, source) = response.into_parts();
        self.charge_beside();
        self.keep(failed, classified.class, Last::Head(head));
        self.end_beside(failed.effect);
        let timeline = Timeline(self.call.clone());
        let mut body = DriverBody::new(source, failed.effect, timeline);
        body.belongs_to(watched, verdict, passed);
        body
    }

    /// Calls the classifier for an attempt without a response. It does not see rejections by a policy.
    pub(super) fn class_of_failure<N: Resend>(
        &self,
        failure: &AttemptFailure,
        later: &mut N,
    ) -> Option<FailureClass> {
        match failure.rejected_by() {
            None => self.classify_failure(failure.diagnosis(), later),
            Some(_) => None,
        }
    }

    /// Refuses the response of a service that does not keep the call's session on one address. Only the response shows
    /// that it is such a service.
    pub(super) fn leaves_its_address<R>(
        &self,
        flight: &AttemptInFlight,
        response: &Response<R>,
    ) -> Option<AttemptFailure> {
        // The attempts of a driver below are checked there. A substitute asked no replica.
        let is_checked = flight.attempt.is_some()
            || !self.policies.leaves_attempts && !is_substitute(response.extensions());
        let leaves = is_checked && self.call.may_leave_its_address();
        leaves.then(|| {
            let is_safe = self.call.method().is_some_and(Method::is_safe);
            let effect = effect_of_response(response.status(), response.headers(), is_safe);
            Error::from(Unmet::Affinity).with_effect(effect).into()
        })
    }

    /// Returns the effect according to this response.
    fn effect_of(&self, head: &Parts, failed: Option<Diagnosis>) -> Effect {
        let is_safe = self.call.method().is_some_and(Method::is_safe);
        let response = match failed {
            Some(failed) => failed.effect,
            None => effect_of_response(head.status, &head.headers, is_safe),
        };
        self.seen.all.max(response)
    }

    fn lead<N: Resend>(&mut self, head: &Parts, later: &mut N) -> Lead {
        match (&mut self.legs, &self.policies.redirect) {
            (Some(legs), Some(redirect)) if redirect.follows(&self.call) => legs.lead(
                (&self.call, redirect, self.from),
                head,
                (later, &mut self.seen.all),
            ),
            _ => Lead::Nowhere,
        }
    }

    /// Decides whether a response is retried. If so, returns the instant until which the rest of it is read.
    fn retry_response<N: Resend>(
        &mut self,
        (head, classified): (&Parts, Classified),
        later: &mut N,
    ) -> Option<Instant> {
        let (turn, policy) = self.turn.as_mut().zip(self.policies.retry.as_deref())?;
        turn.end(&self.call, true);
        let status = head.status;
        if classified.failed.is_none() && !is_failure(status) {
            turn.succeed();
            return None;
        }
        // The record of the attempt has the meaning of its status. Without a record there is only the status.
        let judged = classified.failed.or_else(|| self.call.judged(status));
        let judged = judged.or_else(|| Diagnosis::status(status, &head.headers, Keyed::No))?;
        // The inner service may have followed a redirect to this response. Then this status does not show the effect of
        // the whole attempt.
        let since = self.call.effect_since(self.from);
        let before = self.seen.attempt(judged.effect.max(since)).max(since);
        let own = policy.hint(head);
        let hint = Hint {
            wait: (self.hedges.as_ref()).map_or(own, |hedges| hedges.hint_of_round(own)),
            by_server: true,
        };
        let headers = Some(&head.headers);
        let seen = (headers, classified.class);
        match self.ask_retry((judged, before), (hint, seen), later)? {
            Ok(due) => {
                // At most half of the time left after the wait, so that the deadline leaves time for the retry.
                let spare = self.call.deadline().saturating_duration_since(due) / 2;
                Some(clock::after(clock::now(), DRAIN_TIME.min(spare)))
            }
            Err(reason) => {
                self.call.stop(Some(reason));
                None
            }
        }
    }

    /// Asks the retry whether a failed attempt is followed by another one, here or at another endpoint. Returns when;
    /// `None` if this driver retries nothing.
    pub(super) fn ask_retry<N: Resend>(
        &mut self,
        (own, before): (Diagnosis, Effect),
        (hint, seen): (Hint, SeenFailure<'_>),
        later: &mut N,
    ) -> Option<Result<Instant, NoRetryReason>> {
        self.turn.as_ref()?;
        let next = self.next_endpoint(own.effect.max(before), hint, later);
        let place = next.as_ref().zip(later.saved());
        let place = place.map(|(next, saved)| self.place_of(next, saved));
        let (turn, policy) = self.turn.as_mut().zip(self.policies.retry.as_deref())?;
        turn.place = place;
        let decided = turn.decide((&self.call, policy), (own, hint), |policy| {
            let saved = later.saved()?;
            Some(failed(&self.call, (saved, policy), (own, before), seen))
        });
        if decided.is_ok() {
            self.fail_over(next.as_ref(), later);
        }
        Some(decided)
    }

    /// Keeps the drained part of a response that is retried.
    pub(super) fn drained(&mut self, kept: DrainedBody) {
        self.last = self.last.take().map(|last| match *last {
            Last::Head(head) => Box::new(Last::Response(head, kept)),
            Last::Response(..) | Last::Failure(_) => last,
        });
    }

    /// Handles a failed or rejected attempt. Returns the next step.
    pub(super) fn failed<N, R>(
        &mut self,
        flight: AttemptInFlight,
        failure: AttemptFailure,
        later: &mut N,
    ) -> NextStep<R>
    where
        N: Resend,
        R: Body<Error: Into<BoxError>>,
    {
        let class = self.class_of_failure(&failure, later);
        self.failed_as(flight, (failure, class), later)
    }

    /// Handles a failed attempt that was classified. Returns the next step.
    pub(super) fn failed_as<N, R>(
        &mut self,
        flight: AttemptInFlight,
        (failure, class): (AttemptFailure, Option<FailureClass>),
        later: &mut N,
    ) -> NextStep<R>
    where
        N: Resend,
        R: Body<Error: Into<BoxError>>,
    {
        let (own, records_before) = (failure.diagnosis(), flight.records_before);
        flight.fail(&failure, class);
        self.record_endpoint(Some(&own), clock::now());
        if let Some(kept) = self.take_kept(&failure, class) {
            return self.decide_by_kept(kept, later);
        }
        let is_rejected = failure.rejected_by().is_some_and(Policy::is_local);
        match is_rejected && own.effect.is_none() {
            true => self.refuse_alone(),
            false => self.end_alone(|account| account.fail()),
        }
        let failure = match self.rejected(failure, later) {
            Ok(next) => return next,
            Err(failure) => failure,
        };
        let Some(turn) = &mut self.turn else {
            self.seen.attempt(own.effect);
            return NextStep::Fail(failure);
        };
        turn.end(&self.call, !own.effect.is_none());
        let before = self.seen.attempt(own.effect);
        let hint = self.hint_of_round(failure.retry_after());
        match self.ask_retry((own, before), (hint, (None, class)), later) {
            Some(Ok(_)) => {
                if !self.call.has_record_after(records_before) {
                    self.call.saw(own.effect);
                }
                self.last = Some(Box::new(Last::Failure(failure)));
                NextStep::Backoff
            }
            Some(Err(reason)) => {
                self.call.stop(Some(reason));
                NextStep::Fail(failure)
            }
            None => NextStep::Fail(failure),
        }
    }
}
