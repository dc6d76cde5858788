//! The endpoints of a call to a logical name: the first one, and the next one after a failure.

use std::sync::Arc;

use http::{Request, Uri};
use tokio::time::Instant;

use super::choice::of_leg;
use super::later::Resend;
use super::legs::Legs;
use super::policies::Policies;
use super::recent::DestinationState;
use super::retry_loop::{Hint, NextPlace};
use super::run::Run;
use crate::clock;
use crate::destination::{Destination, Origin};
use crate::error::ReasonText;
use crate::hop::{Diagnosis, Effect, TimelineEventKind};
use crate::luck::luck;
use crate::policy::breaker::CircuitState;
use crate::policy::endpoints::{EndpointChoice, EndpointHint, NextEndpoint};
use crate::redact::redacted;
use crate::replay::Saved;

impl Run {
    /// Leads a new request to an endpoint, if its host is a logical name.
    ///
    /// # Errors
    ///
    /// Fails if the URL has a part that no endpoint would honor.
    pub(super) fn choose_endpoint<B>(
        &mut self,
        request: &mut Request<B>,
    ) -> Result<(), ReasonText> {
        if let Some(uri) = self.endpoint_of(request.uri())? {
            self.follow_config_of_endpoint(&uri);
            let is_own = self.call.is_own(request);
            self.call.sent_to(&uri, Some(request.uri()), is_own);
            *request.uri_mut() = uri;
        }
        Ok(())
    }

    /// Chooses the endpoints of a URL. Returns the URL at the first one; `None` if its host is not a logical name.
    pub(super) fn endpoint_of(&mut self, uri: &Uri) -> Result<Option<Uri>, ReasonText> {
        self.endpoints = None;
        let Some(endpoints) = &self.policies.endpoints else {
            return Ok(None);
        };
        let session = self.call.options().affinity;
        let seed = || session.map_or_else(|| luck().to_bits(), |session| session.seed());
        let mut choice = endpoints.choose(uri, seed, clock::now())?;
        if let Some(choice) = &mut choice
            && !self.is_redirected()
            && let Some(earlier) = self.endpoint_of_effect(uri)
            && !self.may_go_anywhere(choice)
            && !choice.keep_to(&earlier)
        {
            return Err(ReasonText::new(ENDPOINT_GONE));
        }
        let led = choice.as_ref().and_then(|choice| choice.uri());
        self.endpoints = choice.filter(|_| led.is_some()).map(Box::new);
        Ok(led)
    }

    /// Returns the endpoint at which the same work may have had an effect. It had it in an earlier call, or in this one if
    /// a layer above sends it again.
    fn endpoint_of_effect(&self, logical: &Uri) -> Option<Uri> {
        let earlier = self.call.earlier_endpoint();
        earlier.or_else(|| self.call.own_endpoint(logical))
    }

    /// Returns whether a redirect led this request to its URL.
    fn is_redirected(&self) -> bool {
        self.legs.as_ref().is_some_and(Legs::is_redirected)
    }

    /// Returns whether the call may go to another endpoint than an earlier send of the same work that may have had an
    /// effect.
    fn may_go_anywhere(&self, choice: &EndpointChoice) -> bool {
        let is_idempotent = self
            .call
            .method()
            .is_none_or(|method| self.call.is_idempotent(method));
        let honors = |uri: Uri| self.honors_key_at(&uri, &self.policies_at(&uri));
        is_idempotent || choice.shares_keys() && choice.uri().is_some_and(honors)
    }

    /// Leads a redirect whose target has a logical name to this endpoint.
    pub(super) fn lead_to_endpoint(&mut self, uri: &Uri) {
        self.follow_config_of_endpoint(uri);
        self.call.led_to_endpoint(uri);
    }

    fn follow_config_of_endpoint(&mut self, uri: &Uri) {
        let route = self.route_of_leg();
        self.follow_config(uri, route.as_deref());
    }

    /// Keeps a leg at the current endpoint, if a redirect leads to its origin: whether the other endpoints know the new
    /// URL is not known. Returns false if it leads elsewhere.
    pub(super) fn stays_at_endpoint(&mut self, uri: &Uri) -> bool {
        let endpoints = self.endpoints.as_mut();
        endpoints.is_some_and(|endpoints| endpoints.stay_at(uri))
    }

    /// Adds the restraints of another endpoint. A permission by one endpoint does not hold for the next one.
    fn restrain_at(&mut self, uri: &Uri) {
        if !self.honors_key_at(uri, &self.policies) {
            self.call.refuse_key();
        }
        if let Some((turn, policy)) = self.turn.as_mut().zip(self.policies.retry.as_deref()) {
            let destination = || Some(Destination::of_request(uri));
            turn.also_within(policy.most_to(&self.call, destination));
        }
    }

    /// Returns whether an endpoint is known to honor the call's key, or the key itself permits a retry. An endpoint with
    /// another header for keys, or another form of them, does not know this one.
    fn honors_key_at(&self, uri: &Uri, policies: &Policies) -> bool {
        let said = self.call.options().honors_idempotency_keys;
        let idempotency = policies.idempotency.as_ref();
        let honors = said.or_else(|| idempotency.and_then(|own| own.honors(uri)));
        let key = self.call.key();
        let is_known = key
            .zip(idempotency)
            .is_none_or(|(key, own)| key.is_written_as(own.get_header(), own.get_quoted()));
        is_known && (honors == Some(true) || key.is_some_and(|key| key.is_license))
    }

