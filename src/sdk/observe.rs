use std::error::Error as StdError;

use super::classify::{Classification, classify_error};
use crate::call::{Call, ObservedScope, effect_of_work};
use crate::hop::{Diagnosis, Effect};
use crate::timeline::Timeline;

/// Awaits an SDK's future. Returns its output, and the calls of this crate's clients inside it.
///
/// Use it for an SDK that reads statuses itself, or that turns errors into text: its error then does not contain ours.
///
/// # Example
///
/// ```
/// use sevenhops::sdk;
///
/// # async fn charge() -> Result<(), std::fmt::Error> { Err(std::fmt::Error) }
/// # async fn f() {
/// let (charged, calls) = sdk::observe(charge()).await;
/// if let Err(error) = charged {
///     println!("{}", calls.classify_error(&error)); // failed at server: unauthorized, effect declined
///     if let Some(timeline) = calls.last() {
///         println!("{timeline}");
///     }
/// }
/// # }
/// ```
///
/// # Reports
///
/// A call of a [`Client`](crate::Client) is observed, and of each stack with a layer of this crate. The exception is a
/// stack whose only layer is a [`CircuitBreakerLayer`](crate::CircuitBreakerLayer): its call is its own. An [`Operation`](crate::Operation) is one call, with its own calls in its timeline. A
/// [`bare`](super::bare) client makes no calls of this crate.
///
/// The calls are found by the task that polls the future. A call in another task is not observed: it may be spawned by
/// the SDK, or made behind a `tower::buffer`. Await `observe` inside that task, around the call. The latest 100 calls
/// are kept.
///
/// # Cancel safety
///
/// If the future of `observe` is dropped, the SDK's future is dropped, too.
///
/// # How people get it wrong
///
/// One observation covers many SDK calls. Its effect is then that of all of them together.
pub async fn observe<F: Future>(future: F) -> (F::Output, ObservedCalls) {
    let observed = ObservedScope::new();
    let output = observed.clone().scope(future).await;
    let (calls, is_all) = observed.calls();
    let timelines = calls.iter().map(Call::timeline).collect();
    (output, ObservedCalls { timelines, is_all })
}

/// The calls that [`observe`] saw, in the order in which they began.
#[derive(Clone, Debug)]
pub struct ObservedCalls {
    timelines: Vec<Timeline>,
    /// Whether there were no more calls.
    is_all: bool,
}

impl ObservedCalls {
    /// Returns the timelines of the calls. If the SDK retries by itself, each of its attempts is a call.
    #[must_use]
    pub fn timelines(&self) -> &[Timeline] {
        &self.timelines
    }

    /// Returns the timeline of the last call.
    #[must_use]
    pub fn last(&self) -> Option<&Timeline> {
        self.timelines.last()
    }

    /// Returns the effect of the observed calls together.
    ///
    /// If there was one call, it is the effect of that call. If there were several, requests with a safe method do not
    /// count. The effect is at most [`Effect::Possible`], because one part that is done does not complete the whole. It
    /// is never [`Effect::None`]: nothing proves that every call was observed.
    #[must_use]
    pub fn effect(&self) -> Effect {
        effect_of_work(&self.calls(), self.is_all).without_proof()
    }

    /// Finds what an SDK's error and the observed calls show about the failure.
    ///
    /// If the error chain contains one of our errors, or names a hop or a kind, these count:
    /// see [`classify_error`]. Otherwise hop, kind and status are those of the last call, if that call failed.
    ///
    /// The effect covers all observed calls. [`Effect::None`] needs our own error in the chain: without it, nothing
    /// proves that every call was observed.
    #[must_use]
    pub fn classify_error<'e>(&'e self, error: &'e (dyn StdError + 'static)) -> Classification<'e> {
        let mut found = classify_error(error);
        let Some(last) = self.last() else {
            return found;
        };
        found.diagnosis = match found.error {
            Some(ours) => {
                let calls = self.calls();
                let is_heard = ours.timeline().is_none_or(|of| of.0.is_among(&calls));
                let others = effect_of_work(&calls, self.is_all && is_heard);
                let effect = ours.effect().max(others);
                Diagnosis {
                    effect,
                    ..found.diagnosis
                }
            }
            None => {
                found.timeline = Some(last);
                let last = last.0.failed().filter(|_| found.diagnosis.is_blank());
                Diagnosis {
                    effect: self.effect(),
                    ..last.unwrap_or(found.diagnosis)
                }
            }
        };
        found
    }

    fn calls(&self) -> Vec<Call> {
        let calls = self.timelines.iter();
        calls.map(|timeline| timeline.0.clone()).collect()
    }
}
