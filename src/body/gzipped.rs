//! A body that is compressed while it is sent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};

use super::{Body, Content};
use crate::box_error::BoxError;
use crate::coding::{Encoder, gzip};

/// Compresses the pieces of its source. When the source has no next piece yet, the data so far is sent.
pub(super) struct Gzipped<B> {
    source: B,
    encoder: Encoder,
    /// The rest of a piece.
    input: Bytes,
    trailers: Option<HeaderMap>,
    is_over: bool,
}

impl<B> Gzipped<B> {
    pub(super) fn new(source: B) -> Self {
        Self {
            source,
            encoder: Encoder::new(),
            input: Bytes::new(),
            trailers: None,
            is_over: false,
        }
    }

    pub(super) const fn source(&self) -> &B {
        &self.source
    }

    pub(super) const fn source_mut(&mut self) -> &mut B {
        &mut self.source
    }
}

impl<B> Gzipped<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Reads the source until it has a piece, waits or is over.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match ready!(Pin::new(&mut self.source).poll_frame(cx)) {
            Some(frame) => match frame.map_err(Into::into)?.into_data() {
                Ok(piece) => self.input = piece,
                Err(other) => {
                    self.trailers = other.into_trailers().ok();
                    self.is_over = true;
                }
            },
            None => self.is_over = true,
        }
        Poll::Ready(Ok(()))
    }
}

impl<B> HttpBody for Gzipped<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let mut piece = Bytes::new();
        while piece.is_empty() {
            if !this.input.is_empty() {
                piece = this.encoder.encode(&mut this.input)?;
            } else if this.is_over {
                piece = this.encoder.finish()?;
                if piece.is_empty() {
                    let trailers = this.trailers.take().map(Frame::trailers);
                    return Poll::Ready(trailers.map(Ok));
                }
            } else if this.poll_source(cx)?.is_pending() {
                piece = this.encoder.flush()?;
                if piece.is_empty() {
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl Body {
    /// Returns the body as gzip data, and whether it was compressed. A body is left as it is if it is empty, or known
    /// to have fewer than `min_bytes`. So is a body in memory that would not get shorter.
    pub(crate) fn gzip(self, min_bytes: u64) -> (Self, bool) {
        let most = self.size_hint().upper();
        if self.is_end_stream() || most.is_some_and(|most| most < min_bytes) {
            return (self, false);
        }
        let in_memory = match &self.0 {
            Content::Bytes(bytes) => bytes.clone().into_inner(),
            _ => None,
        };
        match in_memory.filter(|bytes| bytes.len() <= MOST_AT_ONCE) {
            None => (self.gzipped(), true),
            Some(bytes) => match gzip(&bytes) {
                Some(shorter) => (Self::from(shorter), true),
                None => (self, false),
            },
        }
    }

    /// Compresses the body while it is sent.
    pub(super) fn gzipped(self) -> Self {
        Self(Content::Gzipped(Box::new(Gzipped::new(self))))
    }
}

/// A larger body is compressed in pieces while it is sent: this takes some milliseconds, in which the thread does nothing
/// else.
const MOST_AT_ONCE: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::task::Waker;

    use flate2::read::GzDecoder;
    use http_body_util::BodyExt;
    use tokio::sync::mpsc;

    use super::*;

    /// A body of the frames that the test sends.
    struct Sent(mpsc::UnboundedReceiver<Result<Frame<Bytes>, &'static str>>);

    impl HttpBody for Sent {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            self.0.poll_recv(cx)
        }
    }

    type NextFrame = Option<Result<Frame<Bytes>, BoxError>>;

    fn next(body: &mut Body) -> Poll<NextFrame> {
        Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn pieces_so_far_are_sent_while_the_source_waits() {
        let (sender, source) = mpsc::unbounded_channel();
        let mut body = Body::wrap(Sent(source)).gzipped();
        let mut encoded = Vec::new();
        assert!(next(&mut body).is_pending());
        for text in ["first", "second"] {
            sender.send(Ok(Frame::data(text.into()))).unwrap();
            while let Poll::Ready(frame) = next(&mut body) {
                encoded.extend(frame.unwrap().unwrap().into_data().unwrap());
            }
            let mut seen = Vec::new();
            // The data is not over, so it breaks off after the last piece.
            GzDecoder::new(&encoded[..])
                .read_to_end(&mut seen)
                .unwrap_err();
            assert!(seen.ends_with(text.as_bytes()));
        }
        let trailers = HeaderMap::from_iter([(http::header::ETAG, "a".parse().unwrap())]);
        sender.send(Ok(Frame::trailers(trailers.clone()))).unwrap();
        let rest = body.collect().await.unwrap();
        assert_eq!(rest.trailers(), Some(&trailers));
        encoded.extend(rest.to_bytes());
        let mut text = String::new();
        GzDecoder::new(&encoded[..])
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "firstsecond");
    }

    #[test]
    fn body_that_would_not_gain_is_left_as_it_is() {
        let long = Bytes::from(vec![b'x'; MOST_AT_ONCE + 1]);
        let short = long.slice(..1_000);
        for (body, min_bytes, is_gzip, has_length) in [
            (Body::empty(), 0, false, true),
            (Body::from("{}"), 0, false, true),
            (Body::from(short.clone()), 1_001, false, true),
            (Body::from(short.clone()), 1_000, true, true),
            (Body::from(long.slice(1..)), 0, true, true),
            (Body::from(long), 0, true, false),
            (
                Body::wrap(http_body_util::Full::new(short.clone())),
                1_001,
                false,
                true,
            ),
            (
                Body::wrap(http_body_util::Full::new(short)),
                1_000,
                true,
                false,
            ),
            (Body::from_stream(Nothing), 1_000, true, false),
            (
                Body::from_stream(Nothing).with_length(999),
                1_000,
                false,
                true,
            ),
            (
                Body::from_stream(Nothing).with_length(1_000),
                1_000,
                true,
                false,
            ),
        ] {
            let (body, was_gzipped) = body.gzip(min_bytes);
            assert_eq!(was_gzipped, is_gzip, "{body:?}");
            assert_eq!(body.size_hint().exact().is_some(), has_length, "{body:?}");
        }
    }

    /// A stream of pieces that never come.
    struct Nothing;

    impl futures_core::Stream for Nothing {
        type Item = Result<Bytes, BoxError>;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn failure_of_the_source_ends_the_body_without_the_end_of_the_data() {
        let (sender, source) = mpsc::unbounded_channel();
        sender.send(Ok(Frame::data("first".into()))).unwrap();
        sender.send(Err("broken")).unwrap();
        let mut body = Body::wrap(Sent(source)).gzipped();
        let mut encoded = Vec::new();
        let error = loop {
            match body.frame().await.unwrap() {
                Ok(frame) => encoded.extend(frame.into_data().unwrap()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.to_string(), "broken");
        assert!(
            GzDecoder::new(&encoded[..])
                .read_to_end(&mut Vec::new())
                .is_err()
        );
    }
}
