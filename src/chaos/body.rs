use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::box_error::BoxError;

pin_project! {
    /// The response body of [`ChaosService`](super::ChaosService): the real body, a generated one, or one that breaks
    /// off.
    pub struct ChaosBody<R> {
        #[pin]
        source: ChaosBodySource<R>,
    }
}

pin_project! {
    #[project = SourceProjected]
    enum ChaosBodySource<R> {
        Real { #[pin] body: R },
        Text { text: Option<Bytes> },
        Broken { error: Option<BoxError> },
    }
}

impl<R> ChaosBody<R> {
    pub(super) fn real(body: R) -> Self {
        let source = ChaosBodySource::Real { body };
        Self { source }
    }

    pub(super) fn text(text: &'static str) -> Self {
        let text = Some(Bytes::from_static(text.as_bytes()));
        let source = ChaosBodySource::Text { text };
        Self { source }
    }

    pub(super) fn broken(error: BoxError) -> Self {
        let source = ChaosBodySource::Broken { error: Some(error) };
        Self { source }
    }
}

impl<R> Body for ChaosBody<R>
where
    R: Body<Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().source.project() {
            SourceProjected::Real { body } => body.poll_frame(cx).map(|frame| {
                let whole = |mut data: R::Data| data.copy_to_bytes(data.remaining());
                frame.map(|frame| frame.map(|frame| frame.map_data(whole)).map_err(Into::into))
            }),
            SourceProjected::Text { text } => Poll::Ready(text.take().map(Frame::data).map(Ok)),
            SourceProjected::Broken { error } => Poll::Ready(error.take().map(Err)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            ChaosBodySource::Real { body } => body.is_end_stream(),
            ChaosBodySource::Text { text } => text.is_none(),
            ChaosBodySource::Broken { error } => error.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            ChaosBodySource::Real { body } => body.size_hint(),
            ChaosBodySource::Text { text } => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            ChaosBodySource::Broken { .. } => SizeHint::default(),
        }
    }
}

impl<R> fmt::Debug for ChaosBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaosBody").finish_non_exhaustive()
    }
}
