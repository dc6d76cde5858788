//! The admission of an attempt: the policies in their order, and the wait for a permit or a slot.

use tokio::time::Instant;

use super::builder::OperationPolicies;
use super::error::FailedWork;
use super::permit::OperationPermit;
use super::run::Run;
use crate::clock;
use crate::driver::Passed;
use crate::error::Error;
use crate::hop::{Diagnosis, NoRetryReason, Policy};
use crate::policy::Subject;
use crate::policy::breaker::refused;
use crate::timeout::Timeouts;

impl Run<'_> {
    /// Asks the policies for permission before the work starts, and waits for a permit or a slot.
    pub(super) async fn admit(&self) -> Result<OperationPermit, Error> {
        let (call, operation) = (self.scope.call(), self.operation);
        let OperationPolicies {
            timeouts,
            breaker,
            judge,
            load,
            ..
        } = &*operation.policies;
        let subject = Subject::<()>::Destination(&operation.destination);
        let mut passed = load.bounds_load().then(Passed::default);
        loop {
            let now = clock::now();
            self.check_time(now)?;
            if let Some(passed) = &mut passed {
                passed.throttle(load, subject, now)?;
            }
            let ticket = match passed.as_mut().and_then(Passed::kept) {
                Some(kept) => kept,
                None => {
                    let circuit = breaker.of(operation.destination.clone(), now);
                    let ticket = breaker.admit((circuit, judge), call, now);
                    ticket.map_err(|refusal| refused(&refusal).of(call))?
                }
            };
            if let Some(passed) = &mut passed
                && !passed.enter(load, (subject, call), now)?
            {
                passed.keep(ticket.kept());
                passed.wait(call).await?;
                continue;
            }
            if let Some(passed) = &mut passed {
                passed.begin();
            }
            return Ok(OperationPermit {
                ticket: Some(ticket),
                judge: *judge,
                since: now,
                ends: self.ends(timeouts, now),
                passed,
            });
        }
    }

    /// Handles a rejection by a policy: the throttle is asked again after a wait, as it rejects only a share of the
    /// attempts.
    ///
    /// # Errors
    ///
    /// Fails with the error that was about to be retried, or else with the rejection.
    pub(super) fn refuse(&mut self, refused: Error) -> Result<(), Error> {
        let is_unsent = self.turn.rejected(self.scope.call());
        let Some(policy) = refused.rejected_by() else {
            return Err(refused);
        };
        self.scope.call().rejected_by(policy);
        let reason = match policy {
            Policy::Throttle if is_unsent => match self.decide(&FailedWork::rejected(&refused)) {
                Ok(()) => {
                    self.last.get_or_insert(refused);
                    return Ok(());
                }
                Err(reason) => reason,
            },
            _ => NoRetryReason::Rejected(policy),
        };
        // An expired key may have been used before, so that rejection says more than the error before it.
        let last = self.last.take().filter(|_| refused.had_no_effect());
        Err(match last {
            Some(last) => {
                self.scope.call().stop(Some(reason));
                last
            }
            None => refused,
        })
    }

    fn check_time(&self, now: Instant) -> Result<(), Error> {
        let expires_at = self.operation.key.as_ref().and_then(|key| key.expires_at());
        if expires_at.is_some_and(|at| at <= clock::wall()) {
            return Err(Error::refused(
                Policy::Idempotency,
                Diagnosis::key_expired(),
            ));
        }
        if self.scope.call().deadline() <= now {
            return Err(Error::refused(Policy::Deadline, Diagnosis::too_late()));
        }
        Ok(())
    }

    /// Returns when an attempt that begins now must be over. The attempt counts as sent from its start, because the
    /// sending cannot be observed.
    fn ends(&self, timeouts: &Timeouts, now: Instant) -> Instant {
        let call = self.scope.call();
        let is_permitted = self.operation.idempotent || self.operation.vouches();
        let own = self.turn.follows(is_permitted);
        if let Some(own) = own {
            call.set_follows(own);
        }
        let follows = own.unwrap_or_else(|| call.follows());
        let left = call.deadline().saturating_duration_since(now);
        let attempt = timeouts
            .for_attempt((left, call.whole_time()), follows.sent)
            .attempt();
        clock::after(now, attempt).min(call.deadline())
    }
}
