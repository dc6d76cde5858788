//! The attempts of a call: how many there were, and what became of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderMap, Method, StatusCode};

use super::Call;
use crate::hop::tracker::Tracker;
use crate::hop::{Diagnosis, Effect, Outcome, effect_of, effect_of_response};

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

    /// Whether it may have happened: what one attempt may have done, the others do not undo.
    pub(crate) fn effect(&self) -> Effect {
        if self.0.first.get().is_none() {
            let failed = self.failed().map(|failed| failed.effect);
            let answered = self.answered().map(|how| self.effect_of_end(how));
            return failed.or(answered).unwrap_or(Effect::None);
        }
        let trackers = self.trackers().into_iter();
        let effects = trackers.map(|tracker| {
            let effect = match tracker.failure() {
                Some(failure) => failure.effect,
                None => effect_of(&tracker),
            };
            // That a redirect's GET was answered does not say that the POST was done.
            if tracker.facts(|facts| facts.method.is_some()) {
                effect.min(Effect::Possible)
            } else {
                effect
            }
        });
        effects.max().unwrap_or(Effect::None)
    }

    /// What the caller's response says, where no tracker followed the attempts.
    fn effect_of_end(&self, how: Outcome) -> Effect {
        match how {
            Outcome::Answered(status) => {
                let is_safe = self.method().is_some_and(Method::is_safe);
                effect_of_response(status, &HeaderMap::new(), is_safe)
            }
            _ => Effect::Done,
        }
    }
}
