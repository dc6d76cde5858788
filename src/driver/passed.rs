//! The policies that bound the load of a destination, for one attempt: their parts, and the wait for them.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Response;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::policies::Policies;
use crate::call::Call;
use crate::clock;
use crate::error::Error;
use crate::hop::{Diagnosis, FailureClass, Hop, Kind, Policy, TimelineEventKind};
use crate::policy::concurrency::{self, Admitted, Permit, Waiter};
use crate::policy::rate_limit::{Asking, Place, Slot, Waits, rejected};
use crate::policy::{Classified, Subject, breaker, is_overload, throttle};

/// The parts that an attempt holds of the policies for the load of its destination.
#[derive(Default)]
pub(crate) struct Passed {
    throttle: Option<throttle::Ticket>,
    /// The ticket of the circuit, during the wait.
    circuit: Option<breaker::Ticket>,
    permit: Option<Permit>,
    slot: Option<Slot>,
    /// The question to the store of the rate limit, until its response is there.
    asking: Option<Box<Asking>>,
    /// When the store may be asked, because the server said that nothing is left before.
    until: Option<Instant>,
    /// How long the request has waited for that.
    waited: Duration,
    /// The place in the queue, until the permit is there.
    queue: Option<Waiter>,
    /// When the current wait began, or the attempt.
    since: Option<Instant>,
    /// When the response head came.
    answered: Option<Instant>,
}

impl Passed {
    /// Asks the throttle, once for each attempt.
    pub(crate) fn throttle<B>(
        &mut self,
        policies: &Policies,
        subject: Subject<'_, B>,
        now: Instant,
    ) -> Result<(), Error> {
        if let Some(policy) = &policies.throttle
            && self.throttle.is_none()
        {
            self.throttle = policy.admit(subject, now)?;
        }
        Ok(())
    }

    /// Keeps the ticket of the circuit during a wait. On a ramp, one call would otherwise count twice.
    pub(crate) fn keep(&mut self, ticket: Option<breaker::Ticket>) {
        self.circuit = ticket;
    }

    /// Returns the kept ticket, unless the circuit has changed meanwhile. Then it has to be asked again.
    pub(crate) fn kept(&mut self) -> Option<breaker::Ticket> {
        self.circuit.take()?.if_valid()
    }

