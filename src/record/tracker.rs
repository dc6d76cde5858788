//! The ear of an attempt: hop entered, hop left.
//!
//! The hop that was entered and not left is where the attempt failed. Many hands report to one
//! tracker (the attempt's own task, the connector, the TLS hook, the connection's task that polls
//! the bodies), so it is lock-free where a call that goes well passes: one word of state, a log of
//! fixed size, one allocation.

mod known;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

pub(crate) use super::ear::{current, is_current, scope, sync_scope};
use super::facts::Facts;
use super::log::{End, Event, Log};
use super::state::{
    self, ENDED, GIVEN_UP, HANDED_BACK, HEAD, OPEN, OWN, SENT, SETUP, TAKEN, TRACKED, UNTAKEN,
};
use super::state::{bit, dial_more, latest_dial, queued};
use crate::clock::{self, nanos_of};
use crate::hop::{Diagnosis, Kind, Stage};
use crate::limit::Limits;
use crate::telemetry::AttemptSpans;

/// What is known of one attempt.
#[derive(Debug)]
pub(crate) struct Tracker {
    started: Instant,
    /// Shared by all attempts of a service.
    limits: Arc<Limits>,
    /// Which stages are open, and the marks below.
    state: AtomicU32,
    /// When each stage was last entered, in nanoseconds since `started`, plus one: 0 is never.
    entered: [AtomicU64; Stage::ALL.len()],
    /// When a byte of the request or the response last moved.
    moved: AtomicU64,
    ended: AtomicU64,
    /// How long the next dial may take: its share of the connect limit.
    dial_limit: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    status: AtomicU16,
    /// What the status says, where it is no success.
    judged: OnceLock<Diagnosis>,
    failure: OnceLock<Diagnosis>,
    log: Log,
    /// Cold: touched when a connection is made and when a head arrives, never in between.
    facts: Mutex<Facts>,
    spans: AttemptSpans,
}

impl Tracker {
    pub(crate) fn new(
        limits: impl Into<Arc<Limits>>,
        spans: AttemptSpans,
        started: Instant,
    ) -> Self {
        let limits = limits.into();
        Self {
            started,
            state: AtomicU32::new(0),
            entered: [const { AtomicU64::new(0) }; Stage::ALL.len()],
            moved: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            dial_limit: AtomicU64::new(nanos_of(limits.connect().get())),
            limits,
            sent_bytes: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            status: AtomicU16::new(0),
            judged: OnceLock::new(),
            failure: OnceLock::new(),
            log: Log::new(),
            facts: Mutex::default(),
            spans,
        }
    }

    /// A transport that reports its stages has taken over.
    pub(crate) fn begin(&self) {
        self.change(End::Left, |state| Some(state & !HANDED_BACK | TRACKED));
    }

    /// The transport returns its error. If the service goes on after it, nothing reports what the service does.
    pub(crate) fn hand_back(&self, kind: Kind) {
        self.facts(|facts| facts.handed_back = Some(kind));
        self.change(End::Left, |state| {
            (state & TRACKED != 0).then_some(state | HANDED_BACK)
        });
    }

    /// A query has to be waited for; or a stage is one that fails on purpose. Whatever was waited for without
    /// knowing what it was, this is something else.
    pub(crate) fn enter(&self, stage: Stage) {
        self.change(End::Left, |state| state::entering(state, stage));
    }

    /// The query was answered.
    pub(crate) fn resolved(&self) {
        self.change(End::Left, |state| Some(state & !bit(Stage::Dns)));
    }

    /// Gives the next dial its share of the connect limit.
    pub(crate) fn set_dial_limit(&self, limit: Duration) {
        self.dial_limit.store(nanos_of(limit), Ordering::Release);
    }

    /// A connection is being made; returns the number of the dial.
    pub(crate) fn connecting(&self, address: Option<SocketAddr>) -> u32 {
        let before = self.change(End::Abandoned, |state| {
            let fresh = state & !UNTAKEN | bit(Stage::Connect);
            (state & (TAKEN | GIVEN_UP) == 0).then_some(dial_more(fresh))
        });
        if before & (TAKEN | GIVEN_UP) == 0 {
            self.facts(|facts| facts.dial(address, before & bit(Stage::Connect) != 0));
            if let Some(address) = address {
                self.spans.dialling(address);
            }
        }
        latest_dial(dial_more(before))
    }

