//! The beginning of a body, for a classifier. It is read before the response is judged.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::source::{BodySource, Piece, poll_live, poll_whole};
use crate::box_error::BoxError;

/// A body whose beginning is being read.
// In a box, because it moves into the delivered body later.
pub(super) struct Peek<R> {
    head: Parts,
    body: Pin<Box<R>>,
    bytes: BytesMut,
    trailers: Option<HeaderMap>,
    ended: Option<Result<(), BoxError>>,
    until: Instant,
}

impl<R> Peek<R>
where
    R: Body<Error: Into<BoxError>>,
{
    pub(super) fn new(response: Response<R>, until: Instant) -> Self {
        let (head, body) = response.into_parts();
        Self {
            head,
            body: Box::pin(body),
            bytes: BytesMut::new(),
            trailers: None,
            ended: None,
            until,
        }
    }

    /// Ready when enough bytes are here, or when the body has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.bytes.len() < PEEK_BYTES && self.ended.is_none() {
            match ready!(poll_whole(self.body.as_mut(), cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.bytes.put(data),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Some(Err(error)) => self.ended = Some(Err(error)),
                None => self.ended = Some(Ok(())),
            }
        }
        Poll::Ready(())
    }

    /// Returns the response with its whole body: the beginning, and the rest.
    fn response(self) -> Response<BodySource<R>> {
        let peeked = Peeked {
            beginning: Some(self.bytes.freeze()).filter(|bytes| !bytes.is_empty()),
            trailers: self.trailers,
            rest: match self.ended {
                None => Rest::Live(self.body),
                Some(Ok(())) => Rest::Over,
                Some(Err(error)) => Rest::Broken(Some(error)),
            },
        };
        let peeked = Box::new(peeked);
        Response::from_parts(self.head, BodySource::Peeked { peeked })
    }
}

/// Ready with the response, once the beginning of its body is here or its time is over.
pub(super) fn peeked<R>(
    peek: &mut Option<Box<Peek<R>>>,
    alarm: &mut Alarm<'_>,
    cx: &mut Context<'_>,
) -> Poll<Option<Response<BodySource<R>>>>
where
    R: Body<Error: Into<BoxError>>,
{
    if let Some(reading) = peek
        && reading.poll(cx).is_pending()
    {
        ready!(alarm.poll_until(reading.until, cx));
    }
    Poll::Ready(peek.take().map(|peek| peek.response()))
}

/// A body whose beginning was read.
pub(super) struct Peeked<R> {
    pub(super) beginning: Option<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
    rest: Rest<R>,
}

enum Rest<R> {
    Live(Pin<Box<R>>),
    Broken(Option<BoxError>),
    Over,
}

impl<R> Peeked<R>
where
    R: Body<Error: Into<BoxError>>,
{
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        if let Some(beginning) = self.beginning.take() {
            return Poll::Ready(Some(Ok(Frame::data(beginning))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        match &mut self.rest {
            Rest::Live(body) => poll_live(body.as_mut(), cx),
            Rest::Broken(error) => Poll::Ready(error.take().map(Err)),
            Rest::Over => Poll::Ready(None),
        }
    }
}

impl<R: Body> Peeked<R> {
    pub(super) fn is_end_stream(&self) -> bool {
        let rest_is_over = match &self.rest {
            Rest::Live(body) => body.is_end_stream(),
            Rest::Broken(error) => error.is_none(),
            Rest::Over => true,
        };
        self.beginning.is_none() && self.trailers.is_none() && rest_is_over
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let here = self.beginning.as_ref().map_or(0, Bytes::len) as u64;
        match &self.rest {
            Rest::Live(body) => {
                let rest = body.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower().saturating_add(here));
                if let Some(upper) = rest.upper() {
                    hint.set_upper(upper.saturating_add(here));
                }
                hint
            }
            Rest::Broken(_) => SizeHint::default(),
            Rest::Over => SizeHint::with_exact(here),
        }
    }
}

/// Services describe a failure in far fewer bytes.
pub(super) const PEEK_BYTES: usize = 8 << 10;
