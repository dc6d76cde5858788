//! Handles the end of an attempt: the policies decide the next step.

use std::time::Duration;

use http::response::Parts;
use http::{Method, Response};
use http_body::Body;
use tokio::time::Instant;

use super::attempt::AttemptInFlight;
use super::body::DriverBody;
use super::drain::{DRAIN_TIME, DrainedBody};
use super::fallback::FallbackCall;
use super::later::Resend;
use super::legs::Lead;
use super::retry_loop::{Hint, RetryLoop};
use super::run::{Last, Run};
use super::source::BodySource;
use crate::box_error::BoxError;
use crate::clock;
use crate::diagnose::AttemptFailure;
use crate::error::Error;
use crate::hop::{
    Diagnosis, Effect, Hop, Keyed, Kind, NoRetryReason, Outcome, Policy, TimelineEventKind,
    effect_of_response, is_failure,
};
use crate::options::Unmet;
use crate::policy::Classified;
use crate::policy::idempotency::is_replayed;
use crate::policy::retry::failed;
use crate::timeline::Timeline;

/// The next step after an attempt.
pub(super) enum NextStep<R> {
    /// The state has changed and has to be polled.
    Again,
    /// The call is over, except for the body.
    Deliver(Response<DriverBody<R>>),
    Fail(AttemptFailure),
    /// The same, and nothing stands in for the failure.
    End(AttemptFailure),
    /// The user's fallback is asked for a response that stands in for the failure.
    Fallback(Box<FallbackCall<R>>),
    /// The rest of the response is read until this instant. Then another request is sent.
    Drain(DriverBody<R>, Instant),
    /// Another attempt follows when its wait is over.
    Backoff,
}

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
    fn attempt(&mut self, effect: Effect) -> Effect {
        self.all = self.all.max(effect);
        let leg = self.leg.max(effect);
        std::mem::replace(&mut self.leg, leg)
    }
}

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
        if self.endpoints.is_some() {
            let judged = || self.call.judged(response.status());
            let failed = classified.failed.or_else(judged);
            self.record_endpoint(failed.as_ref(), now);
        }
        let (verdict, watched) = flight.deliver(&response, (classified, now));
        let (head, source) = response.into_parts();
        let retry = self.retry_response((&head, classified), later);
        let effect = self.effect_of(&head, classified.failed);
        let mut body = DriverBody::new(source, effect, Timeline(self.call.clone()));
        body.belongs_to(watched, verdict);
        if let Some(until) = retry {
            self.call.saw(self.seen.all);
            self.last = Some(Box::new(Last::Head(head)));
            return NextStep::Drain(body, until);
        }
        let lead = self.lead(&head, later);
        self.call.saw(self.seen.all);
        match lead {
            Lead::Nowhere => match self.scope.as_ref().filter(|scope| scope.is_late(now)) {
                Some(scope) => NextStep::Fail(scope.expire()),
                None => self.deliver(head, body),
            },
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

    /// Refuses the response of a service that does not keep the call's session on one address. Only the response shows
    /// that it is such a service.
    fn leaves_its_address<R>(
        &self,
        flight: &AttemptInFlight,
        response: &Response<R>,
    ) -> Option<AttemptFailure> {
        let leaves = flight.attempt.is_some() && self.call.may_leave_its_address();
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
        let hint = Hint {
            wait: policy.hint(head),
            by_server: true,
        };
        let headers = Some(&head.headers);
        let next = self.next_endpoint(judged.effect.max(before), hint, later);
        let place = next.as_ref().zip(later.saved());
        let place = place.map(|(next, saved)| self.place_of(next, saved));
        let (turn, policy) = self.turn.as_mut().zip(self.policies.retry.as_deref())?;
        turn.place = place;
        let decided = turn.decide((&self.call, policy), (judged, hint), |policy| {
            let saved = later.saved()?;
            Some(failed(
                &self.call,
                (saved, policy),
                (judged, before),
                (headers, classified.class),
            ))
        });
        match decided {
            Ok(due) => {
                self.fail_over(next.as_ref(), later);
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
        let own = failure.diagnosis();
        // The user's classifier does not see rejections by a policy.
        let class = match failure.rejected_by() {
            None => self.classify_failure(own, later),
            Some(_) => None,
        };
        flight.fail(&failure, class);
        self.record_endpoint(Some(&own), clock::now());
        let may_retry = || self.turn.as_ref().is_some_and(RetryLoop::may_retry);
        if failure.rejected_by() == Some(Policy::Breaker)
            && own.effect.is_none()
            && may_retry()
            && later.is_replayable()
            && self.pass_over(later)
        {
            self.call.rejected_by(Policy::Breaker);
            return NextStep::Backoff;
        }
        let retries = self.turn.as_mut().zip(self.policies.retry.as_deref());
        let Some((turn, _)) = retries else {
            self.seen.attempt(own.effect);
            return NextStep::Fail(failure);
        };
        // These policies are above the wire and sent nothing. A stack below may have sent an earlier leg.
        let local = |policy: &Policy| matches!(policy, Policy::Breaker | Policy::Deadline);
        if let Some(policy) = failure.rejected_by().filter(local)
            && own.effect.is_none()
            && turn.rejected(&self.call)
        {
            self.call.rejected_by(policy);
            return match self.last {
                None => NextStep::Fail(failure),
                Some(_) => self.end(NoRetryReason::Rejected(policy)),
            };
        }
        turn.end(&self.call, !own.effect.is_none());
        let before = self.seen.attempt(own.effect);
        let hint = Hint {
            wait: failure.retry_after(),
            by_server: false,
        };
        let next = self.next_endpoint(own.effect.max(before), hint, later);
        let place = next.as_ref().zip(later.saved());
        let place = place.map(|(next, saved)| self.place_of(next, saved));
        let retries = self.turn.as_mut().zip(self.policies.retry.as_deref());
        let Some((turn, policy)) = retries else {
            return NextStep::Fail(failure);
        };
        turn.place = place;
        let decided = turn.decide((&self.call, policy), (own, hint), |policy| {
            let saved = later.saved()?;
            let seen = (own, before);
            Some(failed(&self.call, (saved, policy), seen, (None, class)))
        });
        match decided {
            Ok(_) => {
                self.fail_over(next.as_ref(), later);
                self.last = Some(Box::new(Last::Failure(failure)));
                NextStep::Backoff
            }
            Err(reason) => {
                self.call.stop(Some(reason));
                NextStep::Fail(failure)
            }
        }
    }

    /// Ends the call without the planned attempt. The caller gets the response or error before it.
    pub(super) fn end<R>(&mut self, reason: NoRetryReason) -> NextStep<R>
    where
        R: Body<Error: Into<BoxError>>,
    {
        let Some(last) = self.last.take() else {
            let nothing = Diagnosis::new(Hop::Encode, Kind::Other, self.seen.all);
            return NextStep::Fail(nothing.into());
        };
        self.call.stop(Some(reason));
        let kept = match *last {
            Last::Failure(failure) => return NextStep::Fail(failure),
            Last::Response(head, kept) => (head, kept),
            Last::Head(head) => (head, DrainedBody::nothing()),
        };
        let (head, body) = self.kept_response(kept, self.seen.all);
        self.deliver(head, body)
    }

    /// Handles an inner service that could not accept the next request.
    pub(super) fn unready<R>(&mut self, error: BoxError) -> NextStep<R>
    where
        R: Body<Error: Into<BoxError>>,
    {
        match self.last {
            // A service that failed in `poll_ready` is not called again.
            Some(_) => self.end(NoRetryReason::ServiceNotReady),
            None => NextStep::Fail(self.diagnose(error)),
        }
    }

    /// Delivers the response of the call, or a substitute for it.
    #[inline]
    fn deliver<R>(&mut self, head: Parts, body: DriverBody<R>) -> NextStep<R> {
        match self.has_substitute() {
            true => self.deliver_or_substitute(head, body),
            false => self.deliver_as_is(head, body),
        }
    }

    pub(super) fn deliver_as_is<R>(&mut self, head: Parts, mut body: DriverBody<R>) -> NextStep<R> {
        if self.policies.idempotency.is_some() && is_replayed(&head.headers) {
            self.call.note(TimelineEventKind::Replayed);
        }
        if let Some(scope) = &self.scope {
            scope.call().answer(Outcome::Responded(head.status));
        }
        body.ends(self.scope.take());
        NextStep::Deliver(Response::from_parts(head, body))
    }

    /// Handles an inner service that was not ready for the next request in time.
    pub(super) fn out_of_time<R>(&mut self) -> NextStep<R>
    where
        R: Body<Error: Into<BoxError>>,
    {
        match self.last {
            Some(_) => self.end(NoRetryReason::DeadlineTooClose {
                wait: Duration::ZERO,
                left: Duration::ZERO,
            }),
            None => NextStep::Fail(self.expire()),
        }
    }
}
