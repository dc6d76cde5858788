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
use crate::hop::{Diagnosis, FailureClass, Kind, NoHedgeReason, Policy, TimelineEventKind};
use crate::policy::breaker::Admission;
use crate::policy::concurrency::{self, Admitted, Permit, Waiter};
use crate::policy::rate_limit::Slot;
use crate::policy::{Classified, Subject, is_overload, throttle};
use crate::redact::redacted;
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
    /// When the response head came.
    answered: Option<Instant>,
}

impl Run {
    /// Refuses options that no stack can carry out, before a stored response is served or anything is sent.
    pub(super) fn refuse_options(&self) -> Option<AttemptFailure> {
        let invalid = self.call.options().invalid()?;
        Some(Error::from(invalid).into())
    }

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
        let now = clock::now();
        let mut passed = match self.policies.bounds_load() {
            true => Some(self.waiting.take().unwrap_or_default()),
            false => None,
        };
        let admission = self.ask_policies(request, passed.as_deref_mut(), now)?;
        if let Some(mut waiting) = passed.take() {
            let subject = (Subject::Request(&*request), &self.call);
            if !waiting.enter(&self.policies, subject, now)? {
                self.waiting = Some(waiting);
                return Ok(Entry::Wait);
            }
            passed = Some(waiting);
        }
        if let Some(turn) = &mut self.turn {
            turn.begin();
        }
        let flight = self.open((request, is_replayable), (admission, passed), now);
        Ok(Entry::Go(flight))
    }

    /// Asks the policies whether a hedge may be sent now, and opens the record of its attempt. A hedge does not wait
    /// and takes no place in a queue. Otherwise it would slow down its own call and others.
    ///
    /// # Errors
    ///
    /// Fails with the policy that rejected the hedge, or for which it would have to wait. Fails if the hedge would be
    /// the probe of a half-open circuit. Nothing was sent.
    pub(super) fn admit_beside<B>(
        &mut self,
        request: &mut Request<B>,
        is_replayable: bool,
    ) -> Result<AttemptInFlight, NoHedgeReason> {
        let now = clock::now();
        let rejected = |failure: AttemptFailure| {
            let policy = failure.rejected_by();
            policy.map_or(NoHedgeReason::Unready, NoHedgeReason::Rejected)
        };
        let mut passed = self.policies.bounds_load().then(Box::<Passed>::default);
        let admission = self.ask_policies(request, passed.as_deref_mut(), now);
        let admission = admission.map_err(rejected)?;
        if admission.as_ref().is_some_and(Admission::is_half_open) {
            // The admission is dropped without a verdict, so the next call is the probe.
            return Err(NoHedgeReason::HalfOpen);
        }
        if let Some(passed) = &mut passed {
            let entered = passed.try_enter(&self.policies, Subject::Request(&*request), now);
            entered.map_err(|error| rejected(error.into()))?;
        }
        Ok(self.open((request, is_replayable), (admission, passed), now))
    }

    /// Asks the policies that never let a request wait.
    #[inline]
    fn ask_policies<B>(
        &mut self,
        request: &Request<B>,
        passed: Option<&mut Passed>,
        now: Instant,
    ) -> Result<Option<Admission>, AttemptFailure> {
        let Policies {
            breaker, attempt, ..
        } = &*self.policies;
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
        if self.call.is_key_expired(request.headers()) {
            // The request has waited, or it is a retry.
            let expired = Error::refused(Policy::Idempotency, Diagnosis::key_expired());
            return Err(expired.of(&self.call).into());
        }
        if let Some(passed) = passed {
            passed.throttle(&self.policies, Subject::Request(request), now)?;
        }
        match breaker {
            Some(breaker) => Ok(breaker.admit((request, self.circuit.take()), &self.call, now)?),
            None => Ok(None),
        }
    }

    /// Opens the record of an attempt that the policies admitted.
    #[inline]
    fn open<B>(
        &self,
        (request, is_replayable): (&mut Request<B>, bool),
        (admission, mut passed): (Option<Admission>, Option<Box<Passed>>),
        now: Instant,
    ) -> AttemptInFlight {
        if let Some(passed) = &mut passed {
            passed.begin();
        }
        let follows = self.follows(request, is_replayable);
        let attempt = self.policies.attempt.as_ref();
        let begin = |policy| ActiveAttempt::begin(policy, (&self.call, follows), request, now);
        let attempt = attempt.map(begin);
        if let Some(attempt) = attempt.as_ref().filter(|_| self.endpoints.is_some()) {
            let url = redacted(request.uri());
            attempt.tracker.facts(|facts| facts.url = Some(url));
        }
        AttemptInFlight {
            admission,
            attempt,
            passed,
        }
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
        self.reserve(policies, (subject, left), now)
    }

    /// Takes a permit and a slot, if both are free now.
    ///
    /// # Errors
    ///
    /// Fails with the rejection of the policy that has none.
    fn try_enter<B>(
        &mut self,
        policies: &Policies,
        subject: Subject<'_, B>,
        now: Instant,
    ) -> Result<(), Error> {
        self.since = Some(now);
        if let Some(policy) = &policies.concurrency {
            self.permit = policy.try_admit(subject, now)?;
        }
        self.reserve(policies, (subject, Duration::ZERO), now)?;
        Ok(())
    }

    /// Reserves a slot, once for each attempt. Returns whether it is due.
    fn reserve<B>(
        &mut self,
        policies: &Policies,
        (subject, left): (Subject<'_, B>, Duration),
        now: Instant,
    ) -> Result<bool, Error> {
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
        match &mut self.queue {
            Some(queue) => {
                let turn = match queue.poll(cx) {
                    Poll::Ready(turn) => turn,
                    Poll::Pending => {
                        ready!(alarm.poll_until(queue.until(), cx));
                        Err(queue.expired())
                    }
                };
                self.queue = None;
                self.note_wait(call, Policy::Concurrency);
                self.permit = Some(turn.map_err(concurrency::rejected)?);
            }
            None => {
                if let Some(slot) = &self.slot {
                    ready!(alarm.poll_until(slot.due(), cx));
                }
                self.note_wait(call, Policy::RateLimit);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Records a wait that is over, also one that ends in a rejection.
    fn note_wait(&self, call: &Call, policy: Policy) {
        if let Some(since) = self.since {
            let wait = clock::now().saturating_duration_since(since);
            call.note(TimelineEventKind::Queued { policy, wait });
        }
    }

    /// Records that the attempt begins.
    pub(crate) fn begin(&mut self) {
        if let Some(permit) = &mut self.permit {
            permit.begin();
        }
    }

    /// Handles a success that has no response head.
    pub(crate) fn succeed(mut self) {
        self.learn(false, clock::now());
        if let Some(ticket) = self.throttle.take() {
            ticket.accept();
        }
    }

    /// Records that the response head is here. The body may be received before the attempt is judged: that time says
    /// nothing about the load of the destination.
    pub(super) fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
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
        let is_late = failed.kind == Kind::Timeout && self.answered.is_none();
        let is_overload = is_late || class == Some(FailureClass::Throttled) || by_status;
        if is_overload || self.answered.is_some() {
            self.learn(is_overload, now);
        }
        if let Some(ticket) = self.throttle.take() {
            ticket.fail(failed, (class, hint), now);
        }
    }

    fn learn(&self, is_overload: bool, now: Instant) {
        if let Some((permit, begun)) = self.permit.as_ref().zip(self.since) {
            let end = self.answered.unwrap_or(now);
            permit.learn(end.saturating_duration_since(begun), is_overload, now);
        }
    }
}
