//! The attempts in flight beside the first one. Each is in a box.
//!
//! The first success wins, and cancels the others. So does a permanent failure of a request that was sent. After a
//! transient failure the others go on, and after one that sent nothing. If the last attempt in flight fails, the retry
//! decides, as if there had been one attempt with the greatest effect of all.
//!
//! If the body is received inside the attempt, the first 2xx with a body wins before its trailers are known. One without
//! a body is judged by its head: a gRPC server fails that way ("Trailers-Only").

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use tokio::time::Instant;

use super::attempt::AttemptInFlight;
use super::classify::Wanted;
use super::draining::Drains;
use super::exchange::{Ended, poll_exchange};
use super::future::{DriverState, Polling};
use super::later::Resend;
use super::next_step::NextStep;
use super::service::HttpResponse;
use super::source::BodySource;
use crate::box_error::BoxError;
use crate::clock;
use crate::diagnose::AttemptFailure;
use crate::hop::NoHedgeReason;
use crate::policy::hedge::Due;
use crate::policy::rate_limit::Slot;
use crate::policy::retry::Payment;

/// The attempts in flight beside the first one.
pub(super) struct Round<F, R> {
    hedges: Vec<Hedge<F>>,
    drains: Drains<R>,
    /// Whether the first attempt is in flight.
    has_first: bool,
}

/// A hedge in flight.
pub(super) struct Hedge<F> {
    // Dropped first: the attempt is judged and given up before its inner future is dropped.
    flight: AttemptInFlight,
    inner: Pin<Box<F>>,
    /// How many attempts had begun before it.
    before: u32,
    started: Instant,
    /// `None` once it was given back.
    paid: Option<Payment>,
}

/// The attempts beside the first one, if there ever were any in this round.
pub(super) type Others<F, R> = Option<Box<Round<F, R>>>;

/// A hedge that ended.
type Ending<F, P> = (Hedge<F>, Result<P, Ended>);

/// An attempt that has begun.
type Begun<F> = (AttemptInFlight, Pin<Box<F>>);

impl<F, R> Round<F, R> {
    fn new(first: Hedge<F>) -> Box<Self> {
        Box::new(Self {
            hedges: vec![first],
            drains: Drains::new(),
            has_first: true,
        })
    }
}

