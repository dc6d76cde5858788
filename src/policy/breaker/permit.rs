//! A circuit's leave to make one attempt, from admission to the last byte of the response.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio::time::Instant;

use super::Breaker;
use super::attempt::{Moment, Refusal, Verdict};
use super::event::Change;
use super::handle::report;
use super::shared::{Shared, Ticket};
use super::verdict::{Allotted, Judge};
use crate::call::Call;
use crate::callback::Panicked;
use crate::clock;
use crate::destination::Origin;
use crate::diagnose::Failure;
use crate::error::Error;
use crate::hint::Hints;
use crate::hop::{Diagnosis, FailureClass, Hop, Keyed, Kind};
use crate::limit::Waited;
use crate::luck::luck;
use crate::policy::Key;
use crate::record::Tracker;
use crate::telemetry::Span;

/// The circuits that a driver goes by, and how it finds the one of a request.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) breaker: Breaker,
    pub(crate) key: Option<Key>,
    pub(crate) hints: Hints,
}

impl Policy {
    /// Asks the circuit of a request for leave to send it; `None` where none judges it.
    pub(crate) fn admit<B>(
        &self,
        request: &Request<B>,
        call: &Call,
        now: Instant,
    ) -> Result<Option<Admission>, Error> {
        let Some(circuit) = self.circuit(request, now).map_err(unkeyed)? else {
            return Ok(None);
        };
        let ticket = self.breaker.admit(circuit, call, now);
        let ticket = ticket.map_err(|refusal| refused(&refusal))?;
        Ok(Some(Admission {
            ticket: Some(ticket),
            judge: self.breaker.judge(),
            since: now,
            attempts_before: call.attempt_count(),
            call: call.clone(),
            hints: self.hints.clone(),
        }))
    }

    /// The circuit that a request goes by, if any.
    fn circuit<B>(
        &self,
        request: &Request<B>,
        now: Instant,
    ) -> Result<Option<Arc<Shared>>, Panicked> {
        let Some(key) = &self.key else {
            let origin = Origin::of_request(request.uri());
            return Ok(Some(self.breaker.at(&origin, now)));
        };
        let destination = key(request.method(), request.uri(), request.headers())?;
        Ok(destination.map(|destination| self.breaker.of(destination, now)))
    }
}

/// The error of a request of which nothing says by which circuit it goes.
fn unkeyed(panicked: Panicked) -> Error {
    Error::invalid().caused_by(panicked)
}

/// The error of an attempt that a circuit does not let through.
pub(crate) fn refused(refusal: &Refusal) -> Error {
    let error = Error::refused(crate::hop::Policy::Breaker, Diagnosis::refusal(Kind::Open))
        .caused_by(refusal.cause);
    match refusal.retry_after {
        Some(wait) => error.after(wait),
        None => error,
    }
}

impl Breaker {
    /// Asks a circuit for leave to make an attempt, and reports what becomes of that.
    pub(crate) fn admit(
        &self,
        circuit: Arc<Shared>,
        call: &Call,
        now: Instant,
    ) -> Result<Ticket, Refusal> {
        match Shared::admit(Arc::clone(&circuit), now) {
            Ok(mut ticket) => {
                if let Some(position) = ticket.entered() {
                    report(&circuit, Some(position), &call.span_for_events());
                }
                Ok(ticket)
            }
            Err(refusal) => {
                let change = Change::rejected(&refusal);
                circuit.watch.report(change, &Span::none());
                match self.is_observe_only() {
                    true => Ok(Shared::observe(circuit)),
                    false => Err(refusal),
                }
            }
        }
    }
}

/// An attempt that was let through, until its head is here. Dropped before, it is judged by whether
/// it had its time.
pub(crate) struct Admission {
    ticket: Option<Ticket>,
    judge: Judge,
    call: Call,
    since: Instant,
    /// How many attempts the call had made before this one.
    attempts_before: u32,
    hints: Hints,
}

impl Admission {
    /// The head is here: a status that is a failure is judged at once, the rest when the body ends;
    /// `is_over` says that it has.
    pub(crate) fn head<R>(
        mut self,
        response: &Response<R>,
        (is_over, class): (bool, Option<FailureClass>),
    ) -> Option<PendingVerdict> {
        let diagnosis = Diagnosis::status(response.status(), response.headers(), Keyed::No);
        let hint = || {
            let (status, headers) = (response.status(), response.headers());
            self.hints.read(status, headers, clock::wall)
        };
        let hint = diagnosis.and_then(|_| hint());
        let verdict = self.judge.judge(diagnosis.as_ref(), hint);
        let verdict = match &diagnosis {
            Some(failed) => self.judge.by_class(verdict, (failed, hint), class),
            None => verdict,
        };
        let verdict = self.judge.by_time(verdict, || self.took());
        let is_well = matches!(verdict, Verdict::Success | Verdict::Slow);
        let ticket = self.ticket.take()?;
        if !is_well || self.call.options().streaming || is_over {
            settle(ticket, verdict, Some(&self.call));
            return None;
        }
        ticket.answered();
        Some(PendingVerdict {
            judged: Some((ticket, verdict)),
            judge: self.judge,
            since: self.since,
            call: self.call.clone(),
            is_waiting: false,
        })
    }

