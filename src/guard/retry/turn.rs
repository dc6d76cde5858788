//! One call's way through its attempts: what was made, what is kept, what comes next.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::response::Parts;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use tokio::time::Instant;

use super::bucket::SharedBudget;
use super::decide::{Failed, Left, decide};
use super::policy::{Failure, Policy};
use super::{Copies, RetryBody, Truncated};
use crate::call::{Call, Repeating};
use crate::clock;
use crate::error::{BoxError, Error};
use crate::guard::drain::{DRAIN_TIME, Drain, Kept};
use crate::hint::{hint, should_retry};
use crate::hop::{Diagnosis, Hop, Keyed, Kind, NotRepeated, What};
use crate::replay::Saved;

/// The attempts of one call to one destination.
pub(super) struct Turn<B> {
    policy: Arc<Policy>,
    call: Call,
    saved: Saved<B>,
    budget: Arc<SharedBudget>,
    /// Given back when this ends: only one retry of a call repeats.
    _repeating: Option<Repeating>,
    left: Left,
    /// When the next attempt may begin, and our own part of the wait before it.
    due: Instant,
    previous: Option<Duration>,
    /// Whether a repeat is paid for that has not begun.
    paid: bool,
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

/// What comes next.
#[expect(clippy::large_enum_variant, reason = "handed on at once, never kept")]
pub(super) enum Next<R> {
    Return(Result<Response<RetryBody<R>>, Error>),
    /// Read what is left of an answer, until then.
    Drain(R, Instant),
    Wait,
}

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
        budget.deposit(now);
        Self {
            saved: Saved::of(request, copies),
            budget,
            _repeating: repeating,
            left: Left {
                off,
                made: 0,
                most,
                time: Duration::ZERO,
            },
            due: now,
            previous: None,
            paid: false,
            last: None,
            policy,
            call,
        }
    }

    /// When the next attempt may begin.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// An attempt ended.
    pub(super) fn judge<R, E>(&mut self, ended: Result<Response<R>, E>) -> Next<R>
    where
        B: Send + 'static,
        E: Into<BoxError>,
    {
        self.left.made += 1;
        self.charge_connection();
        match ended {
            Ok(response) => self.judge_answer(response),
            Err(error) => {
                let error = Error::of_inner(error, Some(&self.call)).of(&self.call);
                self.judge_error(error)
            }
        }
    }

    fn judge_answer<R>(&mut self, response: Response<R>) -> Next<R>
    where
        B: Send + 'static,
    {
        let (status, headers) = (response.status(), response.headers());
        // The attempt knows best what its status meant; without one, there is the status alone.
        let judged = (status.as_u16() >= 400)
            .then(|| self.call.judged(status))
            .flatten()
            .or_else(|| Diagnosis::status(status, headers, Keyed::No));
        let Some(diagnosis) = judged else {
            return self.answer(response);
        };
        let hint = hint(response.headers(), clock::wall());
        match self.decide(diagnosis, (Some(response.headers()), hint)) {
            Ok(()) => {
                let (head, body) = response.into_parts();
                self.last = Some(Box::new(Last::Head(head, Drain::default())));
                // No longer than the deadline leaves for what comes after.
                let spare = self.call.deadline().saturating_duration_since(self.due) / 2;
                Next::Drain(body, clock::after(clock::now(), DRAIN_TIME.min(spare)))
            }
            Err(reason) => {
                self.call.stop(Some(reason));
                Next::Return(Ok(response.map(RetryBody::live)))
            }
        }
    }

    /// No failure: this is the answer of the call, or the way to another URL.
    fn answer<R>(&mut self, response: Response<R>) -> Next<R>
    where
        B: Send + 'static,
    {
        if response.status().is_redirection() {
            let nothing = Saved::nothing();
            let saved = std::mem::replace(&mut self.saved, nothing);
            self.call.give_back(Box::new(saved));
        }
        Next::Return(Ok(response.map(RetryBody::live)))
    }

    fn judge_error<R>(&mut self, error: Error) -> Next<R>
    where
        B: Send + 'static,
    {
        if let Some(guard) = error.refused_by() {
            self.call.note(What::Refused(guard));
            if self.last.is_none() {
                // Nor did the call come to anything: else an open circuit would save up for a storm.
                self.budget.take_back(clock::now());
                return Next::Return(Err(error));
            }
            // It cost the destination nothing.
            self.budget.give_back(clock::now());
            return self.end(NotRepeated::Refused(guard));
        }
        match self.decide(error.diagnosis(), (None, error.retry_after())) {
            Ok(()) => {
                self.last = Some(Box::new(Last::Error(error)));
                Next::Wait
            }
            Err(reason) => {
                self.call.stop(Some(reason));
                Next::Return(Err(error))
            }
        }
    }

    /// A repeat that was to come does not: the caller gets the answer that it was to repeat.
    pub(super) fn end<R>(&mut self, reason: NotRepeated) -> Next<R> {
        let Some(last) = self.last.take() else {
            let nothing = Diagnosis::new(Hop::Encode, Kind::Other, self.call.effect());
            return Next::Return(Err(Error::new(nothing).of(&self.call)));
        };
        self.call.stop(Some(reason));
        Next::Return(match *last {
            Last::Error(error) => Err(error),
            Last::Response(head, kept) => Ok(self.kept_response(head, kept)),
            Last::Head(head, drain) => Ok(self.kept_response(head, drain.kept())),
        })
    }

    fn kept_response<R>(&self, mut head: Parts, kept: Kept) -> Response<RetryBody<R>> {
        if kept.truncated {
            head.extensions.insert(Truncated);
        }
        Response::from_parts(head, RetryBody::kept(kept, &self.call))
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
        let failed = self.failed(diagnosis, headers);
        let decided = decide(&failed, &self.left, wait, || self.budget.withdraw(now));
        let wait = decided?;
        self.paid = true;
        self.call.stop(None);
        self.previous = Some(own);
        self.due = clock::after(now, wait);
        let asked = hint.is_some();
        self.call.note(What::Waited { wait, asked });
        Ok(())
    }

    fn failed<'a>(&'a self, diagnosis: Diagnosis, headers: Option<&'a HeaderMap>) -> Failed<'a> {
        let Saved { method, uri, .. } = &self.saved;
        let settings = &self.policy.settings;
        let classify = self.policy.classify.as_deref();
        let named = headers.zip(settings.should_retry_header.as_ref());
        let status = diagnosis.status;
        Failed {
            method,
            diagnosis,
            keyed: self.call.carries_key(&self.saved.headers),
            vouched: self.call.vouches_until(&self.saved.headers, self.left.time),
            replayable: self.saved.body.is_some(),
            whole_body: self.call.options().whole_body.is_some(),
            listed: status.is_some_and(|status| self.policy.lists(&self.call, status)),
            should_retry: named.and_then(|(headers, name)| should_retry(headers, name)),
            class: classify.and_then(|classify| {
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
        self.paid = false;
        Some(request)
    }

    /// A connection that only a repeat needed is paid for like a repeat.
    fn charge_connection(&self) {
        if self.left.made < 2 {
            return;
        }
        let last = self.call.last();
        if last.is_some_and(|tracker| tracker.facts(|facts| !facts.dials.is_empty())) {
            self.budget.charge(clock::now());
        }
    }
}

impl<B> Drop for Turn<B> {
    fn drop(&mut self) {
        if self.paid {
            self.budget.give_back(clock::now());
        }
    }
}
