//! Reports the setup of a connection to the attempt that waits for it, until the call uses another connection.

use std::sync::{Arc, Mutex, PoisonError};

use super::End;
use crate::hop::TlsSession;
use crate::record::{Tickets, Tracker};
use crate::telemetry::Link;

/// Reports a setup to the record of an attempt.
#[derive(Clone, Debug)]
pub(crate) struct SetupWatch(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    /// `None` once the call uses another connection.
    tracker: Mutex<Option<Arc<Tracker>>>,
    /// The number of this dial in its attempt.
    number: u32,
    link: Option<Link>,
}

impl SetupWatch {
    /// Records that a setup begins.
    pub(crate) fn begin(tracker: &Arc<Tracker>, end: &End) -> Self {
        let number = tracker.connecting(end.address());
        if let End::Socket(path) = end {
            tracker.spans().dialling_socket(path);
        }
        Self(Arc::new(Watched {
            link: tracker.spans().setup(),
            tracker: Mutex::new(Some(Arc::clone(tracker))),
            number,
        }))
    }

    /// Returns the link from later attempts to the setup.
    pub(super) fn link(&self) -> Option<Link> {
        self.0.link.clone()
    }

    pub(super) fn handshaking(&self, tickets: Option<Tickets>) {
        if let Some(tracker) = self.tracker() {
            tracker.facts(|facts| facts.tickets = tickets);
            tracker.handshaking();
        }
    }

    pub(super) fn connected(&self, tls: Option<TlsSession>) {
        if let Some(tracker) = self.tracker() {
            tracker.facts(|facts| facts.tls = tls);
            if let Some(session) = &tls {
                tracker.spans().secured(session);
            }
            tracker.connected();
        }
    }

    /// Records that the call has another connection: from now on, the setup's events are not part of its attempt.
    pub(crate) fn leave(&self) {
        let left = self
            .0
            .tracker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(tracker) = left {
            tracker.detached(self.0.number);
        }
    }

    fn tracker(&self) -> Option<Arc<Tracker>> {
        let tracker = self.0.tracker.lock();
        tracker.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
