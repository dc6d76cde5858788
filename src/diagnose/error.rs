//! An error of this crate, made of what came up from below.

use std::error::Error as StdError;

use super::diagnose;
use crate::box_error::BoxError;
use crate::call::Call;
use crate::chain::chain;
use crate::error::Error;
use crate::hop::{Diagnosis, Effect, Hop};

impl Error {
    /// Takes an inner service's error, ours or another's, on behalf of a call.
    pub(crate) fn of_inner(error: impl Into<BoxError>, call: Option<&Call>) -> Self {
        let ours = Self::ours(error.into());
        let ours = ours.map(|ours| match call {
            Some(call) => ours.passed_up_to(call),
            None => ours,
        });
        ours.unwrap_or_else(|other| {
            let diagnosis = match call.and_then(Call::last) {
                Some(tracker) => diagnose(&tracker, &*other),
                None => Diagnosis::foreign(&*other).or_at(Hop::Server),
            };
            Self::new(diagnosis).because(other)
        })
    }

    /// What came from below, on behalf of a call: that of another one proves what [`Call::effect_below`] says.
    pub(crate) fn passed_up_to(mut self, call: &Call) -> Self {
        let other = self.timeline().filter(|of| !of.0.is(call));
        if let Some(effect) = other.map(|of| call.effect_below(&of.0)) {
            self.at_least(effect);
        }
        self
    }

    /// Takes the error of a response body, ours or another's, whose head said this of the effect.
    pub(crate) fn of_body(error: impl Into<BoxError>, effect: Effect) -> Self {
        Self::ours(error.into()).unwrap_or_else(|other| {
            let mut diagnosis = Diagnosis::foreign(&*other);
            diagnosis.hop = Some(Hop::Receive);
            diagnosis.effect = effect;
            Self::new(diagnosis).because(other)
        })
    }

    /// The first error of ours in a chain.
    pub(crate) fn first_in<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        chain(error).find_map(|error| error.downcast_ref())
    }

    /// Settles what the whole call may have done. That a redirect's GET was answered does not say that
    /// the POST was done.
    pub(crate) fn settle(&mut self, call: &Call) {
        let whole = call.effect();
        let known = self.effect_mut();
        if call.is_redirected() && whole < Effect::Done {
            *known = Effect::Possible.min(*known);
        }
        *known = whole.max(*known);
    }
}
