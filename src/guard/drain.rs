//! Reads what is left of an answer nobody wants, within bounds: an HTTP/1.1 connection is of use
//! again only once its answer was read.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;

/// What came of a body that is being drained.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    bytes: BytesMut,
    trailers: Option<HeaderMap>,
    whole: bool,
}

/// What was kept of an answer.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) bytes: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    /// Whether this is less than there was.
    pub(crate) truncated: bool,
}

impl Drain {
    /// Reads on; ready at the end of the body, or when it cannot be read or grows beyond the bound.
    pub(crate) fn poll<R: Body>(
        &mut self,
        mut body: Pin<&mut R>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let room = DRAIN_BYTES - self.bytes.len();
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

    pub(crate) fn kept(self) -> Kept {
        Kept {
            bytes: self.bytes.freeze(),
            trailers: self.trailers,
            truncated: !self.whole,
        }
    }
}

/// A longer body costs more to read than a new connection.
pub(crate) const DRAIN_BYTES: usize = 64 << 10;
/// So does a slower one.
pub(crate) const DRAIN_TIME: Duration = Duration::from_millis(250);
