//! Reads the rest of an unused response, within bounds. An HTTP/1.1 connection can be used again only after its
//! response was read.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;

/// The bytes and trailers of a body that is being drained.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    bytes: BytesMut,
    trailers: Option<HeaderMap>,
    whole: bool,
    /// Whether the body is in memory. Then it saves nothing to leave a part of it unread.
    is_here: bool,
}

/// The kept part of a response.
#[derive(Debug)]
pub(crate) struct DrainedBody {
    pub(crate) bytes: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    /// Whether the kept part is less than the whole body.
    pub(crate) truncated: bool,
}

impl DrainedBody {
    /// Returns a result without any bytes.
    pub(crate) const fn nothing() -> Self {
        Self {
            bytes: Bytes::new(),
            trailers: None,
            truncated: true,
        }
    }
}

impl Drain {
    pub(crate) fn new(is_here: bool) -> Self {
        Self {
            is_here,
            ..Self::default()
        }
    }

    /// Continues to read. Ready at the end of the body, after an error, or when the body exceeds the bound.
    pub(crate) fn poll<R: Body>(
        &mut self,
        mut body: Pin<&mut R>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let room = match self.is_here {
                            true => usize::MAX,
                            false => DRAIN_BYTES - self.bytes.len(),
                        };
                        if data.remaining() > room {
                            self.bytes.put(data.take(room));
                            return Poll::Ready(());
                        }
                        self.bytes.put(data);
                    }
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Some(Err(_)) => return Poll::Ready(()),
                None => {
                    self.whole = true;
                    return Poll::Ready(());
                }
            }
        }
    }

    pub(crate) fn kept(self) -> DrainedBody {
        DrainedBody {
            bytes: self.bytes.freeze(),
            trailers: self.trailers,
            truncated: !self.whole,
        }
    }
}

/// A longer body costs more to read than a new connection.
pub(crate) const DRAIN_BYTES: usize = 64 << 10;
/// A slower body also costs more than a new connection.
pub(crate) const DRAIN_TIME: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::io;
    use std::task::Waker;

    use http_body::Frame;

    use super::*;

    /// A test body: these pieces, and then its end or an error.
    struct Pieces(Vec<usize>, bool);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
            Poll::Ready(match self.0.pop() {
                Some(bytes) => Some(Ok(Frame::data(vec![b'x'; bytes].into()))),
                None if self.1 => None,
                None => Some(Err(io::ErrorKind::ConnectionReset.into())),
            })
        }
    }

    fn kept(pieces: &[usize], ends: bool) -> (usize, bool) {
        let mut body = Pieces(pieces.to_vec(), ends);
        let mut drain = Drain::default();
        let mut context = Context::from_waker(Waker::noop());
        assert!(drain.poll(Pin::new(&mut body), &mut context).is_ready());
        let kept = drain.kept();
        (kept.bytes.len(), kept.truncated)
    }

    #[test]
    fn body_is_whole_only_if_its_end_was_seen_within_the_bound() {
        assert_eq!(kept(&[], true), (0, false));
        assert_eq!(kept(&[7, 3], true), (10, false));
        assert_eq!(kept(&[7, 3], false), (10, true));
        assert_eq!(kept(&[DRAIN_BYTES], true), (DRAIN_BYTES, false));
        assert_eq!(kept(&[DRAIN_BYTES + 1], true), (DRAIN_BYTES, true));
        assert_eq!(kept(&[1, DRAIN_BYTES], true), (DRAIN_BYTES, true));
    }
}
