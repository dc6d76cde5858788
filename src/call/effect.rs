//! The effect of a call: the greatest of all its attempts.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, Uri};

#[cfg(feature = "reqwest-middleware")]
use super::CallerTry;
use super::ambient::MOST_CALLS;
use super::log::Rest;
use super::{Call, CallTarget};
use crate::hop::{Effect, Outcome, effect_of_response};
use crate::record::effect_of;
use crate::record::tracker::Tracker;

/// A point in a call: the attempts before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    attempts: u32,
    /// The number of these attempts that have a record.
    records: usize,
}

impl Since {
    /// The point before the first attempt.
    pub(crate) const START: Self = Self {
        attempts: 0,
        records: 0,
    };
}

impl Call {
    /// Returns the effect of the call. An attempt cannot undo the effect of another one, nor that of an earlier try of
    /// the caller.
    pub(crate) fn effect(&self) -> Effect {
        #[cfg(feature = "reqwest-middleware")]
        return self.effect_of_attempts().max(self.effect_before());
        #[cfg(not(feature = "reqwest-middleware"))]
        self.effect_of_attempts()
    }

    /// Returns the effect of the attempts after this point.
    pub(crate) fn effect_since(&self, from: Since) -> Effect {
        match from.attempts {
            0 => self.effect(),
            _ => self
                .effect_of_records(from.records)
                .max(self.effect_of_inner()),
        }
    }

    /// Returns whether an attempt was made after this point.
    pub(crate) fn has_attempted_since(&self, from: Since) -> bool {
        self.attempt_count() > from.attempts
    }

    /// Returns the point after all attempts so far.
    pub(crate) fn since_now(&self) -> Since {
        Since {
            attempts: self.attempt_count(),
            records: self.record_count(),
        }
    }

    /// Returns the effect of the attempt that began after this number of attempts. Without a record it is not known.
    pub(crate) fn effect_at(&self, attempts: u32) -> Effect {
        let record = self.record_at(attempts);
        record.map_or(Effect::Possible, |record| effect_of(&record))
    }

    fn effect_of_attempts(&self) -> Effect {
        let recorded = self.effect_of_records(0);
        let own = recorded.max(self.effect_of_unrecorded_end());
        let seen = self.brief().seen.unwrap_or(Effect::None);
        own.max(seen).max(self.effect_of_inner())
    }

    /// Returns the effect that the end of the call shows. It shows none if the response is that of a recorded attempt:
    /// the record knows more.
    fn effect_of_unrecorded_end(&self) -> Effect {
        if let Some(failure) = self.failure() {
            return failure.effect;
        }
        // A substitute says nothing about the request.
        let answered = self.answered().filter(|_| !self.has_substitute());
        let Some(how) = answered.filter(|how| self.record_of_answer(*how).is_none()) else {
            return Effect::None;
        };
        if let Some(failed) = self.failed() {
            return failed.effect;
        }
        let shown = self.brief().shown;
        shown.unwrap_or_else(|| self.effect_of_end(how))
    }

    /// Returns the effect of the recorded attempts. If a redirect led an inner stack to another method or origin, the
    /// effect there is not the effect that this call requested.
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

    /// Returns the effect of the calls that continue this call's request.
    fn effect_of_inner(&self) -> Effect {
        let inner = self.inner();
        let effects = inner.iter().map(Self::effect_from_outside);
        effects.max().unwrap_or(Effect::None)
    }

    /// Returns whether a response with this status may be the result of another attempt than the one that got it.
    pub(crate) fn is_in_doubt(&self, status: StatusCode) -> bool {
        let is_safe = self.method().is_some_and(Method::is_safe);
        let is_refusal = status.is_client_error() && !self.has_substitute();
        is_refusal && !is_safe && self.effect_beside(status) > Effect::Declined
    }

    /// Returns the effect of the attempts beside the one that got this status, and of the caller's earlier tries.
    fn effect_beside(&self, status: StatusCode) -> Effect {
        let mut beside = self.trackers();
        let got = |tracker: &Arc<Tracker>| {
            tracker.facts(|facts| facts.status == Some(status) && !facts.is_lost)
        };
        let is_unrecorded = beside.len() < self.attempt_count() as usize;
        let last = beside.len().checked_sub(1);
        if let Some(responded) = beside.iter().rposition(got).or(last) {
            beside.remove(responded);
        }
        let inner = self.inner();
        let below = match inner.split_last() {
            Some((last, earlier)) => {
                let earlier = earlier.iter().map(Self::effect_from_outside);
                earlier.max().max(Some(last.effect_beside(status)))
            }
            None if is_unrecorded && self.attempt_count() > 1 => Some(self.effect()),
            None => None,
        };
        let effect = beside.iter().map(effect_in_call).max().max(below);
        let effect = effect.unwrap_or(Effect::None);
        #[cfg(feature = "reqwest-middleware")]
        let effect = effect.max(self.effect_before());
        effect
    }

