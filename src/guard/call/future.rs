use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};

use super::CallBody;
use crate::box_error::BoxError;
use crate::call::{Call, Hold};
use crate::clock;
use crate::error::Error;
use crate::hop::{Diagnosis, Outcome};
use crate::limit::Waited;
use crate::record::tracker::Tracker;
use crate::telemetry::Span;

pin_project! {
    /// The future of [`CallService`](super::CallService).
    #[must_use = "futures do nothing unless polled"]
    pub struct CallFuture<F> {
        #[pin]
        inner: Option<F>,
        #[pin]
        alarm: Option<Sleep>,
        // Dropped last: the call ends when what is below has.
        open: Option<Open>,
    }
}

/// A call under way; its end is recorded when it goes.
pub(crate) struct Open {
    pub(crate) call: Call,
    pub(crate) span: Span,
    // Dropped last: the record has the last handle of the span.
    _hold: Hold,
}

impl<F> CallFuture<F> {
    pub(super) fn new(inner: F, open: Open) -> Self {
        Self {
            inner: Some(inner),
            alarm: None,
            open: Some(open),
        }
    }
}

impl<F, R, E> Future for CallFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
    R: Body,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<CallBody<R>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (Some(open), Some(inner)) = (this.open.as_ref(), this.inner.as_mut().as_pin_mut())
        else {
            return Poll::Pending;
        };
        let entered = open.span.enter();
        let failed = match inner.poll(cx) {
            Poll::Ready(Ok(response)) if open.is_in_time() => {
                drop(entered);
                open.call.answer(Outcome::Answered(response.status()));
                let Some(open) = this.open.take() else {
                    return Poll::Pending;
                };
                return Poll::Ready(Ok(response.map(|body| CallBody::new(body, open))));
            }
            Poll::Ready(Ok(_late)) => open.expire(),
            Poll::Ready(Err(error)) => open.diagnose(error.into()),
            Poll::Pending => {
                if this.alarm.is_none() {
                    this.alarm.set(Some(sleep_until(open.call.deadline())));
                }
                if let Some(alarm) = this.alarm.as_mut().as_pin_mut() {
                    ready!(alarm.poll(cx));
                }
                open.expire()
            }
        };
        // What is below goes before anyone hears of the end.
        this.inner.set(None);
        let error = open.fail(failed);
        drop(entered);
        *this.open = None;
        Poll::Ready(Err(error))
    }
}

impl Open {
    pub(crate) fn new(call: Call, span: Span) -> Self {
        Self {
            _hold: call.open(),
            call,
            span,
        }
    }

    /// Whether a piece of the body that is here now comes too late.
    pub(super) fn is_late(&self) -> bool {
        !self.call.options().streaming && self.call.deadline() <= clock::now()
    }

    /// Whether a head that is here now came before the deadline. One that was kept while a repeat was
    /// tried did.
    fn is_in_time(&self) -> bool {
        self.call.options().streaming || !self.is_late() || self.call.not_repeated().is_some()
    }

    /// The call's deadline passed and nothing below noticed.
    pub(super) fn expire(&self) -> Error {
        // An attempt that is over stays as it was.
        let under_way = |tracker: &Arc<Tracker>| tracker.ended().is_none();
        let tracker = self.call.last().filter(under_way);
        if let Some(tracker) = &tracker {
            tracker.give_up();
        }
        let diagnosis = Diagnosis::expired(tracker.as_deref(), Waited::Deadline);
        if let Some(tracker) = &tracker {
            tracker.fail(diagnosis);
        }
        Error::new(diagnosis)
    }

    pub(super) fn diagnose(&self, error: BoxError) -> Error {
        Error::of_inner(error, Some(&self.call))
    }

    pub(crate) fn fail(&self, mut error: Error) -> Error {
        // What an earlier attempt may have done is not undone by how the last one failed.
        error.settle(&self.call);
        if let Some(guard) = error.refused_by() {
            self.call.refused_by(guard);
        }
        self.call.fail(error.diagnosis());
        error.of(&self.call)
    }
}

impl<F> std::fmt::Debug for CallFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallFuture").finish_non_exhaustive()
    }
}