    /// The TLS handshake begins on the connection that is being made.
    pub(crate) fn handshaking(&self) {
        self.change(End::Left, |state| {
            let handshake = state & !SETUP | bit(Stage::Tls);
            (state & bit(Stage::Connect) != 0).then_some(handshake)
        });
    }

    /// The connection stands.
    pub(crate) fn connected(&self) {
        self.change(End::Left, |state| {
            let ready = state & !SETUP | state::connected(state) | OWN;
            (state & SETUP != 0 && state & GIVEN_UP == 0).then_some(ready)
        });
    }

    /// Nothing is being connected: a pooled connection is there, or will be.
    pub(crate) fn queued(&self) {
        self.change(End::Left, queued);
    }

    /// The connect failed, or a query, and the attempt goes on: there is another address, or there may be.
    pub(crate) fn overcome(&self, kind: Kind) {
        let failed = SETUP | bit(Stage::Dns);
        if self.has(failed) {
            self.facts(|facts| facts.overcome.push(kind));
            self.close(failed, End::Failed, Some(kind));
        }
    }

    /// A dial's set-up is nobody's, or somebody else's: another connection is waited for, or a later dial.
    pub(crate) fn detached(&self, dial: u32) {
        self.change(End::Abandoned, |state| {
            let left = state & !SETUP;
            (latest_dial(state) == dial).then(|| queued(left).unwrap_or(left))
        });
    }

    /// A connection takes the request. False if the attempt was given up before: then nothing may
    /// go out any more. A set-up that is still under way was not needed.
    pub(crate) fn take(&self) -> bool {
        self.touch();
        let taken = |state| (state & GIVEN_UP == 0).then_some(state | TAKEN);
        let before = self.change(End::Left, taken);
        if before & (GIVEN_UP | TAKEN) == 0 {
            self.detached(latest_dial(before));
        }
        before & GIVEN_UP == 0
    }

