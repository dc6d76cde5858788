use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::allotted::Allotted;
use super::circuit::Verdict;
use super::future::settle;
use super::shared::Ticket;
use super::verdict::Judge;
use crate::call::Call;
use crate::clock;
use crate::error::{BoxError, Error};
use crate::hop::{Diagnosis, Effect, Hop, Kind, diagnose};
use crate::limit::Waited;

pin_project! {
    /// The response body of an attempt that is judged by how the body ends.
    ///
    /// # Cancel safety
    ///
    /// Dropping it counts as a success: the answer came, and it was not wanted to its end. If it is
    /// waited for as the deadline of the call passes, that is a failure at receive.
    pub struct BreakerBody<R> {
        #[pin]
        inner: R,
        receiving: Receiving,
    }
}

/// An answer whose body is being received; dropped before the end, it judges what came.
pub(super) struct Receiving {
    /// What will be said of it if the body is well.
    pub(super) judged: Option<(Ticket, Verdict)>,
    /// By what it is judged, and since when the attempt ran.
    pub(super) judge: Option<(Judge, Instant)>,
    /// Whether the head said that it was done.
    is_done: bool,
    call: Option<Call>,
    /// Whether the reader waits, or is itself waited for.
    is_waiting: bool,
}

impl Receiving {
    pub(super) fn unjudged(call: Option<Call>, status: StatusCode) -> Self {
        Self {
            judged: None,
            judge: None,
            is_done: status.is_success(),
            call,
            is_waiting: false,
        }
    }

    fn end_well(&mut self) {
        if let Some((ticket, verdict)) = self.judged.take() {
            settle(ticket, verdict);
        }
    }

    fn break_off(&mut self, error: BoxError) -> Error {
        let tracker = self.call.as_ref().and_then(Call::last);
        let error = Error::ours(error).unwrap_or_else(|other| {
            let mut diagnosis = match &tracker {
                Some(tracker) => diagnose(tracker, &*other),
                None => Diagnosis::foreign(&*other),
            };
            if tracker.is_none() {
                diagnosis.hop = Some(Hop::Receive);
                diagnosis.effect = self.effect();
            }
            Error::new(diagnosis).because(other)
        });
        self.fail(&error.diagnosis());
        error
    }

    fn fail(&mut self, diagnosis: &Diagnosis) {
        if let (Some((ticket, _)), Some((judge, since))) = (self.judged.take(), self.judge) {
            let call = self.call.as_ref();
            let tracker = call.and_then(Call::last);
            let attempt = (call, tracker.as_deref());
            let allotted = || Allotted::of(attempt, since, diagnosis.expired);
            let verdict = judge.judge(Some(diagnosis), None);
            settle(ticket, judge.by_allotted(verdict, diagnosis, allotted));
        }
    }

    fn effect(&self) -> Effect {
        if self.is_done {
            Effect::Done
        } else {
            Effect::Possible
        }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if self.judged.is_none() {
            return;
        }
        let call = self.call.as_ref().filter(|_| self.is_waiting);
        if call.is_some_and(|call| call.deadline() <= clock::now()) {
            self.fail(&Diagnosis {
                expired: Some(Waited::Deadline),
                ..Diagnosis::new(Hop::Receive, Kind::Timeout, self.effect())
            });
        } else {
            self.end_well();
        }
    }
}

impl<R> BreakerBody<R> {
    pub(super) const fn new(inner: R, receiving: Receiving) -> Self {
        Self { inner, receiving }
    }
}

impl<R> Body for BreakerBody<R>
where
    R: Body,
    R::Error: Into<BoxError>,
{
    type Data = R::Data;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<R::Data>, Error>>> {
        let mut this = self.project();
        let receiving = this.receiving;
        receiving.is_waiting = true;
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        receiving.is_waiting = false;
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if this.inner.is_end_stream() {
                    receiving.end_well();
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => Some(Err(receiving.break_off(error.into()))),
            None => {
                receiving.end_well();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<R> fmt::Debug for BreakerBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerBody").finish_non_exhaustive()
    }
}
