//! The source of a response body's bytes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::drain::{DRAIN_BYTES, DRAIN_TIME, DrainedBody};
use super::peek::Peeked;
use super::tee::TeeBody;
use crate::box_error::BoxError;
use crate::error::Error;
use crate::hop::{Diagnosis, Effect, Hop, Kind};
use crate::policy::stale::Recording;

pin_project! {
    /// The source of a response body's bytes.
    #[project = SourceProjected]
    pub(super) enum BodySource<R> {
        Live { #[pin] body: R },
        Here { bytes: Option<Bytes>, trailers: Option<Box<HeaderMap>>, lost: Option<Error> },
        Peeked { peeked: Box<Peeked<R>> },
        Tee { tee: Box<TeeBody<R>> },
        Over,
    }
}

impl<R> BodySource<R> {
    /// Creates a source from a complete body.
    pub(super) fn whole(bytes: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self::Here {
            bytes: Some(bytes).filter(|bytes| !bytes.is_empty()),
            trailers: trailers.map(Box::new),
            lost: None,
        }
    }

    /// Creates a source from the kept part of a drained response.
    pub(super) fn kept(kept: DrainedBody, effect: Effect) -> Self {
        let lost = kept.truncated.then(|| {
            let diagnosis = Diagnosis::new(Hop::Receive, Kind::Incomplete, effect);
            Error::new(diagnosis).because(NotKept)
        });
        Self::Here {
            bytes: Some(kept.bytes).filter(|bytes| !bytes.is_empty()),
            trailers: kept.trailers.map(Box::new),
            lost,
        }
    }
}

impl<R> BodySource<R> {
    /// Records the body. One that is here is stored at once, if it is whole and has no trailers.
    pub(super) fn teed(self, mut recording: Recording) -> Self {
        match self {
            Self::Here {
                bytes,
                trailers: None,
                lost: None,
            } => {
                if recording.add(bytes.as_deref().unwrap_or_default()) {
                    recording.end();
                }
                Self::Here {
                    bytes,
                    trailers: None,
                    lost: None,
                }
            }
            Self::Here { .. } | Self::Over => self,
            Self::Live { .. } | Self::Peeked { .. } | Self::Tee { .. } => {
                let tee = Box::new(TeeBody::new(self, recording));
                Self::Tee { tee }
            }
        }
    }

    /// Returns the part of the body that is in memory, and its trailers if they are here.
    pub(super) fn beginning(&self) -> (Option<Bytes>, Option<&HeaderMap>) {
        match self {
            Self::Live { .. } | Self::Tee { .. } | Self::Over => (None, None),
            Self::Here {
                bytes, trailers, ..
            } => (Some(bytes.clone().unwrap_or_default()), trailers.as_deref()),
            Self::Peeked { peeked } => {
                let beginning = peeked.beginning.clone().unwrap_or_default();
                (Some(beginning), peeked.trailers.as_ref())
            }
        }
    }
}

impl<R: Body<Error: Into<BoxError>>> BodySource<R> {
    /// Polls the next piece.
    pub(super) fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        match self.project() {
            SourceProjected::Live { body } => poll_live(body, cx),
            SourceProjected::Here {
                bytes,
                trailers,
                lost,
            } => {
                let data = bytes.take().map(|bytes| Ok(Frame::data(bytes)));
                let lost = || lost.take().map(|lost| Err(lost.into()));
                let trailers = || {
                    trailers
                        .take()
                        .map(|trailers| Ok(Frame::trailers(*trailers)))
                };
                Poll::Ready(data.or_else(lost).or_else(trailers))
            }
            SourceProjected::Peeked { peeked } => peeked.poll_frame(cx),
            SourceProjected::Tee { tee } => tee.poll_frame(cx),
            SourceProjected::Over => Poll::Ready(None),
        }
    }
}

impl<R: Body> BodySource<R> {
    pub(super) fn is_end_stream(&self) -> bool {
        match self {
            Self::Live { body } => body.is_end_stream(),
            Self::Here {
                bytes,
                trailers,
                lost,
            } => bytes.is_none() && trailers.is_none() && lost.is_none(),
            Self::Peeked { peeked } => peeked.is_end_stream(),
            Self::Tee { tee } => tee.is_end_stream(),
            Self::Over => true,
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Live { body } => body.size_hint(),
            Self::Here { lost: Some(_), .. } => SizeHint::default(),
            Self::Here { bytes, .. } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Peeked { peeked } => peeked.size_hint(),
            Self::Tee { tee } => tee.size_hint(),
            Self::Over => SizeHint::with_exact(0),
        }
    }
}

/// Polls the next piece of a service's body, in bytes.
pub(super) fn poll_live<R>(body: Pin<&mut R>, cx: &mut Context<'_>) -> Poll<Option<Piece>>
where
    R: Body<Error: Into<BoxError>>,
{
    let in_bytes =
        |frame: Frame<R::Data>| frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
    poll_whole(body, cx).map(|frame| frame.map(|read| read.map(in_bytes)))
}

/// Polls the next piece of a service's body. An end before the announced length is an error.
///
/// hyper reports such an end for an HTTP/2 stream that the server resets with NO_ERROR. A body without an announced
/// length does not show it. A response to HEAD announces bytes that never come, and its stream has ended.
pub(super) fn poll_whole<R>(
    mut body: Pin<&mut R>,
    cx: &mut Context<'_>,
) -> Poll<Option<Piece<R::Data>>>
where
    R: Body<Error: Into<BoxError>>,
{
    let frame = ready!(body.as_mut().poll_frame(cx));
    if frame.is_none()
        && let left @ 1.. = body.size_hint().lower()
        && !body.is_end_stream()
    {
        let reason = format!("the body ended before its announced length, missing bytes: {left}");
        let short = io::Error::new(io::ErrorKind::UnexpectedEof, reason);
        return Poll::Ready(Some(Err(short.into())));
    }
    Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
}

pub(super) type Piece<D = Bytes> = Result<Frame<D>, BoxError>;

/// Why a kept body ends early.
#[derive(Debug)]
struct NotKept;

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "only a part of the body was kept while the request was retried: at most {} KiB, read within {} ms",
            DRAIN_BYTES >> 10,
            DRAIN_TIME.as_millis()
        )
    }
}

impl std::error::Error for NotKept {}

#[cfg(test)]
mod messages {
    crate::messages_tests::list!(NotKept: super::NotKept);
}
