//! Decides whether and when a request is sent again: the attempts of one leg, without IO.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::call::{Call, Follows, RetryClaim};
use crate::clock;
use crate::destination::Destination;
use crate::hop::{Diagnosis, Kind, NoRetryReason, TimelineEventKind};
use crate::policy::retry::{Account, FailedAttempt, Remaining, RetryPolicy, SharedBudget, decide};

/// The retries of one leg: its counts, its bounds, and the time of the next attempt.
pub(crate) struct RetryLoop {
    account: Account,
    /// The claim to retry. It is given back when this value is dropped, because only one driver retries a call.
    claim: Option<RetryClaim>,
    left: Remaining,
    /// When the next attempt may begin. `previous` is the latest backoff, without a server's hint.
    due: Instant,
    previous: Option<Duration>,
    /// Whether the latest retry followed an attempt that the server throttled.
    was_throttled: bool,
    /// Whether this driver has retried, in this leg or one before it.
    has_retried: bool,
    /// The attempts in flight, besides the one that is asked about.
    beside: u32,
    /// Whether the failure that is decided next is already charged to the budget.
    is_charged: bool,
    /// Where the next attempt goes, if it is another endpoint.
    pub(super) place: Option<NextPlace>,
}

/// Where the next attempt of a call goes, if it is another endpoint.
pub(super) struct NextPlace {
    /// The call has not tried it: the attempt waits for nothing.
    pub(super) is_untried: bool,
    /// The budget that pays for the attempt.
    pub(super) budget: Option<Arc<SharedBudget>>,
    /// The hint that holds there.
    pub(super) hint: Hint,
}

/// The hint for a retry, from the server's head or from an error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hint {
    pub(crate) wait: Option<Duration>,
    pub(crate) by_server: bool,
}

impl RetryLoop {
    /// Begins the attempts of a leg. `destination` is called only if the config needs it. `before` is the loop of the
    /// previous leg.
    pub(crate) fn new(
        policy: &RetryPolicy,
        (call, before): (&Call, Option<Self>),
        (budget, now): (Arc<SharedBudget>, Instant),
        destination: impl FnOnce() -> Option<Destination>,
    ) -> Self {
        let (most, off) = policy.most_to(call, destination);
        // A driver that makes one attempt leaves the retries to others, until it has retried itself.
        let wanted = most > 1;
        let has_retried = before.as_ref().is_some_and(|before| before.has_retried);
        let claim = before.and_then(|before| before.claim);
        let is_kept = off.is_none() && (wanted || has_retried);
        let claim = match claim.filter(|_| is_kept) {
            Some(claim) => Some(claim.of(most)),
            None => wanted.then(|| call.claim_retries(most)).flatten(),
        };
        let elsewhere = claim.is_none() && (wanted || call.is_retried());
        Self {
            account: Account::open(budget, call, now),
            claim,
            left: Remaining {
                off: off.or_else(|| elsewhere.then_some(NoRetryReason::RetriedUpstream)),
                sent: 0,
                most,
                unsent: 0,
                most_unsent: policy.most_unsent(),
                time: Duration::ZERO,
            },
            due: now,
            previous: None,
            was_throttled: false,
            has_retried,
            beside: 0,
            is_charged: false,
            place: None,
        }
    }

    /// Returns why this driver sends nothing again; `None` if it may.
    pub(crate) fn off(&self) -> Option<&NoRetryReason> {
        self.left.off.as_ref()
    }

    /// Returns how many attempts ended after they were sent, and how many may be sent.
    pub(crate) fn sent(&self) -> (u32, u32) {
        (self.left.sent, self.left.most)
    }

    pub(crate) fn account(&mut self) -> &mut Account {
        &mut self.account
    }

    /// Sets how many attempts are in flight besides the one that is asked about.
    pub(crate) fn set_beside(&mut self, beside: u32) {
        self.beside = beside;
    }

    /// Records that an attempt ended beside others, sent or provably not sent.
    pub(crate) fn end_beside(&mut self, call: &Call, is_sent: bool) {
        self.left.count(is_sent);
        self.account.count(call);
    }

    /// Returns which attempts may follow the next one. Only facts that do not change in between decide: switches,
    /// counts, and whether a sent request may be sent again. Returns `None` if this driver retries nothing.
    pub(crate) fn follows(&self, may_send_twice: bool) -> Option<Follows> {
        if self.left.off.is_some() {
            return None;
        }
        let Remaining {
            sent,
            most,
            unsent,
            most_unsent,
            ..
        } = self.left;
        Some(Follows {
            sent: may_send_twice && sent.saturating_add(1 + self.beside) < most,
            unsent: unsent.saturating_add(1) < most_unsent,
        })
    }

    /// Adds the bounds of another endpoint of the call: the stricter ones hold.
    pub(super) fn also_within(&mut self, (most, off): (u32, Option<NoRetryReason>)) {
        self.left.most = self.left.most.min(most);
        self.left.off = self.left.off.take().or(off);
    }

    /// Returns whether this leg may be retried.
    pub(crate) fn may_retry(&self) -> bool {
        self.left.off.is_none()
    }

    /// Returns whether the latest retry followed an attempt that the server throttled.
    pub(super) fn was_throttled(&self) -> bool {
        self.was_throttled
    }

    /// Returns when the next attempt may begin.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Records that a retry asks the policies. Until it begins, dropping it gives its payment back.
    pub(crate) fn prepare(&mut self, call: &Call) {
        self.account.prepare(call);
    }

    /// Records that the policies admitted an attempt.
    pub(crate) fn begin(&mut self) {
        self.account.begin();
    }

