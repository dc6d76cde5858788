//! The log of a call: its attempts, the events between them, and how it ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::uri::Authority;
use http::{HeaderMap, StatusCode, Uri};

use super::Call;
use crate::clock;
use crate::hop::{
    Diagnosis, Effect, Keyed, NoRetryReason, Outcome, Policy, TimelineEvent, TimelineEventKind,
};
use crate::record::Tracker;
use crate::redact::redacted;
use crate::telemetry;

/// The log of a call.
#[derive(Default)]
pub(super) struct Log {
    /// The first attempt. Nearly every call is one attempt, and needs no list.
    first: OnceLock<Arc<Tracker>>,
    brief: Mutex<Brief>,
    failure: OnceLock<Diagnosis>,
    /// Whether there is a second attempt, or will be.
    has_more: AtomicBool,
    /// Whether the caller waits for more of the call.
    waits: AtomicBool,
    /// The rest of the log. It is created only for a call that is not a plain single attempt.
    rest: OnceLock<Box<Mutex<Rest>>>,
}

/// The whole log of a call that is a plain single attempt.
#[derive(Default)]
pub(super) struct Brief {
    /// The outcome that the caller received.
    answered: Option<Outcome>,
    /// The effect that the head of the caller's response shows.
    pub(super) shown: Option<Effect>,
    /// Whether the response of the caller stands in for a failure.
    has_substitute: bool,
    /// The effect that drivers saw, also of attempts that have no record.
    pub(super) seen: Option<Effect>,
    /// How a 2xx of an attempt without a record failed, by the user's classifier.
    classified: Option<Diagnosis>,
}

#[derive(Default)]
pub(super) struct Rest {
    pub(super) more: Vec<Arc<Tracker>>,
    /// The attempt that ended last, if others were in flight with it.
    pub(super) decisive: Option<Arc<Tracker>>,
    pub(super) notes: Vec<TimelineEvent>,
    no_retry_reason: Option<NoRetryReason>,
    /// The calls of inner stacks that continue its request.
    pub(super) inner: Vec<Call>,
    /// The requests of an operation's attempts.
    pub(super) inside: Vec<NestedCalls>,
    /// The URL to which redirects have led.
    pub(super) redirected_to: Option<Uri>,
    /// The URL of the endpoint of a logical name that the call went to.
    pub(super) endpoint: Option<Uri>,
    /// The URL of the call's own request at that endpoint. A layer may also have sent another request.
    pub(super) own_at_endpoint: Option<Uri>,
    /// The logical name of `endpoint`, if no redirect led to it.
    pub(super) endpoint_of: Option<Authority>,
    /// The URL of the endpoint at which an earlier send of the same work may have had an effect.
    pub(super) earlier_endpoint: Option<Uri>,
}

/// The requests that an operation's work sent in one attempt.
pub(super) struct NestedCalls {
    pub(super) attempt: Arc<Tracker>,
    /// The calls of this crate's clients, in order.
    pub(super) calls: Vec<Call>,
    /// The requests without a call around them whose method is not safe.
    pub(super) alone: Vec<Arc<Tracker>>,
}

impl Call {
    /// Records that another attempt begins.
    pub(crate) fn attempt(&self, tracker: Arc<Tracker>) {
        if let Err(tracker) = self.0.log.first.set(tracker) {
            self.0.log.has_more.store(true, Ordering::Release);
            let mut rest = self.rest();
            rest.decisive = None;
            rest.more.push(tracker);
        }
        self.count_one_more();
    }

    pub(crate) fn trackers(&self) -> Vec<Arc<Tracker>> {
        let more = self.kept(|rest| rest.more.clone()).unwrap_or_default();
        self.first().cloned().into_iter().chain(more).collect()
    }

    /// Returns the number of attempts that have a record.
    pub(crate) fn record_count(&self) -> usize {
        match self.0.log.has_more.load(Ordering::Acquire) {
            true => 1 + self.rest().more.len(),
            false => usize::from(self.has_record()),
        }
    }

    pub(super) fn first(&self) -> Option<&Arc<Tracker>> {
        self.0.log.first.get()
    }

    /// Returns whether an attempt has a record.
    pub(crate) fn has_record(&self) -> bool {
        self.first().is_some()
    }

    /// Returns whether an attempt has a record that began after this number of records.
    pub(crate) fn has_record_after(&self, records: usize) -> bool {
        self.record_count() > records
    }

