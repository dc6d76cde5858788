//! Bodies that are sent one after another, as one body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::Body;
use crate::box_error::BoxError;
use crate::error::ReasonText;
use crate::replay::CloneBody;

/// One body of several. The trailers of its parts are dropped: they would stand in the middle.
pub(super) struct Joined {
    parts: Vec<Body>,
    /// The part that is being sent.
    at: usize,
}

impl Joined {
    pub(super) const fn new(parts: Vec<Body>) -> Self {
        Self { parts, at: 0 }
    }

    /// Returns the same body from its beginning, if every part can be sent again.
    pub(super) fn anew(&self) -> Option<Self> {
        let parts = self.parts.iter().map(CloneBody::clone_body);
        parts.collect::<Option<_>>().map(Self::new)
    }

    /// Creates the parts that functions create.
    pub(super) fn poll_made(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        for part in &mut self.parts {
            ready!(part.poll_made(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn check_length(&self) -> Result<(), ReasonText> {
        self.parts.iter().try_for_each(Body::check_length)
    }

    fn left(&self) -> &[Body] {
        self.parts.get(self.at..).unwrap_or_default()
    }
}

impl HttpBody for Joined {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { parts, at } = &mut *self;
        while let Some(part) = parts.get_mut(*at) {
            match ready!(Pin::new(part).poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_data() => return Poll::Ready(Some(Ok(frame))),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    *at = parts.len();
                    return Poll::Ready(Some(Err(error)));
                }
                None => *at += 1,
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.left().iter().all(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let parts = self.left().iter().map(Body::size_hint);
        parts.fold(SizeHint::with_exact(0), sum)
    }
}

/// Returns the size of two bodies that are sent one after another.
pub(super) fn sum(first: SizeHint, second: SizeHint) -> SizeHint {
    let mut sum = SizeHint::new();
    sum.set_lower(first.lower().saturating_add(second.lower()));
    if let (Some(first), Some(second)) = (first.upper(), second.upper()) {
        sum.set_upper(first.saturating_add(second));
    }
    sum
}
