//! The admission of an attempt: the policies before it in their order, and the wait for a permit or a slot.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::attempt::{ActiveAttempt, AttemptInFlight};
use super::policies::Policies;
use super::run::Run;
use crate::call::Call;
use crate::clock;
use crate::diagnose::AttemptFailure;
use crate::error::Error;
use crate::hop::{Diagnosis, FailureClass, Kind, Policy, TimelineEventKind};
use crate::policy::concurrency::{self, Admitted, Permit, Waiter};
use crate::policy::rate_limit::Slot;
use crate::policy::{Classified, Subject, is_overload, throttle};
use crate::timeout::TimeoutKind;

/// The next step of a request before its attempt.
pub(super) enum Entry {
    Go(AttemptInFlight),
    /// It waits for a permit or a slot, and is admitted again then.
    Wait,
}

/// The parts that an attempt holds of the policies for the load of its destination.
#[derive(Default)]
pub(crate) struct Passed {
    throttle: Option<throttle::Ticket>,
    permit: Option<Permit>,
    slot: Option<Slot>,
    /// The place in the queue, until the permit is there.
    queue: Option<Waiter>,
    /// When the current wait began, or the attempt.
    since: Option<Instant>,
}

impl Run {
    /// Asks the policies whether a request may be sent now, and opens the record of its attempt.
    ///
    /// After a wait it is called again: the circuit may have opened meanwhile. A circuit's permit is not held during
    /// the wait.
    ///
    /// # Errors
    ///
    /// Fails with the rejection of a policy: nothing was sent.
    pub(super) fn admit<B>(
        &mut self,
        request: &mut Request<B>,
        is_replayable: bool,
    ) -> Result<Entry, AttemptFailure> {
        let Policies {
            breaker, attempt, ..
        } = &*self.policies;
        let now = clock::now();
        let mut passed = match self.policies.bounds_load() {
            true => Some(self.waiting.take().unwrap_or_default()),
            false => None,
        };
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
        if let Some(passed) = &mut passed {
            passed.throttle(&self.policies, Subject::Request(&*request), now)?;
        }
        let admission = match breaker {
            Some(breaker) => breaker.admit((request, self.circuit.take()), &self.call, now)?,
            None => None,
        };
        if let Some(mut waiting) = passed.take() {
            let subject = (Subject::Request(&*request), &self.call);
            if !waiting.enter(&self.policies, subject, now)? {
                self.waiting = Some(waiting);
                return Ok(Entry::Wait);
            }
            passed = Some(waiting);
        }
        let follows = self.follows(request, is_replayable);
        let attempt = attempt.as_ref();
        let begin = |policy| ActiveAttempt::begin(policy, (&self.call, follows), request, now);
        let attempt = attempt.map(begin);
        Ok(Entry::Go(AttemptInFlight {
            admission,
            attempt,
            passed,
        }))
    }

    /// Ready when the wait for a permit or a slot is over.
    pub(super) fn poll_waiting(
        &mut self,
        alarm: &mut Alarm<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), AttemptFailure>> {
        let Some(waiting) = &mut self.waiting else {
            return Poll::Ready(Ok(()));
        };
        let ended = ready!(waiting.poll(&self.call, alarm, cx));
        Poll::Ready(ended.map_err(|error| {
            self.waiting = None;
            error.into()
        }))
    }
}

impl Passed {
    /// Asks the throttle, once for each attempt.
    pub(crate) fn throttle<B>(
        &mut self,
        policies: &Policies,
        subject: Subject<'_, B>,
        now: Instant,
    ) -> Result<(), Error> {
        if let Some(policy) = &policies.throttle
            && self.throttle.is_none()
        {
            self.throttle = policy.admit(subject, now)?;
        }
        Ok(())
    }

