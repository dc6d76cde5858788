//! A request body that must have the announced length.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::box_error::BoxError;
use crate::error::ReasonText;

/// Fails if its source has fewer or more bytes than announced.
///
/// hyper stops at the announced length and counts the request as complete, even if the source has more. So the piece
/// that completes the length is held back until the source has ended.
pub(crate) struct Measured<B> {
    source: B,
    announced: Option<u64>,
    /// How many bytes the source has given.
    given: u64,
    /// The piece that completes the length, while it is held back.
    last: Option<Bytes>,
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl<B> Measured<B> {
    pub(crate) const fn new(source: B, announced: Option<u64>) -> Self {
        Self {
            source,
            announced,
            given: 0,
            last: None,
            trailers: None,
            ended: false,
        }
    }

    pub(super) const fn source(&self) -> &B {
        &self.source
    }

    pub(super) const fn source_mut(&mut self) -> &mut B {
        &mut self.source
    }

    pub(super) const fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// Returns how many bytes are still to come according to the announced length, with those held back.
    pub(super) fn left(&self) -> Option<u64> {
        let kept = self.last.as_ref().map_or(0, Bytes::len) as u64;
        let given = self.given.saturating_sub(kept);
        Some(self.announced?.saturating_sub(given))
    }

    /// Returns the trailers that come next, if the source has ended with some.
    pub(crate) const fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// Checks the length after the source has ended.
    fn end(&mut self) -> Result<(), ReasonText> {
        self.ended = true;
        match self.announced {
            Some(announced) if self.given < announced => Err(ReasonText::new(format!(
                "the request body has {} bytes, {announced} were announced",
                self.given
            ))),
            _ => Ok(()),
        }
    }
}

impl<B: Body> Measured<B> {
    /// Returns the part of a piece that may be sent now.
    fn pass(&mut self, piece: Bytes) -> Result<Bytes, ReasonText> {
        self.given = self.given.saturating_add(piece.len() as u64);
        let Some(announced) = self.announced else {
            return Ok(piece);
        };
        if self.given > announced {
            self.ended = true;
            self.last = None;
            return Err(ReasonText::new(format!(
                "the request body has more than the {announced} bytes that were announced"
            )));
        }
        if self.given == announced && !piece.is_empty() {
            if !self.source.is_end_stream() {
                self.last = Some(piece);
                return Ok(Bytes::new());
            }
            self.ended = true;
        }
        Ok(piece)
    }
}

impl<B> Body for Measured<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if !this.ended {
            match ready!(Pin::new(&mut this.source).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(mut data) => {
                        let piece = this.pass(data.copy_to_bytes(data.remaining()))?;
                        return Poll::Ready(Some(Ok(Frame::data(piece))));
                    }
                    Err(frame) => {
                        this.trailers = frame.into_trailers().ok();
                        this.end()?;
                    }
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => this.end()?,
            }
        }
        let last = this.last.take().map(Frame::data);
        let next = last.or_else(|| this.trailers.take().map(Frame::trailers));
        Poll::Ready(next.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        let whole = self.announced.is_none_or(|bytes| bytes == self.given);
        let ended = self.ended || whole && self.source.is_end_stream();
        ended && self.last.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::task::Waker;

    use super::*;

    /// A test source: its pieces, and whether it knows which one is the last.
    struct Pieces(VecDeque<Poll<Frame<Bytes>>>, bool);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                None => Poll::Ready(None),
                Some(Poll::Pending) => Poll::Pending,
                Some(Poll::Ready(frame)) => Poll::Ready(Some(Ok(frame))),
            }
        }

        fn is_end_stream(&self) -> bool {
            self.1 && self.0.is_empty()
        }
    }

    fn piece(text: &'static str) -> Poll<Frame<Bytes>> {
        Poll::Ready(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    fn trailers() -> Poll<Frame<Bytes>> {
        Poll::Ready(Frame::trailers(HeaderMap::new()))
    }

    /// Polls the body until it ends or fails. Each line is the result of one poll.
    fn sent(
        pieces: impl IntoIterator<Item = Poll<Frame<Bytes>>>,
        knows_its_end: bool,
        announced: Option<u64>,
    ) -> Vec<String> {
        let source = Pieces(pieces.into_iter().collect(), knows_its_end);
        let mut body = Measured::new(source, announced);
        let mut context = Context::from_waker(Waker::noop());
        let mut seen = Vec::new();
        while !body.is_end_stream() {
            match Pin::new(&mut body).poll_frame(&mut context) {
                Poll::Pending => seen.push("pending".to_owned()),
                Poll::Ready(None) => break,
                Poll::Ready(Some(Err(error))) => {
                    seen.push(error.to_string());
                    break;
                }
                Poll::Ready(Some(Ok(frame))) => seen.push(match frame.into_data() {
                    Ok(data) => String::from_utf8(data.to_vec()).unwrap(),
                    Err(_) => "trailers".to_owned(),
                }),
            }
        }
        seen
    }

    #[test]
    fn body_of_the_announced_length_is_sent_completely() {
        for knows_its_end in [true, false] {
            for announced in [Some(5), None] {
                let seen = sent([piece("he"), piece("llo")], knows_its_end, announced);
                assert_eq!(seen.concat(), "hello", "{knows_its_end} {announced:?}");
            }
        }
        assert!(sent([], false, Some(0)).is_empty());
    }

    #[test]
    fn piece_that_completes_the_length_waits_for_the_end() {
        let seen = sent([piece("hello"), Poll::Pending], false, Some(5));
        assert_eq!(seen, ["", "pending", "hello"]);
        let seen = sent([piece("hello"), piece(""), trailers()], false, Some(5));
        assert_eq!(seen, ["", "", "hello", "trailers"]);
        assert_eq!(sent([piece("hello")], true, Some(5)), ["hello"]);
    }

    #[test]
    fn body_that_ends_short_fails() {
        let short = "the request body has 3 bytes, 5 were announced";
        for knows_its_end in [true, false] {
            let seen = sent([piece("hel")], knows_its_end, Some(5));
            assert_eq!(seen, ["hel", short]);
        }
        let seen = sent([piece("hel"), trailers()], false, Some(5));
        assert_eq!(seen, ["hel", short]);
    }

    #[test]
    fn body_that_is_too_long_fails_before_its_last_announced_byte_is_sent() {
        let over = "the request body has more than the 5 bytes that were announced";
        assert_eq!(sent([piece("hello!")], true, Some(5)), [over]);
        let seen = sent([piece("hel"), piece("lo"), piece("!")], true, Some(5));
        assert_eq!(seen, ["hel", "", over]);
        assert_eq!(sent([piece("!")], false, Some(0)), [over.replace('5', "0")]);
    }
}
