//! Reads HTTP/1.1 requests piece by piece, so that a reply can act between the pieces.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The first part of a request.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
}

impl Head {
    /// Returns whether the client wants to use the connection again.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.version == Version::HTTP_11 && !says(&self.headers, &CONNECTION, "close")
    }
}

/// Reads requests from one connection.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    source: R,
    buffer: BytesMut,
    rest: Rest,
}

/// The part of the body that is still to come.
#[derive(Clone, Copy, Debug)]
enum Rest {
    Nothing,
    Length(u64),
    /// A line with the size of the next chunk.
    ChunkSize,
    /// A chunk, and the line end after it.
    Chunk(u64),
    ChunkEnd,
    /// Lines up to an empty one.
    Trailers,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            source,
            buffer: BytesMut::new(),
            rest: Rest::Nothing,
        }
    }

    /// Returns the source of the bytes, to write responses to.
    pub(crate) fn source(&mut self) -> &mut R {
        &mut self.source
    }

    /// Returns the source, and the bytes that were read beyond the current request.
    pub(crate) fn into_parts(self) -> (R, BytesMut) {
        (self.source, self.buffer)
    }

    /// Reads the next head; `None` if the client left instead. The earlier body must have been read.
    ///
    /// # Errors
    ///
    /// Returns `InvalidData` if it is not a head.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some((head, length)) = parse_head(&self.buffer)? {
                self.buffer.advance(length);
                self.rest = framing(&head.headers)?;
                return Ok(Some(head));
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    /// Reads a piece of the body; `None` at its end.
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEof` if the client left before the end, and `InvalidData` if a chunk is malformed.
    pub(crate) async fn data(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self.rest {
                Rest::Nothing => return Ok(None),
                Rest::Length(0) => self.rest = Rest::Nothing,
                Rest::Length(rest) => {
                    let data = self.up_to(rest).await?;
                    self.rest = Rest::Length(rest - data.len() as u64);
                    return Ok(Some(data));
                }
                Rest::Chunk(0) => self.rest = Rest::ChunkEnd,
                Rest::Chunk(rest) => {
                    let data = self.up_to(rest).await?;
                    self.rest = Rest::Chunk(rest - data.len() as u64);
                    return Ok(Some(data));
                }
                Rest::ChunkEnd => {
                    self.line().await?;
                    self.rest = Rest::ChunkSize;
                }
                Rest::ChunkSize => {
                    self.rest = match chunk_size(&self.line().await?)? {
                        0 => Rest::Trailers,
                        size => Rest::Chunk(size),
                    };
                }
                Rest::Trailers => {
                    if self.line().await?.is_empty() {
                        self.rest = Rest::Nothing;
                    }
                }
            }
        }
    }

    /// Waits for bytes beyond the current request. Returns `false` if the client leaves first.
    pub(crate) async fn next_bytes(&mut self) -> bool {
        !self.buffer.is_empty() || matches!(self.more().await, Ok(true))
    }

    /// Waits until the client leaves. Bytes that it sends meanwhile are kept for the next head.
    pub(crate) async fn left(&mut self) {
        while matches!(self.more().await, Ok(true)) {}
    }

    async fn up_to(&mut self, most: u64) -> io::Result<Bytes> {
        if self.buffer.is_empty() && !self.more().await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = usize::try_from(most).map_or(self.buffer.len(), |m| m.min(self.buffer.len()));
        Ok(self.buffer.split_to(length).freeze())
    }

    /// Reads a line and returns it without its end.
    async fn line(&mut self) -> io::Result<BytesMut> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(end + 1);
                line.truncate(line.trim_ascii_end().len());
                return Ok(line);
            }
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn more(&mut self) -> io::Result<bool> {
        self.buffer.reserve(READ_SIZE);
        Ok(self.source.read_buf(&mut self.buffer).await? > 0)
    }
}

fn parse_head(bytes: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = request.parse(bytes).map_err(invalid)? else {
        return Ok(None);
    };
    let mut head = Head {
        method: request
            .method
            .unwrap_or_default()
            .parse()
            .map_err(invalid)?,
        target: request.path.unwrap_or_default().to_owned(),
        version: match request.version {
            Some(0) => Version::HTTP_10,
            _ => Version::HTTP_11,
        },
        headers: HeaderMap::new(),
    };
    for header in request.headers.iter() {
        let name = HeaderName::try_from(header.name).map_err(invalid)?;
        let value = HeaderValue::from_bytes(header.value).map_err(invalid)?;
        head.headers.append(name, value);
    }
    Ok(Some((head, length)))
}

/// Returns how the body ends (RFC 9112 §6.3). Chunked takes precedence over a content-length. Without either there is
/// no body.
fn framing(headers: &HeaderMap) -> io::Result<Rest> {
    if says(headers, &TRANSFER_ENCODING, "chunked") {
        return Ok(Rest::ChunkSize);
    }
    let Some(length) = headers.get(CONTENT_LENGTH) else {
        return Ok(Rest::Nothing);
    };
    let length = length.to_str().map_err(invalid)?;
    Ok(Rest::Length(length.parse().map_err(invalid)?))
}

fn chunk_size(line: &[u8]) -> io::Result<u64> {
    let line = std::str::from_utf8(line).map_err(invalid)?;
    let digits = line.split(';').next().unwrap_or_default().trim();
    u64::from_str_radix(digits, 16).map_err(invalid)
}

/// Returns whether the comma-separated header `name` lists `token`.
fn says(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

const MOST_HEADERS: usize = 128;

/// The size of one read. It is small, so that the ledger shows a body while it arrives.
const READ_SIZE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_chunked_body_ends_behind_its_trailers() {
        let mut reader = Reader::new(
            &b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n\
               3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nt: v\r\n\r\nGET /next HTTP/1.1\r\n\r\n"[..],
        );

        reader.head().await.unwrap().unwrap();

        assert_eq!(body(&mut reader).await.unwrap(), b"abc0123456789");
        assert_eq!(reader.head().await.unwrap().unwrap().target, "/next");
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_an_unexpected_end() {
        let text = &b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nabc"[..];
        let mut reader = Reader::new(text);

        reader.head().await.unwrap().unwrap();

        let error = body(&mut reader).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_is_no_head_is_invalid() {
        let mut reader = Reader::new(&b"\x16\x03\x01 not http\r\n\r\n"[..]);

        let error = reader.head().await.unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    async fn body(reader: &mut Reader<&[u8]>) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(data) = reader.data().await? {
            body.extend_from_slice(&data);
        }
        Ok(body)
    }
}
