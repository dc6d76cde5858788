//! The hedges of one leg: their payments, and the facts that lost attempts leave behind. No polling.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode, Uri};
use tokio::time::Instant;

use super::attempt::AttemptInFlight;
use super::kept::KeptFailure;
use super::policies::Hedging;
use super::retry_loop::RetryLoop;
use super::run::Run;
use crate::call::{Call, HedgeClaim};
use crate::clock;
use crate::destination::Origin;
use crate::hop::{Effect, FailureClass, NoHedgeReason, Stage, TimelineEventKind, is_failure};
use crate::policy::Classified;
use crate::policy::hedge::{HedgePolicy, HedgeState, LatestAttempt};
use crate::policy::rate_limit::Asking;
use crate::policy::retry::{Account, Payment};
use crate::record::Tracker;

/// The hedges of one leg.
pub(super) struct Hedges {
    pub(super) policy: Arc<HedgePolicy>,
    pub(super) state: Arc<HedgeState>,
    /// The claim to hedge. `None` if another driver of the call has it.
    pub(super) claim: Option<HedgeClaim>,
    /// The account of a driver without retries.
    pub(super) account: Option<Account>,
    is_joined: bool,
    /// `None` if too few calls were seen.
    pub(super) delay: Option<Duration>,
    /// How many hedges the call has sent.
    pub(super) sent: u32,
    /// Whether a hedge was due and not sent: then none follows in this leg.
    pub(super) is_over: bool,
    /// How many attempts are in flight.
    pub(super) in_flight: u32,
    /// The first attempt in flight and the latest one. Each has the number of attempts that had begun before it, and
    /// the time when it began.
    first: Begin,
    latest: Begin,
    /// How many attempts had begun before the one that ended last.
    pub(super) ended: u32,
    /// When the server wants the next attempt, as it said to an attempt of this round.
    hint: Option<Instant>,
    /// The failure of this round that decides if the last attempt in flight sent nothing.
    pub(super) kept: Option<Box<KeptFailure>>,
    /// The question to the store of the rate limit, for the hedge that is due.
    pub(super) asking: Option<Box<Asking>>,
}

impl Hedges {
    /// Begins the hedges of a leg. `previous` are those of the leg before it.
    pub(super) fn new(
        hedging: &Hedging,
        (call, uri, now): (&Call, &Uri, Instant),
        (retries, previous): (bool, Option<Box<Self>>),
    ) -> Box<Self> {
        let origin = Origin::of_request(uri);
        let policy = Arc::clone(&hedging.policy);
        let route = call.route().filter(|_| !call.is_redirected());
        let state = policy.state(&origin, route, now);
        let sent = previous.as_ref().map_or(0, |previous| previous.sent);
        let claim = previous.and_then(|previous| previous.claim);
        // An outer retry layer pays in for the call, and reports its end to the budget.
        let is_joined = call.is_retried();
        let open = |budget| match is_joined {
            true => Account::join(budget, call),
            false => Account::open(budget, call, now),
        };
        Box::new(Self {
            claim: claim.or_else(|| call.claim_hedges()),
            account: (!retries).then(|| open(hedging.budgets.at(&origin, now))),
            is_joined,
            delay: policy.begin(&state),
            policy,
            state,
            sent,
            is_over: false,
            in_flight: 0,
            first: (0, now),
            latest: (0, now),
            ended: 0,
            hint: None,
            kept: None,
            asking: None,
        })
    }

    /// Records that the first attempt of a round begins.
    pub(super) fn begin(&mut self, before: u32, now: Instant) {
        (self.first, self.latest) = ((before, now), (before, now));
        (self.in_flight, self.hint) = (1, None);
        (self.kept, self.asking) = (None, None);
    }

    /// Returns the longest wait that the server wants, by this attempt or by those beside it.
    pub(super) fn hint_of_round(&self, own: Option<Duration>) -> Option<Duration> {
        let left = |until: Instant| until.saturating_duration_since(clock::now());
        own.max(self.hint.map(left))
    }

    /// Records that a response failed: perhaps the destination asks for fewer requests, and the server for a wait.
    fn heed(&mut self, is_throttled: bool, wait: Option<Duration>) {
        let now = clock::now();
        if let Some(wait) = wait {
            self.hint = self.hint.max(Some(clock::after(now, wait)));
        }
        if is_throttled || wait.is_some() {
            let wait = wait.unwrap_or(THROTTLED).min(LONGEST_THROTTLE);
            self.state.throttle(clock::after(now, wait));
        }
    }

    /// Returns the account that pays for hedges.
    fn account<'a>(&'a mut self, turn: Option<&'a mut RetryLoop>) -> Option<&'a mut Account> {
        match turn {
            Some(turn) => Some(turn.account()),
            None => self.account.as_mut(),
        }
    }

