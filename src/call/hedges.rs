//! The hedges of a call: several of its attempts may be in flight at the same time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Call;
use crate::hop::TimelineEventKind;
use crate::record::Tracker;

/// The right to hedge a call. One driver at a time has it, so that nested stacks do not multiply their hedges.
pub(crate) struct HedgeClaim(Call);

impl Call {
    /// Claims the hedges of this call; `None` if another driver has them.
    pub(crate) fn claim_hedges(&self) -> Option<HedgeClaim> {
        let was_claimed = self.0.state.hedges.swap(true, Ordering::AcqRel);
        (!was_claimed).then(|| HedgeClaim(self.clone()))
    }

    /// Returns whether a driver of this call, or of a call around it, hedges.
    pub(super) fn hedges(&self) -> bool {
        self.0.state.hedges.load(Ordering::Acquire)
    }

    /// Records that an attempt begins while another one is in flight.
    pub(crate) fn overlap(&self) {
        self.0.state.overlaps.store(true, Ordering::Release);
    }

    /// Returns whether attempts of this call were in flight at the same time.
    pub(super) fn overlaps(&self) -> bool {
        self.0.state.overlaps.load(Ordering::Acquire)
    }

    /// Returns the record of an attempt that began after this number of attempts. Unless attempts overlap, it is the
    /// latest one: an inner layer may have made several.
    pub(crate) fn record_after(&self, attempts: u32) -> Option<Arc<Tracker>> {
        match self.overlaps() {
            true => self.record_at(attempts),
            false if self.attempt_count() > attempts => self.last(),
            false => None,
        }
    }

    /// Returns the record of the attempt that began right after this number of attempts.
    pub(crate) fn record_at(&self, attempts: u32) -> Option<Arc<Tracker>> {
        match (attempts as usize).checked_sub(1) {
            None => self.first().cloned(),
            Some(index) => self.rest().more.get(index).cloned(),
        }
    }

    /// Records an event of the attempt with this record. Unless attempts overlap, that is the latest attempt.
    pub(crate) fn note_of(&self, record: Option<Arc<Tracker>>, what: TimelineEventKind) {
        let record = record.filter(|_| self.overlaps());
        let before = record.and_then(|record| {
            let mut records = self.trackers().into_iter();
            records.position(|other| Arc::ptr_eq(&other, &record))
        });
        let number = before.and_then(|before| u32::try_from(before + 1).ok());
        self.note_after(number.unwrap_or_else(|| self.attempt_count()), what);
    }

    /// Records that an attempt that began after this number of attempts ended, while others were in flight.
    pub(crate) fn decide_by(&self, attempts: u32) {
        let record = self.record_at(attempts);
        self.rest().decisive = record;
    }
}

impl Drop for HedgeClaim {
    fn drop(&mut self) {
        self.0.0.state.hedges.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;
    use crate::telemetry::AttemptSpans;
    use crate::timeout::Timeouts;

    #[tokio::test(start_paused = true)]
    async fn caller_that_goes_away_cancels_all_attempts_in_flight() {
        let mut request = http::Request::get("https://api.test/").body(()).unwrap();
        let call = Call::begin(&mut request, Duration::from_secs(10));
        let record = || {
            let timeouts = Timeouts::new(Duration::from_secs(10)).unwrap();
            let record = Tracker::new(timeouts, AttemptSpans::default(), clock::now());
            Arc::new(record)
        };
        let records = [record(), record(), record()];
        for record in &records {
            call.overlap();
            call.attempt(Arc::clone(record));
        }
        records[1].finish();
        call.cancel_open();
        for record in [&records[0], &records[2]] {
            assert!(record.is_over());
            assert!(!record.take(), "nothing more is sent");
        }
    }
}
