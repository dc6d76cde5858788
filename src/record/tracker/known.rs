//! What is known of an attempt, for whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::Tracker;
use crate::clock;
use crate::hop::{Diagnosis, Stage};
use crate::limit::Limits;
use crate::record::log::Event;
use crate::record::state::{GIVEN_UP, OWN, TAKEN, TRACKED, bit};
use crate::telemetry::AttemptSpans;

impl Tracker {
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn spans(&self) -> &AttemptSpans {
        &self.spans
    }

    pub(crate) fn dial_limit(&self) -> Duration {
        Duration::from_nanos(self.dial_limit.load(Ordering::Acquire))
    }

    /// The stage that was entered and not left: where it fails if it fails now.
    pub(crate) fn open(&self) -> Option<Stage> {
        let state = self.state.load(Ordering::Acquire);
        // Two are open at once only when the answer came before the request was sent.
        let mut latest_first = Stage::ALL.into_iter().rev();
        latest_first.find(|stage| state & bit(*stage) != 0)
    }

    pub(crate) fn is_tracked(&self) -> bool {
        self.has(TRACKED)
    }

    /// Whether this attempt made the connection that it uses.
    pub(crate) fn is_own_connection(&self) -> bool {
        self.has(OWN)
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.has(GIVEN_UP)
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.has(TAKEN)
    }

    pub(super) fn has(&self, mark: u32) -> bool {
        self.state.load(Ordering::Acquire) & mark != 0
    }

    /// When `stage` was last entered: now, while that is being written down.
    pub(crate) fn entered(&self, stage: Stage) -> Instant {
        match self.entered[stage as usize].load(Ordering::Acquire) {
            0 => clock::now(),
            nanos => self.started + Duration::from_nanos(nanos - 1),
        }
    }

    /// When a byte of the request or the response last moved.
    pub(crate) fn moved(&self) -> Instant {
        self.at(&self.moved)
    }

    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn status(&self) -> Option<StatusCode> {
        StatusCode::from_u16(self.status.load(Ordering::Relaxed)).ok()
    }

    /// How it failed: to the end, or by the status it was answered with.
    pub(crate) fn failure(&self) -> Option<Diagnosis> {
        self.failure.get().or_else(|| self.judged.get()).copied()
    }

    /// What the status said, where it is no success.
    pub(crate) fn judged(&self) -> Option<Diagnosis> {
        self.judged.get().copied()
    }

    pub(crate) fn ended(&self) -> Option<Instant> {
        (self.ended.load(Ordering::Acquire) != 0).then(|| self.at(&self.ended))
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = (Stage, Event, Duration)> + '_ {
        self.log.events()
    }

    pub(super) fn at(&self, nanos: &AtomicU64) -> Instant {
        self.started + Duration::from_nanos(nanos.load(Ordering::Acquire))
    }
}
