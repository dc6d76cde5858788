//! Tests the lane of an HTTP/1 connection: the first write, giving up, and the end of the writing race.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use loom::sync::Arc;
use loom::thread;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::wire::lane::{Gate, Lane};
use self::wire::socket::Socket;
use crate::record::Tracker;

#[expect(
    dead_code,
    reason = "the library uses the rest; only what threads share is modeled"
)]
#[path = "../src/transport/wire"]
mod wire {
    pub(crate) mod lane;

    /// Loom's primitives, in place of the standard library's.
    mod sync {
        pub(super) use loom::sync::{Arc, Mutex, MutexGuard};
        pub(super) use std::sync::PoisonError;
    }

    /// Counts the bytes that the kernel has taken.
    pub(crate) mod socket {
        use loom::sync::Arc;
        use loom::sync::atomic::{AtomicU64, Ordering};

        #[derive(Clone, Debug)]
        pub(crate) struct Socket(Arc<AtomicU64>);

        impl Socket {
            pub(crate) fn new() -> Self {
                Self(Arc::new(AtomicU64::new(0)))
            }

            pub(crate) fn written(&self) -> u64 {
                self.0.load(Ordering::Acquire)
            }

            pub(crate) fn write(&self, bytes: usize) {
                self.0.fetch_add(bytes as u64, Ordering::AcqRel);
            }
        }
    }
}

/// A stream that takes every byte at once.
struct Wire(Socket);

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.write(bytes.len());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    /// The peer sends bytes without a request.
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buf.put_slice(b"HTTP/1.1 408");
        Poll::Ready(Ok(()))
    }
}

/// A stream that takes some bytes, and then breaks.
struct Breaks(Socket, usize);

impl AsyncWrite for Breaks {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &[u8],
    ) -> Poll<io::Result<usize>> {
        match std::mem::take(&mut self.1) {
            0 => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            taken => {
                self.0.write(taken);
                Poll::Ready(Ok(taken))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A request that was handed to the connection, whose task has not written it.
struct Armed {
    tracker: Arc<Tracker>,
    lane: Arc<Lane>,
    socket: Socket,
}

impl Armed {
    fn new() -> Self {
        let socket = Socket::new();
        let lane = Arc::new(Lane::new(socket.clone()));
        let tracker = Arc::new(Tracker::new());
        tracker.queued();
        lane.arm(&tracker, true);
        Self {
            tracker,
            lane,
            socket,
        }
    }

    fn gate(&self) -> Gate<Wire> {
        Gate::new(Wire(self.socket.clone()), Arc::clone(&self.lane))
    }
}

/// Writes a request in two pieces, as the connection's task does. Returns false if the lane refused one.
fn write(mut gate: Gate<Wire>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    let mut gate = Pin::new(&mut gate);
    let mut written = true;
    for piece in [&b"POST"[..], b"body"] {
        let polled = gate.as_mut().poll_write(&mut context, piece);
        written &= matches!(polled, Poll::Ready(Ok(_)));
    }
    let flushed = gate.as_mut().poll_flush(&mut context);
    written && matches!(flushed, Poll::Ready(Ok(())))
}

#[test]
fn request_that_was_given_up_is_never_written() {
    loom::model(|| {
        let armed = Armed::new();
        let gate = armed.gate();
        let writing = thread::spawn(move || write(gate));
        let was_taken = armed.tracker.give_up();
        let is_written = writing.join().unwrap();
        assert_eq!(is_written, was_taken, "as the giver was told");
        assert_eq!(armed.socket.written() > 0, was_taken);
    });
}

#[test]
fn request_that_is_called_unsent_is_never_written_afterwards() {
    loom::model(|| {
        let armed = Armed::new();
        let gate = armed.gate();
        let writing = thread::spawn(move || write(gate));
        let may_be_written = armed.lane.shut();
        let before = armed.socket.written();
        writing.join().unwrap();
        assert_eq!(armed.socket.written(), before, "written after the end");
        assert!(may_be_written || before == 0, "called unsent");
        assert!(before == 0 || armed.tracker.is_taken());
    });
}

#[test]
fn end_of_the_writes_and_giving_up_agree_with_the_wire() {
    loom::model(|| {
        let armed = Armed::new();
        let gate = armed.gate();
        let writing = thread::spawn(move || write(gate));
        let ending = {
            let lane = Arc::clone(&armed.lane);
            thread::spawn(move || lane.shut())
        };
        let was_taken = armed.tracker.give_up();
        writing.join().unwrap();
        let may_be_written = ending.join().unwrap();
        let is_written = armed.socket.written() > 0;
        assert!(!is_written || was_taken && may_be_written);
    });
}

#[test]
fn request_counts_as_written_if_the_kernel_took_a_byte_of_it() {
    loom::model(|| {
        for (taken, is_written) in [(0, false), (1, true)] {
            let armed = Armed::new();
            // Of requests before this one.
            armed.socket.write(7);
            let stream = Breaks(armed.socket.clone(), taken);
            let mut gate = Gate::new(stream, Arc::clone(&armed.lane));
            let mut context = Context::from_waker(Waker::noop());
            let _ = Pin::new(&mut gate).poll_write(&mut context, b"POST");
            assert!(armed.tracker.is_taken());
            assert_eq!(armed.lane.shut(), is_written, "{taken} bytes");
            assert_eq!(armed.lane.shut(), is_written, "{taken} bytes, again");
        }
    });
}

#[test]
fn dropped_call_ends_the_writes_of_its_own_request_only() {
    loom::model(|| {
        let armed = Armed::new();
        let leaving = {
            let lane = Arc::clone(&armed.lane);
            thread::spawn(move || lane.abandon(1))
        };
        let is_sent = write(armed.gate());
        armed.lane.arm(&Arc::new(Tracker::new()), true);
        let was_ended = leaving.join().unwrap();
        assert_eq!(is_sent, !was_ended);
        let is_written = write(armed.gate());
        assert_eq!(is_written, !was_ended, "the request after it");
    });
}

#[test]
fn request_that_no_write_has_begun_was_not_written() {
    loom::model(|| {
        let armed = Armed::new();
        armed.socket.write(7);
        assert!(!armed.lane.shut());
        assert!(!armed.tracker.is_taken());
    });
}

#[test]
fn bytes_before_the_request_end_the_connection_and_not_the_request() {
    loom::model(|| {
        let armed = Armed::new();
        let mut gate = armed.gate();
        let mut bytes = [0; 16];
        let mut buf = ReadBuf::new(&mut bytes);
        let mut context = Context::from_waker(Waker::noop());
        let read = Pin::new(&mut gate).poll_read(&mut context, &mut buf);
        assert!(matches!(read, Poll::Ready(Err(_))));
        assert!(!write(gate));
        assert!(!armed.lane.shut(), "it may be sent on another connection");
        assert_eq!(armed.socket.written(), 0);
        assert!(!armed.tracker.is_taken());
    });
}
