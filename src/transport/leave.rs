//! How a transport leaves an attempt without a response, and what it reports to where no attempt watches over it.

use std::future::Future;
use std::sync::Arc;

use crate::clock;
use crate::error::Error;
use crate::limit::Limits;
use crate::record::tracker::Tracker;
use crate::telemetry::AttemptSpans;

/// Sends a request in an attempt that is watched over above. Its record hears when the transport leaves without a
/// response, because the service around it may go on.
pub(super) async fn within<T>(
    tracker: &Tracker,
    sending: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut leaving = Leaving(Some(tracker));
    let sent = sending.await;
    leaving.0 = None;
    sent.inspect_err(|error| tracker.hand_back(error.kind()))
}

/// Tells the record of an attempt when the transport's future is dropped before its end.
struct Leaving<'a>(Option<&'a Tracker>);

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
pub(super) fn alone(limits: &Limits) -> Arc<Tracker> {
    let spans = AttemptSpans::default();
    Arc::new(Tracker::new(*limits, spans, clock::now()))
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
