//! Decides whether a call is retried: pure.
//!
//! | fact | retried |
//! |---|---|
//! | retries are off, for another destination, or the caller's | no |
//! | the server's should-retry header says so | no, or as if the failure were transient |
//! | the failure is permanent (a certificate, NXDOMAIN, a status that is not listed) | no |
//! | a policy rejected it before it was sent | only if it was the throttle |
//! | effect none | every method |
//! | effect declined | an idempotent request, a key that the server honors, or a responder that asked for the retry |
//! | effect possible | an idempotent request, or a key that the server honors |
//! | effect done | as for possible, and only to receive a body that broke off |
//! | the server will have forgotten the key by then | no |
//! | the body cannot be sent again | only if no connection took it |
//! | the bound of sent or of unsent attempts is reached | no |
//! | the server's hint is longer than the call waits for | no |
//! | the next wait does not fit into the time left | no |
//! | the budget is empty | no |
//!
//! The first row that applies gives the reason that is recorded. The effect is the greatest of the attempts'. The
//! responder asks for a retry by 429, by 425 to the first attempt, or by its should-retry header. The user's
//! classifier may also say that a failure is throttling (DynamoDB throttles with 400). The closure of an operation
//! may say the same.

use std::time::Duration;

use http::Method;

use crate::hop::{Diagnosis, Effect, Hop, Kind, NoRetryReason, Retryability, name};

/// A failed attempt, and the effect of the attempts before it.
#[derive(Clone, Debug)]
pub(crate) struct FailedAttempt<'a> {
    /// `None` for an operation.
    pub(crate) method: Option<&'a Method>,
    /// Whether the request is idempotent, by its method or because the caller says so.
    pub(crate) idempotent: bool,
    pub(crate) diagnosis: Diagnosis,
    /// The greatest effect of the attempts before this one.
    pub(crate) before: Effect,
    /// Whether the request carried a key that the server honors.
    pub(crate) keyed: bool,
    pub(crate) vouched: bool,
    /// How long the server will remember the key, if that is known.
    pub(crate) key_left: Option<Duration>,
    /// Whether the body can be sent again.
    pub(crate) replayable: bool,
    /// Whether the response body is received inside the attempt.
    pub(crate) whole_body: bool,
    /// Whether the status is in the list of retried statuses.
    pub(crate) listed: bool,
    /// The decision of the server's should-retry header or of the user's classifier.
    pub(crate) should_retry: Option<bool>,
    pub(crate) class: Option<Retryability>,
    /// Whether the server asked for fewer requests.
    pub(crate) is_throttled: bool,
}

/// The attempts, the time and the switches that remain for a retry.
#[derive(Clone, Debug)]
pub(crate) struct Remaining {
    /// Why retries are off; `None` if they are on.
    pub(crate) off: Option<NoRetryReason>,
    /// How many attempts were sent as far as is known, and how many may be.
    pub(crate) sent: u32,
    pub(crate) most: u32,
    /// How many attempts provably were not sent, and how many may end so.
    pub(crate) unsent: u32,
    pub(crate) most_unsent: u32,
    pub(crate) time: Duration,
}

impl Remaining {
    /// Returns how many attempts were made, sent or not.
    pub(crate) const fn made(&self) -> u32 {
        self.sent.saturating_add(self.unsent)
    }

    /// Counts an attempt that ended, sent or provably not sent.
    pub(crate) const fn count(&mut self, is_sent: bool) {
        let count = match is_sent {
            true => &mut self.sent,
            false => &mut self.unsent,
        };
        *count = count.saturating_add(1);
    }

    const fn is_spent(&self) -> bool {
        self.sent >= self.most || self.unsent >= self.most_unsent
    }
}

