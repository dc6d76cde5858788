use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};

use super::future::bytes_of;
use crate::box_error::BoxError;
use crate::clock;
use crate::diagnose::diagnose;
use crate::error::Error;
use crate::hop::{Diagnosis, Stage};
use crate::limit::Waited;
use crate::record::tracker::Tracker;

pin_project! {
    /// The response body of an attempt: its idle limit runs, its end is recorded.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the receive stage with the bytes delivered so far, and abandons it if more was being
    /// waited for; the connection is closed unless everything had come.
    pub struct AttemptBody<R> {
        #[pin]
        source: Source<R>,
    }
}

pin_project! {
    #[project = SourceProjected]
    enum Source<R> {
        Streaming { #[pin] body: R, watch: Watch },
        Whole { bytes: Option<Bytes>, trailers: Option<HeaderMap> },
        Over,
    }
}

/// Watches a body that is being received.
struct Watch {
    tracker: Arc<Tracker>,
    alarm: Option<Pin<Box<Sleep>>>,
    /// Whoever leaves while it waits for more goes away; who leaves otherwise has what it wanted.
    is_waited_for: bool,
}

impl<R> AttemptBody<R> {
    pub(super) fn new(body: R, tracker: Arc<Tracker>) -> Self {
        let watch = Watch {
            tracker,
            alarm: None,
            is_waited_for: false,
        };
        Self {
            source: Source::Streaming { body, watch },
        }
    }

    pub(super) fn whole(bytes: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self {
            source: Source::Whole {
                bytes: Some(bytes).filter(|bytes| !bytes.is_empty()),
                trailers,
            },
        }
    }
}

impl<R> Body for AttemptBody<R>
where
    R: Body,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut source = self.project().source;
        let frame = match source.as_mut().project() {
            SourceProjected::Whole { bytes, trailers } => {
                let data = bytes.take().map(Frame::data);
                return Poll::Ready(
                    data.or_else(|| trailers.take().map(Frame::trailers))
                        .map(Ok),
                );
            }
            SourceProjected::Over => return Poll::Ready(None),
            SourceProjected::Streaming { body, watch } => {
                let frame = body.poll_frame(cx);
                watch.is_waited_for = frame.is_pending();
                match frame {
                    Poll::Ready(frame) => watch.read(frame),
                    Poll::Pending => Some(Err(ready!(watch.poll_idle(cx)))),
                }
            }
        };
        if !matches!(frame, Some(Ok(_))) {
            source.set(Source::Over);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Streaming { body, .. } => body.is_end_stream(),
            Source::Whole { bytes, trailers } => bytes.is_none() && trailers.is_none(),
            Source::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Streaming { body, .. } => body.size_hint(),
            Source::Whole { bytes, .. } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Over => SizeHint::with_exact(0),
        }
    }
}

impl Watch {
    fn read<D: Buf, E: Into<BoxError>>(
        &self,
        frame: Option<Result<Frame<D>, E>>,
    ) -> Option<Result<Frame<Bytes>, Error>> {
        match frame {
            Some(Ok(frame)) => {
                let frame = frame.map_data(bytes_of);
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.tracker.received(length);
                Some(Ok(frame))
            }
            Some(Err(error)) => Some(Err(self.broke_off(error.into()))),
            None => {
                self.tracker.finish();
                None
            }
        }
    }

    fn broke_off(&self, error: BoxError) -> Error {
        let error = Error::ours(error)
            .unwrap_or_else(|other| Error::new(diagnose(&self.tracker, &*other)).because(other));
        self.tracker.fail(error.diagnosis());
        error
    }

    /// Ready when nothing has come for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        loop {
            let since = self
                .tracker
                .moved()
                .max(self.tracker.entered(Stage::Receive));
            let due = clock::after(since, self.tracker.limits().body_idle().get());
            if due <= clock::now() {
                let diagnosis = Diagnosis::expired(Some(&self.tracker), Waited::BodyIdle);
                self.tracker.give_up();
                self.tracker.fail(diagnosis);
                return Poll::Ready(Error::new(diagnosis));
            }
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if alarm.is_elapsed() {
                alarm.as_mut().reset(due);
            }
            ready!(alarm.as_mut().poll(cx));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        match self.is_waited_for {
            true => self.tracker.cancel(),
            false => self.tracker.finish(),
        }
    }
}

impl<R> fmt::Debug for AttemptBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptBody").finish_non_exhaustive()
    }
}
