//! How a transport leaves an attempt without a response, and the record of a request that has no attempt around it.

use std::sync::Arc;

use crate::clock;
use crate::error::Error;
use crate::record::tracker::Tracker;
use crate::telemetry::AttemptSpans;
use crate::timeout::Timeouts;

/// Reports to the record of an outer attempt when the transport leaves it without a response, because the service
/// around it may continue.
pub(super) struct Leaving<'a>(Option<&'a Tracker>);

impl<'a> Leaving<'a> {
    pub(super) const fn of(tracker: &'a Tracker) -> Self {
        Self(Some(tracker))
    }

    /// The transport has ended.
    pub(super) fn ended<T>(mut self, sent: Result<T, Error>) -> Result<T, Error> {
        let tracker = self.0.take();
        sent.map_err(|error| {
            let Some(tracker) = tracker else {
                return error;
            };
            // Not every error was diagnosed from the record.
            let error = match tracker.may_have_sent_another() {
                true => error.unproved(),
                false => error,
            };
            tracker.hand_back(error.kind());
            error
        })
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if let Some(tracker) = self.0 {
            tracker.abandon();
        }
    }
}

/// Gives up a request without an attempt when its future is dropped.
pub(super) struct Abandon(pub(super) Arc<Tracker>);

impl Drop for Abandon {
    fn drop(&mut self) {
        if self.0.status().is_none() && self.0.facts(|facts| facts.version.is_none()) {
            self.0.give_up();
        }
    }
}

/// Returns the record of a request or a setup that has no attempt around it.
pub(super) fn alone(timeouts: &Timeouts) -> Arc<Tracker> {
    let spans = AttemptSpans::default();
    Arc::new(Tracker::new(*timeouts, spans, clock::now()))
}

/// Gives the request up, and returns the error with its final effect. A request that is not taken by now will never be
/// taken. If it was taken after the diagnosis, it may have been processed.
pub(super) fn settled(error: Error, tracker: &Tracker, taken: bool) -> Error {
    match tracker.give_up() && !taken {
        true => error.unproved(),
        false => error,
    }
}
