//! The effect of an attempt, as far as it is known.

use super::tracker::Tracker;
use crate::hop::Effect;

/// What is known of the effect now.
pub(crate) fn effect_of(tracker: &Tracker) -> Effect {
    match (tracker.status(), tracker.failure()) {
        (Some(status), _) if status.is_success() => Effect::Done,
        (Some(_), Some(judged)) => judged.effect,
        // Not a failure: a redirect.
        (Some(_), None) if tracker.facts(|facts| facts.is_declined) => Effect::Declined,
        (Some(_), None) => Effect::Possible,
        _ if tracker.facts(|facts| facts.is_done) => Effect::Done,
        _ if tracker.is_taken() => Effect::Possible,
        // A service that is not ours may have sent it, whatever it says.
        _ if !tracker.is_tracked() => Effect::Possible,
        _ => Effect::None,
    }
}
