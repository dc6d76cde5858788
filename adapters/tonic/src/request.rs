//! The body of a request: one message that can be sent again, or a stream that cannot.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame};
use sevenhops::Body;
use tonic::Status;

/// Takes the part of the body that is there, without waiting. If the body ends there, it can be sent again: that is so
/// for a call with one message. If not, the part is sent first, and then the rest.
pub(crate) async fn replayable(mut body: tonic::body::Body) -> Body {
    let mut kept = BytesMut::new();
    let mut next = None;
    while kept.len() < MOST_KEPT {
        let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await;
        match polled {
            Poll::Pending => break,
            Poll::Ready(None) => return Body::from(kept.freeze()),
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                kept.extend_from_slice(&frame.into_data().unwrap_or_default());
            }
            Poll::Ready(Some(other)) => {
                next = Some(other);
                break;
            }
        }
    }
    let kept = Some(kept.freeze()).filter(|kept| !kept.is_empty());
    let first = kept.map(|kept| Ok(Frame::data(kept)));
    Body::wrap(Chained {
        first: first.into_iter().chain(next).collect(),
        rest: body,
    })
}

/// A body whose beginning was already taken.
struct Chained {
    first: VecDeque<Result<Frame<Bytes>, Status>>,
    rest: tonic::body::Body,
}

impl HttpBody for Chained {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.first.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.is_end_stream()
    }
}

/// The size of a large message. A longer one is sent once.
const MOST_KEPT: usize = 1 << 20;
