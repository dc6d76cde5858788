//! A server that writes raw bytes, and HTTP/2 frames by hand.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sevenhops::Client;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(super) use crate::frozen::Frozen;
use crate::net::Net;

/// Serves each connection with `serve`, which gets the number of the connection.
pub(super) async fn serve<F>(serve: impl Fn(TcpStream, usize) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 1.. {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            stream.set_nodelay(true).unwrap();
            tokio::spawn(serve(stream, number));
        }
    });
    address
}

/// Returns a client that uses HTTP/2 without TLS.
pub(super) fn http2_client(net: &Net) -> Client {
    let builder = net.builder();
    let builder = builder.transport(|transport| transport.http2_prior_knowledge(true));
    builder.build().unwrap()
}

/// Reads a request without a body, or a part of it if the client closes.
pub(super) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}

/// Reads a request whose body has this length.
pub(super) async fn read_request(
    stream: &mut (impl AsyncRead + Unpin),
    body: usize,
) -> io::Result<String> {
    let head = read_head(stream).await?;
    stream.read_exact(&mut vec![0; body]).await?;
    Ok(head)
}

/// The greatest number that was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Most(Arc<AtomicUsize>);

impl Most {
    pub(super) fn see(&self, number: usize) {
        self.0.fetch_max(number, Ordering::AcqRel);
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Returns the settings of a server that allows this number of streams.
pub(super) fn settings(streams: u32) -> Vec<u8> {
    let mut payload = vec![0, 3];
    payload.extend(streams.to_be_bytes());
    frame(SETTINGS, 0, 0, &payload)
}

/// Returns the head of a response, with a content-length if there is one (RFC 7541: no entry is indexed).
pub(super) fn head(stream: u32, status: u16, length: Option<usize>, flags: u8) -> Vec<u8> {
    let mut block = vec![0x08, 3];
    block.extend(status.to_string().bytes());
    if let Some(length) = length {
        let digits = length.to_string();
        block.extend([0x0f, 0x0d, u8::try_from(digits.len()).unwrap()]);
        block.extend(digits.bytes());
    }
    frame(HEADERS, END_HEADERS | flags, stream, &block)
}

pub(super) fn data(stream: u32, payload: &[u8], flags: u8) -> Vec<u8> {
    frame(DATA, flags, stream, payload)
}

pub(super) fn reset(stream: u32, reason: h2::Reason) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &u32::from(reason).to_be_bytes())
}

pub(super) fn go_away(last: u32, reason: h2::Reason) -> Vec<u8> {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend(u32::from(reason).to_be_bytes());
    frame(GOAWAY, 0, 0, &payload)
}

/// The server's end of an HTTP/2 connection. It acknowledges settings and, unless the test forbids it, pings.
pub(super) struct Peer<S> {
    pub(super) stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Reads the preface and sends settings.
    pub(super) async fn accept(mut stream: S, streams: u32) -> io::Result<Self> {
        stream.read_exact(&mut [0; 24]).await?;
        stream.write_all(&settings(streams)).await?;
        Ok(Self { stream })
    }

    pub(super) async fn write(&mut self, frames: &[Vec<u8>]) -> io::Result<()> {
        self.stream.write_all(&frames.concat()).await
    }

    /// Returns the next frame of a request, or a reset.
    pub(super) async fn next(&mut self) -> io::Result<Frame> {
        loop {
            let frame = self.read().await?;
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => {
                    self.write(&[super::raw::frame(SETTINGS, ACK, 0, &[])])
                        .await?;
                }
                PING if frame.flags & ACK == 0 => {
                    let pong = super::raw::frame(PING, ACK, 0, &frame.payload);
                    self.write(&[pong]).await?;
                }
                DATA | HEADERS | RST_STREAM => return Ok(frame),
                _ => {}
            }
        }
    }

    /// Returns the stream of the next request.
    pub(super) async fn request(&mut self) -> io::Result<u32> {
        loop {
            let frame = self.next().await?;
            if frame.kind == HEADERS {
                return Ok(frame.stream);
            }
        }
    }

    pub(super) async fn read(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload).await?;
        Ok(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(stream),
            payload,
        })
    }

    /// Reads until the client closes.
    pub(super) async fn linger(&mut self) -> io::Result<()> {
        loop {
            self.next().await?;
        }
    }
}