impl<N: Resend, R> Polling<'_, N, R>
where
    R: Body<Error: Into<BoxError>>,
{
    /// Polls the hedges in flight, and sends another one when it is due.
    pub(super) fn beside<P, E>(
        &mut self,
        state: Pin<&mut DriverState<N::Future, R>>,
        cx: &mut Context<'_>,
    ) -> Poll<NextStep<R>>
    where
        N: Resend<Future: Future<Output = Result<P, E>>>,
        P: HttpResponse<Body = R>,
        E: Into<BoxError>,
    {
        loop {
            if let Poll::Ready((hedge, ended)) = self.poll_hedges(cx) {
                return Poll::Ready(self.ended_among(Some(hedge), ended, state));
            }
            ready!(self.poll_due(cx));
            match ready!(self.send_hedge(cx)) {
                Ok(()) => {}
                Err(reason) => self.run.no_hedge(reason),
            }
        }
    }

    fn poll_hedges<P, E>(&mut self, cx: &mut Context<'_>) -> Poll<Ending<N::Future, P>>
    where
        N: Resend<Future: Future<Output = Result<P, E>>>,
        E: Into<BoxError>,
    {
        let Some(round) = self.round.as_deref_mut() else {
            return Poll::Pending;
        };
        for (at, hedge) in round.hedges.iter_mut().enumerate() {
            let parts = (&hedge.flight, &*self.run);
            let polled = poll_exchange(hedge.inner.as_mut(), parts, &mut self.alarm, cx);
            if let Poll::Ready(ended) = polled {
                return Poll::Ready((round.hedges.remove(at), ended));
            }
        }
        round.drains.poll(&mut self.alarm, cx);
        Poll::Pending
    }

    /// Ready when a hedge is due.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = clock::now();
            let Some(due) = self.run.hedge_due(now) else {
                return Poll::Pending;
            };
            match due {
                Due::At(at) if at <= now => return Poll::Ready(()),
                Due::At(at) | Due::AskAgain(at) => ready!(self.alarm.poll_at(at, cx)),
            }
        }
    }

    /// Sends a hedge, once the service is ready for it. The payment and the attempt begin in one step, so no wait
    /// between them can lose the payment.
    fn send_hedge(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NoHedgeReason>> {
        let is_half_open = |flight: &AttemptInFlight| {
            let admission = flight.admission.as_ref();
            admission.is_some_and(|admission| admission.is_half_open())
        };
        let others = self.round.iter().flat_map(|round| &round.hedges);
        let is_half_open =
            is_half_open(self.flight) || others.map(|other| &other.flight).any(is_half_open);
        let beside = match self.run.may_hedge(self.later.saved(), is_half_open) {
            Ok(beside) => beside,
            Err(reason) => return Poll::Ready(Err(reason)),
        };
        if ready!(self.later.poll_ready(cx)).is_err() {
            return Poll::Ready(Err(NoHedgeReason::Unready));
        }
        let slot = self
            .run
            .poll_slot_of_hedge(self.later.saved(), &mut self.alarm, cx);
        let slot = match ready!(slot) {
            Ok(slot) => slot,
            Err(reason) => return Poll::Ready(Err(reason)),
        };
        let paid = match self.run.pay_for_hedge() {
            Ok(paid) => paid,
            Err(reason) => return Poll::Ready(Err(reason)),
        };
        let before = self.run.prepare_hedge();
        match self.fly(slot) {
            Ok((flight, inner)) => {
                let started = self.run.begin_hedge(before);
                if let Some(record) = self.run.call.record_at(before) {
                    record.facts(|facts| {
                        facts.is_hedge = true;
                        facts.beside = Some(beside.into());
                    });
                }
                self.join(Hedge {
                    flight,
                    inner,
                    before,
                    started,
                    paid: Some(paid),
                });
                Poll::Ready(Ok(()))
            }
            Err(reason) => {
                self.run.take_back_hedge(paid);
                Poll::Ready(Err(reason))
            }
        }
    }

    /// Sends the kept request once more, if the policies admit it.
    fn fly(&mut self, slot: Option<Slot>) -> Result<Begun<N::Future>, NoHedgeReason> {
        let request = self.run.again_beside(self.later);
        let mut request = request.ok_or(NoHedgeReason::NotReplayable)?;
        let is_replayable = self.later.is_replayable();
        let flight = self.run.admit_beside((&mut request, slot), is_replayable)?;
        let inner = flight.within(|| self.later.send(request));
        let inner = inner.ok_or(NoHedgeReason::NotReplayable)?;
        Ok((flight, Box::pin(inner)))
    }

    /// Adds a hedge to those in flight. From now on, none of them is cut short to leave time for an attempt that cannot
    /// follow.
    fn join(&mut self, hedge: Hedge<N::Future>) {
        match self.round.as_deref_mut() {
            Some(round) => round.hedges.push(hedge),
            None => *self.round = Some(Round::new(hedge)),
        }
        let follows = self.run.follows_beside();
        let Some((follows, policy)) = follows.zip(self.run.policies.attempt.as_ref()) else {
            return;
        };
        let hedges = self.round.iter_mut().flat_map(|round| &mut round.hedges);
        let hedges = hedges.map(|hedge| &mut hedge.flight);
        for flight in hedges.chain([&mut *self.flight]) {
            if let Some(attempt) = &mut flight.attempt {
                attempt.follow((policy, &self.run.call), follows);
            }
        }
    }

    /// Handles the end of an attempt that is, or was, not alone: of a hedge, or of the first one.
    pub(super) fn ended_among<P>(
        &mut self,
        hedge: Option<Hedge<N::Future>>,
        ended: Result<P, Ended>,
        state: Pin<&mut DriverState<N::Future, R>>,
    ) -> NextStep<R>
    where
        P: HttpResponse<Body = R>,
    {
        let before = hedge.as_ref().map(|hedge| hedge.before);
        self.run.decide_by(before);
        match ended {
            Ok(response) => self.head_among(hedge, response.into_response(), state),
            Err(Ended::Failed(failure)) => self.failed_among(hedge, failure, state),
            Err(Ended::Expired(failure)) => {
                self.take_over(hedge, state);
                *self.flight = AttemptInFlight::default();
                NextStep::Fail(failure)
            }
        }
    }

    fn head_among(
        &mut self,
        mut hedge: Option<Hedge<N::Future>>,
        response: Response<R>,
        mut state: Pin<&mut DriverState<N::Future, R>>,
    ) -> NextStep<R> {
        let now = clock::now();
        if !self.has_others(hedge.is_some()) {
            self.take_over(hedge, state.as_mut());
            return self.head(response, now, state);
        }
        let flight = match &mut hedge {
            Some(hedge) => &mut hedge.flight,
            None => &mut *self.flight,
        };
        let wanted = self.run.head((flight, now), &response);
        let is_whole = response.body().is_end_stream();
        if let Wanted::Whole(most_bytes) = wanted
            && !is_whole
        {
            self.take_over(hedge, state.as_mut());
            self.receive(response, most_bytes, state);
            return NextStep::Again;
        }
        if let Some(failure) = self.run.leaves_its_address(flight, &response) {
            self.take_over(hedge, state.as_mut());
            state.set(DriverState::Done);
            return self.failed(failure);
        }
        // While others are in flight, a classifier sees no body: to read it would delay them.
        let response = response.map(|body| BodySource::Live { body });
        let classified = self.run.classify_response(flight, &response, self.later);
        let failed = self.run.may_pass_response(&response, classified);
        let Some(failed) = failed else {
            self.take_over(hedge, state);
            if let Wanted::Whole(_) = wanted {
                self.run.first_responded();
            }
            return self
                .run
                .answered_as((self.flight, now), (response, classified), self.later);
        };
        let flight = match &mut hedge {
            Some(hedge) => &mut hedge.flight,
            None => &mut *self.flight,
        };
        self.run.heed_response(&response, classified);
        let body = self
            .run
            .set_aside((flight, now), response, (classified, failed));
        if let Some(round) = self.round.as_deref_mut() {
            round.drains.push(body, now);
        }
        self.leave(hedge, state)
    }

    fn failed_among(
        &mut self,
        mut hedge: Option<Hedge<N::Future>>,
        failure: AttemptFailure,
        mut state: Pin<&mut DriverState<N::Future, R>>,
    ) -> NextStep<R> {
        let class = self.run.class_of_failure(&failure, self.later);
        let is_refused = failure.rejected_by().is_some() && failure.diagnosis().effect.is_none();
        let paid = hedge.as_mut().filter(|_| is_refused);
        if let Some(paid) = paid.and_then(|hedge| hedge.paid.take()) {
            self.run.refund_hedge(paid);
        }
        let goes_on =
            self.has_others(hedge.is_some()) && self.run.may_pass_failure(&failure, class);
        if !goes_on {
            self.take_over(hedge, state.as_mut());
            // The inner future is dropped before an observer is notified of the end.
            state.set(DriverState::Done);
            let flight = std::mem::take(self.flight);
            return self.run.failed_as(flight, (failure, class), self.later);
        }
        let flight = match &mut hedge {
            Some(hedge) => &mut hedge.flight,
            None => &mut *self.flight,
        };
        std::mem::take(flight).fail(&failure, class);
        self.run.fail_beside(failure, class);
        self.leave(hedge, state)
    }

    /// Returns whether attempts are in flight besides the one that ended.
    fn has_others(&self, is_hedge: bool) -> bool {
        let round = self.round.as_deref();
        round.is_some_and(|round| !round.hedges.is_empty() || is_hedge && round.has_first)
    }

    /// An attempt failed, and others go on.
    fn leave(
        &mut self,
        hedge: Option<Hedge<N::Future>>,
        mut state: Pin<&mut DriverState<N::Future, R>>,
    ) -> NextStep<R> {
        if hedge.is_none() {
            if let Some(round) = self.round.as_deref_mut() {
                round.has_first = false;
            }
            state.set(DriverState::Hedged);
        }
        NextStep::Again
    }

    /// Lets the attempt that ended take the place of the first one, and cancels all others.
    fn take_over(
        &mut self,
        hedge: Option<Hedge<N::Future>>,
        mut state: Pin<&mut DriverState<N::Future, R>>,
    ) {
        let Some(round) = self.round.take() else {
            return;
        };
        let Round {
            hedges, has_first, ..
        } = *round;
        for Hedge {
            flight,
            inner,
            before,
            started,
            ..
        } in hedges
        {
            self.run.lose(flight, (before, started));
            drop(inner);
        }
        if let Some(hedge) = hedge {
            let first = std::mem::replace(self.flight, hedge.flight);
            if has_first {
                self.run.lose_first(first);
            }
            self.run
                .take_over((hedge.before, hedge.started), hedge.paid);
            state.set(DriverState::Hedged);
        }
    }
}
