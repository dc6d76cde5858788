//! A body that is received inside its attempt.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;

use super::attempt::ActiveAttempt;
use super::source::{BodySource, poll_whole};
use crate::box_error::BoxError;
use crate::clock;
use crate::diagnose::AttemptFailure;
use crate::hop::{Diagnosis, Hop, Kind};
use crate::record::effect_of;

/// The part of the body that was received so far.
pub(super) struct Whole {
    bytes: BytesMut,
    trailers: Option<HeaderMap>,
    most_bytes: usize,
}

/// Why the body is not received to its end.
pub(super) enum WholeBodyError {
    /// The attempt's own timeout expired, or the body exceeded its bound.
    Ours(AttemptFailure),
    /// The inner service failed.
    Foreign(BoxError),
}

impl Whole {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self {
            bytes: BytesMut::new(),
            trailers: None,
            most_bytes,
        }
    }

    /// Ready at the end of the body.
    pub(super) fn poll<R>(
        &mut self,
        mut body: Pin<&mut R>,
        attempt: &ActiveAttempt,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), WholeBodyError>>
    where
        R: Body<Error: Into<BoxError>>,
    {
        while let Some(frame) = ready!(poll_whole(body.as_mut(), cx)) {
            let (end, which) = attempt.due();
            let now = clock::now();
            if end <= now {
                return Poll::Ready(Err(WholeBodyError::Ours(attempt.expire(which))));
            }
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return Poll::Ready(Err(WholeBodyError::Foreign(error))),
            };
            match frame.into_data() {
                Ok(data) => {
                    attempt.tracker.received(data.remaining(), now);
                    if data.remaining() > self.most_bytes - self.bytes.len() {
                        let effect = effect_of(&attempt.tracker);
                        let too_large = Diagnosis::new(Hop::Receive, Kind::TooLarge, effect);
                        return Poll::Ready(Err(WholeBodyError::Ours(too_large.into())));
                    }
                    self.bytes.put(data);
                }
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Returns the body as it was received.
    pub(super) fn take<R>(&mut self) -> BodySource<R> {
        let bytes: Bytes = self.bytes.split().freeze();
        BodySource::whole(bytes, self.trailers.take())
    }
}
