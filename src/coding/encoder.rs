//! Encodes a body as gzip (RFC 1952). Pure.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{EncodeV2, GzipEncoder};

/// Encodes a body from pieces of data to pieces of gzip data.
pub(crate) struct Encoder {
    encoder: GzipEncoder,
    /// How many bytes went in since the last output.
    held: usize,
    is_over: bool,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self {
            encoder: GzipEncoder::new(LEVEL.into()),
            held: 0,
            is_over: false,
        }
    }

    /// Encodes some of the input. The output may be empty: the encoder holds data back to compress it better.
    pub(crate) fn encode(&mut self, input: &mut Bytes) -> io::Result<Bytes> {
        let step = &input[..input.len().min(PIECE)];
        if step.is_empty() {
            return Ok(Bytes::new());
        }
        let mut taken = 0;
        let encoded = output(|output| {
            let mut step = PartialBuffer::new(step);
            let encoded = self.encoder.encode(&mut step, output);
            taken = step.written_len();
            encoded
        })?;
        input.advance(taken);
        self.held += taken;
        match encoded.is_empty() && self.held >= MOST_HELD_BYTES {
            true => self.flush(),
            false => Ok(self.given(encoded)),
        }
    }

    /// Returns the data that the encoder holds back. Empty if it holds none.
    pub(crate) fn flush(&mut self) -> io::Result<Bytes> {
        if self.held == 0 {
            return Ok(Bytes::new());
        }
        let mut is_flushed = false;
        let flushed = output(|output| {
            is_flushed = self.encoder.flush(output)?;
            Ok(())
        })?;
        if is_flushed {
            self.held = 0;
        }
        Ok(flushed)
    }

    /// Returns the next part of the end of the data. Empty after the last one.
    pub(crate) fn finish(&mut self) -> io::Result<Bytes> {
        if self.is_over {
            return Ok(Bytes::new());
        }
        output(|output| {
            self.is_over = self.encoder.finish(output)?;
            Ok(())
        })
    }

    fn given(&mut self, encoded: Bytes) -> Bytes {
        if !encoded.is_empty() {
            // An upper bound: the last part of the input may still be inside.
            self.held = self.held.min(PIECE);
        }
        encoded
    }
}

/// Returns a whole body as gzip data, if that is shorter.
pub(crate) fn gzip(body: &Bytes) -> Option<Bytes> {
    let (mut encoder, mut input) = (Encoder::new(), body.clone());
    let mut encoded = BytesMut::new();
    while !input.is_empty() {
        encoded.extend_from_slice(&encoder.encode(&mut input).ok()?);
        if encoded.len() >= body.len() {
            return None;
        }
    }
    while let Some(end) = encoder.finish().ok().filter(|end| !end.is_empty()) {
        encoded.extend_from_slice(&end);
    }
    let encoded = encoded.freeze();
    Some(encoded).filter(|encoded| encoder.is_over && encoded.len() < body.len())
}

/// Runs one step of the encoder with an empty buffer.
fn output(step: impl FnOnce(&mut WriteBuffer<'_>) -> io::Result<()>) -> io::Result<Bytes> {
    let mut piece = BytesMut::zeroed(PIECE);
    let mut output = WriteBuffer::new_initialized(&mut piece);
    step(&mut output)?;
    let given = output.written_len();
    piece.truncate(given);
    Ok(piece.freeze())
}

/// The encoder runs on the task of the connection. Higher levels take several times as long, for a few percent.
const LEVEL: Level = Level::Fastest;
/// The most that goes in and comes out in one step.
const PIECE: usize = 16 << 10;
/// Otherwise a body of zeros would be read for seconds before the first output.
const MOST_HELD_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn decoded(encoded: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        GzDecoder::new(encoded).read_to_end(&mut text).unwrap();
        text
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut luck = fastrand::Rng::with_seed(7);
        (0..len).map(|_| luck.u8(..)).collect()
    }

    #[test]
    fn pieces_are_encoded_and_decode_to_the_same() {
        for body in [vec![], b"a".to_vec(), vec![0; 3 << 20], noise(100_000)] {
            for size in [1_000, PIECE, 3 * PIECE] {
                let (mut encoder, mut encoded) = (Encoder::new(), Vec::new());
                for piece in body.chunks(size) {
                    let mut piece = Bytes::copy_from_slice(piece);
                    while !piece.is_empty() {
                        encoded.extend_from_slice(&encoder.encode(&mut piece).unwrap());
                    }
                }
                loop {
                    let end = encoder.finish().unwrap();
                    if end.is_empty() {
                        break;
                    }
                    encoded.extend_from_slice(&end);
                }
                assert!(decoded(&encoded) == body, "{size}");
            }
        }
    }

    #[test]
    fn flush_gives_all_that_went_in_and_nothing_twice() {
        for text in [b"hello".to_vec(), noise(5 * PIECE)] {
            let (mut encoder, mut encoded) = (Encoder::new(), Vec::new());
            let mut input = Bytes::from(text.clone());
            while !input.is_empty() {
                encoded.extend_from_slice(&encoder.encode(&mut input).unwrap());
            }
            loop {
                let held = encoder.flush().unwrap();
                if held.is_empty() {
                    break;
                }
                encoded.extend_from_slice(&held);
            }
            let mut seen = vec![0; text.len()];
            GzDecoder::new(&encoded[..]).read_exact(&mut seen).unwrap();
            assert!(seen == text);
        }
        assert!(Encoder::new().flush().unwrap().is_empty());
    }

    #[test]
    fn long_body_of_zeros_gives_output_while_it_is_read() {
        let (mut encoder, mut input) = (Encoder::new(), Bytes::from(vec![0; 4 << 20]));
        // The header comes at once.
        assert!(!encoder.encode(&mut input).unwrap().is_empty());
        let before = input.len();
        while encoder.encode(&mut input).unwrap().is_empty() {}
        assert!(before - input.len() <= MOST_HELD_BYTES + PIECE);
    }

    #[test]
    fn whole_body_is_encoded_only_if_that_makes_it_shorter() {
        let text = Bytes::from(br#"{"amount":100,"currency":"eur"}"#.repeat(100));
        let encoded = gzip(&text).unwrap();
        assert!(encoded.len() < text.len() / 4, "{}", encoded.len());
        assert_eq!(decoded(&encoded), text);
        for incompressible in [Bytes::new(), Bytes::from("{}"), noise(100_000).into()] {
            assert_eq!(gzip(&incompressible), None);
        }
    }
}
