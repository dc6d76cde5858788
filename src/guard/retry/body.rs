use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::box_error::BoxError;
use crate::error::Error;
use crate::guard::drain::{DRAIN_BYTES, Kept};
use crate::hop::{Diagnosis, Effect, Hop, Kind};

pin_project! {
    /// The response body of a call that may have been repeated: one that is still being received, or
    /// what was kept of the last real answer.
    pub struct RetryBody<R> {
        #[pin]
        source: Source<R>,
    }
}

pin_project! {
    #[project = SourceProjected]
    enum Source<R> {
        Live { #[pin] body: R, effect: Effect },
        Kept { bytes: Option<Bytes>, trailers: Option<HeaderMap>, lost: Option<Error> },
    }
}

/// Marks a response, in its extensions, of whose body only the beginning was kept: a repeat was
/// under way, and then did not happen. The body fails where what was kept ends.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Truncated;

impl<R> RetryBody<R> {
    /// What may have been done is known from the head.
    pub(super) fn live(body: R, effect: Effect) -> Self {
        Self {
            source: Source::Live { body, effect },
        }
    }

    pub(super) fn kept(kept: Kept, effect: Effect) -> Self {
        let lost = kept.truncated.then(|| {
            let diagnosis = Diagnosis::new(Hop::Receive, Kind::Incomplete, effect);
            Error::new(diagnosis).because(NotKept)
        });
        Self {
            source: Source::Kept {
                bytes: Some(kept.bytes).filter(|bytes| !bytes.is_empty()),
                trailers: kept.trailers,
                lost,
            },
        }
    }
}

impl<R> Body for RetryBody<R>
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
        match self.project().source.project() {
            SourceProjected::Live { body, effect } => {
                let frame = ready!(body.poll_frame(cx));
                Poll::Ready(frame.map(|frame| match frame {
                    Ok(frame) => {
                        Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
                    }
                    Err(error) => Err(Error::of_body(error, *effect)),
                }))
            }
            SourceProjected::Kept {
                bytes,
                trailers,
                lost,
            } => {
                if let Some(bytes) = bytes.take() {
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                if let Some(lost) = lost.take() {
                    return Poll::Ready(Some(Err(lost)));
                }
                Poll::Ready(
                    trailers
                        .take()
                        .map(|trailers| Ok(Frame::trailers(trailers))),
                )
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Live { body, .. } => body.is_end_stream(),
            Source::Kept {
                bytes,
                trailers,
                lost,
            } => bytes.is_none() && trailers.is_none() && lost.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Live { body, .. } => body.size_hint(),
            Source::Kept { lost: Some(_), .. } => SizeHint::default(),
            Source::Kept { bytes, .. } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}

/// Why a kept body ends early.
#[derive(Debug)]
struct NotKept;

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "only the beginning of an answer is kept while it is repeated: {} KiB",
            DRAIN_BYTES >> 10
        )
    }
}

impl std::error::Error for NotKept {}

impl<R> fmt::Debug for RetryBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBody").finish_non_exhaustive()
    }
}