    /// Returns the attempt in progress, or the one made last. Of several in flight it is the one that ended last.
    pub(crate) fn last(&self) -> Option<Arc<Tracker>> {
        if self.0.log.has_more.load(Ordering::Acquire) {
            let rest = self.rest();
            if let Some(last) = rest.decisive.as_ref().or_else(|| rest.more.last()) {
                return Some(Arc::clone(last));
            }
        }
        self.first().cloned()
    }

    /// Ends the attempts that run in tasks of their own, because the caller goes away. Unless attempts overlap, only
    /// the last one can be open.
    pub(super) fn cancel_open(&self) {
        let cancel = |open: &Arc<Tracker>| {
            if !open.is_over() {
                open.give_up();
                open.cancel();
            }
        };
        match self.0.log.has_more.load(Ordering::Acquire) {
            false => self.first().into_iter().for_each(cancel),
            true if self.overlaps() => self.trackers().iter().for_each(cancel),
            true => self.last().iter().for_each(cancel),
        }
    }

    /// Returns the diagnosis that the last attempt made of this status.
    pub(crate) fn judged(&self, status: StatusCode) -> Option<Diagnosis> {
        let judged = self.last().and_then(|tracker| tracker.failure());
        judged.filter(|judged| judged.status == Some(status))
    }

    /// Records a redirect that is followed. It may lead to another method or origin.
    pub(crate) fn redirected(&self, status: StatusCode, (uri, is_away): (&Uri, bool)) {
        self.begin_leg(is_away);
        let url = redacted(uri);
        self.note_of(self.last(), TimelineEventKind::Redirected { status, url });
        self.rest().redirected_to = Some(uri.clone());
    }

    /// Records that the target of a redirect, which has a logical name, is at this URL.
    pub(crate) fn led_to_endpoint(&self, uri: &Uri) {
        self.rest().redirected_to = Some(uri.clone());
    }

    /// Records that a request of the call, which no redirect has led to, goes to this URL of an endpoint. `logical` is
    /// the URL that led there, if it is a new one. `is_own` says whether it is the request of the call itself.
    pub(crate) fn sent_to(&self, uri: &Uri, logical: Option<&Uri>, is_own: bool) {
        let mut rest = self.rest();
        rest.redirected_to = Some(uri.clone());
        rest.endpoint = Some(uri.clone());
        if let Some(logical) = logical {
            rest.endpoint_of = logical.authority().cloned();
        }
        if is_own {
            rest.own_at_endpoint = Some(uri.clone());
        }
    }

    /// Keeps the URL of the endpoint at which an earlier send of the same work may have had an effect.
    pub(super) fn keep_to(&self, endpoint: Option<Uri>) {
        if endpoint.is_some() {
            self.rest().earlier_endpoint = endpoint;
        }
    }

    /// Returns the URL of the endpoint at which an earlier send of the same work may have had an effect.
    pub(crate) fn earlier_endpoint(&self) -> Option<Uri> {
        self.kept(|rest| rest.earlier_endpoint.clone())?
    }

    /// Returns the current URL of the call: its own, or the one that a redirect led to.
    pub(crate) fn current_uri(&self) -> Uri {
        let redirected_to = self.kept(|rest| rest.redirected_to.clone());
        redirected_to
            .flatten()
            .unwrap_or_else(|| self.asked().uri().cloned().unwrap_or_default())
    }

    pub(crate) fn note(&self, what: TimelineEventKind) {
        self.note_after(self.attempt_count(), what);
    }

    /// Records an event that belongs behind this number of attempts.
    pub(crate) fn note_after(&self, attempts: u32, what: TimelineEventKind) {
        telemetry::note(&self.span_for_events(), &what);
        let note = TimelineEvent {
            attempts,
            at: self.elapsed(),
            kind: what,
        };
        self.rest().notes.push(note);
    }

    /// Records that a policy rejected the call. Several layers may report the same rejection.
    pub(crate) fn rejected_by(&self, policy: Policy) {
        let (attempts, what) = (self.attempt_count(), TimelineEventKind::Rejected(policy));
        let said = |note: &TimelineEvent| note.attempts == attempts && note.kind == what;
        if !self.rest().notes.last().is_some_and(said) {
            self.note(what);
        }
    }

    pub(crate) fn notes(&self) -> Vec<TimelineEvent> {
        self.kept(|rest| rest.notes.clone()).unwrap_or_default()
    }

    /// Keeps the reason why the last failure is not retried. `None` means that it is retried, or that there was none.
    pub(crate) fn stop(&self, reason: Option<NoRetryReason>) {
        self.rest().no_retry_reason = reason;
    }

