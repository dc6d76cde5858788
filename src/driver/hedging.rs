//! Decides whether a hedge is due, and whether it may be sent.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use http::Request;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::hedges::Hedges;
use super::retry_loop::RetryLoop;
use super::run::Run;
use crate::clock;
use crate::error::Error;
use crate::hop::{NoHedgeReason, NoRetryReason, Policy};
use crate::policy::Subject;
use crate::policy::hedge::{Due, HedgeFacts, OtherAddress, decide, due};
use crate::policy::rate_limit::{Place, Slot, Waits};
use crate::record::Tracker;
use crate::replay::Saved;

impl Run {
    /// Returns when the next hedge is due, if one may follow.
    pub(super) fn hedge_due(&self, now: Instant) -> Option<Due> {
        let hedges = self.hedges.as_deref()?;
        let may_follow = !hedges.is_over
            && hedges.in_flight > 0
            && hedges.sent < hedges.policy.config.get_max_hedges();
        let delay = hedges.delay.filter(|_| may_follow)?;
        let due = due(&hedges.in_flight(&self.call), delay, now);
        let (Due::At(at) | Due::AskAgain(at)) = due;
        (at < self.call.deadline()).then_some(due)
    }

    /// Decides whether a hedge that is due may be sent, without paying for it. Returns the addresses of the attempts in
    /// flight.
    pub(super) fn may_hedge<B>(
        &self,
        saved: Option<&mut Saved<B>>,
        is_half_open: bool,
    ) -> Result<Vec<IpAddr>, NoHedgeReason> {
        let (hedges, saved) = self
            .hedges
            .as_deref()
            .zip(saved)
            .ok_or(NoHedgeReason::NotReplayable)?;
        let now = clock::now();
        let (sent, most) = self.sent(hedges);
        let (addresses, used) = self.addresses();
        let facts = HedgeFacts {
            off: self.hedges_off(hedges),
            method: &saved.method,
            is_declared_idempotent: self.call.is_declared_idempotent(),
            keyed: self.call.carries_key(&saved.headers),
            vouched: self.call.vouches(&saved.headers),
            key_left: self.call.key_left(&saved.headers),
            time_left: self.call.deadline().saturating_duration_since(now),
            is_replayable: saved.is_replayable(),
            sent,
            most,
            is_throttled: hedges.state.is_throttled(now),
            is_half_open,
            has_session: self.call.options().affinity.is_some(),
            addresses,
            same_address: hedges.policy.config.get_same_address(),
        };
        decide(&facts).map(|()| used)
    }

    /// Ready with a slot for the hedge that is due, if a store shares the rate limit. The store is asked before the hedge
    /// is paid for, and only if it can be: a slot of a store is not given back. Without a store there is nothing to wait
    /// for.
    pub(super) fn poll_slot_of_hedge<B>(
        &mut self,
        saved: Option<&mut Saved<B>>,
        alarm: &mut Alarm<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Slot>, NoHedgeReason>> {
        let policy = self.policies.rate_limit.as_ref();
        if policy.is_none_or(|policy| policy.shared.is_none()) {
            return Poll::Ready(Ok(None));
        }
        let is_asking = self
            .hedges
            .as_ref()
            .is_some_and(|hedges| hedges.asking.is_some());
        if !is_asking && let Err(reason) = self.check_payment() {
            return Poll::Ready(Err(reason));
        }
        let policy = self.policies.rate_limit.as_ref();
        let parts = self.hedges.as_deref_mut().zip(saved).zip(policy);
        let Some(((hedges, saved), policy)) = parts else {
            return Poll::Ready(Err(NoHedgeReason::NotReplayable));
        };
        let rejected = |_: Error| NoHedgeReason::Rejected(Policy::RateLimit);
        if hedges.asking.is_none() {
            let (head, now) = (head_of(saved), clock::now());
            let left = self.call.deadline().saturating_duration_since(now);
            let place = policy.reserve(Subject::Request(&head), (left, Waits::Never), now);
            match place.map_err(rejected)? {
                None => return Poll::Ready(Ok(None)),
                Some(Place::Slot(slot)) => return Poll::Ready(Ok(Some(slot))),
                Some(Place::Asking(asking)) => hedges.asking = Some(asking),
                // A hedge does not wait.
                Some(Place::Later(_)) => {
                    return Poll::Ready(Err(NoHedgeReason::Rejected(Policy::RateLimit)));
                }
            }
        }
        let Some(asking) = &mut hedges.asking else {
            return Poll::Ready(Ok(None));
        };
        let slot = match asking.poll(|| self.call.span(), cx) {
            Poll::Ready(slot) => slot,
            Poll::Pending => {
                ready!(alarm.poll_at(asking.until(), cx));
                if clock::now() < asking.until() {
                    // The timer was that of an attempt in flight: the next poll looks at those first.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                asking.expired(|| self.call.span())
            }
        };
        hedges.asking = None;
        Poll::Ready(slot.map(Some).map_err(rejected))
    }

    /// Returns how many attempts ended or are in flight, and how many may be sent.
    fn sent(&self, hedges: &Hedges) -> (u32, u32) {
        match &self.turn {
            Some(turn) => {
                let (sent, most) = turn.sent();
                (sent.saturating_add(hedges.in_flight), most)
            }
            None => {
                let most = self.call.options().most_attempts(u32::MAX);
                let account = hedges.account.as_ref();
                (account.map_or(1, |account| account.begun(&self.call)), most)
            }
        }
    }

    /// Returns why this driver sends no hedges, if it does not.
    fn hedges_off(&self, hedges: &Hedges) -> Option<NoHedgeReason> {
        match self.turn.as_ref().and_then(RetryLoop::off) {
            Some(NoRetryReason::OtherDestination) => Some(NoHedgeReason::OtherDestination),
            Some(NoRetryReason::RetriedUpstream) => Some(NoHedgeReason::ByCaller),
            Some(_) => Some(NoHedgeReason::SwitchedOff),
            None if self.call.options().no_retry => Some(NoHedgeReason::SwitchedOff),
            None => hedges.claim.is_none().then_some(NoHedgeReason::ByCaller),
        }
    }

    /// Returns whether there is an address that no attempt in flight uses, and the addresses that they use.
    fn addresses(&self) -> (OtherAddress, Vec<IpAddr>) {
        let is_open = |record: &Arc<Tracker>| !record.is_over();
        let (mut used, mut known) = (Vec::new(), None);
        for record in self.call.trackers().into_iter().filter(is_open) {
            record.facts(|facts| {
                if facts.unix_socket.is_some() {
                    known.get_or_insert_with(Vec::new);
                }
                used.extend(facts.peer.map(|peer| peer.ip()));
                if let Some(addresses) = facts.addresses.as_ref().and_then(Weak::upgrade) {
                    known = Some(addresses.known());
                }
            });
        }
        let has_other = |known: Vec<IpAddr>| known.iter().any(|address| !used.contains(address));
        let addresses = match known.map(has_other) {
            None => OtherAddress::Unknown,
            Some(true) => OtherAddress::Another,
            Some(false) => OtherAddress::NoOther,
        };
        (addresses, used)
    }
}

/// Returns the head of a kept request, for the user's function that names its bucket.
fn head_of<B>(saved: &Saved<B>) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = saved.method.clone();
    *head.uri_mut() = saved.uri.clone();
    *head.headers_mut() = saved.headers.clone();
    head
}
