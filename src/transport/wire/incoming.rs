//! The body of a response while it is received. Its end is checked.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use sync_wrapper::SyncWrapper;
use tokio::task::AbortHandle;

use super::exchange::BodySource;
use super::http1::Http1;
use super::http2::StreamLease;
use super::upload::Rest;
use crate::box_error::BoxError;
use crate::transport::framing::number;

/// The body of a response from a [`Transport`](crate::Transport).
///
/// It ends without an error only if the server has announced its end and all of it has come. If it is dropped early,
/// the connection is closed (HTTP/1) or the stream is reset (HTTP/2).
pub struct Incoming(IncomingContent);

enum IncomingContent {
    Http1(OverHttp1),
    Http2(OverHttp2),
    Other(OtherBody),
    /// It has ended, and has released the connection.
    Over,
}

struct OverHttp1 {
    body: hyper::body::Incoming,
    connection: Arc<Http1>,
    /// The number of the request on its connection.
    number: u64,
    source: Source,
    /// The lease, which is given back when the body ends.
    _lease: tokio::sync::OwnedSemaphorePermit,
}

struct OverHttp2 {
    stream: RecvStream,
    /// Shared with the upload: the stream can be reset only after both ends of it were dropped.
    lease: Arc<StreamLease>,
    /// The number of bytes still to come, if the head announces it.
    left: Option<u64>,
    /// The rest of the request body.
    upload: Option<Upward>,
    source: Source,
    /// Whether the next frame had not come yet when it was last polled for.
    is_awaited: bool,
}

/// The source of the request body, unless the body is empty. If it fails, the response breaks off.
type Source = Option<Arc<dyn BodySource>>;

/// The rest of a request body.
enum Upward {
    Goes(AbortHandle),
    /// The body is not sent.
    Withheld,
}

/// Stops the upload if the response is dropped.
impl Drop for Upward {
    fn drop(&mut self) {
        if let Self::Goes(upload) = self {
            upload.abort();
        }
    }
}

/// If the request is still being sent, or is kept back, the connection cannot be used again.
impl Drop for OverHttp1 {
    fn drop(&mut self) {
        self.connection.stop_upload(self.number);
    }
}

/// A body that does not come from a connection. Only its owner has access to it, so its size is kept beside it.
struct OtherBody {
    body: SyncWrapper<UnsyncBoxBody<Bytes, BoxError>>,
    left: SizeHint,
    is_over: bool,
}

impl OtherBody {
    fn new(body: UnsyncBoxBody<Bytes, BoxError>) -> Self {
        Self {
            left: body.size_hint(),
            is_over: body.is_end_stream(),
            body: SyncWrapper::new(body),
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let body = self.body.get_mut();
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        (self.left, self.is_over) = (body.size_hint(), body.is_end_stream());
        Poll::Ready(frame)
    }
}

type Piece = Result<Frame<Bytes>, BoxError>;

impl Incoming {
    pub(crate) fn http1(
        (response, number): (Response<hyper::body::Incoming>, u64),
        connection: Arc<Http1>,
        lease: tokio::sync::OwnedSemaphorePermit,
        source: Source,
    ) -> Response<Self> {
        response.map(|body| {
            let over = OverHttp1 {
                body,
                connection,
                number,
                source,
                _lease: lease,
            };
            let mut incoming = Self(IncomingContent::Http1(over));
            if incoming.is_end_stream() {
                incoming.end(true);
            }
            incoming
        })
    }

    pub(crate) fn http2(
        (response, rest): (Response<RecvStream>, Rest),
        (lease, method): (StreamLease, &Method),
        source: Source,
    ) -> Response<Self> {
        let left = match has_no_content(method, response.status()) {
            // The length is that of another response.
            true => Some(0),
            false => length(response.headers()),
        };
        let lease = Arc::new(lease);
        let upload = match rest {
            Rest::None => None,
            Rest::Goes(upload) => {
                let upload = upload.with(Arc::clone(&lease));
                Some(Upward::Goes(tokio::spawn(upload).abort_handle()))
            }
            Rest::Withheld => Some(Upward::Withheld),
        };
        response.map(|stream| {
            let over = OverHttp2 {
                left: left.filter(|_| !stream.is_end_stream()),
                stream,
                lease,
                upload,
                source,
                is_awaited: false,
            };
            let mut incoming = Self(IncomingContent::Http2(over));
            if incoming.is_end_stream() {
                incoming.end(true);
            }
            incoming
        })
    }

    /// Releases the connection.
    fn end(&mut self, is_whole: bool) {
        if let IncomingContent::Http2(over) = &mut self.0
            && over.upload.is_none()
            && let Some(lease) = Arc::get_mut(&mut over.lease)
        {
            lease.is_over = is_whole;
        }
        self.0 = IncomingContent::Over;
    }