    pub(crate) fn no_retry_reason(&self) -> Option<NoRetryReason> {
        self.kept(|rest| rest.no_retry_reason.clone())?
    }

    /// Records that the call failed. If it failed before, nothing changes.
    pub(crate) fn fail(&self, diagnosis: Diagnosis) {
        let _ = self.0.log.failure.set(diagnosis);
        self.end(clock::now());
    }

    pub(crate) fn failure(&self) -> Option<Diagnosis> {
        self.0.log.failure.get().copied()
    }

    /// Records that the caller has its response: with a status, or done.
    pub(crate) fn answer(&self, how: Outcome) {
        self.brief().answered.get_or_insert(how);
    }

    /// Records that the caller has this response, and the effect that it shows.
    pub(crate) fn answer_with(&self, status: StatusCode, effect: Effect) {
        let effect = match self.leads_away() {
            true => effect.of_part(),
            false => effect,
        };
        let mut brief = self.brief();
        brief.answered.get_or_insert(Outcome::Responded(status));
        brief.shown.get_or_insert(effect);
    }

    /// Records that the caller has a response that stands in for the failure of the call.
    pub(crate) fn stand_in(&self, what: TimelineEventKind, status: StatusCode) {
        self.note(what);
        let mut brief = self.brief();
        brief.has_substitute = true;
        brief.answered.get_or_insert(Outcome::Responded(status));
    }

    /// Returns whether the response of the caller stands in for a failure.
    pub(crate) fn has_substitute(&self) -> bool {
        self.brief().has_substitute
    }

    /// Records what a classifier says about a 2xx of an attempt without a record.
    pub(crate) fn classify_success(&self, failed: Option<Diagnosis>) {
        self.brief().classified = failed;
    }

    /// Records whether the caller waits for more of the body. A caller that is dropped while it waits cancels the call.
    pub(crate) fn wait_for_more(&self, waits: bool) {
        self.0.log.waits.store(waits, Ordering::Relaxed);
    }

    /// Returns the response that the caller has, unless it waits for more of it.
    pub(crate) fn answered(&self) -> Option<Outcome> {
        let waits = self.0.log.waits.load(Ordering::Relaxed);
        self.brief().answered.filter(|_| !waits)
    }

    /// Returns the record of the attempt that ended so for the caller; `None` if that attempt has no record. An earlier
    /// attempt may have one.
    pub(crate) fn record_of_answer(&self, how: Outcome) -> Option<Arc<Tracker>> {
        self.last().filter(|last| match how {
            Outcome::Responded(status) => last.status() == Some(status),
            _ => true,
        })
    }

    /// Returns how the call failed: by itself, or by the status of its response.
    pub(crate) fn failed(&self) -> Option<Diagnosis> {
        self.failure().or_else(|| {
            let how = self.answered()?;
            match (how, self.record_of_answer(how)) {
                _ if self.has_substitute() => None,
                (_, Some(record)) => record.failure(),
                (Outcome::Responded(status), None) if status.is_success() => {
                    self.brief().classified
                }
                (Outcome::Responded(status), None) => {
                    Diagnosis::status(status, &HeaderMap::new(), Keyed::No)
                }
                _ => None,
            }
        })
    }

    /// Returns the calls inside this one: of inner stacks, and of an operation's work.
    pub(super) fn calls_below(&self) -> Vec<Self> {
        let below = |rest: &Rest| {
            let inside = rest.inside.iter().flat_map(|inside| &inside.calls);
            rest.inner.iter().chain(inside).cloned().collect()
        };
        self.kept(below).unwrap_or_default()
    }

    /// Returns the calls of inner stacks that continue its request.
    pub(super) fn inner(&self) -> Vec<Self> {
        self.kept(|rest| rest.inner.clone()).unwrap_or_default()
    }

    /// Returns the memory of the part of the log that is created on demand.
    #[cfg(feature = "client")]
    pub(super) fn rest_bytes(&self) -> usize {
        self.kept(Rest::bytes).unwrap_or_default()
    }

    pub(super) fn brief(&self) -> MutexGuard<'_, Brief> {
        let brief = self.0.log.brief.lock();
        brief.unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the part of the log that is created on demand, if it exists.
    pub(super) fn kept<T>(&self, read: impl FnOnce(&Rest) -> T) -> Option<T> {
        let rest = self.0.log.rest.get()?;
        Some(read(&rest.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Returns the part of the log that is created on demand.
    pub(super) fn rest(&self) -> MutexGuard<'_, Rest> {
        let rest = self.0.log.rest.get_or_init(Box::default);
        rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
