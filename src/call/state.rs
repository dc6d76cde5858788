//! What the drivers of a call share while it goes on: who retries, how many attempts there were, which leg it is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use super::{Call, KeyMark};

/// Whether another attempt may follow the one under way, by facts that do not change meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Follows {
    /// If that one was sent.
    pub(crate) sent: bool,
    /// If it provably was not.
    pub(crate) unsent: bool,
}

impl Follows {
    /// A caller outside retries, and nothing is known of how.
    pub(crate) const BY_CALLER: Self = Self {
        sent: true,
        unsent: true,
    };

    const fn bits(self) -> u8 {
        self.sent as u8 | (self.unsent as u8) << 1
    }

    const fn of_bits(bits: u8) -> Self {
        Self {
            sent: bits & 1 != 0,
            unsent: bits & 2 != 0,
        }
    }
}

/// The part of a call that its drivers change, without a lock.
pub(super) struct State {
    pub(super) key: OnceLock<KeyMark>,
    /// The key of the call around this one, as far as it holds here.
    pub(super) outer_key: Option<KeyMark>,
    /// Whether an attempt of a stack above goes on in this call.
    is_in_attempt: bool,
    /// The try of the caller's that it is.
    #[cfg(feature = "middleware")]
    pub(super) caller: OnceLock<Box<super::CallerTry>>,
    /// Whether a driver retries already: of this call, or of a call around it.
    retried: AtomicBool,
    /// Whether a driver of this call has claimed its retries at some time.
    claimed: AtomicBool,
    /// How many attempts that driver may make.
    most_attempts: AtomicU32,
    /// Whether another attempt may follow the one under way: see [`Follows`].
    follows: AtomicU8,
    /// How many attempts have begun.
    made: AtomicU32,
    /// How many attempts were made before the last redirect; 0 is none.
    leg: AtomicU32,
    /// Whether a redirect led to where the call's idempotency key does not go.
    led_away: AtomicBool,
}

impl State {
    /// `most` is the number of attempts that a driver around the call makes, if it retries.
    #[inline]
    pub(super) fn new(
        outer_key: Option<KeyMark>,
        (most, follows): (Option<u32>, Follows),
        is_in_attempt: bool,
    ) -> Self {
        Self {
            key: OnceLock::new(),
            outer_key,
            is_in_attempt,
            #[cfg(feature = "middleware")]
            caller: OnceLock::new(),
            retried: AtomicBool::new(most.is_some()),
            claimed: AtomicBool::new(false),
            most_attempts: AtomicU32::new(most.unwrap_or(1)),
            follows: AtomicU8::new(follows.bits()),
            made: AtomicU32::new(0),
            leg: AtomicU32::new(0),
            led_away: AtomicBool::new(false),
        }
    }
}

impl Call {
    /// Claims the retries of this call; `None` if another driver has them. Up to `most` attempts will be made.
    pub(crate) fn repeat(&self, most: u32) -> Option<Repeating> {
        let state = &self.0.state;
        if state.retried.swap(true, Ordering::AcqRel) {
            return None;
        }
        state.claimed.store(true, Ordering::Relaxed);
        state.most_attempts.store(most, Ordering::Relaxed);
        Some(Repeating(self.clone()))
    }

    /// Whether a driver has claimed the retries of this call or of one inside it, at some time.
    pub(crate) fn was_retried(&self) -> bool {
        self.0.state.claimed.load(Ordering::Relaxed)
            || self.calls_below().iter().any(Self::was_retried)
    }

    pub(crate) fn is_repeated(&self) -> bool {
        self.0.state.retried.load(Ordering::Acquire)
    }

    pub(crate) fn most_attempts(&self) -> u32 {
        self.0.state.most_attempts.load(Ordering::Relaxed)
    }

    /// Whether another attempt may follow, as far as a driver that retries has said so.
    pub(crate) fn follows(&self) -> Follows {
        Follows::of_bits(self.0.state.follows.load(Ordering::Relaxed))
    }

    /// A driver that retries says whether another attempt may follow the next one.
    pub(crate) fn set_follows(&self, follows: Follows) {
        let bits = follows.bits();
        self.0.state.follows.store(bits, Ordering::Relaxed);
    }

    pub(crate) fn attempt_count(&self) -> u32 {
        self.0.state.made.load(Ordering::Acquire)
    }

    /// An attempt ended; where no record followed it since there were `before`, it is counted here.
    pub(crate) fn count_attempt(&self, before: u32) {
        if self.attempt_count() == before {
            self.count_one_more();
        }
    }

    pub(super) fn count_one_more(&self) {
        self.0.state.made.fetch_add(1, Ordering::AcqRel);
    }

    /// A redirect is followed: another leg begins, perhaps away at another method or origin.
    pub(super) fn begin_leg(&self, is_away: bool) {
        self.0.state.led_away.fetch_or(is_away, Ordering::Relaxed);
        let made = self.attempt_count().max(1);
        self.0.state.leg.store(made, Ordering::Relaxed);
    }

    /// Whether a redirect led to where the call's idempotency key does not go: it stays away then.
    pub(crate) fn is_led_away(&self) -> bool {
        self.0.state.led_away.load(Ordering::Relaxed)
    }

    /// Whether an attempt of this call, or of one around it, has begun.
    pub(crate) fn is_in_attempt(&self) -> bool {
        self.0.state.is_in_attempt || self.has_record()
    }

    /// Whether a redirect led away from the URL of the call.
    pub(crate) fn is_redirected(&self) -> bool {
        self.attempts_before_leg() > 0
    }

    /// How many attempts were made at other URLs.
    pub(crate) fn attempts_before_leg(&self) -> u32 {
        self.0.state.leg.load(Ordering::Relaxed)
    }
}

/// The right to retry a call: one driver at a time has it, so that stacks inside one another do not multiply.
pub(crate) struct Repeating(Call);

impl Repeating {
    /// The same right in the next leg, where up to `most` attempts will be made.
    pub(crate) fn of(self, most: u32) -> Self {
        let state = &self.0.0.state;
        state.most_attempts.store(most, Ordering::Relaxed);
        self
    }
}

impl Drop for Repeating {
    fn drop(&mut self) {
        let state = &self.0.0.state;
        state.most_attempts.store(1, Ordering::Relaxed);
        state.retried.store(false, Ordering::Release);
    }
}
