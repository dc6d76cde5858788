//! The failure of a round that decides if the last attempt in flight sent nothing.

use std::time::Duration;

use http_body::Body;

use super::later::Resend;
use super::next_step::NextStep;
use super::retry_loop::Hint;
use super::run::{Last, Run};
use crate::box_error::BoxError;
use crate::clock;
use crate::diagnose::AttemptFailure;
use crate::hop::{Diagnosis, Effect, FailureClass, Policy};
use crate::policy::retry::may_pass;

/// The greatest failure of a round that may pass.
pub(super) struct KeptFailure {
    failed: Diagnosis,
    class: Option<FailureClass>,
    /// How many attempts had begun before it.
    before: u32,
    /// The head of its response, or its error.
    last: Last,
}

impl Run {
    /// Records that an attempt failed without a response while others are in flight. They go on.
    pub(super) fn fail_beside(&mut self, failure: AttemptFailure, class: Option<FailureClass>) {
        let failed = failure.diagnosis();
        self.record_endpoint(Some(&failed), clock::now());
        if !failed.kind.is_refusal() {
            self.charge_beside();
        }
        let retry = self.policies.retry.as_deref();
        let is_kept =
            failure.rejected_by().is_none() && may_pass(retry, &self.call, &failed, (None, class));
        if is_kept {
            self.keep(failed, class, Last::Failure(failure));
        }
        self.end_beside(failed.effect);
    }

    /// Keeps a failure that may pass, unless one with a greater effect is kept.
    pub(super) fn keep(&mut self, failed: Diagnosis, class: Option<FailureClass>, last: Last) {
        if let Some(hedges) = &mut self.hedges
            && hedges
                .kept
                .as_ref()
                .is_none_or(|kept| kept.failed.effect <= failed.effect)
        {
            hedges.kept = Some(Box::new(KeptFailure {
                failed,
                class,
                before: hedges.ended,
                last,
            }));
        }
    }

    /// Returns the failure that decides in place of this one, which ended the round. A rejection by a policy below, or
    /// a permanent failure that sent nothing, says nothing about the attempts that were sent.
    pub(super) fn take_kept(
        &mut self,
        failure: &AttemptFailure,
        class: Option<FailureClass>,
    ) -> Option<KeptFailure> {
        let hedges = self.hedges.as_deref_mut()?;
        let kept = hedges.kept.take()?;
        let failed = failure.diagnosis();
        let is_rejection = failure.rejected_by().is_some_and(Policy::is_local);
        let retry = self.policies.retry.as_deref();
        let is_unsent = failed.effect.is_none()
            && (is_rejection || !may_pass(retry, &self.call, &failed, (None, class)));
        is_unsent.then_some(*kept)
    }

    /// Decides the next step by the failure that was kept.
    pub(super) fn decide_by_kept<N, R>(&mut self, kept: KeptFailure, later: &mut N) -> NextStep<R>
    where
        N: Resend,
        R: Body<Error: Into<BoxError>>,
    {
        let KeptFailure {
            failed,
            class,
            before,
            last,
        } = kept;
        self.call.decide_by(before);
        self.end_alone(|_| {});
        if let Some(turn) = &mut self.turn {
            turn.end(&self.call, false);
            turn.charged();
        }
        let (own_hint, headers) = match &last {
            Last::Head(head) | Last::Response(head, _) => (None, Some(&head.headers)),
            Last::Failure(failure) => (failure.retry_after(), None),
        };
        let hint = self.hint_of_round(own_hint);
        let before = self.seen.attempt(Effect::unsent());
        let seen = (headers, class);
        let decided = self.ask_retry((failed, before), (hint, seen), later);
        self.last = Some(Box::new(last));
        match decided {
            Some(Ok(_)) => NextStep::Backoff,
            Some(Err(reason)) => self.end(reason),
            None => self.deliver_last(),
        }
    }

    /// Returns the hint of a failure without a response, or that of the round if it is longer.
    pub(super) fn hint_of_round(&self, own: Option<Duration>) -> Hint {
        let of_round = self.hedges.as_ref();
        let of_round = of_round.and_then(|hedges| hedges.hint_of_round(None));
        Hint {
            wait: own.max(of_round),
            by_server: of_round.is_some(),
        }
    }
}
