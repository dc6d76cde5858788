//! The endpoints of a call to a logical name: the first one, and the next one after a failure.

use http::{Request, Uri};
use tokio::time::Instant;

use super::later::Resend;
use super::run::Run;
use crate::clock;
use crate::destination::Destination;
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
        let route = self.call.options().route.clone();
        self.follow_config(uri, route.as_deref());
        self.call.sent_to(uri);
    }

    /// Adds the restraints of another endpoint. A permission by one endpoint does not hold for the next one.
    fn restrain_at(&mut self, uri: &Uri) {
        let said = self.call.options().honors_idempotency_keys;
        let idempotency = self.policies.idempotency.as_ref();
        let honors = said.or_else(|| idempotency.and_then(|own| own.honors(uri)));
        let is_license = self.call.key().is_some_and(|key| key.is_license);
        if honors != Some(true) && !is_license {
            self.call.refuse_key();
        }
        if let Some((turn, policy)) = self.turn.as_mut().zip(self.policies.retry.as_deref()) {
            let destination = || Some(Destination::of_request(uri));
            turn.also_within(policy.most_to(&self.call, destination));
        }
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
        self.restrain_at(&uri);
        self.hedge_at(&uri, clock::now());
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
