use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};

use super::future::Open;
use crate::box_error::BoxError;
use crate::error::Error;
use crate::timeline::Timeline;

pin_project! {
    /// The response body of a call: the deadline goes to its last byte.
    pub struct CallBody<R> {
        #[pin]
        inner: Option<R>,
        alarm: Option<Pin<Box<Sleep>>>,
        open: Option<Open>,
        timeline: Timeline,
    }
}

impl<R> CallBody<R> {
    pub(super) fn new(inner: R, open: Open) -> Self {
        Self {
            inner: Some(inner),
            alarm: None,
            timeline: open.call.timeline(),
            open: Some(open),
        }
    }

    /// What has happened in the call so far.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }
}

impl<R> Body for CallBody<R>
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
        let (Some(open), Some(mut inner)) = (this.open.as_ref(), this.inner.as_mut().as_pin_mut())
        else {
            return Poll::Ready(None);
        };
        let entered = open.span.enter();
        let frame = inner.as_mut().poll_frame(cx);
        open.call.wait_for_more(frame.is_pending());
        let last = match frame {
            Poll::Ready(Some(Ok(_))) if open.is_late() => Some(Err(open.expire())),
            // After the last piece it does not matter how long the caller keeps the body.
            Poll::Ready(Some(Ok(frame))) if inner.is_end_stream() => Some(Ok(frame)),
            Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Some(Ok(frame))),
            Poll::Ready(Some(Err(error))) => Some(Err(open.diagnose(error.into()))),
            Poll::Ready(None) => None,
            Poll::Pending if open.call.options().streaming => return Poll::Pending,
            Poll::Pending => {
                let alarm = this
                    .alarm
                    .get_or_insert_with(|| Box::pin(sleep_until(open.call.deadline())));
                ready!(alarm.as_mut().poll(cx));
                Some(Err(open.expire()))
            }
        };
        drop(entered);
        // An answer that comes too late is discarded, and its connection closed.
        this.inner.set(None);
        let last = last.map(|last| last.map_err(|error| open.fail(error)));
        *this.open = None;
        Poll::Ready(last)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<R> fmt::Debug for CallBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallBody")
            .field("timeline", &self.timeline)
            .finish_non_exhaustive()
    }
}
