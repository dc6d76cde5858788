//! One run through its attempts.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep_until, timeout_at};

use super::attempt::Keys;
use super::builder::OperationPolicies;
use super::error::FailedWork;
use super::permit::OperationPermit;
use super::{Operation, OperationAttempt, OperationError};
use crate::call::{AmbientOperation, Call, CallTarget};

use crate::clock;
use crate::driver::{Hint, RetryLoop, Scope};
use crate::error::Error;
use crate::hop::{Effect, NoRetryReason, Outcome, Retryability};
use crate::idempotency_key::IdempotencyKey;
use crate::policy::retry;
use crate::record::tracker::{self, Tracker};
use crate::telemetry::{AttemptSpans, operation_span};
use crate::timeout::TimeoutKind;

/// The attempts of one run.
pub(super) struct Run<'o> {
    pub(super) operation: &'o Operation,
    keys: Arc<Keys>,
    /// Holds the claim to retry: calls of this crate inside do not retry meanwhile.
    pub(super) turn: RetryLoop,
    /// The effect of all attempts so far.
    effect: Effect,
    /// Whether each attempt that may have had an effect had read the key.
    is_keyed: bool,
    /// The error of the last attempt.
    pub(super) last: Option<Error>,
    // Dropped last: the call ends when everything else has.
    pub(super) scope: Scope,
}

/// An attempt in progress. If it is dropped before its end, the caller has cancelled.
struct Running {
    tracker: Arc<Tracker>,
    over: bool,
}

impl<'o> Run<'o> {
    pub(super) fn new(operation: &'o Operation) -> Self {
        let OperationPolicies {
            timeouts, policy, ..
        } = &*operation.policies;
        let target = CallTarget::Operation {
            name: Arc::clone(&operation.name),
            destination: operation.destination.clone(),
        };
        let call = Call::operate(target, timeouts.deadline());
        let named = (&*operation.name, operation.destination.as_str());
        let span = operation_span(&operation.maker, &call, named);
        call.listen(&span, operation.observer.as_ref());
        let now = clock::now();
        let budget = policy.budget_of(&operation.destination, now);
        let destination = || Some(operation.destination.clone());
        Self {
            keys: Arc::new(Keys::new(operation.key.clone(), operation.vouches())),
            turn: RetryLoop::new(policy, (&call, None), (budget, now), destination),
            effect: Effect::unsent(),
            is_keyed: true,
            last: None,
            scope: Scope::new(&call),
            operation,
        }
    }

    pub(super) async fn run<T, F>(
        mut self,
        mut work: impl FnMut(OperationAttempt) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, OperationError>>,
    {
        let span = self.scope.call().span();
        let journey = async {
            loop {
                match self.admit().await {
                    Err(refused) => self.refuse(refused)?,
                    Ok(permit) => {
                        self.turn.begin();
                        match self.attempt(permit, &mut work).await {
                            Ok(done) => return Ok(done),
                            Err(failure) => self.judge(failure)?,
                        }
                    }
                }
                sleep_until(self.turn.due()).await;
                self.turn.prepare(self.scope.call());
            }
        };
        let ended = span.around(journey).await;
        ended.map_err(|error: Error| self.scope.fail(error.into(), Effect::unsent()))
    }

    async fn attempt<T, F>(
        &mut self,
        permit: OperationPermit,
        work: &mut impl FnMut(OperationAttempt) -> F,
    ) -> Result<T, FailedWork>
    where
        F: Future<Output = Result<T, OperationError>>,
    {
        let call = self.scope.call().clone();
        let spans = AttemptSpans::of_operation(&call, (call.attempt_count(), permit.since));
        let span = spans.attempt();
        let timeouts = Arc::clone(&self.operation.policies.timeouts);
        let tracker = Arc::new(Tracker::new(timeouts, spans, permit.since));
        call.attempt(Arc::clone(&tracker));
        let mut running = Running {
            tracker: Arc::clone(&tracker),
            over: false,
        };
        let around = AmbientOperation {
            call: call.clone(),
            attempt: Arc::clone(&tracker),
            ends: permit.ends,
        };
        let attempt =
            OperationAttempt::new(call.attempt_count(), around.clone(), Arc::clone(&self.keys));
        let ended = {
            let working = around.scope(tracker::scope(Arc::clone(&tracker), work(attempt)));
            let mut working = pin!(span.around(working));
            // It is dropped before the work, so the attempt is given up before any part of the work is dropped.
            let _give_up = GiveUp(&tracker);
            let ended = poll_fn(|cx| {
                let polled = working.as_mut().poll(cx);
                if polled.is_pending() {
                    tracker.waiting(clock::now());
                }
                polled
            });
            timeout_at(permit.ends, ended).await
        };
        running.over = true;
        let failure = match ended {
            Ok(Ok(done)) => {
                self.turn.end(&call, true);
                self.turn.succeed();
                permit.succeed();
                tracker.facts(|facts| facts.is_done = true);
                tracker.finish();
                call.answer(Outcome::Done);
                return Ok(done);
            }
            Ok(Err(failed)) => FailedWork::failed(failed, &call, &tracker),
            Err(_) if permit.ends < call.deadline() => {
                FailedWork::timeout_kind(TimeoutKind::Attempt, &tracker)
            }
            Err(_) => FailedWork::timeout_kind(TimeoutKind::Deadline, &tracker),
        };
        self.turn.end(&call, !failure.diagnosis.effect.is_none());
        permit.fail(&failure);
        tracker.fail(failure.diagnosis);
        Err(failure)
    }

    /// Handles a failed attempt: a retry after a wait, or the end.
    fn judge(&mut self, failure: FailedWork) -> Result<(), Error> {
        let decided = self.decide(&failure);
        let effect = failure.diagnosis.effect;
        self.effect = self.effect.max(effect);
        self.is_keyed &= effect.is_none()
            || self
                .keys
                .key_read_by(self.scope.call().attempt_count())
                .is_some();
        let mut error = Error::new(failure.diagnosis);
        if let Some(wait) = failure.retry_after {
            error = error.after(wait);
        }
        if let Some(source) = failure.source {
            error = error.because(source);
        }
        match decided {
            Ok(()) => {
                self.last = Some(error);
                Ok(())
            }
            Err(reason) => {
                self.scope.call().stop(Some(reason));
                Err(error)
            }
        }
    }

    /// Decides whether to retry. If so, records the wait and pays for it.
    pub(super) fn decide(&mut self, failure: &FailedWork) -> Result<(), NoRetryReason> {
        let call = self.scope.call();
        let hint = Hint {
            wait: failure.retry_after,
            by_server: true,
        };
        let before = self.effect;
        // An attempt without an effect need not have read the key that makes those before it safe to send again.
        let is_unsent = failure.diagnosis.effect.is_none() && !before.is_none();
        let known = || self.keys.key().filter(|_| is_unsent && self.is_keyed);
        let key = self.keys.key_read_by(call.attempt_count()).or_else(known);
        let failed = |_: &retry::RetryPolicy| {
            Some(retry::FailedAttempt {
                before,
                ..failed(self.operation, call, key, failure)
            })
        };
        let decided = self.turn.decide(
            (call, &self.operation.policies.policy),
            (failure.diagnosis, hint),
            failed,
        );
        decided.map(drop)
    }
}

/// Returns the facts for the retry decision.
fn failed<'a>(
    operation: &Operation,
    call: &Call,
    key: Option<&IdempotencyKey>,
    failure: &FailedWork,
) -> retry::FailedAttempt<'a> {
    let status = failure.diagnosis.status;
    let left = key.and_then(|key| key.expires_at()).map(|at| {
        let left = at.duration_since(clock::wall());
        left.unwrap_or(Duration::ZERO)
    });
    retry::FailedAttempt {
        method: None,
        idempotent: operation.idempotent,
        diagnosis: failure.diagnosis,
        before: Effect::unsent(),
        keyed: key.is_some(),
        vouched: key.is_some() && operation.vouches(),
        key_left: left,
        replayable: true,
        whole_body: true,
        listed: status.is_some_and(|status| operation.policies.policy.lists(call, status)),
        should_retry: None,
        class: failure.class,
        is_throttled: failure.class == Some(Retryability::Transient),
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            self.tracker.cancel();
        }
    }
}