/// Returns the wait before the next attempt, or why there is no next attempt. `wait` is the wait, or why the call
/// does not wait that long. `withdraw` takes from the budget, and is called last.
pub(crate) fn decide(
    failed: &FailedAttempt<'_>,
    left: &Remaining,
    wait: Result<Duration, NoRetryReason>,
    withdraw: impl FnOnce() -> bool,
) -> Result<Duration, NoRetryReason> {
    if let Some(off) = &left.off {
        return Err(off.clone());
    }
    failed.is_passing()?;
    failed.is_safe(left.sent)?;
    let needed = wait.as_ref().copied().unwrap_or(left.time);
    failed.is_remembered(needed, left.time)?;
    if !failed.replayable {
        return Err(NoRetryReason::BodyNotReplayable);
    }
    if left.time.is_zero() {
        let (wait, left) = (needed, left.time);
        return Err(NoRetryReason::DeadlineTooClose { wait, left });
    }
    if left.is_spent() {
        return Err(NoRetryReason::AttemptsExhausted { made: left.made() });
    }
    let wait = wait?;
    if wait >= left.time {
        let left = left.time;
        return Err(NoRetryReason::DeadlineTooClose { wait, left });
    }
    if !withdraw() {
        return Err(NoRetryReason::BudgetExhausted);
    }
    Ok(wait)
}

/// Returns whether a failure may pass: by the server's should-retry header, the user's classifier, or else the table.
pub(crate) fn is_transient(
    failed: &Diagnosis,
    listed: bool,
    (should_retry, class): (Option<bool>, Option<Retryability>),
) -> bool {
    let by_table = || match (failed.status, failed.hop) {
        (Some(_), _) if failed.kind == Kind::InProgress => true,
        (Some(_), _) => listed,
        (None, Some(hop)) => name(hop, failed.kind).class == Retryability::Transient,
        // The table has no failures without a hop. They are transient, unless a policy rejected the request. The
        // throttle rejects only a share of the requests.
        (None, None) => !failed.kind.is_refusal() || failed.kind == Kind::ClientThrottled,
    };
    match (should_retry, class) {
        (Some(should), _) => should,
        (None, Some(class)) => class == Retryability::Transient,
        (None, None) => by_table(),
    }
}

impl FailedAttempt<'_> {
    fn is_passing(&self) -> Result<(), NoRetryReason> {
        if self.should_retry == Some(false) {
            return Err(NoRetryReason::ServerOptOut);
        }
        let passing = is_transient(
            &self.diagnosis,
            self.listed,
            (self.should_retry, self.class),
        );
        passing.then_some(()).ok_or(NoRetryReason::Permanent)
    }

    /// Checks that the server still knows the key when the retry comes. If the request may have taken effect, the key
    /// must last as long as the call. Otherwise it must last until the retry is sent.
    fn is_remembered(&self, wait: Duration, time: Duration) -> Result<(), NoRetryReason> {
        let needed = match self.effect() {
            Effect::None | Effect::Declined => wait,
            Effect::Possible | Effect::Done => time,
        };
        match self.key_left {
            Some(left) if left <= needed => Err(NoRetryReason::KeyExpiring { left }),
            _ => Ok(()),
        }
    }

    /// Returns the greatest effect of the attempts.
    fn effect(&self) -> Effect {
        self.before.max(self.diagnosis.effect)
    }

    /// Checks that a retry cannot make the request take effect twice. For an effect that is possible or done, no
    /// header and no classifier overrides this.
    fn is_safe(&self, sent: u32) -> Result<(), NoRetryReason> {
        let effect = self.effect();
        let broke_off = self.diagnosis.hop == Some(Hop::Receive) && self.whole_body;
        if self.diagnosis.effect == Effect::Done && !broke_off {
            return Err(NoRetryReason::Permanent);
        }
        let harmless = self.idempotent || self.vouched;
        let safe = match effect {
            Effect::None => true,
            Effect::Declined => harmless || self.is_asked_for(sent),
            Effect::Possible | Effect::Done => harmless,
        };
        safe.then_some(())
            .ok_or_else(|| NoRetryReason::NotIdempotent {
                method: self.method.cloned(),
                effect,
                keyed: self.keyed,
            })
    }

    /// Returns whether the responder asked for this retry.
    fn is_asked_for(&self, sent: u32) -> bool {
        if self.diagnosis.effect == Effect::None {
            // This attempt had no effect, and the responder had asked for it.
            return true;
        }
        let by_status = match self.diagnosis.status.map(|status| status.as_u16()) {
            Some(429) => true,
            // RFC 8470 §5.2: one more attempt, and not in early data.
            Some(425) => sent == 1,
            _ => false,
        };
        by_status || self.should_retry == Some(true) || self.is_throttled
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
