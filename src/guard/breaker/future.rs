use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::allotted::Allotted;
use super::body::{BreakerBody, Receiving};
use super::circuit::{Moment, Verdict};
use super::shared::Ticket;
use super::verdict::Judge;
use crate::call::Call;
use crate::clock;
use crate::error::{BoxError, Error};
use crate::hint::hint;
use crate::hop::{Diagnosis, Hop, Keyed};
use crate::limit::Waited;

pin_project! {
    /// The future of [`BreakerService`](super::BreakerService).
    #[must_use = "futures do nothing unless polled"]
    pub struct BreakerFuture<F> {
        // Dropped first: what is open in the attempt tells where it hung.
        admitted: Option<Admitted>,
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<F> {
        Refused { error: Option<Error> },
        Waiting { #[pin] inner: F, call: Option<Call> },
        Done,
    }
}

/// An attempt that was let through, until its head is here; dropped before, it is judged by whether
/// it had its time.
pub(super) struct Admitted {
    pub(super) ticket: Option<Ticket>,
    pub(super) judge: Judge,
    pub(super) call: Option<Call>,
    pub(super) since: Instant,
    /// How many attempts the call had made before this one.
    pub(super) attempts_before: u32,
}

impl<F> BreakerFuture<F> {
    pub(super) fn refused(error: Error) -> Self {
        Self {
            admitted: None,
            state: State::Refused { error: Some(error) },
        }
    }

    /// An attempt that nobody judges.
    pub(super) fn unjudged(inner: F, call: Option<Call>) -> Self {
        Self {
            admitted: None,
            state: State::Waiting { inner, call },
        }
    }

    pub(super) fn judged(inner: F, admitted: Admitted) -> Self {
        Self {
            state: State::Waiting { inner, call: None },
            admitted: Some(admitted),
        }
    }
}

impl<F, R, E> Future for BreakerFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
    R: Body,
{
    type Output = Result<Response<BreakerBody<R>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (inner, call) = match this.state.as_mut().project() {
            StateProjected::Refused { error } => {
                return match error.take() {
                    Some(error) => Poll::Ready(Err(error)),
                    None => Poll::Pending,
                };
            }
            StateProjected::Waiting { inner, call } => (inner, call),
            StateProjected::Done => return Poll::Pending,
        };
        let ended = ready!(inner.poll(cx));
        let call = call.take();
        // The inner future goes before anyone hears of the end.
        this.state.set(State::Done);
        Poll::Ready(match ended {
            Ok(response) => {
                let receiving = match this.admitted {
                    Some(admitted) => admitted.head(&response),
                    None => Receiving::unjudged(call, response.status()),
                };
                Ok(response.map(|body| BreakerBody::new(body, receiving)))
            }
            Err(error) => Err(match this.admitted {
                Some(admitted) => admitted.fail(error.into()),
                None => Error::of_inner(error, call.as_ref()),
            }),
        })
    }
}

impl Admitted {
    /// The head is here: a status that is a failure is judged at once, the rest when the body ends.
    fn head<R: Body>(&mut self, response: &Response<R>) -> Receiving {
        let diagnosis = Diagnosis::status(response.status(), response.headers(), Keyed::No);
        let hint = diagnosis.and_then(|_| hint(response.headers(), clock::wall()));
        let verdict = self.judge.judge(diagnosis.as_ref(), hint);
        let since = self.since;
        let took = || clock::now().saturating_duration_since(since);
        let verdict = self.judge.by_time(verdict, took);

        let call = self.call.as_ref();
        let streaming = call.is_some_and(|call| call.options().streaming);
        let is_well = matches!(verdict, Verdict::Success | Verdict::Slow);
        let mut receiving = Receiving::unjudged(self.call.take(), response.status());
        match self.ticket.take() {
            Some(ticket) if is_well && !streaming && !response.body().is_end_stream() => {
                ticket.answered();
                receiving.judged = Some((ticket, verdict));
                receiving.judge = Some((self.judge, self.since));
            }
            Some(ticket) => settle(ticket, verdict),
            None => {}
        }
        receiving
    }

    fn fail(&mut self, error: BoxError) -> Error {
        let error = Error::of_inner(error, self.call.as_ref());
        if let Some(ticket) = self.ticket.take() {
            let failed = error.diagnosis();
            let verdict = self.judge.judge(Some(&failed), error.retry_after());
            // Where no call is around this, the one inside may have begun its own.
            let inner = error.timeline().map(|of| &of.0);
            let allotted = || self.allotted(self.call.as_ref().or(inner), failed.expired);
            settle(ticket, self.judge.by_allotted(verdict, &failed, allotted));
        }
        error
    }

    /// How much time it had.
    fn allotted(&self, call: Option<&Call>, which: Option<Waited>) -> Allotted {
        // An earlier attempt's tracker knows nothing of this one.
        let call_now = call.filter(|call| call.attempt_count() > self.attempts_before);
        let tracker = call_now.and_then(Call::last);
        Allotted::of((call, tracker.as_deref()), self.since, which)
    }

    /// Where it hung, if it had all its time before it was dropped.
    fn expired(&self, now: Instant) -> Option<Diagnosis> {
        let call = self.call.as_ref();
        // An earlier attempt's tracker knows nothing of this one.
        let call_now = call.filter(|call| call.attempt_count() > self.attempts_before);
        let tracker = call_now.and_then(Call::last);
        let (start, limit) = match &tracker {
            Some(tracker) => (tracker.started(), tracker.limits().attempt().get()),
            None => (self.since, self.judge.attempt),
        };
        let which = if call.is_some_and(|call| call.deadline() <= now) {
            Waited::Deadline
        } else if clock::after(start, limit) <= now {
            Waited::Attempt
        } else {
            return None;
        };
        let failure = tracker.as_ref().and_then(|tracker| tracker.failure());
        let mut diagnosis =
            failure.unwrap_or_else(|| Diagnosis::expired(tracker.as_deref(), which));
        // Nothing tells where it was: what is known is that no answer came.
        diagnosis.hop.get_or_insert(Hop::Server);
        Some(diagnosis)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        if let Some(diagnosis) = self.expired(clock::now()) {
            let allotted = || self.allotted(self.call.as_ref(), diagnosis.expired);
            let verdict = self.judge.judge(Some(&diagnosis), None);
            settle(
                ticket,
                self.judge.by_allotted(verdict, &diagnosis, allotted),
            );
        }
    }
}

/// Settles now, with what luck the moment has.
pub(crate) fn settle(ticket: Ticket, verdict: Verdict) {
    if verdict != Verdict::Ignored {
        let at = Moment {
            now: clock::now(),
            luck: fastrand::f64(),
        };
        ticket.settle(verdict, at);
    }
}

impl<F> std::fmt::Debug for BreakerFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BreakerFuture").finish_non_exhaustive()
    }
}
