//! The body of an HTTP/2 request while it is sent.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};

use super::exchange::SendBody;
use super::http2::StreamLease;

/// Sends a body within the peer's window.
pub(crate) struct Upload {
    stream: SendStream<Bytes>,
    body: SendBody,
    /// Dropped after `stream`: until then, h2 does not reset the stream.
    _lease: Option<Arc<StreamLease>>,
}

/// The state of a body when the head of the response comes.
pub(crate) enum Rest {
    /// All of it was sent, or it cannot continue.
    None,
    /// It is sent while the response is received.
    Goes(Upload),
    /// The server never asked for it: the stream is reset once the response is over.
    Withheld,
}

impl Upload {
    pub(super) fn new(stream: SendStream<Bytes>, body: SendBody) -> Self {
        Self {
            stream,
            body,
            _lease: None,
        }
    }

    /// Lets the upload continue beside its response.
    pub(super) fn with(self, lease: Arc<StreamLease>) -> Self {
        Self {
            _lease: Some(lease),
            ..self
        }
    }

    /// Ready when the body was sent, or when it cannot continue: then the stream was reset.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.poll_all(cx)) {
            Ok(()) => {}
            Err(Stopped::ByPeer) => {}
            Err(Stopped::BySource) => self.stream.send_reset(Reason::CANCEL),
        }
        Poll::Ready(())
    }

    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            ready!(self.poll_room(cx))?;
            let frame = match ready!(self.body.as_mut().poll_frame(cx)) {
                None => {
                    self.stream.send_data(Bytes::new(), true)?;
                    return Poll::Ready(Ok(()));
                }
                // The source keeps its error, and the call reads it there.
                Some(Err(_)) => return Poll::Ready(Err(Stopped::BySource)),
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) => {
                    let is_last = self.body.is_end_stream();
                    self.stream.send_data(data, is_last)?;
                    if is_last {
                        return Poll::Ready(Ok(()));
                    }
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.stream.reserve_capacity(0);
                        self.stream.send_trailers(trailers)?;
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }

    /// Waits until the peer accepts another byte. The source is not polled before.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        self.stream.reserve_capacity(1);
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Stopped::ByPeer)),
            }
        }
        match self.stream.poll_reset(cx) {
            Poll::Ready(_) => Poll::Ready(Err(Stopped::ByPeer)),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }
}

impl Future for Upload {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Self::poll(&mut self, cx)
    }
}

/// Why a body was not sent completely.
enum Stopped {
    ByPeer,
    BySource,
}

impl From<h2::Error> for Stopped {
    fn from(_: h2::Error) -> Self {
        Self::ByPeer
    }
}