    /// Records the effect that a driver of this call saw. An attempt of it may have no record.
    pub(crate) fn saw(&self, effect: Effect) {
        if !effect.is_none() {
            let mut brief = self.brief();
            brief.seen = brief.seen.max(Some(effect));
        }
    }

    /// Records the effect that the trailers of the caller's response show, if the head left it open.
    pub(crate) fn show_by_trailers(&self, effect: Effect) {
        let mut brief = self.brief();
        brief.shown = brief.shown.map(|shown| match shown {
            Effect::Possible => effect,
            shown => shown,
        });
    }

    /// Returns the URL of the endpoint at which this request may have had an effect, by this call or one below it. A call
    /// that is still open may be sent yet.
    pub(super) fn endpoint_of_effect(&self, asked: &CallTarget) -> Option<Uri> {
        let own = self.asked();
        let is_it =
            own.uri().is_some() && (own.method(), own.uri()) == (asked.method(), asked.uri());
        let own = match is_it {
            true => self.kept(|rest| rest.endpoint.clone()).flatten(),
            false => None,
        };
        let is_over = || self.ended().is_some() && self.effect() <= Effect::Declined;
        let own = own.filter(|_| !is_over());
        let below = || {
            let below = self.calls_below();
            let mut below = below.iter().rev();
            below.find_map(|call| call.endpoint_of_effect(asked))
        };
        own.or_else(below)
    }

    /// Returns the URL of the endpoint of this logical name at which an attempt of this call may have had an effect.
    pub(crate) fn own_endpoint(&self, logical: &Uri) -> Option<Uri> {
        let of_it = |rest: &Rest| {
            let endpoint = rest.endpoint.clone();
            endpoint.filter(|_| rest.endpoint_of.as_ref() == logical.authority())
        };
        let endpoint = self.kept(of_it)?;
        endpoint.filter(|_| self.effect() > Effect::Declined)
    }

    /// Records that an attempt was dropped in flight, which began after this number of records. Only its own record can
    /// show what it did.
    pub(crate) fn lost_sight(&self, records_before: usize) {
        if !self.has_record_after(records_before) || self.may_go_on_elsewhere() {
            self.saw(Effect::Possible);
        }
    }

    /// Returns whether a service between two drivers may be sending the request with another client. The latest attempt
    /// is over, and no driver waits to retry it.
    fn may_go_on_elsewhere(&self) -> bool {
        !self.is_retried() && self.last().is_some_and(|last| last.is_over())
    }

    /// Returns the effect of the caller's earlier tries.
    #[cfg(feature = "reqwest-middleware")]
    fn effect_before(&self) -> Effect {
        let caller = self.callers_try();
        caller.map_or(Effect::None, CallerTry::before)
    }

    /// Returns the effect that the caller's response shows, for attempts without a record.
    fn effect_of_end(&self, how: Outcome) -> Effect {
        match how {
            Outcome::Responded(status) => {
                let is_safe = self.method().is_some_and(Method::is_safe);
                effect_of_response(status, &HeaderMap::new(), is_safe)
            }
            _ => Effect::Done,
        }
    }

    /// Returns the effect of this call after `failed`, an inner call, has failed. If `failed` continues this call's
    /// request, the effect is the greatest of all calls that continue it. Otherwise it is `Possible`: the code that
    /// made `failed` may have made other calls before.
    pub(crate) fn effect_below(&self, failed: &Self) -> Effect {
        // This call may have sent its request itself before it was continued below.
        let is_taken = self.last().is_some_and(|own| own.is_taken());
        if is_taken || !self.leads_to(failed) {
            return Effect::Possible;
        }
        let inner = self.inner();
        let effects = inner.iter().map(Self::effect_from_outside);
        effects.max().unwrap_or(Effect::Possible)
    }

    /// Returns the effect of the calls in an attempt, as the operation sees it. If one of several parts is done, the
    /// whole operation is not. A request with a safe method changes nothing.
    pub(crate) fn effect_of_calls(&self, attempt: &Arc<Tracker>) -> Effect {
        let calls = self.calls_in(attempt);
        let mut alone = Vec::new();
        self.inside(attempt, |inside| alone.clone_from(&inside.alone));
        if calls.len() >= MOST_CALLS || alone.len() >= MOST_CALLS {
            // There may have been more than the recorded calls.
            return Effect::Possible;
        }
        let alone = alone.iter().map(|tracker| effect_of(tracker)).max();
        let greatest = alone.unwrap_or(Effect::None);
        greatest.max(effect_of_parts(&calls)).of_part()
    }