    /// A piece of the request body was handed over.
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.touch();
    }

    /// The last byte of the request was handed over. The wait begins, unless the answer came first.
    pub(crate) fn sent_all(&self) {
        self.change(End::Left, |state| {
            let wait = match state & HEAD {
                0 => bit(Stage::Wait),
                _ => 0,
            };
            let sent = state & !bit(Stage::Send) | SENT | wait;
            (state & bit(Stage::Send) != 0).then_some(sent)
        });
    }

    /// Something is being waited for and nothing tells what: the service inside is not ours.
    pub(crate) fn waiting(&self) {
        self.change(End::Left, |state| (state == 0).then_some(bit(Stage::Wait)));
        if self.has(HANDED_BACK) {
            self.go_on();
        }
    }

    /// The service goes on after the transport has returned its error.
    fn go_on(&self) {
        let kind = self.facts(|facts| {
            let kind = facts.handed_back.take();
            facts.overcome.extend(kind.filter(|_| self.has(OPEN)));
            kind
        });
        self.close(OPEN, End::Failed, kind);
        self.change(End::Left, state::unreported);
    }

    /// The response head is here, and is judged: a status may say that the wait failed.
    pub(crate) fn head(&self, status: StatusCode, judged: Option<Diagnosis>) {
        self.status.store(status.as_u16(), Ordering::Relaxed);
        self.waiting();
        self.close(SETUP, End::Abandoned, None);
        if let Some(diagnosis) = judged {
            // It may have come before the request was sent: then it was not waited for, and fails all the same.
            self.change(End::Left, |state| Some(state | bit(Stage::Wait)));
            let _ = self.judged.set(diagnosis);
            self.spans.fail(&diagnosis);
            self.close(bit(Stage::Wait), End::Failed, Some(diagnosis.kind));
        }
        self.change(End::Left, |state| {
            Some(state & !bit(Stage::Wait) | HEAD | bit(Stage::Receive))
        });
    }

    /// A piece of the response body came.
    pub(crate) fn received(&self, bytes: usize) {
        self.received_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
        self.touch();
    }

    /// Gives the attempt up: from now on nothing more of it is sent. True if it was taken before.
    pub(crate) fn give_up(&self) -> bool {
        self.change(End::Left, |state| Some(state | GIVEN_UP)) & TAKEN != 0
    }

    /// It ended well, as far as it was wanted.
    pub(crate) fn finish(&self) {
        self.end(End::Left);
    }

    /// It failed, and the stage that is open failed with it.
    pub(crate) fn fail(&self, diagnosis: Diagnosis) {
        // What is over stays as it was.
        if self.has(ENDED) || self.failure.set(diagnosis).is_err() {
            return;
        }
        self.spans.fail(&diagnosis);
        if let Some(failing) = self.open() {
            self.close(bit(failing), End::Failed, Some(diagnosis.kind));
        }
        self.end(End::Abandoned);
    }

    /// The caller went away.
    pub(crate) fn cancel(&self) {
        self.end(End::Abandoned);
    }

    /// What is open ends as told, and with it the attempt.
    fn end(&self, how: End) {
        let over = |state| (state & ENDED == 0).then_some(state & !OPEN | ENDED);
        let (before, closed) = self.swap((how, None), over);
        if before & ENDED != 0 {
            return;
        }
        let now = closed.unwrap_or_else(|| self.nanos());
        self.ended.store(now.max(1), Ordering::Release);
        let moved = (self.sent_bytes(), self.received_bytes());
        self.spans
            .end(self.started + Duration::from_nanos(now), moved);
    }

    pub(crate) fn facts<T>(&self, with: impl FnOnce(&mut Facts) -> T) -> T {
        with(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state in one step; the stages that this closes end as told. Returns the one before.
    fn change(&self, end: End, next: impl Fn(u32) -> Option<u32>) -> u32 {
        self.swap((end, None), next).0
    }

    fn close(&self, stages: u32, end: End, kind: Option<Kind>) {
        let without = |state| (state & stages != 0).then_some(state & !stages);
        self.swap((end, kind), without);
    }

    /// Returns the state before, and when, if a stage was entered or left. The clock is read between look and
    /// swap, so whoever changes the state later does so at a later time.
    fn swap(
        &self,
        how: (End, Option<Kind>),
        next: impl Fn(u32) -> Option<u32>,
    ) -> (u32, Option<u64>) {
        let (first, later) = (Ordering::AcqRel, Ordering::Acquire);
        let mut before = self.state.load(later);
        loop {
            let Some(after) = next(before).map(|after| state::settled(before, after)) else {
                return (before, None);
            };
            let at = ((before ^ after) & OPEN != 0).then(|| self.nanos());
            match self
                .state
                .compare_exchange_weak(before, after, first, later)
            {
                Ok(_) => {
                    if let Some(at) = at {
                        self.record((before, after), how, at);
                    }
                    return (before, at);
                }
                Err(changed) => before = changed,
            }
        }
    }

    fn record(&self, (before, after): (u32, u32), (end, kind): (End, Option<Kind>), nanos: u64) {
        let at = self.started + Duration::from_nanos(nanos);
        for stage in Stage::ALL {
            if before & !after & bit(stage) != 0 {
                self.log.push(stage, Event::Ended(end), nanos);
                self.spans.close(stage, at, kind);
            }
        }
        for stage in Stage::ALL {
            if after & !before & bit(stage) != 0 {
                self.entered[stage as usize].store(nanos + 1, Ordering::Release);
                self.log.push(stage, Event::Entered, nanos);
                self.spans.open(stage, at);
                if !self.has(bit(stage)) {
                    // Another hand left it in between, and found nothing to close.
                    self.spans.close(stage, at, None);
                }
            }
        }
    }

    fn touch(&self) {
        self.moved.store(self.nanos(), Ordering::Release);
    }

    fn nanos(&self) -> u64 {
        let since = clock::now().saturating_duration_since(self.started);
        nanos_of(since)
    }
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;
