//! How a transport leaves an attempt without a response, and what it reports to where no attempt watches over it.

use std::sync::Arc;

use crate::clock;
use crate::error::Error;
use crate::record::tracker::Tracker;
use crate::telemetry::AttemptSpans;
use crate::timeout::Timeouts;

/// Tells the record of an attempt that is watched over above when the transport leaves it without a response, because
/// the service around it may go on.
pub(super) struct Leaving<'a>(Option<&'a Tracker>);

impl<'a> Leaving<'a> {
    pub(super) const fn of(tracker: &'a Tracker) -> Self {
        Self(Some(tracker))
    }

    /// The transport has ended.
    pub(super) fn ended<T>(mut self, sent: Result<T, Error>) -> Result<T, Error> {
        let tracker = self.0.take();
        sent.inspect_err(|error| {
            if let Some(tracker) = tracker {
                tracker.hand_back(error.kind());
            }
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

/// Gives a request up that no attempt watches over, when its future is dropped.
pub(super) struct Abandon(pub(super) Arc<Tracker>);

impl Drop for Abandon {
    fn drop(&mut self) {
        if self.0.status().is_none() && self.0.facts(|facts| facts.version.is_none()) {
            self.0.give_up();
        }
    }
}

/// The record of a request or a setup that no attempt watches over.
pub(super) fn alone(timeouts: &Timeouts) -> Arc<Tracker> {
    let spans = AttemptSpans::default();
    Arc::new(Tracker::new(*timeouts, spans, clock::now()))
}

/// The effect of a failure, settled: what was not taken until now never will be, and what was taken
/// since the failure was diagnosed may have happened.
pub(super) fn settled(error: Error, tracker: &Tracker, taken: bool) -> Error {
    match tracker.give_up() && !taken {
        true => {
            let effect = error.effect().unproved();
            error.with_effect(effect)
        }
        false => error,
    }
}
