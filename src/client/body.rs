use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::response::Parts;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use pin_project_lite::pin_project;
use sync_wrapper::SyncWrapper;

use super::decoded::Decoded;
use crate::box_error::BoxError;
use crate::call::Hold;
use crate::coding::{Broken, Coding, codings};
use crate::diagnose::Edge;
use crate::error::{Error, Reason};
use crate::hop::BodyFailed;
use crate::hop::{Diagnosis, Hop, Kind};
use crate::policy::retry::CloneBody;
use crate::timeline::Timeline;
use crate::transport::measured::Measured;

/// A request body: bytes that are shared, or a stream.
pub struct Body(Content);

enum Content {
    Bytes(Full<Bytes>),
    Stream(UnsyncBoxBody<Bytes, BoxError>),
}

impl Body {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::from(Bytes::new())
    }

    /// A body that is made while it is sent.
    pub fn wrap<B>(body: B) -> Self
    where
        B: HttpBody + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        Self(Content::Stream(Wrapped { body }.boxed_unsync()))
    }

    /// A body that fails where it does not have this length. Bytes have the one they have.
    pub(crate) fn measured(self, length: Option<u64>) -> Self {
        match self.0 {
            Content::Stream(stream) if length.is_some() => {
                let stream = Measured::new(stream, length);
                let stream = stream.map_err(|error| BoxError::from(BodyFailed(error)));
                Self(Content::Stream(stream.boxed_unsync()))
            }
            content => Self(content),
        }
    }
}

pin_project! {
    /// A body in bytes. Unlike `MapFrame` it knows its length, if the wrapped one does.
    struct Wrapped<B> {
        #[pin]
        body: B,
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

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self(Content::Bytes(Full::new(bytes.into())))
    }
}

impl CloneBody for Body {
    fn empty_body() -> Option<Self> {
        Some(Self::empty())
    }

    fn clone_body(&self) -> Option<Self> {
        match &self.0 {
            Content::Bytes(bytes) => Some(Self(Content::Bytes(bytes.clone()))),
            Content::Stream(_) => None,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Content::Bytes(bytes) => match ready!(Pin::new(bytes).poll_frame(cx)) {
                Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
                Some(Err(never)) => match never {},
                None => Poll::Ready(None),
            },
            Content::Stream(stream) => Pin::new(stream).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Bytes(bytes) => bytes.is_end_stream(),
            Content::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Bytes(bytes) => bytes.size_hint(),
            Content::Stream(stream) => stream.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    /// Its size only: bodies are nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("bytes", &self.size_hint().exact())
            .finish_non_exhaustive()
    }
}

impl From<Body> for reqwest::Body {
    fn from(body: Body) -> Self {
        match body.0 {
            Content::Bytes(bytes) => bytes.into_inner().unwrap_or_default().into(),
            Content::Stream(stream) => to_reqwest(stream),
        }
    }
}

/// A body that can be shared between threads because nobody looks at it through `&`.
struct Shared<B>(SyncWrapper<B>);

impl<B: HttpBody + Unpin> HttpBody for Shared<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(self.0.get_mut()).poll_frame(cx)
    }
}

/// A body as reqwest takes it.
pub(super) fn to_reqwest<B>(body: B) -> reqwest::Body
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    reqwest::Body::wrap(Shared(SyncWrapper::new(body)))
}

/// A response body, decoded, with the call's limits on it to the last byte.
pub struct ResponseBody {
    inner: UnsyncBoxBody<Bytes, BoxError>,
    timeline: Option<Timeline>,
    /// Until it is decoded to its end, the call goes on.
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

    /// Removes the codings of a body, and then the headers that spoke of it as it was. A head without a body
    /// (HEAD, 204, 304) keeps them, and so does a body that cannot be decoded.
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

/// The codings of a response's body that has yet to be decoded.
///
/// # Errors
///
/// Says why it cannot be.
pub(super) fn encoding(head: &Parts, body: &impl HttpBody) -> Result<Vec<Coding>, Reason> {
    if body.is_end_stream() {
        return Ok(Vec::new());
    }
    let codings = codings(&head.headers)
        .map_err(|unsupported| Reason::new(format!("its body is encoded: {unsupported}")))?;
    match codings.first() {
        // RFC 9110 §14.2: a range of the encoded form.
        Some(coding) if head.status == StatusCode::PARTIAL_CONTENT => Err(Reason::new(format!(
            "its body is a part of {} data",
            coding.name()
        ))),
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

/// An error that is not ours came from the decoder: the bytes arrived and are not what they claim to be.
fn undecoded(error: BoxError, timeline: &Option<Timeline>) -> Error {
    let error = match Error::ours(error) {
        Ok(ours) => return ours,
        Err(other) => other,
    };
    match error.downcast::<Broken>() {
        Ok(broken) => failed_at(broken.place(), timeline).because(Reason::new(broken.to_string())),
        Err(other) => failed(Kind::Malformed, timeline).because(other),
    }
}

/// A failure behind the last hop: the call's record gets it too, and knows what the call has done.
pub(super) fn failed(kind: Kind, timeline: &Option<Timeline>) -> Error {
    failed_at((Hop::Decode, kind), timeline)
}

fn failed_at((hop, kind): (Hop, Kind), timeline: &Option<Timeline>) -> Error {
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
