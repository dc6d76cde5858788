//! The codings of a body (RFC 9110 §8.4), their decoders, and an encoder.

mod codings;
mod decoder;
mod encoder;
#[cfg(fuzzing)]
pub(crate) mod fuzz;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

pub(crate) use self::codings::{ACCEPTED, Coding, codings};
pub(crate) use self::decoder::{DecodeError, DecodeStep, Decoder};
pub(crate) use self::encoder::{Encoder, gzip};

/// Decodes the beginning of a body, from its first encoded bytes. Returns at most `most_bytes`; `None` if it cannot
/// be decoded.
pub(crate) fn beginning(headers: &HeaderMap, encoded: Bytes, most_bytes: usize) -> Option<Bytes> {
    let mut decoder = Decoder::new(codings(headers).ok()?);
    decoder.feed(encoded);
    let mut decoded = BytesMut::new();
    while decoded.len() < most_bytes {
        match decoder.next().ok()? {
            DecodeStep::Piece(piece) => {
                let room = most_bytes - decoded.len();
                decoded.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            DecodeStep::Hungry | DecodeStep::End => break,
        }
    }
    Some(decoded.freeze())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http::HeaderValue;
    use http::header::CONTENT_ENCODING;

    use super::*;

    fn gzipped(text: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap().into()
    }

    fn read(coding: Option<&'static str>, encoded: impl Into<Bytes>) -> Option<Bytes> {
        let line = coding.map(|name| (CONTENT_ENCODING, HeaderValue::from_static(name)));
        beginning(&line.into_iter().collect(), encoded.into(), 8)
    }

    #[test]
    fn beginning_is_decoded_up_to_its_bound() {
        let long = gzipped(&[b'x'; 100_000]);
        for (coding, encoded, expected) in [
            (None, Bytes::from("short"), Some("short")),
            (None, Bytes::from("a longer one"), Some("a longer")),
            (Some("gzip"), gzipped(b"short"), Some("short")),
            (Some("gzip"), gzipped(b"a longer one"), Some("a longer")),
            (Some("gzip"), long.clone(), Some("xxxxxxxx")),
            (Some("gzip"), long.slice(..long.len() / 2), Some("xxxxxxxx")),
            (Some("gzip"), Bytes::new(), Some("")),
            (Some("gzip"), Bytes::from("not gzip"), None),
            (Some("zstd"), Bytes::from("unknown"), None),
        ] {
            let found = read(coding, encoded);
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{coding:?}");
        }
    }
}
