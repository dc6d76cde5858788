//! A connection that can be taken from its protocol, to close, reset or garble it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::ledger::OpenConnection;

/// How a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client has left.
    Gone,
    /// FIN; over TLS a close_notify before it.
    Close,
    /// These raw bytes first, then as for `Close`.
    CloseWith(Bytes),
    /// RST.
    Reset,
}

/// The byte stream of a connection.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Ends the connection in this way. It no longer counts as open after this side has closed it.
    pub(super) async fn finish(mut self, end: End, open: OpenConnection) {
        match end {
            End::Gone => return drop((self, open)),
            End::Reset => {
                // The RST is sent when the socket is dropped. An error means that the peer was faster.
                let _ = self.tcp().set_zero_linger();
                return drop((self, open));
            }
            End::CloseWith(bytes) => {
                let _ = self.write_all(&bytes).await;
                let _ = self.flush().await;
            }
            End::Close => {}
        }
        let _ = self.shutdown().await;
        drop(open);
        self.drain().await;
    }

    /// Discards what the client still sends, until it leaves. A socket that is closed with unread bytes sends a RST,
    /// which may overtake the written bytes.
    pub(super) async fn drain(&mut self) {
        let mut sink = vec![0; 16 * 1024];
        while matches!(self.tcp().read(&mut sink).await, Ok(1..)) {}
    }

    fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_mut().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// A shared handle of a [`Stream`]. The protocol uses one clone and is dropped when it has to end. The owner of the
/// other clone then gets the bare stream back.
#[derive(Clone, Debug)]
pub(super) struct Wire(Arc<Mutex<Stream>>);

impl Wire {
    pub(super) fn new(stream: Stream) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    /// Returns the stream, unless another clone still exists.
    pub(super) fn into_stream(self) -> Option<Stream> {
        let stream = Arc::into_inner(self.0)?;
        Some(stream.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// The lock is held for one poll at a time, never over an await.
    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream()).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_shutdown(cx)
    }
}
