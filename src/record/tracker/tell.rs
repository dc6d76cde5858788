//! The updates of an attempt's spans. No lock is held meanwhile.

use tokio::time::Instant;

use super::{Change, End, Tracker};
use crate::clock;
use crate::hop::Stage;

impl Tracker {
    pub(super) fn tell_all<const N: usize>(&self, changes: [Option<Change>; N]) {
        for change in changes.into_iter().flatten() {
            self.tell(&change);
        }
    }

    /// Updates the spans after a change. The lock is released: a subscriber may block, or report to this tracker.
    pub(super) fn tell(&self, change: &Change) {
        if !self.spans.are_on() {
            return;
        }
        if let Some(at) = change.at {
            for (number, end) in change.records.into_iter().flatten() {
                self.close_span(number, at, end);
            }
        }
        // Another task may have ended the stage before its span was open. It then found no span to close.
        self.open_spans(change, |number| {
            if let Some((at, end)) = self.ended_at(number) {
                self.close_span(number, at, Some(end));
            }
        });
    }

    /// Opens the spans of the stages that a change has begun. `opened` receives the numbers of their records.
    pub(super) fn open_spans(&self, change: &Change, opened: impl Fn(u32)) {
        let Some(at) = change.at else { return };
        for (stage, record) in Stage::ALL.into_iter().zip(change.records) {
            if let Some((number, None)) = record
                && self.spans.open(number, stage, at)
            {
                opened(number);
            }
        }
    }

    /// Closes the span of a record, if it has ended.
    fn close_span(&self, number: u32, at: Instant, end: Option<End>) {
        match end {
            None => {}
            Some(End::Failed(kind)) => self.spans.close(number, at, Some(kind)),
            Some(End::Left | End::Abandoned) => self.spans.close(number, at, None),
        }
    }

    fn ended_at(&self, number: u32) -> Option<(Instant, End)> {
        self.store().stages.record(number)?.ended
    }

    /// Closes the spans, because the attempt is over.
    pub(super) fn tell_end(&self, over: &Change) {
        if !self.spans.are_on() {
            return;
        }
        self.tell(over);
        let moved = (self.sent_bytes(), self.received_bytes());
        let ended = self.ended().unwrap_or_else(clock::now);
        self.spans.end(ended, moved);
    }
}
