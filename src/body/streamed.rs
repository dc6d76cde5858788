//! A stream of pieces as a body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body as HttpBody, Frame};
use pin_project_lite::pin_project;

use crate::box_error::BoxError;

pin_project! {
    /// A body of unknown length. Its stream is not polled again after its end or its first error.
    pub(super) struct Streamed<S> {
        #[pin]
        pieces: S,
        is_over: bool,
    }
}

impl<S> Streamed<S> {
    pub(super) const fn new(pieces: S) -> Self {
        Self {
            pieces,
            is_over: false,
        }
    }
}

impl<S, D, E> HttpBody for Streamed<S>
where
    S: Stream<Item = Result<D, E>>,
    D: Into<Bytes>,
    E: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if *this.is_over {
            return Poll::Ready(None);
        }
        let piece = ready!(this.pieces.poll_next(cx));
        *this.is_over = !matches!(piece, Some(Ok(_)));
        Poll::Ready(piece.map(|piece| {
            let piece = piece.map(|data| Frame::data(data.into()));
            piece.map_err(Into::into)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}