    /// Returns whether the config of an endpoint permits one more attempt of the call there.
    fn may_retry_at(&self, uri: &Uri, policies: &Policies) -> bool {
        let retries = self.turn.as_ref().zip(policies.retry.as_deref());
        retries.is_some_and(|(turn, policy)| {
            let destination = || Some(Destination::of_request(uri));
            let (most, off) = policy.most_to(&self.call, destination);
            let (sent, _) = turn.sent();
            off.is_none() && sent < most
        })
    }

    /// Returns whether the circuit of an endpoint is closed, if its URL names the circuit.
    fn is_closed_at(&self, uri: &Uri, now: Instant) -> bool {
        let policies = self.policies_at(uri);
        let breaker = policies.breaker.as_ref();
        let circuit = breaker.and_then(|breaker| breaker.at(&Origin::of_request(uri), now));
        circuit.is_some_and(|circuit| circuit.position().state == CircuitState::Closed)
    }

    /// Returns the policies of an endpoint.
    fn policies_at(&self, uri: &Uri) -> Arc<Policies> {
        match &self.elsewhere {
            Some(elsewhere) => of_leg(elsewhere, uri, self.route_of_leg().as_deref()),
            None => Arc::clone(&self.policies),
        }
    }

    /// Records the result of an attempt for its endpoint. `None` is a success.
    pub(super) fn record_endpoint(&mut self, failed: Option<&Diagnosis>, now: Instant) {
        if let Some(endpoints) = &mut self.endpoints {
            endpoints.record(failed, now);
        }
    }

    /// Returns the endpoint of the next attempt; `None` if it is the same one. A key permits another endpoint only if
    /// all of them share their keys, and if that one honors them. Its config must permit the attempt, too. A hint holds
    /// for the endpoint that sent it.
    pub(super) fn next_endpoint<N: Resend>(
        &mut self,
        effect: Effect,
        hint: Hint,
        later: &mut N,
    ) -> Option<NextEndpoint> {
        let endpoints = self.endpoints.as_mut()?;
        let now = clock::now();
        endpoints.hinted(hint.wait.map(|wait| EndpointHint {
            until: clock::after(now, wait),
            by_server: hint.by_server,
        }));
        let shares_keys = endpoints.shares_keys();
        let is_closed = |uri: &Uri| self.is_closed_at(uri, now);
        let next = self.endpoints.as_ref()?.next(now, is_closed)?;
        let policies = self.policies_at(&next.uri);
        let is_safe = effect.is_none()
            || effect.is_declined()
            || self.call.is_idempotent(&later.saved()?.method)
            || shares_keys && self.honors_key_at(&next.uri, &policies);
        (is_safe && self.may_retry_at(&next.uri, &policies)).then_some(next)
    }

    /// Returns the place of the next attempt, for the retry.
    pub(super) fn place_of<B>(&self, next: &NextEndpoint, saved: &Saved<B>) -> NextPlace {
        let now = clock::now();
        let policies = self.policies_at(&next.uri);
        let head = (&saved.method, &next.uri, &saved.headers);
        NextPlace {
            is_untried: next.is_untried,
            budget: DestinationState::of(&policies, head, now).budget,
            hint: Hint {
                wait: next
                    .hint
                    .map(|hint| hint.until.saturating_duration_since(now)),
                by_server: next.hint.is_some_and(|hint| hint.by_server),
            },
        }
    }

    /// Leads the kept request to the next endpoint, after an attempt that was rejected and sent nothing. Returns false
    /// if there is no endpoint that the call has not tried, or if its budget does not allow this.
    pub(super) fn pass_over<N: Resend>(&mut self, later: &mut N) -> bool {
        let nothing = Hint {
            wait: None,
            by_server: false,
        };
        let next = self.next_endpoint(self.seen.all, nothing, later);
        let Some(next) = next.filter(|next| next.is_untried) else {
            return false;
        };
        let Some(saved) = later.saved() else {
            return false;
        };
        let place = self.place_of(&next, saved);
        let is_paid = match &mut self.turn {
            Some(turn) => turn.pass_over(place),
            None => false,
        };
        if is_paid {
            self.fail_over(Some(&next), later);
        }
        is_paid
    }

    /// Leads the kept request to the next endpoint, if it is another one.
    pub(super) fn fail_over<N: Resend>(&mut self, next: Option<&NextEndpoint>, later: &mut N) {
        let (Some(next), Some(endpoints)) = (next, &mut self.endpoints) else {
            return;
        };
        let Some(saved) = later.saved() else { return };
        endpoints.go_on(next);
        let before = std::mem::replace(&mut saved.uri, next.uri.clone());
        match self.is_redirected() {
            true => self.lead_to_endpoint(&next.uri),
            false => {
                self.follow_config_of_endpoint(&next.uri);
                let is_own = self.call.is_own_at(&saved.method, &before);
                self.call.sent_to(&next.uri, None, is_own);
            }
        }
        self.restrain_at(&next.uri);
        self.hedge_at(&next.uri, clock::now());
        let url = redacted(&next.uri);
        self.call.note(TimelineEventKind::FailedOver { url });
    }
}

const ENDPOINT_GONE: &str =
    "an earlier attempt may have had an effect at an endpoint that is not configured any more";
