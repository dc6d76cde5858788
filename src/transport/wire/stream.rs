//! The stream below HTTP: a socket, TLS over a socket, or TLS through TLS to a proxy.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use rustls::{ClientConnection, HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::socket::Socket;
use crate::hop::TlsSession;

/// A stream of bytes to a server or a proxy.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(Socket),
    Tls(Box<Tls>),
}

/// A TLS session over another stream.
#[derive(Debug)]
pub(crate) struct Tls {
    stream: TlsStream<Stream>,
    /// The number of session tickets that have come.
    tickets: Arc<AtomicU32>,
    failed: Option<io::Error>,
    /// Whether its end was written. rustls itself would still accept data.
    is_closing: bool,
}

impl Stream {
    pub(crate) fn secured(stream: TlsStream<Self>, tickets: Arc<AtomicU32>) -> Self {
        Self::Tls(Box::new(Tls {
            stream,
            tickets,
            failed: None,
            is_closing: false,
        }))
    }

    /// Returns the innermost TLS session.
    pub(crate) fn session(&self) -> Option<&ClientConnection> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => Some(tls.stream.get_ref().1),
        }
    }

    /// Returns the socket, unless a TLS session still has bytes to write.
    fn flushed(&self) -> Option<&Socket> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Tls(tls) => tls.flushed(),
        }
    }

    /// Returns whether the server chose HTTP/2 in the handshake.
    pub(crate) fn chose_http2(&self) -> bool {
        let session = self.session();
        session.is_some_and(|session| session.alpn_protocol() == Some(b"h2"))
    }

    /// Returns the facts of the TLS session.
    pub(crate) fn tls(&self) -> Option<TlsSession> {
        let session = self.session()?;
        Some(TlsSession {
            version: match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "1.3",
                _ => "1.2",
            },
            alpn: session.alpn_protocol().map(|protocol| match protocol {
                b"h2" => "h2",
                b"http/1.1" => "http/1.1",
                _ => "other",
            }),
            is_resumed: Some(session.handshake_kind() == Some(HandshakeKind::Resumed)),
        })
    }
}

impl Tls {
    /// Returns the bytes that came before an error, and then the error: rustls reports an alert before the bytes that
    /// came with it.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.failed.is_none() {
            match ready!(Pin::new(&mut self.stream).poll_read(cx, buf)) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(error) => self.failed = Some(error),
            }
        }
        let mut plain = self.stream.get_mut().1.reader();
        if let Ok(read) = plain.read(buf.initialize_unfilled())
            && read > 0
        {
            buf.advance(read);
            return Poll::Ready(Ok(()));
        }
        let again = || io::Error::from(io::ErrorKind::NotConnected);
        Poll::Ready(Err(self.failed.replace(again()).unwrap_or_else(again)))
    }

    fn writer(&mut self) -> io::Result<Pin<&mut TlsStream<Stream>>> {
        match self.is_closing {
            false => Ok(Pin::new(&mut self.stream)),
            true => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flushed(&self) -> Option<&Socket> {
        let (stream, session) = self.stream.get_ref();
        stream.flushed().filter(|_| !session.wants_write())
    }

    fn count(&self) {
        let came = self.stream.get_ref().1.tls13_tickets_received();
        self.tickets.store(came, Ordering::Release);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(tls) => {
                let read = tls.poll_read(cx, buf);
                tls.count();
                read
            }
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
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(tls) => tls.writer()?.poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => tls.writer()?.poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            // The error is kept until the bytes before it were read.
            Self::Tls(tls) if tls.failed.is_some() => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(tls) => {
                if let Some(socket) = tls.flushed() {
                    socket.closing();
                }
                tls.is_closing = true;
                Pin::new(&mut tls.stream).poll_shutdown(cx)
            }
        }
    }
}