    /// Returns the effect of a call seen from outside. If its attempts have no record, only its failure can prove that
    /// there was no effect.
    fn effect_from_outside(&self) -> Effect {
        match (self.last(), self.failure()) {
            (Some(_), _) => self.effect(),
            (None, Some(failure)) => failure.effect,
            (None, None) => Effect::Possible,
        }
    }
}

/// Returns the effect of these calls on the work that made them. The effect of a single call is that of the work.
pub(crate) fn effect_of_work(calls: &[Call], is_all: bool) -> Effect {
    match calls {
        _ if !is_all => Effect::Possible,
        [only] => only.effect_from_outside(),
        calls => effect_of_parts(calls),
    }
}

/// Returns the effect of several calls. If one of them is done, the whole is not. A request with a safe method changes
/// nothing.
fn effect_of_parts(calls: &[Call]) -> Effect {
    let is_safe = |call: &&Call| call.method().is_some_and(Method::is_safe);
    let changing = calls.iter().filter(|call| !is_safe(call));
    let greatest = changing.map(Call::effect_from_outside).max();
    greatest.unwrap_or(Effect::None).of_part()
}

/// Returns the effect of an attempt on its call. A response to the GET of a redirect does not prove that the POST was
/// done.
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
    use crate::hop::{Diagnosis, Hop, Keyed, Kind};
    use crate::telemetry::AttemptSpans;
    use crate::timeout::Timeouts;

    fn taken() -> Arc<Tracker> {
        let timeouts = Timeouts::new(Duration::from_secs(10)).unwrap();
        let tracker = Tracker::new(timeouts, AttemptSpans::default(), clock::now());
        tracker.begin();
        tracker.take();
        Arc::new(tracker)
    }

    #[tokio::test(start_paused = true)]
    async fn attempt_without_a_record_does_not_hide_a_later_one() {
        let mut request = http::Request::post("https://api.test/").body(()).unwrap();
        let call = Call::begin(&mut request, Duration::from_secs(10));
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

    #[tokio::test(start_paused = true)]
    async fn refusal_is_in_doubt_if_another_attempt_may_have_had_an_effect() {
        let conflict = StatusCode::CONFLICT;
        let refused = || {
            let tracker = taken();
            let judged = Diagnosis::status(conflict, &HeaderMap::new(), Keyed::No);
            tracker.head(conflict, judged, clock::now());
            tracker
        };
        let lost = || {
            let tracker = taken();
            tracker.facts(|facts| facts.is_lost = true);
            tracker
        };
        let unsent = || {
            let tracker = taken();
            let refused = Diagnosis::new(Hop::Connect, Kind::Refused, Effect::None);
            tracker.fail(refused);
            tracker
        };
        let doubted = |method: Method, attempts: &[Arc<Tracker>]| {
            let request = http::Request::builder().method(method);
            let mut request = request.uri("https://api.test/").body(()).unwrap();
            let call = Call::begin(&mut request, Duration::from_secs(10));
            for attempt in attempts {
                call.attempt(Arc::clone(attempt));
            }
            assert!(!call.is_in_doubt(StatusCode::INTERNAL_SERVER_ERROR));
            call.is_in_doubt(conflict)
        };
        // The effect of a 409 itself is possible, too: its own attempt does not count.
        assert!(!doubted(Method::PUT, &[refused()]));
        assert!(!doubted(Method::PUT, &[unsent(), refused()]));
        assert!(doubted(Method::PUT, &[taken(), refused()]));
        assert!(doubted(Method::PUT, &[unsent(), taken(), refused()]));
        // A hedge that lost may have been carried out first.
        assert!(doubted(Method::PUT, &[refused(), lost()]));
        assert!(!doubted(Method::GET, &[taken(), refused()]));
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_is_in_doubt_if_an_attempt_without_a_record_may_have_had_an_effect() {
        let mut request = http::Request::put("https://api.test/").body(()).unwrap();
        let call = Call::begin(&mut request, Duration::from_secs(10));
        call.count_attempt(0);
        call.saw(Effect::Possible);
        assert!(!call.is_in_doubt(StatusCode::PRECONDITION_FAILED));
        call.count_attempt(1);
        assert!(call.is_in_doubt(StatusCode::PRECONDITION_FAILED));
    }
}
