//! A body that is recorded for the store of stale responses while the caller reads it.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, SizeHint};

use super::source::{BodySource, Piece};
use crate::box_error::BoxError;
use crate::policy::stale::Recording;

/// A body, and its copy in the making.
pub(super) struct TeeBody<R> {
    source: Pin<Box<BodySource<R>>>,
    /// `None` once it is stored, or is not going to be.
    recording: Option<Recording>,
}

impl<R> TeeBody<R> {
    pub(super) fn new(source: BodySource<R>, recording: Recording) -> Self {
        Self {
            source: Box::pin(source),
            recording: Some(recording),
        }
    }
}

impl<R: Body<Error: Into<BoxError>>> TeeBody<R> {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let polled = self.source.as_mut().poll_frame(cx);
        let is_over = match &polled {
            Poll::Pending => return polled,
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(frame))) => {
                // Trailers are not stored, and neither is a response without its trailers.
                let data = frame.data_ref();
                let recording = self.recording.as_mut().zip(data);
                if !recording.is_some_and(|(recording, data)| recording.add(data)) {
                    self.recording = None;
                }
                self.source.is_end_stream()
            }
            // Only a whole body is stored.
            Poll::Ready(Some(Err(_))) => {
                self.recording = None;
                false
            }
        };
        if let Some(recording) = self.recording.take_if(|_| is_over) {
            recording.end();
        }
        polled
    }
}

impl<R: Body> TeeBody<R> {
    pub(super) fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}
