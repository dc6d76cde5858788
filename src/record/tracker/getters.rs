//! How the record of an attempt is read.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::Tracker;
use crate::clock;
use crate::hop::{Diagnosis, Stage};
use crate::record::state::{ENDED, GIVEN_UP, OWN, TAKEN, TRACKED};
use crate::record::store::Store;
use crate::telemetry::AttemptSpans;
use crate::timeout::Timeouts;

impl Tracker {
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    pub(crate) fn spans(&self) -> &AttemptSpans {
        &self.spans
    }

    pub(crate) fn dial_timeout(&self) -> Duration {
        Duration::from_nanos(self.dial_timeout.load(Ordering::Acquire))
    }

    /// Returns the whole record, read under one lock.
    pub(crate) fn read(&self) -> Store {
        self.store().clone()
    }

    /// Returns the memory of the store besides its own size.
    #[cfg(feature = "client")]
    pub(in crate::record) fn memory(&self) -> usize {
        self.store().bytes()
    }

    /// Returns the stage that is open. If the attempt fails now, it fails there.
    pub(crate) fn open(&self) -> Option<Stage> {
        self.store().open()
    }

    pub(crate) fn is_tracked(&self) -> bool {
        self.store().state(&self.marks) & TRACKED != 0
    }

    /// Returns whether this attempt made the connection that it uses.
    pub(crate) fn is_own_connection(&self) -> bool {
        self.store().state(&self.marks) & OWN != 0
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.marks.has(GIVEN_UP)
    }

    /// Returns whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.marks.has(ENDED)
    }

    /// Returns whether nothing of the attempt was sent, as far as this record knows. Behind a wait, a foreign client may
    /// be at the target of a redirect.
    #[cfg(any(feature = "hyper-util", feature = "reqwest"))]
    pub(crate) fn is_unsent(&self) -> bool {
        !self.is_taken() && !self.has_entered(Stage::Wait)
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.marks.has(TAKEN)
    }

    /// Returns whether the service may have sent a request after a transport had left the attempt. The error of that
    /// transport then proves nothing.
    pub(crate) fn may_have_sent_more(&self) -> bool {
        let store = self.store();
        let state = store.state(&self.marks);
        let may_have = store.facts.was_taken || state & TAKEN != 0 || state & TRACKED == 0;
        store.facts.went_on && may_have
    }

    /// Returns whether another request of this attempt may have been sent: a service has called a transport of this
    /// crate before. A proof of the transport that has the request now says nothing about that one.
    pub(crate) fn may_have_sent_another(&self) -> bool {
        let store = self.store();
        let is_taken = store.state(&self.marks) & TAKEN != 0;
        store.facts.was_taken || store.facts.is_shared && is_taken
    }

    /// Returns whether `stage` was ever entered.
    #[cfg(any(feature = "hyper-util", feature = "reqwest"))]
    pub(crate) fn has_entered(&self, stage: Stage) -> bool {
        self.store().stages.latest(stage).is_some()
    }

    /// Returns when `stage` was last entered, or now if it never was.
    pub(crate) fn entered(&self, stage: Stage) -> Instant {
        let entered = self.store().stages.latest(stage).map(|last| last.entered);
        entered.unwrap_or_else(clock::now)
    }

    /// Returns when a byte of the request or the response last moved.
    pub(crate) fn moved(&self) -> Instant {
        self.started + Duration::from_nanos(self.moved.load(Ordering::Acquire))
    }

    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn status(&self) -> Option<StatusCode> {
        self.facts(|facts| facts.status)
    }

    /// Returns how the attempt failed: at its end, or by the status of the response.
    pub(crate) fn failure(&self) -> Option<Diagnosis> {
        self.facts(|facts| facts.failed())
    }

    /// Records that a classifier sees a failure in a response whose status is a success.
    pub(crate) fn judge(&self, failed: Diagnosis) {
        let is_it = self.facts(|facts| {
            let is_it = facts.status == failed.status;
            if is_it {
                facts.judged = Some(failed);
            }
            is_it
        });
        if is_it {
            self.spans.fail(&failed);
        }
    }

    pub(crate) fn ended(&self) -> Option<Instant> {
        self.store().ended
    }
}
