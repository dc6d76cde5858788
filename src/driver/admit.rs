//! The admission of an attempt: the policies before it in their order, and the wait for a permit or a slot.

use std::task::{Context, Poll, ready};

use http::Request;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::attempt::{ActiveAttempt, AttemptInFlight};
use super::passed::Passed;
use super::policies::Policies;
use super::run::Run;
use crate::clock;
use crate::diagnose::AttemptFailure;
use crate::error::Error;
use crate::hop::{Diagnosis, NoHedgeReason, Policy};
use crate::policy::Subject;
use crate::policy::breaker::Admission;
use crate::policy::rate_limit::Slot;
use crate::redact::redacted;

/// The next step of a request before its attempt.
pub(super) enum Entry {
    Go(AttemptInFlight),
    /// It waits for a permit or a slot, and is admitted again then.
    Wait,
}

impl Run {
    /// Refuses options that no stack can carry out, before a stored response is served or anything is sent.
    pub(super) fn refuse_options(&self) -> Option<AttemptFailure> {
        let invalid = self.call.options().invalid()?;
        Some(Error::from(invalid).into())
    }

    /// Asks the policies whether a request may be sent now, and opens the record of its attempt.
    ///
    /// After a wait it is called again: the circuit may have opened meanwhile. The permit of a probe is not held during
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
                waiting.keep(admission.and_then(Admission::kept));
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
    /// `slot` is the one that a store has granted for the hedge.
    ///
    /// # Errors
    ///
    /// Fails with the policy that rejected the hedge, or for which it would have to wait. Fails if the hedge would be
    /// the probe of a half-open circuit. Nothing was sent.
    pub(super) fn admit_beside<B>(
        &mut self,
        (request, slot): (&mut Request<B>, Option<Slot>),
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
            if let Some(slot) = slot {
                passed.hold(slot, &self.call);
            }
            let subject = (Subject::Request(&*request), &self.call);
            let entered = passed.try_enter(&self.policies, subject, now);
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
            return Err(Error::refused(Policy::Deadline, Diagnosis::too_late()).into());
        }
        if attempt.is_some()
            && let Some(unmet) = self.call.unmet(request, true)
        {
            return Err(Error::from(unmet).into());
        }
        if self.call.is_key_expired(request.headers()) {
            // An earlier process may have used the key. A wait before the attempt may have been too long for it.
            let expired = Error::refused(Policy::Idempotency, Diagnosis::key_expired());
            return Err(expired.of(&self.call).into());
        }
        let mut kept = None;
        if let Some(passed) = passed {
            passed.throttle(&self.policies, Subject::Request(request), now)?;
            kept = passed.kept();
        }
        Ok(match (breaker, kept) {
            (None, _) => None,
            (Some(breaker), Some(ticket)) => Some(breaker.admitted(ticket, &self.call, now)),
            (Some(breaker), None) => {
                breaker.admit((request, self.circuit.take()), &self.call, now)?
            }
        })
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
        let records_before = self.call.record_count();
        let attempt = self.policies.attempt.as_ref();
        let begin = |policy| ActiveAttempt::begin(policy, (&self.call, follows), request, now);
        let attempt = attempt.map(begin);
        if let Some(attempt) = attempt.as_ref().filter(|_| self.endpoints.is_some()) {
            let url = redacted(request.uri());
            attempt.tracker.facts(|facts| facts.url = Some(url));
        }
        let goes_on = attempt.is_none() && self.is_shared;
        AttemptInFlight {
            unrecorded: goes_on.then(|| self.call.clone()),
            records_before,
            is_left: self.policies.leaves_attempts,
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
