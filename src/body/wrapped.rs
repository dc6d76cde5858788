//! Conversion of other crates' bodies into this crate's.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::box_error::BoxError;

pin_project! {
    /// A body in bytes. Unlike with `MapFrame`, its length is known if the wrapped body's length is.
    pub(super) struct Wrapped<B> {
        #[pin]
        body: B,
    }
}

impl<B> Wrapped<B> {
    pub(super) const fn new(body: B) -> Self {
        Self { body }
    }
}

impl<B> HttpBody for Wrapped<B>
where
    B: HttpBody,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(self.project().body.poll_frame(cx));
        let bytes = |mut data: B::Data| data.copy_to_bytes(data.remaining());
        let frame = frame.map(|frame| frame.map(|frame| frame.map_data(bytes)));
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
