//! The last check before the wire. The first write of a request on an HTTP/1 connection takes the request, and fails if
//! the attempt was given up.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::Socket;
use super::sync::{Arc, Mutex, MutexGuard, PoisonError};
use crate::box_error::BoxError;
use crate::record::Tracker;

/// The state that the exchange and the connection's task share about the request that is being written.
#[derive(Debug)]
pub(crate) struct Lane {
    request: Mutex<Slot>,
    socket: Socket,
}

#[derive(Debug, Default)]
struct Slot {
    /// The number of the request: a connection may have the next one before the call of the previous one notices.
    number: u64,
    state: LaneState,
    tracker: Option<Arc<Tracker>>,
    /// Whether the source of the body has ended.
    is_whole: bool,
    /// The kernel's count of bytes before the first write of the request.
    before: u64,
    broken: Option<LaneError>,
}

/// Why the stream broke. hyper does not always report it.
#[derive(Clone, Debug)]
enum LaneError {
    Tls(rustls::Error),
    System(i32),
}

impl LaneError {
    fn of(error: &io::Error) -> Option<Self> {
        if let Some(code) = error.raw_os_error() {
            return Some(Self::System(code));
        }
        let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        Some(Self::Tls(inner.clone()))
    }

    fn into_error(self) -> io::Error {
        match self {
            Self::Tls(error) => io::Error::new(io::ErrorKind::InvalidData, error),
            Self::System(code) => io::Error::from_raw_os_error(code),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LaneState {
    /// No request is in flight.
    #[default]
    Free,
    /// A request was handed to hyper. No byte of it was written.
    Armed,
    /// The first write has begun.
    Taken,
    /// Nothing more is written.
    Shut {
        /// Whether a byte of the last request may have gone out.
        written: bool,
    },
}

impl Lane {
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            request: Mutex::default(),
            socket,
        }
    }

    /// Records that a request is handed to hyper. Its first write takes it. Returns its number.
    pub(crate) fn arm(&self, tracker: &Arc<Tracker>, is_whole: bool) -> u64 {
        let mut slot = self.slot();
        slot.number += 1;
        if !matches!(slot.state, LaneState::Shut { .. }) {
            slot.state = LaneState::Armed;
            slot.tracker = Some(Arc::clone(tracker));
            slot.is_whole = is_whole;
        }
        slot.number
    }

    /// Ends all writes if this request is still being written: its call was dropped. Returns whether it was being
    /// written.
    pub(crate) fn abandon(&self, number: u64) -> bool {
        let mut slot = self.slot();
        let is_busy = slot.is_busy(number);
        if is_busy {
            slot.shut(&self.socket);
        }
        is_busy
    }

    /// Records that the source of the body has ended: with the next flush, the request is sent.
    pub(crate) fn body_ended(&self) {
        self.slot().is_whole = true;
    }

    /// Returns why the stream broke: the error of the kernel or of TLS, or else `error`.
    pub(crate) fn cause(&self, error: BoxError) -> BoxError {
        match self.slot().broken.clone() {
            Some(broken) => broken.into_error().into(),
            None => error,
        }
    }

    /// Ends all writes. Returns whether a byte of the request may have been written.
    pub(crate) fn shut(&self) -> bool {
        self.slot().shut(&self.socket)
    }

    /// Permits bytes in either direction. Fails once the lane is shut.
    fn pass(&self) -> io::Result<MutexGuard<'_, Slot>> {
        let slot = self.slot();
        match slot.state {
            LaneState::Shut { .. } => Err(io::Error::other(GivenUp)),
            LaneState::Free | LaneState::Armed | LaneState::Taken => Ok(slot),
        }
    }

    /// Permits a write. The first one of a request takes the request.
    fn pass_write(&self) -> io::Result<MutexGuard<'_, Slot>> {
        let slot = self.pass()?;
        let Some(tracker) = slot.armed() else {
            return Ok(slot);
        };
        // A subscriber may be notified of it, so not under the lock.
        drop(slot);
        let is_taken = tracker.take();
        let mut slot = self.pass()?;
        if is_taken {
            slot.before = self.socket.written();
            slot.state = LaneState::Taken;
            return Ok(slot);
        }
        slot.state = LaneState::Shut { written: false };
        drop(slot);
        self.pass()
    }

    /// Records that all buffered bytes are written.
    fn flushed(&self, mut slot: MutexGuard<'_, Slot>) {
        if slot.state != LaneState::Taken || !slot.is_whole {
            return;
        }
        slot.state = LaneState::Free;
        let tracker = slot.tracker.take();
        drop(slot);
        if let Some(tracker) = tracker {
            tracker.sent_all();
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.request.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn is_busy(&self, number: u64) -> bool {
        self.number == number && matches!(self.state, LaneState::Armed | LaneState::Taken)
    }

    fn shut(&mut self, socket: &Socket) -> bool {
        let written = match self.state {
            LaneState::Taken => socket.written() > self.before,
            LaneState::Free => true,
            LaneState::Armed => false,
            LaneState::Shut { written } => written,
        };
        self.state = LaneState::Shut { written };
        self.tracker = None;
        written
    }

    fn armed(&self) -> Option<Arc<Tracker>> {
        let is_armed = self.state == LaneState::Armed;
        self.tracker.clone().filter(|_| is_armed)
    }

    fn wrote(&self) {
        if let Some(tracker) = &self.tracker {
            tracker.moved_on();
        }
    }
}

/// The stream of an HTTP/1 connection, above TLS if there is any.
#[derive(Debug)]
pub(crate) struct Gate<S> {
    inner: S,
    lane: Arc<Lane>,
}

impl<S> Gate<S> {
    pub(crate) const fn new(inner: S, lane: Arc<Lane>) -> Self {
        Self { inner, lane }
    }
}

// The lock is held over each step, because TLS buffers bytes that it may write in a later step, even in a read. So once
// the lane is shut, no byte goes out.
impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut slot = this.lane.pass()?;
        let before = buf.filled().len();
        if let Err(error) = ready!(Pin::new(&mut this.inner).poll_read(cx, buf)) {
            slot.broken = LaneError::of(&error);
            return Poll::Ready(Err(error));
        }
        if slot.state == LaneState::Armed && buf.filled().len() > before {
            // No request was written that this could be the response to.
            slot.state = LaneState::Shut { written: false };
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, STRAY)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let slot = this.lane.pass_write()?;
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, buf))?;
        slot.wrote();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let slot = this.lane.pass_write()?;
        let written = ready!(Pin::new(&mut this.inner).poll_write_vectored(cx, bufs))?;
        slot.wrote();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let slot = this.lane.pass()?;
        ready!(Pin::new(&mut this.inner).poll_flush(cx))?;
        this.lane.flushed(slot);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let _pass = this.lane.pass()?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

/// The error if the attempt was given up: nothing more of it may be sent.
#[derive(Debug)]
pub(crate) struct GivenUp;

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the attempt was given up")
    }
}

impl std::error::Error for GivenUp {}

const STRAY: &str = "the server sent bytes before the request";