    /// Returns when the server had the request of the latest attempt, as far as that is known. If that attempt ended
    /// before a connection took it, it counts from its start: the hedges after it do not wait for it.
    pub(super) fn in_flight(&self, call: &Call) -> LatestAttempt {
        let (before, started) = self.latest;
        let record = call.record_at(before);
        let is_known = |record: &Arc<Tracker>| record.is_taken() || !record.is_over();
        let tracked = record.filter(|record| record.is_tracked() && is_known(record));
        let taken = tracked.as_ref().filter(|record| record.is_taken());
        LatestAttempt {
            started,
            is_tracked: tracked.is_some(),
            taken: taken.map(|record| record.entered(Stage::Send)),
        }
    }
}

impl Run {
    /// Pays for a hedge: one token of the share, and one of the budget.
    pub(super) fn pay_for_hedge(&mut self) -> Result<Payment, NoHedgeReason> {
        let hedges = self
            .hedges
            .as_deref_mut()
            .ok_or(NoHedgeReason::BudgetEmpty)?;
        if !hedges.policy.withdraw(&hedges.state) {
            return Err(NoHedgeReason::ShareSpent);
        }
        let account = hedges.account(self.turn.as_mut());
        let paid = account.and_then(|account| account.pay_beside(clock::now()));
        paid.ok_or_else(|| {
            hedges.policy.give_back(&hedges.state);
            NoHedgeReason::BudgetEmpty
        })
    }

    /// Checks that a hedge can be paid for now. Spends nothing.
    pub(super) fn check_payment(&mut self) -> Result<(), NoHedgeReason> {
        let paid = self.pay_for_hedge()?;
        if let Some(hedges) = self.hedges.as_deref_mut() {
            hedges.policy.give_back(&hedges.state);
            if let Some(account) = hedges.account(self.turn.as_mut()) {
                account.give_back(paid, clock::now());
            }
        }
        Ok(())
    }

    /// Prepares a hedge that was paid. Returns how many attempts have begun before it.
    pub(super) fn prepare_hedge(&mut self) -> u32 {
        self.call.overlap();
        if let Some(hedges) = self.hedges.as_deref_mut() {
            let beside = hedges.in_flight;
            if let Some(account) = hedges.account(self.turn.as_mut()) {
                account.begin_beside(&self.call);
            }
            if let Some(turn) = &mut self.turn {
                turn.set_beside(beside);
            }
        }
        self.call.attempt_count()
    }

    /// Records that a hedge has begun after this number of attempts. Returns the time.
    pub(super) fn begin_hedge(&mut self, before: u32) -> Instant {
        let now = clock::now();
        if let Some(hedges) = self.hedges.as_deref_mut() {
            let attempt = hedges.in_flight(&self.call);
            let began = attempt.began().unwrap_or(attempt.started);
            let after = now.saturating_duration_since(began);
            hedges.latest = (before, now);
            hedges.sent += 1;
            hedges.in_flight += 1;
            self.call
                .note_after(before, TimelineEventKind::Hedged { after });
        }
        now
    }

    /// Takes back a hedge that was paid and not sent.
    pub(super) fn take_back_hedge(&mut self, paid: Payment) {
        if let Some(hedges) = self.hedges.as_deref_mut() {
            hedges.policy.give_back(&hedges.state);
            let ((before, _), in_flight) = (hedges.latest, hedges.in_flight);
            if let Some(account) = hedges.account(self.turn.as_mut()) {
                account.give_back(paid, clock::now());
                account.take_back_beside(before);
            }
            if let Some(turn) = &mut self.turn {
                turn.set_beside(in_flight.saturating_sub(1));
            }
        }
    }

    /// Takes back a hedge that a policy below rejected: nothing was sent.
    pub(super) fn refund_hedge(&mut self, paid: Payment) {
        if let Some(hedges) = self.hedges.as_deref_mut() {
            hedges.policy.give_back(&hedges.state);
            if let Some(account) = hedges.account(self.turn.as_mut()) {
                account.give_back(paid, clock::now());
                // All others are counted by now.
                account.take_back_beside(self.call.attempt_count().saturating_sub(1));
            }
        }
    }

    /// Charges a failure beside others to the budget.
    pub(super) fn charge_beside(&mut self) {
        if let Some(hedges) = self.hedges.as_deref_mut()
            && let Some(account) = hedges.account(self.turn.as_mut())
        {
            account.fail();
        }
    }

    /// Records why a hedge that was due is not sent. None follows in this leg.
    pub(super) fn no_hedge(&mut self, reason: NoHedgeReason) {
        if let Some(hedges) = &mut self.hedges {
            hedges.is_over = true;
            hedges.asking = None;
            self.call.note(TimelineEventKind::NotHedged(reason));
        }
    }

    /// Records that an attempt failed while others are in flight. They go on.
    pub(super) fn end_beside(&mut self, effect: Effect) {
        self.seen.attempt(effect);
        match (&mut self.turn, &mut self.hedges) {
            (Some(turn), _) => turn.end_beside(&self.call, !effect.is_none()),
            (None, Some(hedges)) => {
                let account = hedges.account.as_ref();
                let account = account.map(|account| account.count(&self.call));
                account.unwrap_or_default();
            }
            (None, None) => {}
        }
        if let Some(hedges) = &mut self.hedges {
            hedges.in_flight = hedges.in_flight.saturating_sub(1);
        }
    }

