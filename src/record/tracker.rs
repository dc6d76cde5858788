//! The tracker of an attempt: it records which hops were entered and left.
//!
//! The attempt failed at the hop that was entered and not left. The attempt's own task, the connector, the TLS hook and
//! the connection's task that polls the bodies all report to one tracker. Facts that race without a lock are marks in
//! one atomic word. All other facts are in one store under a mutex that is held for a few instructions. No subscriber
//! and no callback runs under it.

mod getters;
mod tell;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

#[cfg(any(feature = "hyper-util", feature = "reqwest"))]
pub(crate) use super::current::is_current;
pub(crate) use super::current::{current, scope, sync_scope};
use super::facts::Facts;
use super::stages::End;
use super::state::{self, ENDED, GIVEN_UP, HEAD, Marks, OWN, SETUP, TAKEN, TRACKED, UNTAKEN};

use super::state::{bit, dial_more, latest_dial, queued};
use super::store::{Change, Store};
use crate::clock::{self, nanos_of};
use crate::hop::{Diagnosis, Kind, Stage};
use crate::telemetry::AttemptSpans;
use crate::timeout::Timeouts;

/// The record of one attempt.
#[derive(Debug)]
pub(crate) struct Tracker {
    started: Instant,
    /// Shared by all attempts of a service.
    timeouts: Arc<Timeouts>,
    marks: Marks,
    store: Mutex<Store>,
    /// When a byte of the request or the response last moved, in nanoseconds since `started`.
    moved: AtomicU64,
    /// The time for the next dial: its share of the connect timeout.
    dial_timeout: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    spans: AttemptSpans,
}

impl Tracker {
    pub(crate) fn new(
        timeouts: impl Into<Arc<Timeouts>>,
        spans: AttemptSpans,
        started: Instant,
    ) -> Self {
        let timeouts = timeouts.into();
        Self {
            started,
            marks: Marks::default(),
            store: Mutex::default(),
            moved: AtomicU64::new(0),
            dial_timeout: AtomicU64::new(nanos_of(timeouts.connect())),
            timeouts,
            sent_bytes: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            spans,
        }
    }

    /// Records that a transport that reports its stages has taken over.
    pub(crate) fn begin(&self) {
        let mut store = self.store();
        let has_begun = store.state(&self.marks) & TRACKED != 0;
        store.facts.is_shared |= has_begun && store.stages.iter().next().is_some();
        let left = store.go_on(&self.marks);
        let change = store.step(&self.marks, |_| End::Left, |state| Some(state | TRACKED));
        drop(store);
        self.tell_all([left, Some(change)]);
    }

    /// Records that the transport returns its error. If the service continues after it, its next steps are not
    /// reported.
    pub(crate) fn hand_back(&self, kind: Kind) {
        self.leave(End::Failed(kind));
    }

    /// Records that the transport is dropped before its end.
    pub(crate) fn abandon(&self) {
        self.leave(End::Abandoned);
    }

    fn leave(&self, how: End) {
        let mut store = self.store();
        let state = store.state(&self.marks);
        if state & TRACKED != 0 {
            store.facts.handed_back = Some(how);
            store.facts.was_taken |= state & TAKEN != 0;
        }
    }

    /// Enters a stage, such as a query that must be waited for or an injected fault. An unspecified wait ends.
    pub(crate) fn enter(&self, stage: Stage) {
        self.change(End::Left, |state| state::entering(state, stage));
    }

    /// Records that the query was completed.
    pub(crate) fn resolved(&self) {
        self.change(End::Left, |state| Some(state & !bit(Stage::Dns)));
    }

    /// Sets the time of the next dial: its share of the connect timeout.
    pub(crate) fn set_dial_timeout(&self, timeout: Duration) {
        self.dial_timeout
            .store(nanos_of(timeout), Ordering::Release);
    }

    /// Records that a connection is being made. Returns the number of the dial.
    pub(crate) fn connecting(&self, address: Option<SocketAddr>) -> u32 {
        let mut store = self.store();
        let change = store.step(
            &self.marks,
            |_| End::Abandoned,
            |state| {
                let fresh = state & !UNTAKEN | bit(Stage::Connect);
                (state & (TAKEN | GIVEN_UP) == 0).then_some(dial_more(fresh))
            },
        );
        store.facts.is_queued = false;
        let is_dialing = change.before & (TAKEN | GIVEN_UP) == 0;
        if let Some((_, dial)) = store.stages.open_mut(Stage::Connect).filter(|_| is_dialing) {
            dial.address = address;
        }
        drop(store);
        self.tell(&change);
        if let Some(address) = address.filter(|_| is_dialing) {
            self.spans.dialling(address);
        }
        latest_dial(dial_more(change.before))
    }

