//! The endpoints of a call to a logical name: the first one, and the next one after a failure.

use http::{Request, Uri};
use tokio::time::Instant;

use super::later::Resend;
use super::run::Run;
use crate::clock;
use crate::hop::{Diagnosis, Effect, TimelineEventKind};
use crate::luck::luck;
use crate::policy::endpoints::Endpoints;
use crate::redact::redacted;

impl Run {
    /// Leads the request to an endpoint, if its host is a logical name.
    pub(super) fn choose_endpoint<B>(&mut self, endpoints: &Endpoints, request: &mut Request<B>) {
        let session = self.call.options().affinity;
        let seed = || session.map_or_else(|| luck().to_bits(), |session| session.seed());
        let Some(choice) = endpoints.choose(request.uri(), seed, clock::now()) else {
            return;
        };
        if let Some(uri) = choice.uri() {
            self.lead_to_endpoint(&uri);
            *request.uri_mut() = uri;
            self.endpoints = Some(Box::new(choice));
        }
    }

    fn lead_to_endpoint(&mut self, uri: &Uri) {
        self.follow_config(uri);
        self.call.sent_to(uri);
    }

    /// Records the result of an attempt for its endpoint. `None` is a success.
    pub(super) fn record_endpoint(&mut self, failed: Option<&Diagnosis>, now: Instant) {
        if let Some(endpoints) = &mut self.endpoints {
            endpoints.record(failed, now);
        }
    }

    /// Returns where the next attempt goes. A key permits another endpoint only if all of them share their keys.
    pub(super) fn next_endpoint<N: Resend>(&self, effect: Effect, later: &mut N) -> NextEndpoint {
        let Some(endpoints) = self.endpoints.as_ref().filter(|all| all.has_other()) else {
            return NextEndpoint::Same;
        };
        let Some(saved) = later.saved() else {
            return NextEndpoint::Same;
        };
        let is_safe = effect.is_none()
            || effect.is_declined()
            || endpoints.shares_keys()
            || self.call.is_idempotent(&saved.method);
        match (is_safe, endpoints.has_untried()) {
            (false, _) => NextEndpoint::Same,
            (true, true) => NextEndpoint::Untried,
            (true, false) => NextEndpoint::Tried,
        }
    }

    /// Leads the kept request to the next endpoint.
    pub(super) fn fail_over<N: Resend>(&mut self, next: NextEndpoint, later: &mut N) {
        if next == NextEndpoint::Same {
            return;
        }
        let (Some(endpoints), Some(saved)) = (&mut self.endpoints, later.saved()) else {
            return;
        };
        endpoints.go_on();
        let Some(uri) = endpoints.uri() else { return };
        saved.uri = uri.clone();
        self.lead_to_endpoint(&uri);
        let url = redacted(&uri);
        self.call.note(TimelineEventKind::FailedOver { url });
    }
}

/// Where the next attempt of a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextEndpoint {
    Same,
    /// One that the call has not tried. The attempt waits for nothing.
    Untried,
    Tried,
}
