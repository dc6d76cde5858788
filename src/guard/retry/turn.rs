//! One call's way through its attempts: what was made, what is kept, what comes next.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::response::Parts;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use tokio::time::Instant;

use super::account::Account;
use super::decide::{Failed, Left, decide};
use super::policy::{Failure, Policy};
use super::{Copies, RetryBody, Truncated};
use crate::call::{Call, Repeating};
use crate::clock;
use crate::error::{BoxError, Error, Guard};
use crate::guard::drain::{DRAIN_TIME, Drain, Kept};
use crate::hint::{hint, should_retry};
use crate::hop::{Diagnosis, Effect, Hop, Keyed, Kind, NotRepeated, What, effect_of_response};
use crate::replay::Saved;

/// The attempts of one call to one destination.
pub(super) struct Turn<B> {
    policy: Arc<Policy>,
    call: Call,
    saved: Saved<B>,
    account: Account,
    /// Given back when this ends: only one retry of a call repeats.
    _repeating: Option<Repeating>,
    left: Left,
    /// When the next attempt may begin, and our own part of the wait before it.
    due: Instant,
    previous: Option<Duration>,
    /// What the attempts so far may have done.
    effect: Effect,
    /// Whether the method is safe (RFC 9110 §9.2.1).
    is_safe: bool,
    /// Behind a pointer: nearly every call is one attempt.
    last: Option<Box<Last>>,
}

/// The last real answer.
enum Last {
    /// Its body is being drained.
    Head(Parts, Drain),
    Response(Parts, Kept),
    Error(Error),
}

/// What the caller gets.
type Ended<R> = Result<Response<RetryBody<R>>, Error>;

impl<B> Turn<B> {
    pub(super) fn new(
        request: &Request<B>,
        call: Call,
        policy: Arc<Policy>,
        copies: &impl Copies<B>,
    ) -> Self {
        let (most, off) = policy.most(&call, request.uri());
        // Who makes one attempt only leaves the repeating to others.
        let wanted = most > 1;
        let repeating = wanted.then(|| call.repeat(most)).flatten();
        let elsewhere = wanted && repeating.is_none();
        let off = off.or_else(|| elsewhere.then_some(NotRepeated::CallerRepeats));
        let now = clock::now();
        let budget = policy.budget(request.uri(), now);
        Self {
            saved: Saved::of(request, copies),
            account: Account::open(budget, &call, now),
            _repeating: repeating,
            left: Left {
                off,
                made: 0,
                most,
                time: Duration::ZERO,
            },
            due: now,
            previous: None,
            effect: Effect::None,
            is_safe: request.method().is_safe(),
            last: None,
            policy,
            call,
        }
    }

    /// When the next attempt may begin.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Whether an attempt that was answered is repeated. If not, this is the answer of the call, or
    /// the way to another URL.
    pub(super) fn repeats<R>(&mut self, response: &Response<R>) -> bool
    where
        B: Send + 'static,
    {
        self.left.made += 1;
        self.account.end(&self.call);
        let (status, headers) = (response.status(), response.headers());
        // The attempt knows best what its status meant; without one, there is the status alone.
        let judged = (status.as_u16() >= 400)
            .then(|| self.call.judged(status))
            .flatten()
            .or_else(|| Diagnosis::status(status, headers, Keyed::No));
        let Some(diagnosis) = judged else {
            if status.is_redirection() {
                let nothing = Saved::nothing();
                let saved = std::mem::replace(&mut self.saved, nothing);
                self.call.give_back(Box::new(saved));
            }
            return false;
        };
        let hint = hint(headers, clock::wall());
        let decided = self.decide(diagnosis, (Some(headers), hint));
        self.effect = self.effect.max(diagnosis.effect);
        decided
            .map_err(|reason| self.call.stop(Some(reason)))
            .is_ok()
    }

    /// Keeps the head of an answer that is repeated. Its body is to be read until then.
    pub(super) fn set_aside<R>(&mut self, response: Response<R>) -> (R, Instant) {
        let (head, body) = response.into_parts();
        self.last = Some(Box::new(Last::Head(head, Drain::default())));
        // No longer than the deadline leaves for what comes after.
        let spare = self.call.deadline().saturating_duration_since(self.due) / 2;
        (body, clock::after(clock::now(), DRAIN_TIME.min(spare)))
    }

    /// An attempt failed: how the call ends; `None` if it is repeated.
    pub(super) fn fail<R>(&mut self, error: impl Into<BoxError>) -> Option<Ended<R>>
    where
        B: Send + 'static,
    {
        self.left.made += 1;
        let mut error = Error::of_inner(error, Some(&self.call)).of(&self.call);
        // Who stands above the wire and let nothing through.
        let local = |guard: &Guard| matches!(guard, Guard::Breaker | Guard::Deadline);
        let refused = error.refused_by();
        if let Some(guard) =
            refused.filter(|guard| local(guard) && self.account.refused(&self.call))
        {
            self.call.refused_by(guard);
            return Some(match self.last {
                None => Err(error),
                Some(_) => self.end(NotRepeated::Refused(guard)),
            });
        }
        self.account.end(&self.call);
        let own = error.diagnosis();
        let decided = self.decide(own, (None, error.retry_after()));
        self.effect = self.effect.max(own.effect);
        error.at_least(self.effect);
        match decided {
            Ok(()) => {
                self.last = Some(Box::new(Last::Error(error)));
                None
            }
            Err(reason) => {
                self.call.stop(Some(reason));
                Some(Err(error))
            }
        }
    }

