//! What a call may have done: the greatest of all its attempts.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::Call;
#[cfg(feature = "middleware")]
use super::CallerTry;
use super::around::MOST_CALLS;
use crate::hop::{Effect, Outcome, effect_of_response};
use crate::record::effect_of;
use crate::record::tracker::Tracker;

/// The attempts of a call that came before a driver of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    attempts: u32,
    /// How many of them have a record.
    records: usize,
}

impl Since {
    /// None came before.
    pub(crate) const START: Self = Self {
        attempts: 0,
        records: 0,
    };
}

impl Call {
    /// Whether it may have happened: what one attempt may have done, the others do not undo. Nor do they undo
    /// what an earlier try of the caller's may have done.
    pub(crate) fn effect(&self) -> Effect {
        #[cfg(feature = "middleware")]
        return self.effect_of_attempts().max(self.effect_before());
        #[cfg(not(feature = "middleware"))]
        self.effect_of_attempts()
    }

    /// The same of the attempts that come after.
    pub(crate) fn effect_since(&self, from: Since) -> Effect {
        match from.attempts {
            0 => self.effect(),
            _ => self
                .effect_of_records(from.records)
                .max(self.effect_of_inner()),
        }
    }

    /// Whether an attempt came after.
    pub(crate) fn has_attempted_since(&self, from: Since) -> bool {
        self.attempt_count() > from.attempts
    }

    /// The attempts so far.
    pub(crate) fn since_now(&self) -> Since {
        Since {
            attempts: self.attempt_count(),
            records: self.record_count(),
        }
    }

    fn effect_of_attempts(&self) -> Effect {
        let own = match self.has_record() {
            true => self.effect_of_records(0),
            false => {
                let failed = self.failed().map(|failed| failed.effect);
                let answered = self.answered().map(|how| self.effect_of_end(how));
                let seen = self.brief().seen;
                failed.or(answered).max(seen).unwrap_or(Effect::None)
            }
        };
        own.max(self.effect_of_inner())
    }

    /// A stack below may have been led to another method or place: what was done there, this call did not ask for.
    fn effect_of_records(&self, from: usize) -> Effect {
        let trackers = self.trackers();
        let since = trackers.iter().skip(from);
        let effect = since.map(effect_in_call).max().unwrap_or(Effect::None);
        let inner = self.inner();
        match inner.iter().any(Self::leads_away) {
            true => effect.of_part(),
            false => effect,
        }
    }

    /// What the calls that this one's request went on in may have done.
    fn effect_of_inner(&self) -> Effect {
        let inner = self.inner();
        let effects = inner.iter().map(Self::effect_from_outside);
        effects.max().unwrap_or(Effect::None)
    }

    /// A driver of this call has seen what its attempts may have done. It counts where they have no record.
    pub(crate) fn saw(&self, effect: Effect) {
        let mut brief = self.brief();
        if brief.first.is_none() {
            brief.seen = brief.seen.max(Some(effect));
        }
    }

    /// What the caller's earlier tries may have done.
    #[cfg(feature = "middleware")]
    fn effect_before(&self) -> Effect {
        let caller = self.callers_try();
        caller.map_or(Effect::None, CallerTry::before)
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

    /// What this one may have done, where `failed`, a call below, is what failed. If this one's request went on
    /// in it, that is what all who had it may have done. Otherwise nobody knows: whoever made that call may have
    /// made others before.
    pub(crate) fn effect_below(&self, failed: &Self) -> Effect {
        // Before it went on there, it may have gone out right here.
        let is_taken = self.last().is_some_and(|own| own.is_taken());
        if is_taken || !self.leads_to(failed) {
            return Effect::Possible;
        }
        let inner = self.inner();
        let effects = inner.iter().map(Self::effect_from_outside);
        effects.max().unwrap_or(Effect::Possible)
    }

    /// What the calls in an attempt may have done, as far as the operation is concerned: of a part of it that
    /// is done, the whole is not. A request that asks for something changes nothing.
    pub(crate) fn effect_of_calls(&self, attempt: &Arc<Tracker>) -> Effect {
        let calls = self.calls_in(attempt);
        let mut alone = Vec::new();
        self.inside(attempt, |inside| alone.clone_from(&inside.alone));
        if calls.len() >= MOST_CALLS || alone.len() >= MOST_CALLS {
            // There may have been more.
            return Effect::Possible;
        }
        let changing = calls
            .iter()
            .filter(|call| !call.method().is_some_and(Method::is_safe));
        let effects = changing.map(Self::effect_from_outside);
        let alone = alone.iter().map(|tracker| effect_of(tracker));
        let greatest = effects.chain(alone).max();
        greatest.unwrap_or(Effect::None).min(Effect::Possible)
    }

    /// What a call may have done. Where nobody followed its attempts, only its failure can say that it was
    /// nothing.
    fn effect_from_outside(&self) -> Effect {
        match (self.last(), self.failure()) {
            (Some(_), _) => self.effect(),
            (None, Some(failure)) => failure.effect,
            (None, None) => Effect::Possible,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;
    use crate::limit::{Limit, Limits};
    use crate::telemetry::AttemptSpans;

    fn taken() -> Arc<Tracker> {
        let limits = Limits::new(Duration::from_secs(10)).unwrap();
        let tracker = Tracker::new(limits, AttemptSpans::default(), clock::now());
        tracker.begin();
        tracker.take();
        Arc::new(tracker)
    }

    #[tokio::test(start_paused = true)]
    async fn attempt_without_a_record_hides_none_that_comes_after() {
        let mut request = http::Request::post("https://api.test/").body(()).unwrap();
        let call = Call::begin(&mut request, Limit::from_secs(10));
        for recorded_before in [false, true] {
            match recorded_before {
                false => call.count_attempt(call.attempt_count()),
                true => call.attempt(taken()),
            }
            let since = call.since_now();
            assert_eq!(call.effect_since(since), Effect::None);
            call.attempt(taken());
            assert_eq!(call.effect_since(since), Effect::Possible);
        }
    }
}
