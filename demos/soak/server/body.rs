//! A body in parts, which may break off.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Sleep, sleep};

/// The end of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Well,
    Breaks,
    Stalls,
}

/// A body that sends a part after each pause.
pub(crate) struct Parts {
    part: Bytes,
    left: usize,
    pause: Duration,
    end: End,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Parts {
    pub(crate) fn new(parts: usize, pause: Duration, end: End) -> Self {
        Self {
            part: Bytes::from_static(&[b'x'; 1 << 10]),
            left: parts,
            pause,
            end,
            sleep: None,
        }
    }

    pub(crate) fn small() -> Self {
        Bytes::from_static(b"{\"ok\":true}").into()
    }
}

impl From<Bytes> for Parts {
    fn from(part: Bytes) -> Self {
        Self {
            part,
            ..Self::new(1, Duration::ZERO, End::Well)
        }
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return match self.end {
                End::Well => Poll::Ready(None),
                End::Breaks => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
                End::Stalls => Poll::Pending,
            };
        }
        if !self.pause.is_zero() {
            let pause = self.pause;
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(pause)));
            ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(self.part.clone()))))
    }
}
