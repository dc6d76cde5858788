//! The state that the drivers of a call share: who retries, the number of attempts, and the current leg.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use http::{Method, Request, Uri};

use super::{Call, KeyMark};

/// Whether another attempt may follow the one in progress, by facts that do not change meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Follows {
    /// Whether one may follow if the attempt was sent.
    pub(crate) sent: bool,
    /// Whether one may follow if the attempt was provably not sent.
    pub(crate) unsent: bool,
}

impl Follows {
    /// Used if a caller outside retries: its rules are not known.
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
pub(super) struct CallState {
    pub(super) key: OnceLock<KeyMark>,
    /// The key of the call around this one, if it applies here.
    pub(super) outer_key: Option<KeyMark>,
    /// Whether this call continues an attempt of an outer stack.
    is_in_attempt: bool,
    /// The caller's try that this call is.
    #[cfg(feature = "reqwest-middleware")]
    pub(super) caller: OnceLock<Box<super::CallerTry>>,
    /// Whether a driver of this call, or of a call around it, already retries.
    retried: AtomicBool,
    /// Whether a driver of this call has ever claimed its retries.
    claimed: AtomicBool,
    /// Whether a driver of this call, or of a call around it, hedges.
    pub(super) hedges: AtomicBool,
    /// Whether attempts of this call were in flight at the same time.
    pub(super) overlaps: AtomicBool,
    /// The maximum number of attempts of that driver.
    most_attempts: AtomicU32,
    /// Whether another attempt may follow the one in progress: see [`Follows`].
    follows: AtomicU8,
    /// The number of attempts that have begun.
    made: AtomicU32,
    /// The number of attempts before the last redirect; 0 means none.
    leg: AtomicU32,
    /// Whether a redirect led to an origin that must not get the call's idempotency key.
    led_away: AtomicBool,
    /// Whether a layer of this call, or of one around it, stores responses.
    keeps_responses: AtomicBool,
    /// Whether a request without an attempt went to a service that keeps the call's session on one address.
    session_kept: AtomicBool,
    /// Whether the call went to an endpoint that is not known to honor its key.
    key_refused: AtomicBool,
}

impl CallState {
    /// Creates the state. `most` is the maximum number of attempts of a driver around the call, if that one retries.
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
            #[cfg(feature = "reqwest-middleware")]
            caller: OnceLock::new(),
            retried: AtomicBool::new(most.is_some()),
            claimed: AtomicBool::new(false),
            hedges: AtomicBool::new(false),
            overlaps: AtomicBool::new(false),
            most_attempts: AtomicU32::new(most.unwrap_or(1)),
            follows: AtomicU8::new(follows.bits()),
            made: AtomicU32::new(0),
            leg: AtomicU32::new(0),
            led_away: AtomicBool::new(false),
            keeps_responses: AtomicBool::new(false),
            session_kept: AtomicBool::new(false),
            key_refused: AtomicBool::new(false),
        }
    }
}

impl Call {
    /// Claims the retries of this call; `None` if another driver has them. Up to `most` attempts will be made.
    pub(crate) fn claim_retries(&self, most: u32) -> Option<RetryClaim> {
        let state = &self.0.state;
        if state.retried.swap(true, Ordering::AcqRel) {
            return None;
        }
        state.claimed.store(true, Ordering::Relaxed);
        state.most_attempts.store(most, Ordering::Relaxed);
        Some(RetryClaim(self.clone()))
    }

    /// Returns whether a driver has ever claimed the retries of this call or of one inside it.
    pub(crate) fn was_retried(&self) -> bool {
        self.0.state.claimed.load(Ordering::Relaxed)
            || self.calls_below().iter().any(Self::was_retried)
    }

    pub(crate) fn is_retried(&self) -> bool {
        self.0.state.retried.load(Ordering::Acquire)
    }

    pub(crate) fn most_attempts(&self) -> u32 {
        self.0.state.most_attempts.load(Ordering::Relaxed)
    }

    /// Returns whether another attempt may follow, as set by a driver that retries.
    pub(crate) fn follows(&self) -> Follows {
        Follows::of_bits(self.0.state.follows.load(Ordering::Relaxed))
    }

