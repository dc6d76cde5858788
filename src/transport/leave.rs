//! How a transport leaves an attempt without a response.

use std::future::Future;
use std::sync::Arc;

use crate::error::Error;
use crate::record::tracker::Tracker;

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