    /// Records that the TLS handshake begins on the connection that is being made.
    pub(crate) fn handshaking(&self) {
        self.change(End::Left, |state| {
            let handshake = state & !SETUP | bit(Stage::Tls);
            (state & bit(Stage::Connect) != 0).then_some(handshake)
        });
    }

    /// Records that the connection is established.
    pub(crate) fn connected(&self) {
        self.change(End::Left, |state| {
            let ready = state & !SETUP | state::connected(state) | OWN;
            (state & SETUP != 0 && state & GIVEN_UP == 0).then_some(ready)
        });
    }

    /// Records that the attempt waits for a connection: none is free, and no new one may be made.
    #[cfg(feature = "client")]
    pub(crate) fn wait_for_connection(&self) {
        let mut store = self.store();
        (store.facts.was_queued, store.facts.is_queued) = (true, true);
        let change = store.step(
            &self.marks,
            |_| End::Abandoned,
            |state| {
                let waiting = state & !UNTAKEN | bit(Stage::Connect);
                (state & (TAKEN | GIVEN_UP) == 0).then_some(waiting)
            },
        );
        let begun = change
            .at
            .and_then(|_| store.stages.open_mut(Stage::Connect));
        let has_begun = begun.map(|(_, wait)| wait.is_queue = true).is_some();
        drop(store);
        self.tell(&change);
        if has_begun {
            self.spans.queueing();
        }
    }

    /// Records that the attempt waits for the connection that another call makes. No limit keeps it waiting.
    #[cfg(feature = "client")]
    pub(crate) fn wait_for_dial(&self) {
        self.wait_for_connection();
        self.facts(|facts| facts.is_queued = false);
    }

    /// Records that the attempt has a pooled connection, after a wait or without one.
    #[cfg(feature = "client")]
    pub(crate) fn pooled(&self) {
        self.facts(|facts| facts.is_queued = false);
        self.change(End::Left, |state| queued(state & !(SETUP | OWN)));
    }

    /// Records that no dial is in progress: a pooled connection is there, or will be.
    #[cfg(any(feature = "hyper-util", test))]
    pub(crate) fn queued(&self) {
        self.change(End::Left, queued);
    }

    /// Records that a connect or a query failed and the attempt continues: there may be another address.
    pub(crate) fn overcome(&self, kind: Kind) {
        let failed = SETUP | bit(Stage::Dns);
        self.change(End::Failed(kind), |state| Some(state & !failed));
    }

    /// Records that the dial's setup no longer belongs to this attempt, which waits for another connection or a later
    /// dial.
    pub(crate) fn detached(&self, dial: u32) {
        self.change(End::Abandoned, |state| state::abandoned(state, dial));
    }

    /// Records that a connection takes the request. Returns false if the attempt was given up before: then nothing more
    /// may be sent. A setup in progress was not needed.
    pub(crate) fn take(&self) -> bool {
        self.touch(clock::now());
        let change = self.store().take(&self.marks);
        self.tell(&change);
        change.before & GIVEN_UP == 0
    }

    /// Records a proof that a connection sent nothing of the request that it took. The next connection may take it.
    ///
    /// If a service has called transports of this crate twice in this attempt, it may have sent another request before.
    /// Then the mark stays.
    #[cfg(feature = "client")]
    pub(crate) fn untake(&self) {
        let store = self.store();
        if !store.facts.is_shared {
            self.marks.untake();
        }
    }

    /// Records that bytes of the request went out.
    #[cfg(feature = "client")]
    pub(crate) fn moved_on(&self) {
        self.touch(clock::now());
    }