struct GiveUp<'t>(&'t Tracker);

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::Ipv4Addr;
    use std::sync::OnceLock;

    use super::*;
    use crate::hop::{Hop, Kind};
    use crate::policy::retry::RetryConfig;

    const SECS: fn(u64) -> Duration = Duration::from_secs;

    fn once() -> Operation {
        let config = super::super::OperationConfig::new(SECS(10));
        let once = RetryConfig::new().attempts(1);
        Operation::from_config("api", config.retry(once)).unwrap()
    }

    fn connecting() {
        let tracker = tracker::current().unwrap();
        tracker.connecting(Some((Ipv4Addr::LOCALHOST, 1).into()));
    }

    /// A client inside an SDK has hooks, and they find the attempt by the task.
    #[tokio::test(start_paused = true)]
    async fn set_up_that_a_client_of_ours_reported_is_the_hop() {
        let operation = once();
        let run = operation.run(async |_| {
            connecting();
            Err::<(), _>(OperationError::not_sent(io::Error::from(
                io::ErrorKind::ConnectionRefused,
            )))
        });
        let error = run.await.unwrap_err();
        let told = (error.hop(), error.kind(), error.effect());
        assert_eq!(told, (Some(Hop::Connect), Kind::Refused, Effect::None));
        let run = operation.run(async |_| {
            connecting();
            std::future::pending::<Result<(), OperationError>>().await
        });
        let error = run.await.unwrap_err();
        let told = (error.hop(), error.kind(), error.effect());
        assert_eq!(told, (Some(Hop::Connect), Kind::Timeout, Effect::Possible));
    }

    #[tokio::test(start_paused = true)]
    async fn attempt_is_given_up_before_its_work_goes() {
        struct Going<'a>(&'a OnceLock<bool>, Arc<Tracker>);
        impl Drop for Going<'_> {
            fn drop(&mut self) {
                let _ = self.0.set(self.1.is_given_up());
            }
        }
        let operation = once();
        let (expired, cancelled) = (OnceLock::new(), OnceLock::new());
        let hang = async |given_up| {
            let _going = Going(given_up, tracker::current().unwrap());
            std::future::pending::<Result<(), OperationError>>().await
        };
        let _ = operation.run(|_| hang(&expired)).await;
        let run = operation.run(|_| hang(&cancelled));
        let _ = tokio::time::timeout(SECS(1), run).await;
        assert_eq!((expired.get(), cancelled.get()), (Some(&true), Some(&true)));
    }
}