    /// Asks for a permit, then for a slot. Returns false if the request has to wait for one of them.
    pub(crate) fn enter<B>(
        &mut self,
        policies: &Policies,
        (subject, call): (Subject<'_, B>, &Call),
        now: Instant,
    ) -> Result<bool, Error> {
        self.since = Some(now);
        let left = call.deadline().saturating_duration_since(now);
        if let Some(policy) = &policies.concurrency
            && self.permit.is_none()
        {
            let priority = call.options().priority.unwrap_or_default();
            match policy.admit(subject, (priority, left), now)? {
                Some(Admitted::Permit(permit)) => self.permit = Some(permit),
                Some(Admitted::Waiter(waiter)) => {
                    self.queue = Some(waiter);
                    return Ok(false);
                }
                None => {}
            }
        }
        if let Some(policy) = &policies.rate_limit
            && self.slot.is_none()
        {
            self.slot = policy.reserve(subject, left, now)?;
            return Ok(self.slot.as_ref().is_none_or(|slot| slot.due() <= now));
        }
        Ok(true)
    }

    /// Waits for the permit or the slot.
    ///
    /// # Errors
    ///
    /// Fails with the rejection of the policy.
    pub(crate) async fn wait(&mut self, call: &Call) -> Result<(), Error> {
        let mut alarm = pin!(None);
        poll_fn(|cx| self.poll(call, &mut Alarm(alarm.as_mut()), cx)).await
    }

    /// Ready when the wait is over.
    fn poll(
        &mut self,
        call: &Call,
        alarm: &mut Alarm<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let policy = match &mut self.queue {
            Some(queue) => {
                let turn = match queue.poll(cx) {
                    Poll::Ready(turn) => turn,
                    Poll::Pending => {
                        ready!(alarm.poll_until(queue.until(), cx));
                        Err(queue.expired())
                    }
                };
                self.queue = None;
                match turn {
                    Ok(permit) => self.permit = Some(permit),
                    Err(rejection) => {
                        return Poll::Ready(Err(concurrency::rejected(rejection)));
                    }
                }
                Policy::Concurrency
            }
            None => {
                if let Some(slot) = &self.slot {
                    ready!(alarm.poll_until(slot.due(), cx));
                }
                Policy::RateLimit
            }
        };
        if let Some(since) = self.since {
            let wait = clock::now().saturating_duration_since(since);
            call.note(TimelineEventKind::Queued { policy, wait });
        }
        Poll::Ready(Ok(()))
    }

    /// Handles a success that has no response head.
    pub(crate) fn succeed(mut self) {
        self.learn(false, clock::now());
        if let Some(ticket) = self.throttle.take() {
            ticket.accept();
        }
    }

    /// Handles the response head of the attempt. The permit is held to the end of the body.
    pub(super) fn head<R>(&mut self, response: &Response<R>, classified: Classified, now: Instant) {
        let (status, headers) = (response.status(), response.headers());
        if let Some(slot) = self.slot.take() {
            slot.head(headers, now);
        }
        let overload = is_overload(status, classified.class);
        self.learn(overload, now);
        if let Some(ticket) = self.throttle.take() {
            let is_failed = classified.failed.is_some();
            ticket.head((status, headers), (classified.class, is_failed), now);
        }
    }

    /// Handles a failed attempt.
    pub(crate) fn fail(
        mut self,
        failed: &Diagnosis,
        (class, hint): (Option<FailureClass>, Option<Duration>),
    ) {
        let now = clock::now();
        let by_status = failed
            .status
            .is_some_and(|status| is_overload(status, class));
        if failed.kind == Kind::Timeout || class == Some(FailureClass::Throttled) || by_status {
            self.learn(true, now);
        }
        if let Some(ticket) = self.throttle.take() {
            ticket.fail(failed, (class, hint), now);
        }
    }

    fn learn(&self, is_overload: bool, now: Instant) {
        if let Some((permit, begun)) = self.permit.as_ref().zip(self.since) {
            permit.learn(begun, is_overload, now);
        }
    }
}
