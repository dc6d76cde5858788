//! Bodies of other makes as ours, and ours as reqwest's.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use sync_wrapper::SyncWrapper;

use crate::box_error::BoxError;

pin_project! {
    /// A body in bytes. Unlike `MapFrame` it knows its length, if the wrapped one does.
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

/// A body that can be shared between threads, because it is never looked at through `&`.
struct Shared<B> {
    body: SyncWrapper<B>,
    /// As the body said when it was last looked at.
    hint: SizeHint,
    is_over: bool,
}

impl<B: HttpBody> Shared<B> {
    fn new(body: B) -> Self {
        Self {
            hint: body.size_hint(),
            is_over: body.is_end_stream(),
            body: SyncWrapper::new(body),
        }
    }
}

impl<B: HttpBody + Unpin> HttpBody for Shared<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let body = self.body.get_mut();
        let frame = Pin::new(&mut *body).poll_frame(cx);
        let (hint, is_over) = (body.size_hint(), body.is_end_stream());
        (self.hint, self.is_over) = (hint, is_over);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

/// A body as reqwest takes it.
pub(crate) fn to_reqwest<B>(body: B) -> reqwest::Body
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    reqwest::Body::wrap(Shared::new(body))
}
