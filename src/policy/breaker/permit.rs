//! A circuit's permit for one attempt, from admission to the last byte of the response.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio::time::Instant;

use super::CircuitBreakerHandle;
use super::attempt::{Moment, Refusal, Verdict};
use super::event::Change;
use super::handle::report;
use super::opened::peer_of;
use super::pending::PendingVerdict;
use super::shared::{SharedCircuit, Ticket};
use super::state::CircuitState;
use super::verdict::{Allotted, Judge};
use crate::call::Call;
use crate::clock;
use crate::destination::Origin;
use crate::diagnose::AttemptFailure;
use crate::error::Error;
use crate::hop::{Diagnosis, FailureClass, Hop, Keyed, Kind};
use crate::luck::luck;
use crate::policy::{Classified, DestinationKey};
use crate::record::Tracker;
use crate::retry_after::Hints;
use crate::telemetry::Span;
use crate::timeout::TimeoutKind;

/// The circuits of a driver, and the function that finds the circuit of a request.
#[derive(Clone)]
pub(crate) struct CircuitBreakers {
    pub(crate) breaker: CircuitBreakerHandle,
    pub(crate) judge: Judge,
    pub(crate) key: Option<DestinationKey>,
    pub(crate) hints: Hints,
}

/// A request, and its circuit if that is known already.
type AdmissionRequest<'r, B> = (&'r Request<B>, Option<Arc<SharedCircuit>>);

impl CircuitBreakers {
    /// Returns the circuit of a URL's destination, unless a user function names the circuit.
    pub(crate) fn at(&self, origin: &Origin, now: Instant) -> Option<Arc<SharedCircuit>> {
        let is_by_url = self.key.is_none();
        is_by_url.then(|| self.breaker.at(origin, now))
    }

    /// Requests a permit from the request's circuit; `None` if no circuit judges the request. An already known
    /// circuit was found by this request's URL.
    pub(crate) fn admit<B>(
        &self,
        (request, known): AdmissionRequest<'_, B>,
        call: &Call,
        now: Instant,
    ) -> Result<Option<Admission>, Error> {
        let circuit = match known {
            Some(known) => Some(known),
            None => self.circuit(request, now)?,
        };
        let Some(circuit) = circuit else {
            return Ok(None);
        };
        let ticket = self.breaker.admit((circuit, &self.judge), call, now);
        let ticket = ticket.map_err(|refusal| refused(&refusal))?;
        Ok(Some(self.admitted(ticket, call, now)))
    }

    /// Begins an attempt with a ticket of its circuit.
    pub(crate) fn admitted(&self, ticket: Ticket, call: &Call, now: Instant) -> Admission {
        Admission(Some(Admitted {
            ticket,
            judge: self.judge,
            since: now,
            attempts_before: call.attempt_count(),
            call: call.clone(),
            hints: self.hints.clone(),
        }))
    }

    /// Returns the circuit of a request, if there is one.
    fn circuit<B>(
        &self,
        request: &Request<B>,
        now: Instant,
    ) -> Result<Option<Arc<SharedCircuit>>, Error> {
        let Some(key) = &self.key else {
            let origin = Origin::of_request(request.uri());
            return Ok(Some(self.breaker.at(&origin, now)));
        };
        let destination = key(request.method(), request.uri(), request.headers());
        let destination = destination.map_err(|panicked| Error::invalid().caused_by(panicked))?;
        Ok(destination.map(|destination| self.breaker.of(destination, now)))
    }
}

/// Returns the error of an attempt that a circuit rejects.
pub(crate) fn refused(refusal: &Refusal) -> Error {
    let error = Error::refused(
        crate::hop::Policy::Breaker,
        Diagnosis::refusal(Kind::CircuitOpen),
    )
    .caused_by(refusal.cause);
    match refusal.retry_after {
        Some(wait) => error.after(wait),
        None => error,
    }
}

