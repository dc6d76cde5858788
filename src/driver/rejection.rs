//! A rejection by a policy above the wire. Nothing was sent.

use http_body::Body;

use super::later::Resend;
use super::next_step::NextStep;
use super::retry_loop::{Hint, RetryLoop};
use super::run::{Last, Run};
use crate::box_error::BoxError;
use crate::diagnose::AttemptFailure;
use crate::hop::{FailureClass, NoRetryReason, Policy};
use crate::policy::retry::failed;

impl Run {
    /// Handles the rejection of an attempt. Gives any other failure back.
    pub(super) fn rejected<N, R>(
        &mut self,
        failure: AttemptFailure,
        later: &mut N,
    ) -> Result<NextStep<R>, AttemptFailure>
    where
        N: Resend,
        R: Body<Error: Into<BoxError>>,
    {
        // A stack below may have sent an earlier leg.
        let is_unsent = failure.diagnosis().effect.is_none();
        let policy = failure.rejected_by().filter(|policy| policy.is_local());
        let Some(policy) = policy.filter(|_| is_unsent) else {
            return Err(failure);
        };
        let may_retry = self.turn.as_ref().is_some_and(RetryLoop::may_retry);
        if policy == Policy::Breaker
            && let Some(endpoints) = &mut self.endpoints
        {
            endpoints.reject();
            if may_retry && later.is_replayable() && self.pass_over(later) {
                self.call.rejected_by(policy);
                return Ok(NextStep::Backoff);
            }
        }
        let Some(turn) = self.turn.as_mut() else {
            return Err(failure);
        };
        if !turn.rejected(&self.call) {
            return Err(failure);
        }
        self.call.rejected_by(policy);
        let reason = match policy {
            Policy::Throttle => match self.ask_again(&failure, later) {
                Ok(()) => {
                    let rejection = || Box::new(Last::Failure(failure));
                    self.last.get_or_insert_with(rejection);
                    return Ok(NextStep::Backoff);
                }
                Err(reason) => reason,
            },
            Policy::Breaker if self.last.is_some() => match self.go_back(&failure, later) {
                Ok(()) => return Ok(NextStep::Backoff),
                Err(reason) => reason,
            },
            _ => NoRetryReason::Rejected(policy),
        };
        Ok(match self.last {
            None => NextStep::Fail(failure),
            Some(_) => self.end(reason),
        })
    }

    /// Leads the request back to an endpoint that the call has tried, because the circuit of the current one is open. The
    /// retry waits there as it would have without the current one.
    fn go_back<N: Resend>(
        &mut self,
        failure: &AttemptFailure,
        later: &mut N,
    ) -> Result<(), NoRetryReason> {
        let rejected = NoRetryReason::Rejected(Policy::Breaker);
        let (own, before) = (failure.diagnosis(), self.seen.all);
        let nothing = Hint {
            wait: None,
            by_server: false,
        };
        let next = self.next_endpoint(before, nothing, later);
        let (next, saved) = next.zip(later.saved()).ok_or_else(|| rejected.clone())?;
        let place = self.place_of(&next, saved);
        let retries = self.turn.as_mut().zip(self.policies.retry.as_deref());
        let (turn, policy) = retries.ok_or(rejected)?;
        turn.place = Some(place);
        // An open circuit says nothing about the other endpoint. If that one has asked for fewer requests, it still does.
        let class = match turn.was_throttled() {
            true => FailureClass::Throttled,
            false => FailureClass::Transient,
        };
        let seen = (None, Some(class));
        turn.decide((&self.call, policy), (own, nothing), |policy| {
            let saved = later.saved()?;
            Some(failed(&self.call, (saved, policy), (own, before), seen))
        })?;
        self.fail_over(Some(&next), later);
        Ok(())
    }

    /// Decides whether the throttle is asked again after a wait. It rejects only a share of the attempts, so the next
    /// one may pass. The call pays for it as for a retry, and gets that back if it is rejected again.
    fn ask_again<N: Resend>(
        &mut self,
        failure: &AttemptFailure,
        later: &mut N,
    ) -> Result<(), NoRetryReason> {
        let rejected = NoRetryReason::Rejected(Policy::Throttle);
        let retries = self.turn.as_mut().zip(self.policies.retry.as_deref());
        let (turn, policy) = retries.ok_or(rejected)?;
        let (own, before) = (failure.diagnosis(), self.seen.all);
        let hint = Hint {
            wait: failure.retry_after(),
            by_server: true,
        };
        turn.place = None;
        let decided = turn.decide((&self.call, policy), (own, hint), |policy| {
            let saved = later.saved()?;
            Some(failed(
                &self.call,
                (saved, policy),
                (own, before),
                (None, None),
            ))
        });
        decided.map(drop)
    }
}
