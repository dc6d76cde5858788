//! Whether a call is retried: pure.
//!
//! | what is known | retried |
//! |---|---|
//! | retries are off, for another destination, or the caller's | no |
//! | the server says so in its should-retry header | no, or as if the failure were transient |
//! | the failure is permanent (a certificate, NXDOMAIN, a status that is not listed) | no |
//! | effect none | every method |
//! | effect declined | what is idempotent, has a key that the server honors, or was asked for by the responder |
//! | effect possible | what is idempotent, or has a key that the server honors |
//! | effect done | the same, and only to receive a body that broke off |
//! | the server will have forgotten the key by then | no |
//! | the body cannot be sent again | only if no connection took it |
//! | all attempts that may be sent were sent, or all that may stay unsent did | no |
//! | the server's hint is longer than the call waits for | no |
//! | the next wait does not fit into the time left | no |
//! | the budget is empty | no |
//!
//! In this order: the first that applies is the reason that is kept. The effect is the greatest of the
//! attempts'. The responder asks for a retry by 429, by 425 to the first attempt, or by its should-retry
//! header; the user's classifier may say on its behalf that a failure is a throttling (DynamoDB throttles with
//! 400), and so may the work of an operation.

use std::time::Duration;

use http::Method;

use crate::hop::{Class, Diagnosis, Effect, Hop, Kind, NotRepeated, name};

/// An attempt that failed, and what the ones before it may have done.
#[derive(Clone, Debug)]
pub(crate) struct Failed<'a> {
    /// None for an operation.
    pub(crate) method: Option<&'a Method>,
    /// Whether doing it twice is like doing it once, by its method or by the caller's word.
    pub(crate) idempotent: bool,
    pub(crate) diagnosis: Diagnosis,
    /// The greatest effect of the attempts before this one.
    pub(crate) before: Effect,
    /// Whether the request carried a key, and one that the far side honours.
    pub(crate) keyed: bool,
    pub(crate) vouched: bool,
    /// How long the far side will remember the key, where that is known.
    pub(crate) key_left: Option<Duration>,
    /// Whether there is a body to be sent again.
    pub(crate) replayable: bool,
    /// Whether the body of the answer is received inside the attempt.
    pub(crate) whole_body: bool,
    /// Whether the status is one of those that are repeated.
    pub(crate) listed: bool,
    /// The server's word, and the user's.
    pub(crate) should_retry: Option<bool>,
    pub(crate) class: Option<Class>,
    /// Whether that word is that the server asks for fewer requests.
    pub(crate) is_throttled: bool,
}

/// The attempts, the time and the switches that a retry has.
#[derive(Clone, Debug)]
pub(crate) struct Left {
    /// Why there are no retries at all, if so.
    pub(crate) off: Option<NotRepeated>,
    /// How many attempts were sent, as far as is known, and how many may be.
    pub(crate) sent: u32,
    pub(crate) most: u32,
    /// How many attempts provably were not sent, and how many may be.
    pub(crate) unsent: u32,
    pub(crate) most_unsent: u32,
    pub(crate) time: Duration,
}

impl Left {
    /// Returns how many attempts were made, sent or not.
    pub(crate) const fn made(&self) -> u32 {
        self.sent.saturating_add(self.unsent)
    }

    const fn is_spent(&self) -> bool {
        self.sent >= self.most || self.unsent >= self.most_unsent
    }
}

/// How long to wait before the next attempt, or why there is none. `wait` is the wait, or why the call does not
/// wait so long. `withdraw` takes from the budget, and is asked last.
pub(crate) fn decide(
    failed: &Failed<'_>,
    left: &Left,
    wait: Result<Duration, NotRepeated>,
    withdraw: impl FnOnce() -> bool,
) -> Result<Duration, NotRepeated> {
    if let Some(off) = &left.off {
        return Err(off.clone());
    }
    failed.is_passing()?;
    failed.is_safe(left.sent)?;
    let needed = wait.as_ref().copied().unwrap_or(left.time);
    failed.is_remembered(needed, left.time)?;
    if !failed.replayable {
        return Err(NotRepeated::NotReplayable);
    }
    if left.time.is_zero() {
        let (wait, left) = (needed, left.time);
        return Err(NotRepeated::NoTime { wait, left });
    }
    if left.is_spent() {
        return Err(NotRepeated::AttemptsSpent { made: left.made() });
    }
    let wait = wait?;
    if wait >= left.time {
        let left = left.time;
        return Err(NotRepeated::NoTime { wait, left });
    }
    if !withdraw() {
        return Err(NotRepeated::BudgetEmpty);
    }
    Ok(wait)
}

impl Failed<'_> {
    fn is_passing(&self) -> Result<(), NotRepeated> {
        let Diagnosis {
            hop, kind, status, ..
        } = self.diagnosis;
        let by_table = match (status, hop) {
            (Some(_), _) if kind == Kind::InProgress => true,
            (Some(_), _) => self.listed,
            (None, Some(hop)) => name(hop, kind).class == Class::Passing,
            // No table knows a failure without a hop: it is transient unless a policy rejected the request.
            (None, None) => !kind.is_refusal(),
        };
        let passing = match (self.should_retry, self.class) {
            (Some(false), _) => return Err(NotRepeated::ServerSaysNo),
            (Some(true), _) => true,
            (None, Some(class)) => class == Class::Passing,
            (None, None) => by_table,
        };
        passing.then_some(()).ok_or(NotRepeated::Lasting)
    }

    /// Whether the server still knows the key when the retry comes: for as long as the call goes on,
    /// if it may have happened; else until it is sent.
    fn is_remembered(&self, wait: Duration, time: Duration) -> Result<(), NotRepeated> {
        let needed = match self.effect() {
            Effect::None | Effect::Declined => wait,
            Effect::Possible | Effect::Done => time,
        };
        match self.key_left {
            Some(left) if left <= needed => Err(NotRepeated::KeyExpires { left }),
            _ => Ok(()),
        }
    }

    /// The greatest effect of the attempts.
    fn effect(&self) -> Effect {
        self.before.max(self.diagnosis.effect)
    }

    /// Whether a retry cannot make it happen twice. No header and no classifier overrides this for an
    /// effect that is possible or done.
    fn is_safe(&self, sent: u32) -> Result<(), NotRepeated> {
        let effect = self.effect();
        let broke_off = self.diagnosis.hop == Some(Hop::Receive) && self.whole_body;
        if self.diagnosis.effect == Effect::Done && !broke_off {
            return Err(NotRepeated::Lasting);
        }
        let harmless = self.idempotent || self.vouched;
        let safe = match effect {
            Effect::None => true,
            Effect::Declined => harmless || self.is_asked_for(sent),
            Effect::Possible | Effect::Done => harmless,
        };
        safe.then_some(()).ok_or_else(|| NotRepeated::Unsafe {
            method: self.method.cloned(),
            effect,
            keyed: self.keyed,
        })
    }

    /// Whether the responder asked for this retry.
    fn is_asked_for(&self, sent: u32) -> bool {
        if self.diagnosis.effect == Effect::None {
            // Nothing came of this attempt, and it had been asked for itself.
            return true;
        }
        let by_status = match self.diagnosis.status.map(|status| status.as_u16()) {
            Some(429) => true,
            // RFC 8470 §5.2: once more, and not in early data.
            Some(425) => sent == 1,
            _ => false,
        };
        by_status || self.should_retry == Some(true) || self.is_throttled
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
