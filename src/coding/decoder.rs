//! The decoders of a body, in a chain. Pure. A body is checked to its last byte.

use std::fmt;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{BrotliDecoder, DecodeV2, GzipDecoder, ZlibDecoder};

use super::Coding;
use crate::hop::{Hop, Kind};

/// Decodes a body from pieces of encoded data to pieces of decoded data.
pub(crate) struct Decoder {
    /// In the order in which the codings were applied. The last stage reads from the wire.
    stages: Vec<CodingStage>,
    wire: Wire,
}

/// The unread part of a piece from the wire.
#[derive(Default)]
struct Wire {
    piece: Bytes,
    is_over: bool,
}

/// The result of one step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DecodeStep {
    Piece(Bytes),
    /// The decoder needs another piece, or the end.
    Hungry,
    End,
}

/// Why a body does not fit its codings.
#[derive(Debug)]
pub(crate) enum DecodeError {
    /// The body ends before the coded data does.
    Short(Coding),
    /// Bytes follow that do not belong to the coded data.
    Long(Coding),
    /// The coded data is corrupt. The texts of the decoders are constants.
    Corrupt(Coding, io::Error),
    /// The coded data decodes to almost nothing.
    Hollow(Coding),
}

impl Decoder {
    pub(crate) fn new(codings: Vec<Coding>) -> Self {
        Self {
            stages: codings.into_iter().map(CodingStage::new).collect(),
            wire: Wire::default(),
        }
    }

    /// Takes the next piece. Call it only after [`Hungry`](DecodeStep::Hungry).
    pub(crate) fn feed(&mut self, piece: Bytes) {
        self.wire.piece = piece;
    }

    /// Takes the end of the body.
    pub(crate) fn end(&mut self) {
        self.wire.is_over = true;
    }

    /// Decodes the next piece.
    pub(crate) fn next(&mut self) -> Result<DecodeStep, DecodeError> {
        next(&mut self.stages, &mut self.wire)
    }
}

/// Returns the next piece from the first of these stages.
fn next(stages: &mut [CodingStage], wire: &mut Wire) -> Result<DecodeStep, DecodeError> {
    let Some((stage, before)) = stages.split_first_mut() else {
        return Ok(match std::mem::take(&mut wire.piece) {
            piece if !piece.is_empty() => DecodeStep::Piece(piece),
            _ if wire.is_over => DecodeStep::End,
            _ => DecodeStep::Hungry,
        });
    };
    loop {
        if stage.is_drained() {
            match next(before, wire)? {
                DecodeStep::Piece(piece) => stage.input = piece,
                DecodeStep::Hungry => return Ok(DecodeStep::Hungry),
                DecodeStep::End => return stage.end(),
            }
        }
        if let Some(piece) = stage.decode()? {
            return Ok(DecodeStep::Piece(piece));
        }
    }
}

/// The decoder of one coding.
struct CodingStage {
    coding: Coding,
    decoder: Box<dyn DecodeV2 + Send>,
    input: Bytes,
    place: CodingPlace,
    /// Whether the last piece filled its buffer. Then there may be more without further input.
    is_full: bool,
    taken: u64,
    given: u64,
}

/// The position of a stage in the coded data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CodingPlace {
    Start,
    Within,
    /// After a member. Another member may follow, if the coding allows several.
    After,
}

impl CodingStage {
    fn new(coding: Coding) -> Self {
        let decoder: Box<dyn DecodeV2 + Send> = match coding {
            Coding::Gzip => Box::new(GzipDecoder::new()),
            Coding::Deflate => Box::new(ZlibDecoder::new()),
            Coding::Brotli => Box::new(BrotliDecoder::new()),
        };
        Self {
            coding,
            decoder,
            input: Bytes::new(),
            place: CodingPlace::Start,
            is_full: false,
            taken: 0,
            given: 0,
        }
    }

    fn is_drained(&self) -> bool {
        self.input.is_empty() && !self.is_full
    }

    /// Handles the end of the input.
    fn end(&self) -> Result<DecodeStep, DecodeError> {
        match self.place {
            // The body is empty: some servers set the header on an empty body.
            CodingPlace::Start | CodingPlace::After => Ok(DecodeStep::End),
            CodingPlace::Within => Err(DecodeError::Short(self.coding)),
        }
    }

    /// Decodes some of the input.
    fn decode(&mut self) -> Result<Option<Bytes>, DecodeError> {
        if self.place == CodingPlace::After {
            self.begin_member()?;
        }
        self.place = CodingPlace::Within;
        let mut out = BytesMut::zeroed(PIECE);
        let mut input = PartialBuffer::new(&self.input[..]);
        let mut output = WriteBuffer::new_initialized(&mut out);
        let decoded = self.decoder.decode(&mut input, &mut output);
        let (taken, given) = (input.written_len(), output.written_len());
        let had_input = !self.input.is_empty();
        self.input.advance(taken);
        self.is_full = given == PIECE;
        match decoded {
            Ok(true) => {
                self.place = CodingPlace::After;
                self.is_full = false;
            }
            Ok(false) if had_input && taken + given == 0 => {
                return Err(self.corrupt(io::ErrorKind::InvalidData.into()));
            }
            // Without input, decoders fail when they have no output left.
            Ok(false) | Err(_) if !had_input => {}
            Ok(false) => {}
            Err(error) => return Err(self.corrupt(error)),
        }
        self.taken += taken as u64;
        self.given += given as u64;
        if self.taken > 2 * self.given + MOST_OVERHEAD {
            return Err(DecodeError::Hollow(self.coding));
        }
        out.truncate(given);
        Ok(Some(out.freeze()).filter(|piece| !piece.is_empty()))
    }

    /// Begins another member. Fails if the next bytes do not begin one.
    fn begin_member(&mut self) -> Result<(), DecodeError> {
        // RFC 1952 §2.2: members follow one another, without bytes between or behind them. So zero padding fails, too:
        // it could hide a member that was lost.
        if self.coding != Coding::Gzip || self.input.first() != Some(&GZIP_ID1) {
            return Err(DecodeError::Long(self.coding));
        }
        self.decoder.reinit().map_err(|error| self.corrupt(error))
    }

    fn corrupt(&self, error: io::Error) -> DecodeError {
        DecodeError::Corrupt(self.coding, error)
    }
}

impl DecodeError {
    /// Returns the hop and kind of the failure. A body whose coding ends elsewhere was damaged on its way.
    pub(crate) const fn place(&self) -> (Hop, Kind) {
        match self {
            Self::Short(_) | Self::Long(_) => (Hop::Receive, Kind::Incomplete),
            Self::Corrupt(..) | Self::Hollow(_) => (Hop::Decode, Kind::Malformed),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short(coding) => write!(f, "the {} data breaks off", coding.name()),
            Self::Long(coding) => {
                write!(f, "bytes are left over after the {} data", coding.name())
            }
            Self::Corrupt(coding, error) => {
                write!(f, "the {} data is corrupt: {error}", coding.name())
            }
            Self::Hollow(coding) => {
                write!(
                    f,
                    "the {} data is far longer than its content",
                    coding.name()
                )
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// The most that one step decodes. A response of an API fits, and a bomb is detected after one step.
const PIECE: usize = 8 << 10;
/// The first byte of each member (RFC 1952 §2.3.1).
const GZIP_ID1: u8 = 0x1f;
/// Bounds the headers of members and the blocks without content. Without this bound a body that decodes to nothing,
/// again and again, would keep a core busy: body limits count only decoded bytes.
const MOST_OVERHEAD: u64 = 1 << 20;

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;
