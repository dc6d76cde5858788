//! The attempts of a call: how many there were, and what became of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::StatusCode;

use super::Call;
use crate::hop::{Diagnosis, Effect};
use crate::record::effect_of;
use crate::record::tracker::Tracker;

impl Call {
    /// Another attempt begins.
    pub(crate) fn attempt(&self, tracker: Arc<Tracker>) {
        if let Err(tracker) = self.0.first.set(tracker) {
            self.cold().more.push(tracker);
        }
        self.0.made.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn trackers(&self) -> Vec<Arc<Tracker>> {
        let first = self.0.first.get().cloned();
        let cold = self.cold();
        first.into_iter().chain(cold.more.iter().cloned()).collect()
    }

    /// The attempt that is under way, or was made last.
    pub(crate) fn last(&self) -> Option<Arc<Tracker>> {
        let last = self.cold().more.last().cloned();
        last.or_else(|| self.0.first.get().cloned())
    }

    /// What the attempt that was made last made of this status.
    pub(crate) fn judged(&self, status: StatusCode) -> Option<Diagnosis> {
        let judged = self.last().and_then(|tracker| tracker.failure());
        judged.filter(|judged| judged.status == Some(status))
    }

    pub(crate) fn attempt_count(&self) -> u32 {
        self.0.made.load(Ordering::Acquire)
    }

    /// An attempt ended; where no tracker followed it since there were `before`, it is counted here.
    pub(crate) fn count_attempt(&self, before: u32) {
        if self.attempt_count() == before {
            self.0.made.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Whether it may have happened: what one attempt may have done, the others do not undo. Nor do they undo
    /// what an earlier try of the caller's may have done.
    pub(crate) fn effect(&self) -> Effect {
        #[cfg(feature = "middleware")]
        return self.effect_of_attempts().max(self.effect_before());
        #[cfg(not(feature = "middleware"))]
        self.effect_of_attempts()
    }

    /// The same of the attempts after so many.
    pub(crate) fn effect_since(&self, from: u32) -> Effect {
        if from == 0 {
            return self.effect();
        }
        let trackers = self.trackers();
        let since = trackers.iter().skip(from as usize);
        since.map(effect_in_call).max().unwrap_or(Effect::None)
    }

    fn effect_of_attempts(&self) -> Effect {
        if self.0.first.get().is_none() {
            let failed = self.failed().map(|failed| failed.effect);
            let done = self.answered().map(|_| Effect::Done);
            return failed.or(done).unwrap_or(Effect::None);
        }
        let trackers = self.trackers();
        let effects = trackers.iter().map(effect_in_call);
        effects.max().unwrap_or(Effect::None)
    }
}

/// What an attempt may have done of its call. That a redirect's GET was answered does not say that the POST
/// was done.
fn effect_in_call(tracker: &Arc<Tracker>) -> Effect {
    let effect = match tracker.failure() {
        Some(failure) => failure.effect,
        None => effect_of(tracker),
    };
    match tracker.facts(|facts| facts.method.is_some()) {
        true => effect.min(Effect::Possible),
        false => effect,
    }
}
