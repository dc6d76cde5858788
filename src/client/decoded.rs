//! A body whose codings are removed while it is received.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;

use crate::box_error::BoxError;
use crate::coding::{Coding, DecodeStep, Decoder};

pin_project! {
    /// A decoded body. Its trailers come after its last piece.
    pub(super) struct Decoded<B> {
        #[pin]
        body: B,
        decoder: Decoder,
        trailers: Option<HeaderMap>,
        is_over: bool,
    }
}

impl<B> Decoded<B> {
    pub(super) fn new(body: B, codings: Vec<Coding>) -> Self {
        Self {
            body,
            decoder: Decoder::new(codings),
            trailers: None,
            is_over: false,
        }
    }
}

impl<B> Body for Decoded<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        while !*this.is_over {
            match this.decoder.next() {
                Ok(DecodeStep::Piece(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Ok(DecodeStep::Hungry) => {}
                Ok(DecodeStep::End) => {
                    *this.is_over = true;
                    break;
                }
                Err(broken) => {
                    *this.is_over = true;
                    *this.trailers = None;
                    return Poll::Ready(Some(Err(broken.into())));
                }
            }
            match ready!(this.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => this.decoder.feed(piece),
                    Err(frame) => *this.trailers = frame.into_trailers().ok(),
                },
                Some(Err(error)) => {
                    *this.is_over = true;
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => this.decoder.end(),
            }
        }
        Poll::Ready(
            this.trailers
                .take()
                .map(|trailers| Ok(Frame::trailers(trailers))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.is_over && self.trailers.is_none()
    }
}
