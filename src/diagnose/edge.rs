//! Makes the error of a request that leaves a driver without a response. No other place makes one.

use std::error::Error as StdError;
use std::time::Duration;

use super::diagnose;
use super::evidence::causes;
use super::foreign::is_proof;
use crate::box_error::BoxError;
use crate::call::{Call, Since};
use crate::error::Error;
use crate::hop::{Diagnosis, Effect, Hop, Policy};
use crate::record::Tracker;

/// The failure of one attempt, before the call's log is added. At the edge of a driver it becomes an [`Error`].
#[derive(Debug)]
pub(crate) struct AttemptFailure(Error);

/// The context in which the driver sees the failure of the inner service.
#[derive(Clone, Copy, Default)]
pub(crate) struct View<'a> {
    /// The call that the request belongs to, if the inner services could find it.
    pub(crate) call: Option<&'a Call>,
    /// The record of the attempt, if there is one.
    pub(crate) record: Option<&'a Tracker>,
    /// The effect by the response head, if the body failed.
    pub(crate) head: Option<Effect>,
}

/// The edge of a driver.
#[derive(Clone, Copy)]
pub(crate) struct Edge<'a> {
    pub(crate) call: &'a Call,
    /// The attempts that the call had made before the driver had its request.
    pub(crate) from: Since,
    /// The effect that the driver saw for attempts without a record.
    pub(crate) seen: Effect,
}

impl<'a> Edge<'a> {
    /// Returns the edge of the whole call.
    pub(crate) const fn of_call(call: &'a Call) -> Self {
        let (from, seen) = (Since::START, Effect::unsent());
        Self { call, from, seen }
    }
}

impl From<Error> for AttemptFailure {
    /// Wraps a failure that the driver itself made.
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<Diagnosis> for AttemptFailure {
    fn from(diagnosis: Diagnosis) -> Self {
        Self(Error::new(diagnosis))
    }
}

impl AttemptFailure {
    /// Diagnoses an error of the inner service.
    pub(crate) fn below(error: BoxError, view: View<'_>) -> Self {
        let error = match Error::ours(error) {
            Ok(ours) => {
                let effect = effect_of_ours(&ours, view);
                return Self(ours.with_effect(effect));
            }
            Err(foreign) => foreign,
        };
        let diagnosis = match Error::first_in(&*error) {
            Some(ours) => Diagnosis {
                effect: effect_of_ours(ours, view),
                ..ours.diagnosis()
            },
            None => foreign(&*error, view),
        };
        Self(Error::new(diagnosis).because(error))
    }

    pub(crate) fn diagnosis(&self) -> Diagnosis {
        self.0.diagnosis()
    }

    /// Returns the error as a service other than a driver returns it.
    #[cfg(feature = "client")]
    pub(crate) fn into_error(self) -> Error {
        self.0
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after()
    }

    /// Returns the policy that rejected the call, if one did.
    pub(crate) fn rejected_by(&self) -> Option<Policy> {
        self.0.rejected_by()
    }

    /// Returns the call that failed, if the error belongs to a call.
    pub(crate) fn call(&self) -> Option<&Call> {
        self.0.timeline().map(|of| &of.0)
    }
}

/// Returns the effect that an error of this crate from below proves. If the error belongs to another call, the result
/// includes the effect of that call on this request. A service may return the first of its errors, and have sent another
/// request after it.
fn effect_of_ours(ours: &Error, view: View<'_>) -> Effect {
    let inner = ours.timeline().map(|of| &of.0);
    let other = view.call.zip(inner).filter(|(call, inner)| !inner.is(call));
    let below = other.map(|(call, inner)| call.effect_below(inner));
    let effect = ours.effect().max(below.unwrap_or_else(Effect::unsent));
    match view.record.is_some_and(Tracker::may_have_sent_more) {
        true => effect.unproved(),
        false => effect,
    }
}

/// Diagnoses a foreign error. Only the error's own text or type can prove that the request was not sent. The service
/// may have sent the request elsewhere after a transport of this crate failed. So the record of an attempt that is over
/// says nothing about the error.
fn foreign(error: &(dyn StdError + 'static), view: View<'_>) -> Diagnosis {
    let last = view.call.and_then(Call::last);
    let last = last.filter(|last| !last.is_over());
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
    /// Makes the error with which a request leaves a driver. Hop and kind are those of the failure. The effect is the
    /// greatest effect of the request's attempts.
    pub(crate) fn at_edge(edge: Edge<'_>, failure: AttemptFailure) -> Self {
        let Edge { call, from, seen } = edge;
        let is_redirected = call.is_redirected() || call.leads_away();
        let own = failure.diagnosis().effect.max(seen);
        let effect = effect_at_edge(own, call.effect_since(from), is_redirected);
        failure.0.with_effect(effect).of(call)
    }

    /// Returns the first error of this crate in a chain.
    pub(crate) fn first_in<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        causes(error).find_map(|error| error.downcast_ref())
    }
}

/// Returns the effect of a request at the edge of a driver: the greatest one that its responses, its failures and the
/// log show. After a redirect, effect done of the GET does not prove that the POST was done. Only the
/// log knows the method of each attempt.
fn effect_at_edge(own: Effect, log: Effect, is_redirected: bool) -> Effect {
    match is_redirected {
        true => own.of_part().max(log),
        false => own.max(log),
    }
}

#[cfg(test)]
#[path = "edge_tests.rs"]
mod tests;