    /// Returns a body that does not come from a connection.
    pub(crate) fn other<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        use http_body_util::BodyExt;
        let body = body.map_err(Into::into).boxed_unsync();
        Self(IncomingContent::Other(OtherBody::new(body)))
    }
}

impl OverHttp1 {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let failed =
            |error: hyper::Error| cause(&self.source, || self.connection.cause(error.into()));
        Poll::Ready(frame.map(|frame| frame.map_err(failed)))
    }
}

impl OverHttp2 {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let frame = self.poll_next(cx);
        let was_awaited = std::mem::replace(&mut self.is_awaited, frame.is_pending());
        // Any other frame may have come before the last PING.
        if was_awaited && matches!(frame, Poll::Ready(Some(Ok(_)))) {
            self.lease.connection.responded();
        }
        frame
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        if let Some(data) = ready!(self.stream.poll_data(cx)) {
            let data = data.and_then(|data| {
                let flow = self.stream.flow_control();
                flow.release_capacity(data.len()).map(|()| data)
            });
            return Poll::Ready(Some(match data {
                Ok(data) => {
                    let came = data.len() as u64;
                    self.left = self.left.map(|left| left.saturating_sub(came));
                    Ok(Frame::data(data))
                }
                Err(error) => return Poll::Ready(self.failed(error)),
            }));
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Ok(None) if self.stream.is_end_stream() => Poll::Ready(None),
            Ok(None) => Poll::Ready(Some(Err(broken_off()))),
            Err(error) => Poll::Ready(self.failed(error)),
        }
    }

    /// Returns the failure, or the end of a response that is complete by its length. If a connection breaks during the
    /// upload, h2 no longer reports that the stream of the response had ended.
    fn failed(&self, error: h2::Error) -> Option<Piece> {
        let is_of_connection = error.is_io() || error.is_go_away();
        if is_of_connection && self.source.is_some() && self.left == Some(0) {
            return None;
        }
        Some(Err(cause(&self.source, || self.broken(error))))
    }

    fn broken(&self, error: h2::Error) -> BoxError {
        // NO_ERROR ends an upload that is not needed (RFC 9113 §8.1), but this response was not complete.
        if error.is_reset() && error.reason() == Some(Reason::NO_ERROR) {
            return broken_off();
        }
        // h2 itself resets a stream whose length is not the announced one. It does so for other faults, too, but then
        // the rest of the body is also missing.
        let is_ours = error.is_reset() && error.is_library();
        if is_ours && error.reason() == Some(Reason::PROTOCOL_ERROR) && self.left > Some(0) {
            let reason = "the body does not have its announced length, or a frame is malformed";
            return io::Error::new(io::ErrorKind::UnexpectedEof, reason).into();
        }
        self.lease.connection.life.cause(error.into())
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(match &mut self.0 {
            IncomingContent::Http1(over) => over.poll_frame(cx),
            IncomingContent::Http2(over) => over.poll_frame(cx),
            IncomingContent::Other(other) => other.poll_frame(cx),
            IncomingContent::Over => Poll::Ready(None),
        });
        if !matches!(frame, Some(Ok(_))) || self.is_end_stream() {
            self.end(!matches!(frame, Some(Err(_))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            IncomingContent::Http1(over) => over.body.is_end_stream(),
            IncomingContent::Http2(over) => over.stream.is_end_stream(),
            IncomingContent::Other(other) => other.is_over,
            IncomingContent::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            IncomingContent::Http1(over) => over.body.size_hint(),
            IncomingContent::Http2(over) if over.stream.is_end_stream() => SizeHint::with_exact(0),
            IncomingContent::Http2(over) => over
                .left
                .map_or_else(SizeHint::default, SizeHint::with_exact),
            IncomingContent::Other(other) => other.left,
            IncomingContent::Over => SizeHint::with_exact(0),
        }
    }
}

impl fmt::Debug for Incoming {
    /// Shows its size only: a body may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("bytes", &self.size_hint().exact())
            .finish_non_exhaustive()
    }
}

/// Returns whether a response has no content, whatever its headers say (RFC 9110 §6.4.1).
fn has_no_content(method: &Method, status: StatusCode) -> bool {
    let is_empty = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    *method == Method::HEAD || is_empty
}

fn length(headers: &HeaderMap) -> Option<u64> {
    number(headers.get(CONTENT_LENGTH)?)
}

/// Returns why a response broke off: the failure of the request body's source, or else that of the connection.
fn cause(source: &Source, of_connection: impl FnOnce() -> BoxError) -> BoxError {
    match source.as_ref().and_then(|source| source.take_failure()) {
        Some(failed) => Box::new(failed),
        None => of_connection(),
    }
}

fn broken_off() -> BoxError {
    let reason = "the server ended the stream before the end of the response";
    io::Error::new(io::ErrorKind::UnexpectedEof, reason).into()
}
