//! Where a request leaves a driver without a response: the one place that makes its error.

use std::error::Error as StdError;
use std::time::Duration;

use super::diagnose;
use super::foreign::is_proof;
use crate::box_error::BoxError;
use crate::call::{Call, Since};
use crate::chain::chain;
use crate::error::Error;
use crate::hop::{Diagnosis, Effect, Hop, Policy};
use crate::record::Tracker;

/// What failed, as far as one attempt knows. At the edge of a driver the log of the call has its say,
/// and it becomes an [`Error`].
#[derive(Debug)]
pub(crate) struct Failure(Error);

/// From where the failure of a service below is seen.
#[derive(Clone, Copy, Default)]
pub(crate) struct View<'a> {
    /// The call that the request belongs to, if the services below could find it.
    pub(crate) call: Option<&'a Call>,
    /// The record of the attempt, if there is one.
    pub(crate) record: Option<&'a Tracker>,
    /// What the response head said, where the body failed.
    pub(crate) head: Option<Effect>,
}

/// The edge of a driver.
#[derive(Clone, Copy)]
pub(crate) struct Edge<'a> {
    pub(crate) call: &'a Call,
    /// The attempts that the call had made before the driver had its request.
    pub(crate) from: Since,
    /// What the driver saw of responses and attempts that have no record.
    pub(crate) seen: Effect,
}

impl<'a> Edge<'a> {
    /// The edge of the whole call.
    pub(crate) const fn of_call(call: &'a Call) -> Self {
        let (from, seen) = (Since::START, Effect::unsent());
        Self { call, from, seen }
    }
}

impl From<Error> for Failure {
    /// A failure of the driver's own making.
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<Diagnosis> for Failure {
    fn from(diagnosis: Diagnosis) -> Self {
        Self(Error::new(diagnosis))
    }
}

impl Failure {
    /// The service below failed.
    pub(crate) fn below(error: BoxError, view: View<'_>) -> Self {
        let error = match Error::ours(error) {
            Ok(ours) => {
                let effect = effect_of_ours(&ours, view.call);
                return Self(ours.with_effect(effect));
            }
            Err(foreign) => foreign,
        };
        let diagnosis = match Error::first_in(&*error) {
            Some(ours) => Diagnosis {
                effect: effect_of_ours(ours, view.call),
                ..ours.diagnosis()
            },
            None => foreign(&*error, view),
        };
        Self(Error::new(diagnosis).because(error))
    }

    pub(crate) fn diagnosis(&self) -> Diagnosis {
        self.0.diagnosis()
    }

    /// As a service other than a driver returns it.
    #[cfg(feature = "reqwest")]
    pub(crate) fn into_error(self) -> Error {
        self.0
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after()
    }

    /// The policy that let nothing through, if one did.
    pub(crate) fn rejected_by(&self) -> Option<Policy> {
        self.0.rejected_by()
    }

    /// The call that failed, where that is one below.
    pub(crate) fn call(&self) -> Option<&Call> {
        self.0.timeline().map(|of| &of.0)
    }
}

/// What an error of ours from below proves. That of another call proves what that call did with the request,
/// if it was this one's.
fn effect_of_ours(ours: &Error, call: Option<&Call>) -> Effect {
    let inner = ours.timeline().map(|of| &of.0);
    let other = call.zip(inner).filter(|(call, inner)| !inner.is(call));
    let below = other.map(|(call, inner)| call.effect_below(inner));
    ours.effect().max(below.unwrap_or_else(Effect::unsent))
}

/// What a foreign error proves: that the request did not go out only if it says so itself. The service may
/// have sent it elsewhere, after a transport of ours could not.
fn foreign(error: &(dyn StdError + 'static), view: View<'_>) -> Diagnosis {
    let last = view.call.and_then(Call::last);
    match (view.record.or(last.as_deref()), view.head) {
        (Some(record), _) => {
            let mut diagnosis = diagnose(record, error);
            let is_proof = is_proof(error) && !record.facts(|facts| facts.was_taken);
            if diagnosis.effect.is_none() && !is_proof {
                diagnosis.effect = diagnosis.effect.unproved();
            }
            diagnosis
        }
        (None, Some(effect)) => Diagnosis {
            hop: Some(Hop::Receive),
            effect,
            ..Diagnosis::foreign(error)
        },
        (None, None) => Diagnosis::foreign(error).or_at(Hop::Server),
    }
}

impl Error {
    /// Makes the error with which a request leaves a driver: its hop and kind are those of the failure, its
    /// effect is the greatest of all that the request went through.
    pub(crate) fn at_edge(edge: Edge<'_>, failure: Failure) -> Self {
        let Edge { call, from, seen } = edge;
        let log = call.effect_since(from).max(seen);
        let own = failure.diagnosis().effect;
        let effect = effect_at_edge(own, log, call.is_redirected() || call.leads_away());
        failure.0.with_effect(effect).of(call)
    }

    /// The first error of ours in a chain.
    pub(crate) fn first_in<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        chain(error).find_map(|error| error.downcast_ref())
    }
}

/// The effect of a request at the edge of a driver: the greatest of what failed last and of its log. That a
/// redirect's GET was done does not say that the POST was.
fn effect_at_edge(own: Effect, log: Effect, is_redirected: bool) -> Effect {
    match is_redirected {
        true => own.of_part().max(log),
        false => own.max(log),
    }
}

#[cfg(test)]
#[path = "edge_tests.rs"]
mod tests;