    /// Records that a piece of the request body was handed over.
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.touch(clock::now());
    }

    /// Records that the last byte of the request was handed over. The wait begins, unless the response came first.
    pub(crate) fn sent_all(&self) {
        self.change(End::Left, state::sent_all);
    }

    /// Records that the response came before the request body was polled: the body is not sent.
    #[cfg(feature = "client")]
    pub(crate) fn withheld(&self) {
        self.change(End::Abandoned, |state| {
            let wait = match state & HEAD {
                0 => bit(Stage::Wait),
                _ => 0,
            };
            let withheld = state & !bit(Stage::Send) | wait;
            (state & bit(Stage::Send) != 0).then_some(withheld)
        });
    }

    /// Records an unspecified wait: the inner service is foreign.
    pub(crate) fn waiting(&self, now: Instant) {
        let mut store = self.store();
        let left = store.go_on(&self.marks);
        let next = match left {
            None => state::waiting,
            Some(_) => |state| Some(state | bit(Stage::Wait)),
        };
        let waiting = store.step_at((&self.marks, Some(now)), |_| End::Left, next);
        drop(store);
        self.tell_all([left, Some(waiting)]);
    }

    /// Records the response head and its diagnosis: a status may mean that the wait failed.
    pub(crate) fn head(&self, status: StatusCode, judged: Option<Diagnosis>, now: Instant) {
        let mut store = self.store();
        store.facts.status = Some(status);
        store.facts.judged = store.facts.judged.or(judged);
        let left = store.go_on(&self.marks);
        let at = (&self.marks, Some(now));
        // The head may come before the request was sent. Then there was no wait before it. A wait is added, so that it
        // can fail.
        let waiting = store.step_at(
            at,
            |_| End::Left,
            |state| match judged {
                None => state::waiting(state),
                Some(_) => Some(state | bit(Stage::Wait)),
            },
        );
        let how = |stage| match (stage, judged) {
            (Stage::Connect | Stage::Tls, _) => End::Abandoned,
            (Stage::Wait, Some(diagnosis)) => End::Failed(diagnosis.kind),
            _ => End::Left,
        };
        let head = store.step_at(at, how, state::head);
        drop(store);
        if !self.spans.are_on() {
            return;
        }
        self.tell_all([left]);
        // The second step has ended the wait. Its span closes once it is marked.
        self.open_spans(&waiting, |_| ());
        if let Some(diagnosis) = judged {
            self.spans.fail(&diagnosis);
        }
        self.tell(&head);
    }

    /// Records that a piece of the response body came.
    pub(crate) fn received(&self, bytes: usize, now: Instant) {
        self.received_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
        self.touch(now);
    }

    /// Gives the attempt up: from now on nothing more of it is sent. Returns true if it was taken before.
    pub(crate) fn give_up(&self) -> bool {
        self.marks.give_up()
    }

    /// Ends the attempt as a success: the caller has all that it needs.
    pub(crate) fn finish(&self) {
        self.end(End::Left, None);
    }

    /// Does the same for a caller that has just read the clock.
    pub(crate) fn finish_at(&self, now: Instant) {
        self.end(End::Left, Some(now));
    }

    /// Ends the attempt as a failure, and its open stage with it. If it was over before, nothing changes.
    pub(crate) fn fail(&self, diagnosis: Diagnosis) {
        let mut store = self.store();
        let failing = store.open();
        let how = |stage| match failing == Some(stage) {
            true => End::Failed(diagnosis.kind),
            false => End::Abandoned,
        };
        if let Some(over) = store.end(&self.marks, how) {
            store.facts.failure = Some(diagnosis);
            drop(store);
            self.spans.fail(&diagnosis);
            self.tell_end(&over);
        }
    }

    /// Ends the attempt because the caller went away.
    pub(crate) fn cancel(&self) {
        self.end(End::Abandoned, None);
    }

    /// Ends the attempt and its open stages with this result.
    fn end(&self, how: End, now: Option<Instant>) {
        if self.marks.has(ENDED) {
            return;
        }
        let over = self.store().end_at((&self.marks, now), |_| how);
        if let Some(over) = over {
            self.tell_end(&over);
        }
    }

    pub(crate) fn facts<T>(&self, with: impl FnOnce(&mut Facts) -> T) -> T {
        with(&mut self.store().facts)
    }

    /// Changes the state in one step. The stages that this closes end with this result.
    fn change(&self, end: End, next: impl FnOnce(u32) -> Option<u32>) {
        let change = self.store().step(&self.marks, |_| end, next);
        self.tell(&change);
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self, now: Instant) {
        let since = now.saturating_duration_since(self.started);
        self.moved.store(nanos_of(since), Ordering::Release);
    }
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "span_tests.rs"]
mod span_tests;

#[cfg(test)]
#[path = "tracker_proof_tests.rs"]
mod proof_tests;