    /// Sets whether another attempt may follow the next one.
    pub(crate) fn set_follows(&self, follows: Follows) {
        let bits = follows.bits();
        self.0.state.follows.store(bits, Ordering::Relaxed);
    }

    pub(crate) fn attempt_count(&self) -> u32 {
        self.0.state.made.load(Ordering::Acquire)
    }

    /// Counts an attempt that ended, if the count is still `before`: no record has counted it.
    pub(crate) fn count_attempt(&self, before: u32) {
        if self.attempt_count() == before {
            self.count_one_more();
        }
    }

    pub(super) fn count_one_more(&self) {
        self.0.state.made.fetch_add(1, Ordering::AcqRel);
    }

    /// Begins another leg because a redirect is followed, perhaps to another method or origin.
    pub(super) fn begin_leg(&self, is_away: bool) {
        self.0.state.led_away.fetch_or(is_away, Ordering::Relaxed);
        let made = self.attempt_count().max(1);
        self.0.state.leg.store(made, Ordering::Relaxed);
    }

    /// Returns whether a redirect led to an origin that must not get the key. The key is then not sent again.
    pub(crate) fn is_led_away(&self) -> bool {
        self.0.state.led_away.load(Ordering::Relaxed)
    }

    /// Returns whether a redirect led to this request. That of the call itself keeps its key, also if it is sent again
    /// after a redirect.
    pub(crate) fn is_led_to<B>(&self, request: &Request<B>) -> bool {
        self.is_led_away() && !self.is_own(request)
    }

    /// Returns whether this is the request of the call itself, at its URL or at an endpoint.
    pub(crate) fn is_own<B>(&self, request: &Request<B>) -> bool {
        self.is_own_at(request.method(), request.uri())
    }

    pub(crate) fn is_own_at(&self, method: &Method, uri: &Uri) -> bool {
        let asked = self.asked();
        let is_at_endpoint = || {
            let own = self.kept(|rest| rest.own_at_endpoint.clone());
            own.flatten().as_ref() == Some(uri)
        };
        asked.method() == Some(method) && (asked.uri() == Some(uri) || is_at_endpoint())
    }

    /// Marks that a layer stores the responses of this call.
    pub(crate) fn keep_responses(&self) {
        self.0.state.keeps_responses.store(true, Ordering::Relaxed);
    }

    /// Marks that a service keeps the call's session on one address, for a request without an attempt.
    pub(crate) fn keep_session(&self) {
        self.0.state.session_kept.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_session_kept(&self) -> bool {
        self.0.state.session_kept.load(Ordering::Relaxed)
    }

    /// The call's key permits no retry from here on: an endpoint that it goes to is not known to honor keys.
    pub(crate) fn refuse_key(&self) {
        self.0.state.key_refused.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_key_refused(&self) -> bool {
        self.0.state.key_refused.load(Ordering::Relaxed)
    }

    /// Returns whether a layer stores the responses of this call, or of one around it.
    pub(super) fn keeps_responses(&self) -> bool {
        self.0.state.keeps_responses.load(Ordering::Relaxed)
    }

    /// Returns whether an attempt of this call, or of one around it, has begun.
    pub(crate) fn is_in_attempt(&self) -> bool {
        self.0.state.is_in_attempt || self.has_record()
    }

    /// Returns whether a redirect led away from the URL of the call.
    pub(crate) fn is_redirected(&self) -> bool {
        self.attempts_before_leg() > 0
    }

    /// Returns the number of attempts at other URLs.
    pub(crate) fn attempts_before_leg(&self) -> u32 {
        self.0.state.leg.load(Ordering::Relaxed)
    }
}

/// The right to retry a call. One driver at a time has it, so that nested stacks do not multiply their attempts.
pub(crate) struct RetryClaim(Call);

impl RetryClaim {
    /// The same right in the next leg, where up to `most` attempts will be made.
    pub(crate) fn of(self, most: u32) -> Self {
        let state = &self.0.0.state;
        state.most_attempts.store(most, Ordering::Relaxed);
        self
    }
}

impl Drop for RetryClaim {
    fn drop(&mut self) {
        let state = &self.0.0.state;
        state.most_attempts.store(1, Ordering::Relaxed);
        state.retried.store(false, Ordering::Release);
    }
}