impl CircuitBreakerHandle {
    /// Requests a permit from a circuit, and reports the changes that follow.
    pub(crate) fn admit(
        &self,
        (circuit, judge): (Arc<SharedCircuit>, &Judge),
        call: &Call,
        now: Instant,
    ) -> Result<Ticket, Refusal> {
        let admitted =
            SharedCircuit::admit(circuit, now).or_else(|(refusal, circuit)| {
                match circuit.opened.another() {
                    Some(opening) => {
                        let entered = circuit.half_open_since(opening, now);
                        report(&circuit, entered, &call.span_for_events());
                        SharedCircuit::admit(circuit, now)
                    }
                    None => Err((refusal, circuit)),
                }
            });
        match admitted {
            Ok((ticket, entered)) => {
                if entered.is_some() {
                    report(ticket.shared(), entered, &call.span_for_events());
                }
                Ok(ticket)
            }
            Err((refusal, circuit)) => {
                let change = Change::rejected(&refusal);
                circuit.watch.report(change, &Span::none());
                match self.is_observe_only(judge) {
                    true => Ok(SharedCircuit::observe(circuit)),
                    false => Err(refusal),
                }
            }
        }
    }
}

/// A permitted attempt, until its response head arrives. If it is dropped before that, the verdict depends on whether
/// the attempt had its full time.
pub(crate) struct Admission(Option<Admitted>);

struct Admitted {
    ticket: Ticket,
    judge: Judge,
    call: Call,
    since: Instant,
    /// The number of attempts that the call had made before this one.
    attempts_before: u32,
    hints: Hints,
}

impl Admission {
    /// Returns whether the circuit is half-open.
    pub(crate) fn is_half_open(&self) -> bool {
        let state = |of: &Admitted| of.ticket.shared().position().state;
        self.0.as_ref().map(state) == Some(CircuitState::HalfOpen)
    }

    /// Returns the ticket that is kept while the attempt waits for another policy.
    pub(crate) fn kept(mut self) -> Option<Ticket> {
        self.0.take()?.ticket.kept()
    }

    /// Handles the response head. A failure status is judged at once. Other responses are judged when the body ends.
    /// `is_over` says that the body has already ended.
    pub(crate) fn head<R>(
        mut self,
        response: &Response<R>,
        (is_over, classified): (bool, Classified),
        now: Instant,
    ) -> Option<PendingVerdict> {
        let admitted = self.0.take()?;
        let by_status = || Diagnosis::status(response.status(), response.headers(), Keyed::No);
        let diagnosis = classified.failed.or_else(by_status);
        let Admitted {
            ticket,
            judge,
            call,
            since,
            attempts_before,
            hints,
        } = admitted;
        let hint = || {
            let (status, headers) = (response.status(), response.headers());
            hints.read(status, headers, clock::wall)
        };
        let hint = diagnosis.and_then(|_| hint());
        let verdict = judge.judge(diagnosis.as_ref(), hint);
        let verdict = match &diagnosis {
            Some(failed) => judge.by_class(verdict, (failed, hint), classified.class),
            None => verdict,
        };
        let took = || now.saturating_duration_since(since);
        let verdict = judge.by_time(verdict, took);
        let is_well = matches!(verdict, Verdict::Success | Verdict::Slow);
        if !is_well || call.options().streaming || is_over {
            let record = || call.record_after(attempts_before);
            settle(ticket, verdict, (Some(&call), now), record);
            return None;
        }
        ticket.answered();
        Some(PendingVerdict {
            ticket: Some(ticket),
            is_slow: verdict == Verdict::Slow,
            judge,
            since,
            attempts_before,
            call,
            is_waiting: false,
        })
    }

