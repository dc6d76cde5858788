//! The effect of an attempt, as far as it is known.

use super::facts::Facts;
use super::tracker::Tracker;
use crate::hop::Effect;

/// Returns the effect as it is known now.
pub(crate) fn effect_of(tracker: &Tracker) -> Effect {
    let (status, failed, was_taken, judged, done) = tracker.facts(|facts| {
        let Facts {
            status,
            judged,
            was_taken,
            ..
        } = *facts;
        let done = (facts.is_declined, facts.is_done, facts.by_code);
        (status, facts.failed(), was_taken, judged, done)
    });
    let (is_declined, is_done, by_code) = done;
    let last = match (status, failed) {
        (Some(status), _) if status.is_success() => match judged {
            // A classifier sees a failure in the response.
            Some(judged) => judged.effect,
            None => by_code.unwrap_or(Effect::Done),
        },
        (Some(_), Some(judged)) => judged.effect,
        // A redirect: not a failure.
        (Some(_), None) if is_declined => Effect::Declined,
        (Some(_), None) => Effect::Possible,
        _ if is_done => Effect::Done,
        _ if tracker.is_taken() => Effect::Possible,
        // A foreign service may have sent it, even if its error says otherwise.
        _ if !tracker.is_tracked() => Effect::Possible,
        _ => Effect::None,
    };
    match was_taken {
        // The transport that took the request has returned. The error of another transport proves nothing about it.
        true => last.unproved(),
        false => last,
    }
}