    /// Records that an attempt ended, sent or provably not sent. Hedges of a layer below count, too.
    pub(crate) fn end(&mut self, call: &Call, is_sent: bool) {
        self.account.end(call);
        for _ in 0..self.account.counted(call).max(1) {
            self.left.count(is_sent);
        }
    }

    /// Records that the failure that is decided next is already charged to the budget.
    pub(super) fn charged(&mut self) {
        self.is_charged = true;
    }

    /// Records that the call succeeded with its latest attempt.
    pub(crate) fn succeed(&mut self) {
        self.account.succeed();
    }

    /// Records that a policy rejected the attempt. Returns false if something reached the wire nevertheless.
    pub(crate) fn rejected(&mut self, call: &Call) -> bool {
        let is_unsent = self.account.refused(call);
        if is_unsent {
            self.left.count(false);
        }
        is_unsent
    }

    /// Goes on to another endpoint, after an attempt that a policy rejected and that sent nothing. Returns false if the
    /// budget there does not allow that.
    pub(super) fn pass_over(&mut self, place: NextPlace) -> bool {
        let budget = place.budget;
        budget.is_none_or(|budget| self.account.pass_over(budget))
    }

    /// Decides whether a failed attempt is retried. If so, the retry is paid for, and the wait is recorded. Returns
    /// when the next attempt may begin.
    ///
    /// # Errors
    ///
    /// Fails with the reason why it is not retried.
    pub(crate) fn decide<'a>(
        &mut self,
        (call, policy): (&Call, &RetryPolicy),
        (diagnosis, hint): (Diagnosis, Hint),
        failed: impl FnOnce(&RetryPolicy) -> Option<FailedAttempt<'a>>,
    ) -> Result<Instant, NoRetryReason> {
        let is_charged = std::mem::take(&mut self.is_charged);
        if let Some(off) = &self.left.off {
            return Err(off.clone());
        }
        if self.claim.is_none() && call.was_retried() {
            // A driver of one attempt leaves the retries to a driver below, which has made all attempts.
            let made = self.left.made();
            return Err(NoRetryReason::AttemptsExhausted { made });
        }
        let failed = failed(policy).ok_or(NoRetryReason::BodyNotReplayable)?;
        let now = clock::now();
        let place = self.place.take();
        let hint = place.as_ref().map_or(hint, |place| place.hint);
        let is_untried = place.as_ref().is_some_and(|place| place.is_untried);
        if !diagnosis.kind.is_refusal() && !is_charged {
            self.account.fail();
        }
        self.left.time = call.deadline().saturating_duration_since(now);
        let retry = self.left.made().saturating_sub(1);
        let kind = match failed.is_throttled && failed.method.is_some() {
            true => Kind::Throttled,
            false => diagnosis.kind,
        };
        let cause = (kind, hint.wait);
        let deadline = call.whole_time();
        let times = (self.left.time, deadline);
        let (own, wait) = policy.wait(cause, (retry, self.previous), times);
        let by_server = hint.wait.filter(|_| hint.by_server);
        let checked = by_server.map_or(Ok(()), |hint| policy.check_hint(hint, deadline));
        let wait = match is_untried {
            true => Ok(Duration::ZERO),
            false => checked.map(|()| wait),
        };
        let account = &mut self.account;
        let after_timeout = diagnosis.kind == Kind::Timeout;
        let budget = place.and_then(|place| place.budget);
        let withdraw = || account.withdraw(budget, after_timeout, now);
        let wait = decide(&failed, &self.left, wait, withdraw)?;
        if self.claim.is_none() {
            // This driver's one attempt was not sent, so it retries that attempt. From now on, no outer or inner stack
            // retries.
            self.claim = call.claim_retries(self.left.most);
        }
        self.has_retried = true;
        call.stop(None);
        self.previous = Some(own);
        self.was_throttled = kind == Kind::Throttled;
        self.due = clock::after(now, wait);
        if is_untried {
            return Ok(self.due);
        }
        let hinted = hint.by_server && hint.wait.is_some_and(|hint| hint >= own);
        call.note(TimelineEventKind::Waited { wait, hinted });
        Ok(self.due)
    }
}

#[cfg(test)]
mod tests {
    use crate::timeout::LONGEST;
    use http::Request;

    use super::*;
    use crate::policy::retry::{Budget, RetryConfig};

    fn leg(call: &Call, most: u32, before: Option<RetryLoop>) -> RetryLoop {
        let now = clock::now();
        let budget = Arc::new(SharedBudget::new(Budget::unlimited(), now));
        let policy = RetryPolicy::new(RetryConfig::new().attempts(most), now);
        RetryLoop::new(&policy, (call, before), (budget, now), || None)
    }

    #[tokio::test(start_paused = true)]
    async fn next_leg_announces_the_number_of_its_attempts() {
        // The attempts of both legs, whether the first retried, and the attempts that are announced, if it claims.
        for (first, next, has_retried, expected) in [
            (3, 5, false, Some(5)),
            (5, 2, false, Some(2)),
            (5, 2, true, Some(2)),
            (3, 1, false, None),
            (3, 1, true, Some(1)),
            (1, 4, false, Some(4)),
            (1, 1, false, None),
        ] {
            let mut request = Request::get("https://api.test/").body(()).unwrap();
            let call = Call::begin(&mut request, LONGEST);
            let mut before = leg(&call, first, None);
            before.has_retried = has_retried;
            let next_leg = leg(&call, next, Some(before));
            let announced = next_leg.claim.is_some().then(|| call.most_attempts());
            assert_eq!(announced, expected, "{first} {next} {has_retried}");
            assert_eq!(call.is_retried(), expected.is_some());
            assert!(next_leg.may_retry(), "{first} {next} {has_retried}");
        }
    }
}