    /// Settles the permit of a failed attempt.
    pub(crate) fn fail(mut self, failure: &AttemptFailure, class: Option<FailureClass>) {
        if let Some(admitted) = self.0.take() {
            let now = clock::now();
            let (failed, hint) = (failure.diagnosis(), failure.retry_after());
            let judge = &admitted.judge;
            let verdict = judge.judge(Some(&failed), hint);
            let verdict = judge.by_class(verdict, (&failed, hint), class);
            let verdict = judge.by_time(verdict, || admitted.took(now));
            // If there is no call around this driver, the driver inside began its own call.
            let inner = failure.call();
            let inner = inner.filter(|inner| inner.deadline() < admitted.call.deadline());
            let call = inner.unwrap_or(&admitted.call);
            let allotted = || admitted.allotted(call, failed.timeout_kind);
            let verdict = judge.by_allotted(verdict, &failed, allotted);
            admitted.settle(verdict, now);
        }
    }
}

impl Admitted {
    fn took(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Returns the time that the attempt had.
    fn allotted(&self, call: &Call, which: Option<TimeoutKind>) -> Allotted {
        let record = self.record(call);
        Allotted::of((call.deadline(), record.as_deref()), self.since, which)
    }

    fn record(&self, call: &Call) -> Option<Arc<Tracker>> {
        call.record_after(self.attempts_before)
    }

    fn settle(self, verdict: Verdict, now: Instant) {
        let Self {
            ticket,
            call,
            attempts_before,
            ..
        } = self;
        let record = || call.record_after(attempts_before);
        settle(ticket, verdict, (Some(&call), now), record);
    }

    /// Returns where the attempt hung, if it had its full time before it was dropped.
    fn timeout_kind(&self, now: Instant) -> Option<Diagnosis> {
        let tracker = self.record(&self.call);
        // An attempt whose bytes moved was not silent, however long it would have taken.
        let (start, limit) = match &tracker {
            Some(tracker) => (tracker.moved(), tracker.timeouts().configured_attempt()),
            None => (self.since, self.judge.attempt),
        };
        let which = if self.call.deadline() <= now {
            TimeoutKind::Deadline
        } else if clock::after(start, limit) <= now {
            TimeoutKind::Attempt
        } else {
            return None;
        };
        let failure = tracker.as_ref().and_then(|tracker| tracker.failure());
        let mut diagnosis =
            failure.unwrap_or_else(|| Diagnosis::timeout_kind(tracker.as_deref(), which));
        // The hop is unknown. The only fact is that no response came.
        diagnosis.hop.get_or_insert(Hop::Server);
        Some(diagnosis)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let Some(admitted) = self.0.take() else {
            return;
        };
        let now = clock::now();
        if let Some(failed) = admitted.timeout_kind(now) {
            let allotted = || admitted.allotted(&admitted.call, failed.timeout_kind);
            let judge = &admitted.judge;
            let verdict = judge.judge(Some(&failed), None);
            let verdict = judge.by_time(verdict, || admitted.took(now));
            let verdict = judge.by_allotted(verdict, &failed, allotted);
            admitted.settle(verdict, now);
        }
    }
}

/// Settles a permit and reports the changes of the circuit. `record` is the record of the attempt, if there is one.
pub(crate) fn settle(
    ticket: Ticket,
    verdict: Verdict,
    (call, now): (Option<&Call>, Instant),
    record: impl FnOnce() -> Option<Arc<Tracker>>,
) {
    // Only a failed or slow attempt can open a circuit, and so needs a random number. Drawing one costs a system call.
    let (luck, peer) = match verdict {
        Verdict::Ignored => return,
        Verdict::Success | Verdict::Throttled => (0.0, None),
        Verdict::Slow | Verdict::Failure(_) => {
            (luck(), record().and_then(|record| peer_of(&record)))
        }
    };
    if let Some((address, addresses)) = &peer
        && !addresses.knows(*address)
    {
        // The address has left DNS, so the attempt says nothing about the destination.
        return;
    }
    if let Some((circuit, position)) = ticket.settle(verdict, Moment { now, luck }) {
        if position.opened.is_some() {
            let addresses = peer.map(|(_, addresses)| addresses);
            circuit.opened.note(position.generation, addresses);
        }
        let span = call.map_or_else(Span::current, Call::span_for_events);
        report(&circuit, Some(position), &span);
    }
}

#[cfg(test)]
#[path = "permit_tests.rs"]
mod tests;
