//! The effect of an attempt, as far as it is known.

use http::StatusCode;

use super::tracker::Tracker;
use crate::hop::Effect;

/// What is known of the effect now.
pub(crate) fn effect_of(tracker: &Tracker) -> Effect {
    match (tracker.status(), tracker.failure()) {
        (Some(status), _) if status.is_success() => Effect::Done,
        (Some(_), Some(judged)) => judged.effect,
        // The far side did not act: it says that the request belongs elsewhere.
        (Some(StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT), None) => {
            Effect::None
        }
        (Some(_), None) => Effect::Possible,
        _ if tracker.facts(|facts| facts.is_done) => Effect::Done,
        _ if tracker.is_taken() => Effect::Possible,
        // A service that is not ours may have sent it, whatever it says.
        _ if !tracker.is_tracked() => Effect::Possible,
        _ => Effect::None,
    }
}