    /// Gives the first attempt up because another one was faster.
    pub(super) fn lose_first(&mut self, flight: AttemptInFlight) {
        if let Some(hedges) = &self.hedges {
            self.lose(flight, hedges.first);
        }
    }

    /// Gives up an attempt because another one was faster.
    pub(super) fn lose(&mut self, flight: AttemptInFlight, (before, started): Begin) {
        if let Some(record) = self.call.record_at(before) {
            record.facts(|facts| facts.is_lost = true);
        }
        // It took at least this long. Without such times, the quantile would fall with each hedge.
        self.responded((before, started));
        drop(flight);
        // Read after the attempt was given up: until then a connection may take it.
        self.end_beside(self.call.effect_at(before));
    }

    /// Records which attempt ended while others are in flight: that of a hedge, or the first one.
    pub(super) fn decide_by(&mut self, hedge: Option<u32>) {
        if let Some(hedges) = &mut self.hedges {
            hedges.ended = hedge.unwrap_or(hedges.first.0);
            self.call.decide_by(hedges.ended);
        }
    }

    /// Records the time until the head of a response whose body is received in the attempt.
    pub(super) fn first_responded(&self) {
        if let Some(hedges) = &self.hedges {
            self.responded(hedges.first);
        }
    }

    /// Records the time that an attempt took.
    fn responded(&self, (before, started): Begin) {
        let Some(hedges) = &self.hedges else { return };
        let record = self.call.record_at(before);
        let tracked = record.filter(|record| record.is_tracked());
        let began = match &tracked {
            Some(record) if record.is_taken() => record.entered(Stage::Send),
            Some(_) => return,
            None => started,
        };
        let took = clock::now().saturating_duration_since(began);
        hedges.policy.record(&hedges.state, took);
    }

    /// Records that a hedge takes the place of the first attempt, with its payment unless that was given back.
    pub(super) fn take_over(&mut self, begin: Begin, paid: Option<Payment>) {
        if let Some(hedges) = self.hedges.as_deref_mut() {
            hedges.first = begin;
            if let Some((account, paid)) = hedges.account(self.turn.as_mut()).zip(paid) {
                account.take_over(paid);
            }
        }
    }

    /// Records what a response says about hedges: its time if it is a success, else whether the server is overloaded.
    pub(super) fn settle_hedges<R>(&mut self, response: &Response<R>, classified: Classified) {
        let Some(hedges) = self.hedges.as_deref() else {
            return;
        };
        let is_success = match classified.class {
            Some(FailureClass::Success) => true,
            _ => classified.failed.is_none() && !is_failure(response.status()),
        };
        if is_success {
            let is_received = self.call.options().whole_body.is_some();
            if !is_received || self.policies.attempt.is_none() {
                self.responded(hedges.first);
            }
            self.end_alone(Account::succeed);
        } else {
            self.heed_response(response, classified);
            self.end_alone(|account| account.fail());
        }
    }

    /// Records whether a failed response asks for fewer requests.
    pub(super) fn heed_response<R>(&mut self, response: &Response<R>, classified: Classified) {
        if let Some(FailureClass::Success | FailureClass::Ignore) = classified.class {
            return;
        }
        let status = response.status();
        let wait = self.policies.hint(status, response.headers());
        let is_throttled = status == StatusCode::TOO_MANY_REQUESTS
            || classified.class == Some(FailureClass::Throttled);
        if let Some(hedges) = &mut self.hedges {
            hedges.heed(is_throttled, wait);
        }
    }

    /// Records in a driver without retries that the last attempt in flight ended. Reports that to its own account.
    pub(super) fn end_alone(&mut self, report: impl FnOnce(&mut Account)) {
        let hedges = self.hedges.as_deref_mut();
        let hedges = hedges.filter(|_| self.turn.is_none());
        let Some(Hedges {
            account: Some(account),
            is_joined,
            ..
        }) = hedges
        else {
            return;
        };
        account.end(&self.call);
        if !*is_joined {
            report(account);
        }
    }

    /// Records in a driver without retries that a policy below rejected the last attempt in flight. It counts only if
    /// something reached the wire nevertheless. An outer driver with retries finds that out itself.
    pub(super) fn refuse_alone(&mut self) {
        let hedges = self.hedges.as_deref_mut();
        let hedges = hedges.filter(|hedges| self.turn.is_none() && !hedges.is_joined);
        let account = hedges.and_then(|hedges| hedges.account.as_mut());
        if account.is_some_and(|account| !account.refused(&self.call)) {
            self.end_alone(|account| account.fail());
        }
    }
}

/// How many attempts had begun before an attempt, and when it began.
type Begin = (u32, Instant);

/// A server that throttles without saying for how long.
const THROTTLED: Duration = Duration::from_secs(1);
/// One response must not switch off the hedges of all calls for longer. After that, the server may say it again.
const LONGEST_THROTTLE: Duration = Duration::from_secs(60);