    /// Asks for a permit, then for a slot. Returns false if the request has to wait for one of them.
    pub(crate) fn enter<B>(
        &mut self,
        policies: &Policies,
        (subject, call): (Subject<'_, B>, &Call),
        now: Instant,
    ) -> Result<bool, Error> {
        self.since = Some(now);
        let left = call.deadline().saturating_duration_since(now);
        if let Some(policy) = &policies.concurrency
            && self.permit.is_none()
        {
            let priority = call.options().priority.unwrap_or_default();
            match policy.admit(subject, (priority, left), now)? {
                Some(Admitted::Permit(permit)) => self.permit = Some(permit),
                Some(Admitted::Waiter(waiter)) => {
                    self.queue = Some(waiter);
                    return Ok(false);
                }
                None => {}
            }
        }
        let waits = Waits::ByConfig {
            waited: self.waited,
        };
        self.reserve(policies, (subject, call), (left, waits, now))
    }

    /// Takes a permit and a slot, if both are free now.
    ///
    /// # Errors
    ///
    /// Fails with the rejection of the policy that has none.
    pub(super) fn try_enter<B>(
        &mut self,
        policies: &Policies,
        (subject, call): (Subject<'_, B>, &Call),
        now: Instant,
    ) -> Result<(), Error> {
        self.since = Some(now);
        if let Some(policy) = &policies.concurrency {
            self.permit = policy.try_admit(subject, now)?;
        }
        let never = (Duration::ZERO, Waits::Never, now);
        match self.reserve(policies, (subject, call), never)? {
            true => Ok(()),
            // The user's function has named another bucket than before, and its store was not asked.
            false => Err(rejected(Duration::ZERO, (Duration::ZERO, false))),
        }
    }

    /// Reserves a slot, once for each attempt. Returns whether it is due.
    fn reserve<B>(
        &mut self,
        policies: &Policies,
        (subject, call): (Subject<'_, B>, &Call),
        (left, waits, now): (Duration, Waits, Instant),
    ) -> Result<bool, Error> {
        let Some(policy) = policies.rate_limit.as_ref().filter(|_| self.slot.is_none()) else {
            return Ok(true);
        };
        Ok(match policy.reserve(subject, (left, waits), now)? {
            None => true,
            Some(Place::Slot(slot)) => {
                let is_due = slot.due() <= now;
                self.hold(slot, call);
                is_due
            }
            Some(Place::Asking(asking)) => {
                self.asking = Some(asking);
                false
            }
            Some(Place::Later(until)) => {
                self.until = Some(until);
                false
            }
        })
    }

    pub(super) fn hold(&mut self, slot: Slot, call: &Call) {
        if slot.is_share() {
            call.note(TimelineEventKind::LocalShare);
        }
        self.slot = Some(slot);
    }

    /// Waits for the permit or the slot.
    ///
    /// # Errors
    ///
    /// Fails with the rejection of the policy.
    pub(crate) async fn wait(&mut self, call: &Call) -> Result<(), Error> {
        let mut alarm = pin!(None);
        poll_fn(|cx| self.poll(call, &mut Alarm(alarm.as_mut()), cx)).await
    }

    /// Ready when the wait is over.
    pub(super) fn poll(
        &mut self,
        call: &Call,
        alarm: &mut Alarm<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        match &mut self.queue {
            Some(queue) => {
                let turn = match queue.poll(cx) {
                    Poll::Ready(turn) => turn,
                    Poll::Pending => {
                        ready!(alarm.poll_until(queue.until(), cx));
                        Err(queue.expired())
                    }
                };
                self.queue = None;
                self.note_wait(call, Policy::Concurrency);
                self.permit = Some(turn.map_err(concurrency::rejected)?);
            }
            None => {
                if let Some(until) = self.until {
                    ready!(alarm.poll_until(until, cx));
                    self.until = None;
                    if let Some(since) = self.since {
                        let waited = clock::now().saturating_duration_since(since);
                        self.waited = self.waited.saturating_add(waited);
                    }
                }
                ready!(self.poll_store(call, alarm, cx))?;
                if let Some(slot) = &self.slot {
                    ready!(alarm.poll_until(slot.due(), cx));
                }
                self.note_wait(call, Policy::RateLimit);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the store of the rate limit has responded, or has taken too long. Then there is a slot.
    fn poll_store(
        &mut self,
        call: &Call,
        alarm: &mut Alarm<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let Some(asking) = &mut self.asking else {
            return Poll::Ready(Ok(()));
        };
        let slot = match asking.poll(|| call.span(), cx) {
            Poll::Ready(slot) => slot,
            Poll::Pending => {
                ready!(alarm.poll_until(asking.until(), cx));
                asking.expired(|| call.span())
            }
        };
        self.asking = None;
        Poll::Ready(match slot {
            Ok(slot) => {
                self.hold(slot, call);
                Ok(())
            }
            Err(rejected) => {
                self.note_wait(call, Policy::RateLimit);
                Err(rejected)
            }
        })
    }

    /// Records a wait that is over, also one that ends in a rejection.
    fn note_wait(&self, call: &Call, policy: Policy) {
        if let Some(since) = self.since {
            let wait = clock::now().saturating_duration_since(since);
            call.note(TimelineEventKind::Queued { policy, wait });
        }
    }

    /// Records that the attempt begins.
    pub(crate) fn begin(&mut self) {
        if let Some(permit) = &mut self.permit {
            permit.begin();
        }
    }

    /// Handles a success that has no response head.
    pub(crate) fn succeed(mut self) {
        let now = clock::now();
        self.learn(false, now);
        if let Some(ticket) = self.throttle.take() {
            ticket.accept(now);
        }
    }

    /// Records that the response head is here. The body may be received before the attempt is judged: that time says
    /// nothing about the load of the destination.
    pub(super) fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
    }

    /// Handles the response head of the attempt. The permit is held to the end of the body.
    pub(super) fn head<R>(&mut self, response: &Response<R>, classified: Classified, now: Instant) {
        let (status, headers) = (response.status(), response.headers());
        if let Some(slot) = self.slot.take() {
            slot.head(headers, now);
        }
        let overload = is_overload(status, classified.class);
        self.learn(overload, now);
        if let Some(ticket) = self.throttle.take() {
            let is_failed = classified.failed.is_some();
            ticket.head((status, headers), (classified.class, is_failed), now);
        }
    }

    /// Handles a failed attempt. `had_its_time` says whether the request left it the time that the config gives it.
    pub(crate) fn fail(
        mut self,
        failed: &Diagnosis,
        (class, hint): (Option<FailureClass>, Option<Duration>),
        had_its_time: bool,
    ) {
        let now = clock::now();
        let by_status = failed
            .status
            .is_some_and(|status| is_overload(status, class));
        // A lookup did not reach the destination, and an impatient caller says nothing about its load.
        let is_late = failed.kind == Kind::Timeout
            && failed.hop != Some(Hop::Dns)
            && had_its_time
            && self.answered.is_none();
        let is_overload = is_late || class == Some(FailureClass::Throttled) || by_status;
        if is_overload || self.answered.is_some() {
            self.learn(is_overload, now);
        }
        if let Some(ticket) = self.throttle.take() {
            ticket.fail(failed, (class, hint), now);
        }
    }

    fn learn(&self, is_overload: bool, now: Instant) {
        if let Some((permit, begun)) = self.permit.as_ref().zip(self.since) {
            let end = self.answered.unwrap_or(now);
            permit.learn(end.saturating_duration_since(begun), is_overload, now);
        }
    }
}
