//! What the drivers of a call share while it goes on: who retries, how many attempts there were, which leg it is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::{Call, KeyMark};

/// The part of a call that its drivers change, without a lock.
pub(super) struct State {
    pub(super) key: OnceLock<KeyMark>,
    /// The try of the caller's that it is.
    #[cfg(feature = "middleware")]
    pub(super) caller: OnceLock<Box<super::CallerTry>>,
    /// Whether a driver retries already: of this call, or of a call around it.
    retried: AtomicBool,
    /// How many attempts that driver may make.
    most_attempts: AtomicU32,
    /// How many attempts have begun.
    made: AtomicU32,
    /// How many attempts were made before the last redirect; 0 is none.
    leg: AtomicU32,
}

impl State {
    /// `most` is the number of attempts that a driver around the call makes, if it retries.
    pub(super) fn new(key: Option<KeyMark>, most: Option<u32>) -> Self {
        Self {
            key: key.map_or_else(OnceLock::new, OnceLock::from),
            #[cfg(feature = "middleware")]
            caller: OnceLock::new(),
            retried: AtomicBool::new(most.is_some()),
            most_attempts: AtomicU32::new(most.unwrap_or(1)),
            made: AtomicU32::new(0),
            leg: AtomicU32::new(0),
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
        state.most_attempts.store(most, Ordering::Relaxed);
        Some(Repeating(self.clone()))
    }

    pub(crate) fn is_repeated(&self) -> bool {
        self.0.state.retried.load(Ordering::Acquire)
    }

    pub(crate) fn most_attempts(&self) -> u32 {
        self.0.state.most_attempts.load(Ordering::Relaxed)
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

    /// A redirect is followed: another leg begins.
    pub(super) fn begin_leg(&self) {
        let made = self.attempt_count().max(1);
        self.0.state.leg.store(made, Ordering::Relaxed);
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

impl Drop for Repeating {
    fn drop(&mut self) {
        let state = &self.0.0.state;
        state.most_attempts.store(1, Ordering::Relaxed);
        state.retried.store(false, Ordering::Release);
    }
}
