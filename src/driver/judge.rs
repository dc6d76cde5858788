//! After an attempt: it was answered or it failed, and the policies decide what comes next.

use std::time::Duration;

use http::response::Parts;
use http::{Method, Response};
use http_body::Body;
use tokio::time::Instant;

use super::attempt::Flight;
use super::body::{DriverBody, Truncated};
use super::drain::{DRAIN_TIME, Kept};
use super::later::Resend;
use super::legs::Lead;
use super::run::{Last, Run};
use super::source::Source;
use super::turn::Hint;
use crate::box_error::BoxError;
use crate::clock;
use crate::diagnose::Failure;
use crate::hop::{
    Diagnosis, Effect, Hop, Keyed, Kind, NotRepeated, Outcome, Policy, What, effect_of_response,
    is_failure,
};
use crate::policy::Classified;
use crate::policy::idempotency::is_replayed;
use crate::policy::retry::failed;
use crate::timeline::Timeline;

/// What comes after an attempt.
pub(super) enum Next<R> {
    /// The state has changed: it is polled.
    Again,
    /// The call is over, but for the body.
    Deliver(Response<DriverBody<R>>),
    Fail(Failure),
    /// What is left of a response is read until then, before another request is sent.
    Drain(DriverBody<R>, Instant),
    /// Another attempt follows when its time has come.
    Backoff,
}

/// What the attempts and legs of a request may have done.
pub(super) struct Seen {
    pub(super) all: Effect,
    /// The same of this leg alone: a redirect asks for another request.
    leg: Effect,
}

impl Seen {
    pub(super) const NOTHING: Self = Self {
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

impl Run {
    /// An attempt was answered: what comes next.
    pub(super) fn answered<N, R>(
        &mut self,
        (flight, now): (&mut Flight, Instant),
        response: Response<Source<R>>,
        later: &mut N,
    ) -> Next<R>
    where
        N: Resend,
        R: Body<Error: Into<BoxError>>,
    {
        let classified = self.classify_response(flight, &response, later);
        let (verdict, watched) = flight.deliver(&response, (classified, now));
        let (head, source) = response.into_parts();
        let retry = self.retry_response((&head, classified), later);
        let effect = self.effect_of(&head, classified.failed);
        let mut body = DriverBody::new(source, effect, Timeline(self.call.clone()));
        body.belongs_to(watched, verdict);
        if let Some(until) = retry {
            self.call.saw(self.seen.all);
            self.last = Some(Box::new(Last::Head(head)));
            return Next::Drain(body, until);
        }
        let lead = self.lead(&head, later);
        self.call.saw(self.seen.all);
        match lead {
            Lead::Nowhere => match self.scope.as_ref().filter(|scope| scope.is_late(now)) {
                Some(scope) => Next::Fail(scope.expire()),
                None => self.deliver(head, body),
            },
            Lead::On => {
                // Another request, and so another destination, budget and circuit.
                if let Some(saved) = later.saved() {
                    self.lead_to((&saved.method, &saved.uri, &saved.headers), now);
                }
                self.last = None;
                self.seen.leg = Effect::None;
                let until = clock::after(now, DRAIN_TIME);
                Next::Drain(body, until.min(self.call.deadline()))
            }
            Lead::Rejected(error) => Next::Fail(error),
        }
    }

    /// What may have been done, as far as this response says.
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

    /// Whether an attempt that was answered is retried: until when the rest is read.
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
        // The attempt knows best what its status meant; without one, there is the status alone.
        let judged = classified.failed.or_else(|| self.call.judged(status));
        let judged = judged.or_else(|| Diagnosis::status(status, &head.headers, Keyed::No))?;
        // A redirect followed below may have led here: then this status is not all that the attempt did.
        let since = self.call.effect_since(self.from);
        let before = self.seen.attempt(judged.effect.max(since)).max(since);
        let hint = Hint {
            wait: policy.hint(head),
            by_server: true,
        };
        let headers = Some(&head.headers);
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
        let own = failure.diagnosis();
        // A rejection by a policy is not for a classifier.
        let class = match failure.rejected_by() {
            None => self.classify_failure(own, later),
            Some(_) => None,
        };
        flight.fail(&failure, class);
        let retries = self.turn.as_mut().zip(self.policies.retry.as_deref());
        let Some((turn, policy)) = retries else {
            self.seen.attempt(own.effect);
            return Next::Fail(failure);
        };
        // Who stands above the wire and let nothing through. A stack below may have sent another leg before.
        let local = |policy: &Policy| matches!(policy, Policy::Breaker | Policy::Deadline);
        if let Some(policy) = failure.rejected_by().filter(local)
            && own.effect.is_none()
            && turn.rejected(&self.call)
        {
            self.call.rejected_by(policy);
            return match self.last {
                None => Next::Fail(failure),
                Some(_) => self.end(NotRepeated::Refused(policy)),
            };
        }
        turn.end(&self.call, !own.effect.is_none());
        let before = self.seen.attempt(own.effect);
        let hint = Hint {
            wait: failure.retry_after(),
            by_server: false,
        };
        let decided = turn.decide((&self.call, policy), (own, hint), |policy| {
            let saved = later.saved()?;
            let seen = (own, before);
            Some(failed(&self.call, (saved, policy), seen, (None, class)))
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

    /// The response of the call.
    fn deliver<R>(&mut self, head: Parts, mut body: DriverBody<R>) -> Next<R> {
        if self.policies.idempotency.is_some() && is_replayed(&head.headers) {
            self.call.note(What::Replayed);
        }
        if let Some(scope) = &self.scope {
            scope.call().answer(Outcome::Answered(head.status));
        }
        body.ends(self.scope.take());
        Next::Deliver(Response::from_parts(head, body))
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
}