    /// The attempt failed.
    pub(crate) fn fail(mut self, failure: &Failure, class: Option<FailureClass>) {
        if let Some(ticket) = self.ticket.take() {
            let (failed, hint) = (failure.diagnosis(), failure.retry_after());
            let verdict = self.judge.judge(Some(&failed), hint);
            let verdict = self.judge.by_class(verdict, (&failed, hint), class);
            let verdict = self.judge.by_time(verdict, || self.took());
            // Where no call is around this driver, the one inside began its own.
            let inner = failure.call();
            let inner = inner.filter(|inner| inner.deadline() < self.call.deadline());
            let allotted = || self.allotted(inner.unwrap_or(&self.call), failed.expired);
            let verdict = self.judge.by_allotted(verdict, &failed, allotted);
            settle(ticket, verdict, Some(&self.call));
        }
    }

    fn took(&self) -> Duration {
        clock::now().saturating_duration_since(self.since)
    }

    /// How much time it had.
    fn allotted(&self, call: &Call, which: Option<Waited>) -> Allotted {
        Allotted::of((call, self.record(call).as_deref()), self.since, which)
    }

    /// The record of its attempt: an earlier attempt's knows nothing of this one.
    fn record(&self, call: &Call) -> Option<Arc<Tracker>> {
        let is_current = call.attempt_count() > self.attempts_before;
        is_current.then(|| call.last()).flatten()
    }

    /// Where it hung, if it had all its time before it was dropped.
    fn expired(&self, now: Instant) -> Option<Diagnosis> {
        let tracker = self.record(&self.call);
        // However long it might have gone on: a byte that moved is not silence.
        let (start, limit) = match &tracker {
            Some(tracker) => (tracker.moved(), tracker.limits().configured_attempt()),
            None => (self.since, self.judge.attempt),
        };
        let which = if self.call.deadline() <= now {
            Waited::Deadline
        } else if clock::after(start, limit) <= now {
            Waited::Attempt
        } else {
            return None;
        };
        let failure = tracker.as_ref().and_then(|tracker| tracker.failure());
        let mut diagnosis =
            failure.unwrap_or_else(|| Diagnosis::expired(tracker.as_deref(), which));
        // Nothing tells where it was: what is known is that no answer came.
        diagnosis.hop.get_or_insert(Hop::Server);
        Some(diagnosis)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        if let Some(failed) = self.expired(clock::now()) {
            let allotted = || self.allotted(&self.call, failed.expired);
            let verdict = self.judge.judge(Some(&failed), None);
            let verdict = self.judge.by_time(verdict, || self.took());
            let verdict = self.judge.by_allotted(verdict, &failed, allotted);
            settle(ticket, verdict, Some(&self.call));
        }
    }
}

/// A response that began well, and is judged by how its body ends. Dropped before the end, it was a
/// success, unless the reader waited for more of it as the deadline passed.
pub(crate) struct PendingVerdict {
    judged: Option<(Ticket, Verdict)>,
    judge: Judge,
    since: Instant,
    call: Call,
    is_waiting: bool,
}

impl PendingVerdict {
    /// The reader waits for more of the body, or does not.
    pub(crate) fn wait_for_more(&mut self, waits: bool) {
        self.is_waiting = waits;
    }

    /// The body ended well.
    pub(crate) fn end(&mut self) {
        if let Some((ticket, verdict)) = self.judged.take() {
            settle(ticket, verdict, Some(&self.call));
        }
    }

    /// The body broke off.
    pub(crate) fn fail(&mut self, failed: &Diagnosis) {
        if let Some((ticket, _)) = self.judged.take() {
            let tracker = self.call.last();
            let allotted =
                || Allotted::of((&self.call, tracker.as_deref()), self.since, failed.expired);
            let verdict = self.judge.judge(Some(failed), None);
            let verdict = self.judge.by_allotted(verdict, failed, allotted);
            settle(ticket, verdict, Some(&self.call));
        }
    }
}

impl Drop for PendingVerdict {
    fn drop(&mut self) {
        if self.judged.is_none() {
            return;
        }
        if self.is_waiting && self.call.deadline() <= clock::now() {
            self.fail(&Diagnosis {
                expired: Some(Waited::Deadline),
                ..Diagnosis::after_head(Hop::Receive, Kind::Timeout)
            });
        } else {
            self.end();
        }
    }
}

/// Settles now, with what luck the moment has, and reports where the circuit goes.
pub(crate) fn settle(ticket: Ticket, verdict: Verdict, call: Option<&Call>) {
    if verdict == Verdict::Ignored {
        return;
    }
    let circuit = Arc::clone(ticket.shared());
    let at = Moment {
        now: clock::now(),
        luck: luck(),
    };
    if let Some(position) = ticket.settle(verdict, at) {
        let span = call.map_or_else(Span::current, Call::span_for_events);
        report(&circuit, Some(position), &span);
    }
}
