use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::response::Parts;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

use super::decoded::Decoded;
use crate::body::{Counted, Progress};
use crate::box_error::BoxError;
use crate::call::Hold;
use crate::coding::{Coding, DecodeError, codings};
use crate::diagnose::Edge;
use crate::error::{Error, ReasonText};
use crate::hop::{Diagnosis, Hop, Kind};
use crate::timeline::Timeline;

/// A decoded response body. The call's timeouts apply to its last byte.
pub struct ResponseBody {
    inner: UnsyncBoxBody<Bytes, BoxError>,
    timeline: Option<Timeline>,
    /// Holds the call open until the body is decoded to its end.
    hold: Option<Hold>,
}

impl ResponseBody {
    pub(super) fn new<B>(body: B, timeline: Option<Timeline>) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self {
            inner: body.map_err(Into::into).boxed_unsync(),
            hold: timeline.as_ref().and_then(|Timeline(call)| call.hold()),
            timeline,
        }
    }

    /// Reports the bytes that are read from now on.
    pub(super) fn counted(mut self, progress: Arc<Progress>) -> Self {
        self.inner = Counted::new(self.inner, progress).boxed_unsync();
        self
    }

    /// Decodes a body, and removes the headers that describe its encoded form. A head without a body (HEAD, 204, 304)
    /// keeps these headers. A head whose body cannot be decoded keeps them too.
    pub(super) fn decoding<B>(head: &mut Parts, body: B, timeline: &Timeline) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let timeline = Some(timeline.clone());
        match encoding(head, &body) {
            Ok(codings) if !codings.is_empty() => {
                head.headers.remove(CONTENT_ENCODING);
                head.headers.remove(CONTENT_LENGTH);
                Self::new(Decoded::new(body, codings), timeline)
            }
            Ok(_) | Err(_) => Self::new(body, timeline),
        }
    }
}

/// Returns the codings of a response's body that are still to be decoded.
///
/// # Errors
///
/// Returns the reason if the body cannot be decoded.
pub(super) fn encoding(head: &Parts, body: &impl HttpBody) -> Result<Vec<Coding>, ReasonText> {
    // Over HTTP/2 the end of an empty body may come later.
    if body.is_end_stream() || body.size_hint().exact() == Some(0) {
        return Ok(Vec::new());
    }
    let codings = codings(&head.headers)
        .map_err(|unsupported| ReasonText::new(format!("its body is encoded: {unsupported}")))?;
    match codings.first() {
        // RFC 9110 §14.2: a range of the encoded form.
        Some(coding) if head.status == StatusCode::PARTIAL_CONTENT => Err(ReasonText::new(
            format!("its body is a part of {} data", coding.name()),
        )),
        _ => Ok(codings),
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        let frame = frame.map(|frame| frame.map_err(|error| undecoded(error, &self.timeline)));
        if !matches!(frame, Some(Ok(_))) {
            self.hold = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}

/// Converts an error of the decoder: the bytes arrived, but the body is malformed.
fn undecoded(error: BoxError, timeline: &Option<Timeline>) -> Error {
    let error = match Error::ours(error) {
        Ok(ours) => return ours,
        Err(other) => other,
    };
    match error.downcast::<DecodeError>() {
        Ok(broken) => {
            failed_at(broken.place(), timeline).because(ReasonText::new(broken.to_string()))
        }
        Err(other) => failed(Kind::Malformed, timeline).because(other),
    }
}

/// Returns a failure after the last hop. It is added to the call's record, and has the call's effect.
pub(super) fn failed(kind: Kind, timeline: &Option<Timeline>) -> Error {
    failed_at((Hop::Decode, kind), timeline)
}

pub(super) fn failed_at((hop, kind): (Hop, Kind), timeline: &Option<Timeline>) -> Error {
    let Some(Timeline(call)) = timeline else {
        let mut diagnosis = Diagnosis::undecoded(kind);
        diagnosis.hop = Some(hop);
        return Error::new(diagnosis);
    };
    let failure = Diagnosis::after_head(hop, kind).into();
    let error = Error::at_edge(Edge::of_call(call), failure);
    call.fail(error.diagnosis());
    error
}