    /// An answer as the caller gets it.
    pub(super) fn live<R>(&self, response: Response<R>) -> Response<RetryBody<R>> {
        let effect = effect_of_response(response.status(), response.headers(), self.is_safe);
        let effect = self.effect.max(effect);
        response.map(|body| RetryBody::live(body, effect))
    }

    /// When the call has to be over.
    pub(super) fn deadline(&self) -> Instant {
        self.call.deadline()
    }

    /// What was left when there was no time left.
    pub(super) fn no_time(&self) -> NotRepeated {
        NotRepeated::NoTime {
            wait: Duration::ZERO,
            left: Duration::ZERO,
        }
    }

    /// A repeat that was to come does not: the caller gets the answer that it was to repeat.
    pub(super) fn end<R>(&mut self, reason: NotRepeated) -> Ended<R> {
        let Some(last) = self.last.take() else {
            let nothing = Diagnosis::new(Hop::Encode, Kind::Other, self.effect);
            return Err(Error::new(nothing).of(&self.call));
        };
        self.call.stop(Some(reason));
        match *last {
            Last::Error(error) => Err(error),
            Last::Response(head, kept) => Ok(self.kept_response(head, kept)),
            Last::Head(head, drain) => Ok(self.kept_response(head, drain.kept())),
        }
    }

    fn kept_response<R>(&self, mut head: Parts, kept: Kept) -> Response<RetryBody<R>> {
        if kept.truncated {
            head.extensions.insert(Truncated);
        }
        Response::from_parts(head, RetryBody::kept(kept, self.effect))
    }

    /// Whether it is repeated; if so, the wait is noted and paid for.
    fn decide(
        &mut self,
        diagnosis: Diagnosis,
        (headers, hint): (Option<&HeaderMap>, Option<Duration>),
    ) -> Result<(), NotRepeated>
    where
        B: 'static,
    {
        self.saved.reclaim(&self.call);
        let now = clock::now();
        self.left.time = self.call.deadline().saturating_duration_since(now);
        let policy = Arc::clone(&self.policy);
        let repeat = self.left.made - 1;
        let told = (diagnosis.kind, hint);
        let (own, wait) = policy.wait(told, (repeat, self.previous), self.left.time);
        let failed = Failed {
            before: self.effect,
            ..Self::failed(&self.call, (&self.saved, &policy), diagnosis, headers)
        };
        let account = &mut self.account;
        let wait = decide(&failed, &self.left, wait, || account.withdraw(now))?;
        self.call.stop(None);
        self.previous = Some(own);
        self.due = clock::after(now, wait);
        // An error's hint is our own knowledge, such as how long a failed look-up is remembered.
        let asked = headers.is_some() && hint.is_some_and(|hint| hint >= own);
        self.call.note(What::Waited { wait, asked });
        Ok(())
    }

    fn failed<'a>(
        call: &'a Call,
        (saved, policy): (&'a Saved<B>, &'a Policy),
        diagnosis: Diagnosis,
        headers: Option<&'a HeaderMap>,
    ) -> Failed<'a> {
        let Saved { method, uri, .. } = saved;
        let named = headers.zip(policy.settings.should_retry_header.as_ref());
        let status = diagnosis.status;
        Failed {
            method: Some(method),
            idempotent: method.is_idempotent(),
            diagnosis,
            before: Effect::None,
            keyed: call.carries_key(&saved.headers),
            vouched: call.vouches(&saved.headers),
            key_left: call.key_left(&saved.headers),
            replayable: saved.body.is_some(),
            whole_body: call.options().whole_body.is_some(),
            listed: status.is_some_and(|status| policy.lists(call, status)),
            should_retry: named.and_then(|(headers, name)| should_retry(headers, name)),
            class: policy.classify.as_deref().and_then(|classify| {
                classify(&Failure {
                    method,
                    uri,
                    diagnosis,
                    headers,
                })
            }),
        }
    }

    pub(super) fn poll_drain<R: Body>(
        &mut self,
        body: Pin<&mut R>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        match self.last.as_deref_mut() {
            Some(Last::Head(_, drain)) => drain.poll(body, cx),
            _ => Poll::Ready(()),
        }
    }

    /// What was drained is what remains of the answer.
    pub(super) fn keep(&mut self) {
        self.last = self.last.take().map(|last| match *last {
            Last::Head(head, drain) => Box::new(Last::Response(head, drain.kept())),
            Last::Response(..) | Last::Error(_) => last,
        });
    }

    /// The request of the next attempt.
    pub(super) fn again(&mut self, copies: &impl Copies<B>) -> Option<Request<B>> {
        let request = self.saved.again(&self.call, copies)?;
        self.account.begin(&self.call);
        Some(request)
    }
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
