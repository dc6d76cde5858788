//! Conversion of this crate's bodies into reqwest's.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use sync_wrapper::SyncWrapper;

use super::{Body, Content};
use crate::box_error::BoxError;

/// (Feature `reqwest`.)
impl From<Body> for ::reqwest::Body {
    fn from(body: Body) -> Self {
        match body.0 {
            Content::Bytes(bytes) => bytes.into_inner().unwrap_or_default().into(),
            Content::Stream(stream) => to_reqwest(stream),
            content => to_reqwest(Body(content)),
        }
    }
}

/// A body that threads can share, because nothing reads it through `&`.
pub(super) struct SyncBody<B> {
    body: SyncWrapper<B>,
    /// The hint of the body after the last poll.
    hint: SizeHint,
    is_over: bool,
}

impl<B: HttpBody> SyncBody<B> {
    pub(super) fn new(body: B) -> Self {
        Self {
            hint: body.size_hint(),
            is_over: body.is_end_stream(),
            body: SyncWrapper::new(body),
        }
    }
}

impl<B: HttpBody + Unpin> HttpBody for SyncBody<B> {
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

/// Converts a body into reqwest's.
pub(crate) fn to_reqwest<B>(body: B) -> ::reqwest::Body
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    ::reqwest::Body::wrap(SyncBody::new(body))
}
