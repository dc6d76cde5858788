//! A rejection by a policy above the wire. Nothing was sent.

use http_body::Body;

use super::judge::NextStep;
use super::later::Resend;
use super::retry_loop::{Hint, RetryLoop};
use super::run::{Last, Run};
use crate::box_error::BoxError;
use crate::diagnose::AttemptFailure;
use crate::hop::{NoRetryReason, Policy};
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
        let may_retry = || self.turn.as_ref().is_some_and(RetryLoop::may_retry);
        if policy == Policy::Breaker
            && may_retry()
            && later.is_replayable()
            && self.pass_over(later)
        {
            self.call.rejected_by(policy);
            return Ok(NextStep::Backoff);
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
            _ => NoRetryReason::Rejected(policy),
        };
        Ok(match self.last {
            None => NextStep::Fail(failure),
            Some(_) => self.end(reason),
        })
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
