//! The last check before a request is sent: whether its demands were met.

use std::sync::Arc;

#[cfg(feature = "client")]
use http::Extensions;
use http::Request;

use super::Call;
use crate::affinity::{Affinity, Session};
use crate::options::{Options, Unmet, Wire};
use crate::record::Tracker;

/// Returns the first demand of a request that no layer has met, when it is about to be sent.
#[cfg(feature = "client")]
pub(crate) fn unmet<B>(request: &Request<B>) -> Option<Unmet> {
    if let Some(call) = Call::of(request.extensions()) {
        return call.unmet(request, call.is_in_attempt());
    }
    let options = request.extensions().get::<Options>()?;
    options.unmet(&Wire::default())
}

/// Returns the session of a request that no attempt has recorded.
#[cfg(feature = "client")]
pub(crate) fn affinity_of(extensions: &Extensions) -> Option<Affinity> {
    match extensions.get::<Call>() {
        Some(call) => call.options().affinity,
        None => extensions.get::<Options>()?.affinity,
    }
}

/// Does the same as `unmet` for a client that chooses its addresses by itself.
#[cfg(feature = "reqwest")]
pub(crate) fn unmet_elsewhere<B>(request: &Request<B>) -> Option<Unmet> {
    let affinity = affinity_of(request.extensions()).map(|_| Unmet::Affinity);
    unmet(request).or(affinity)
}

impl Call {
    /// Returns the next request of the call's session.
    pub(crate) fn session(&self, affinity: Affinity) -> Session {
        let trackers = self.trackers();
        let failed = trackers.iter().filter(|tracker| {
            tracker
                .failure()
                .is_some_and(|failure| !failure.kind.is_local())
        });
        let peers = failed.filter_map(|tracker| tracker.facts(|facts| facts.peer));
        Session {
            affinity,
            failed: peers.map(|peer| peer.ip()).collect(),
        }
    }

    /// Returns whether a response may have come from a service that does not keep the call's session on one address.
    pub(crate) fn may_leave_its_address(&self) -> bool {
        let is_kept = |tracker: Arc<Tracker>| tracker.facts(|facts| facts.is_session_kept);
        // A call below has the same demand, and carries it out itself.
        self.options().affinity.is_some()
            && self.inner().is_empty()
            && !self.is_session_kept()
            && !self.last().is_some_and(is_kept)
    }

    /// Returns the first demand of a request of this call that no layer has carried out. An attempt receives the whole
    /// body, if that is demanded.
    pub(crate) fn unmet<B>(&self, request: &Request<B>, is_attempt: bool) -> Option<Unmet> {
        if request.extensions().get::<Options>().is_some() {
            Some(Unmet::Late)
        } else {
            let carries = |name| {
                let mut values = request.headers().get_all(name).iter();
                values.next().is_some_and(|value| !value.is_empty()) && values.next().is_none()
            };
            let options = self.options();
            let demanded = self.key().filter(|_| options.key.is_some());
            options.unmet(&Wire {
                key: demanded.map(|mark| carries(&mark.name)),
                is_led_away: self.is_led_to(request),
                is_call: true,
                is_attempt,
                keeps_responses: self.keeps_responses(),
            })
        }
    }
}
