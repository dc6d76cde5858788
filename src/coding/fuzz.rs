//! The decoders, for the fuzz targets.

use bytes::Bytes;
use http::HeaderMap;

use super::codings::{self, Coding};
use super::decoder::{DecodeStep, Decoder};

pub(crate) fn codings(headers: &HeaderMap) {
    let _ = codings::codings(headers);
}

/// Fuzzes a body. The first byte selects the codings, the second one the length of the pieces.
pub(crate) fn body(data: &[u8]) {
    let [which, length, data @ ..] = data else {
        return;
    };
    let one = |bits: u8| match bits & 3 {
        0 => None,
        1 => Some(Coding::Gzip),
        2 => Some(Coding::Deflate),
        _ => Some(Coding::Brotli),
    };
    let codings = [one(*which), one(which >> 2)].into_iter().flatten();
    let mut decoder = Decoder::new(codings.collect());
    let mut pieces = data.chunks(usize::from(*length).max(1));
    let mut decoded = 0;
    while decoded < MOST {
        match decoder.next() {
            Ok(DecodeStep::Piece(piece)) => {
                assert!(!piece.is_empty());
                decoded += piece.len();
            }
            Ok(DecodeStep::Hungry) => match pieces.next() {
                Some(piece) => decoder.feed(Bytes::copy_from_slice(piece)),
                None => decoder.end(),
            },
            Ok(DecodeStep::End) => {
                assert!(pieces.next().is_none(), "bytes are left over");
                return;
            }
            Err(_) => return,
        }
    }
}

/// A small body may grow without bound, because the reader of a body bounds it.
const MOST: usize = 1 << 20;
