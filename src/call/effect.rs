//! What a call may have done: the greatest of all its attempts.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::Call;
use crate::hop::{Effect, Outcome, effect_of_response};
use crate::record::effect_of;
use crate::record::tracker::Tracker;

impl Call {
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
        if self.first().is_none() {
            let failed = self.failed().map(|failed| failed.effect);
            let answered = self.answered().map(|how| self.effect_of_end(how));
            return failed.or(answered).unwrap_or(Effect::None);
        }
        let trackers = self.trackers();
        let effects = trackers.iter().map(effect_in_call);
        effects.max().unwrap_or(Effect::None)
    }

    /// What the caller's response says, where the attempts have no record.
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
