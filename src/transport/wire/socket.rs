//! The socket of a connection. The connection's task reads and writes; the pool checks the socket before it is used
//! again.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// A stream socket that counts its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Socket(Arc<SocketInner>);

#[derive(Debug)]
struct SocketInner {
    /// Locked for one system call at a time. `None` once the connection is over.
    stream: Mutex<Option<Handle>>,
    written: AtomicU64,
    read: AtomicU64,
    /// Set once only the ends of TLS sessions are written.
    is_closing: AtomicBool,
    ends: SocketEnds,
}

#[derive(Debug)]
enum Handle {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// The addresses of both ends of a connection. A unix socket has none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SocketEnds {
    pub(crate) local: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
}

/// The state of an idle socket, as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Nothing to read.
    Quiet,
    /// There are unread bytes.
    Unread,
    /// The peer has closed or reset the connection.
    Over,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        let ends = SocketEnds {
            local: Some(stream.local_addr()?),
            peer: Some(stream.peer_addr()?),
        };
        Ok(Self::of(Handle::Tcp(stream), ends))
    }

    #[cfg(unix)]
    pub(crate) fn unix(stream: UnixStream) -> Self {
        Self::of(Handle::Unix(stream), SocketEnds::default())
    }

    fn of(stream: Handle, ends: SocketEnds) -> Self {
        Self(Arc::new(SocketInner {
            stream: Mutex::new(Some(stream)),
            written: AtomicU64::new(0),
            read: AtomicU64::new(0),
            is_closing: AtomicBool::new(false),
            ends,
        }))
    }

    pub(crate) fn ends(&self) -> SocketEnds {
        self.0.ends
    }

    /// Returns how many bytes the kernel has taken, without those after [`closing`](Self::closing).
    pub(crate) fn written(&self) -> u64 {
        self.0.written.load(Ordering::Acquire)
    }

    /// Returns how many bytes have come.
    pub(crate) fn read(&self) -> u64 {
        self.0.read.load(Ordering::Acquire)
    }

    /// Asks the kernel. tokio has only the last reported readiness, and may not know of a FIN.
    pub(crate) fn look(&self) -> Sight {
        let guard = self.stream();
        let Some(stream) = &*guard else {
            return Sight::Over;
        };
        let socket = match stream {
            Handle::Tcp(stream) => SockRef::from(stream),
            #[cfg(unix)]
            Handle::Unix(stream) => SockRef::from(stream),
        };
        match socket.peek(&mut [MaybeUninit::uninit()]) {
            Ok(0) => Sight::Over,
            Ok(_) => Sight::Unread,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sight::Quiet,
            Err(_) => Sight::Over,
        }
    }

    /// Closes the descriptor, even if the connection is still referenced.
    pub(crate) fn close(&self) {
        let stream = self.stream().take();
        drop(stream);
    }

    fn with<T>(
        &self,
        step: impl FnOnce(Pin<&mut dyn Duplex>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut *self.stream() {
            Some(Handle::Tcp(stream)) => step(Pin::new(stream)),
            #[cfg(unix)]
            Some(Handle::Unix(stream)) => step(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn stream(&self) -> MutexGuard<'_, Option<Handle>> {
        let stream = self.0.stream.lock();
        stream.unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that no byte of a request is written any more, only the alerts that end the TLS sessions. They are not
    /// counted: a request that was not written is still known to be unsent.
    pub(super) fn closing(&self) {
        self.0.is_closing.store(true, Ordering::Release);
    }

    fn count(&self, written: usize) {
        if !self.0.is_closing.load(Ordering::Acquire) {
            self.0.written.fetch_add(written as u64, Ordering::AcqRel);
        }
    }
}

/// A stream that the kernel implements.
trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(self.with(|stream| stream.poll_read(cx, buf)))?;
        let read = buf.filled().len() - before;
        self.0.read.fetch_add(read as u64, Ordering::AcqRel);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.with(|stream| stream.poll_write(cx, buf)))?;
        self.count(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.with(|stream| stream.poll_write_vectored(cx, bufs)))?;
        self.count(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ours = TcpStream::connect(address).await.unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        (Socket::new(ours).unwrap(), theirs)
    }

    /// Waits until the kernel has received it. Over loopback, bytes have arrived when the write returns.
    async fn readable(socket: &Socket) {
        std::future::poll_fn(|cx| match &*socket.stream() {
            Some(Handle::Tcp(stream)) => stream.poll_read_ready(cx),
            _ => panic!("it is open"),
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn look_sees_stray_bytes_and_the_end_without_reading_them() {
        let (mut ours, mut theirs) = pair().await;
        assert_eq!(ours.look(), Sight::Quiet);
        theirs.write_all(b"HTTP").await.unwrap();
        readable(&ours).await;
        assert_eq!((ours.look(), ours.look()), (Sight::Unread, Sight::Unread));
        let mut four = [0; 4];
        ours.read_exact(&mut four).await.unwrap();
        assert_eq!(
            (&four, ours.read(), ours.look()),
            (b"HTTP", 4, Sight::Quiet)
        );
        drop(theirs);
        while ours.look() == Sight::Quiet {
            tokio::task::yield_now().await;
        }
        assert_eq!(ours.look(), Sight::Over);
    }

    #[tokio::test]
    async fn only_bytes_that_the_kernel_has_taken_are_written() {
        let (mut ours, theirs) = pair().await;
        assert_eq!(ours.written(), 0);
        ours.write_all(b"GET").await.unwrap();
        assert_eq!(ours.written(), 3);
        SockRef::from(&theirs)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
        drop(theirs);
        while ours.look() == Sight::Quiet {
            tokio::task::yield_now().await;
        }
        ours.write_all(b"GET").await.unwrap_err();
        assert_eq!(ours.written(), 3);
    }
}
