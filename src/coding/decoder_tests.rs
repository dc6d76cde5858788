use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::Coding::{Brotli, Deflate, Gzip};
use super::*;

fn encode(coding: Coding, text: &[u8]) -> Vec<u8> {
    match coding {
        Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        }
        Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        }
        Brotli => {
            let mut encoded = Vec::new();
            let mut text = text;
            let options = brotli::enc::BrotliEncoderParams {
                quality: 2,
                ..Default::default()
            };
            brotli::BrotliCompress(&mut text, &mut encoded, &options).unwrap();
            encoded
        }
    }
}

/// Decodes a body that comes in these pieces, and keeps at most `most` bytes of it.
fn decode_most(
    codings: &[Coding],
    pieces: &[&[u8]],
    most: usize,
) -> Result<Vec<u8>, (DecodeError, usize)> {
    let mut decoder = Decoder::new(codings.to_vec());
    let mut pieces = pieces.iter();
    let mut decoded = Vec::new();
    while decoded.len() < most {
        match decoder.next().map_err(|broken| (broken, decoded.len()))? {
            DecodeStep::Piece(piece) => {
                assert!((1..=PIECE).contains(&piece.len()));
                decoded.extend_from_slice(&piece);
            }
            DecodeStep::Hungry => match pieces.next() {
                Some(piece) => decoder.feed(Bytes::copy_from_slice(piece)),
                None => decoder.end(),
            },
            DecodeStep::End => break,
        }
    }
    Ok(decoded)
}

fn decode(codings: &[Coding], pieces: &[&[u8]]) -> Result<Vec<u8>, DecodeError> {
    decode_most(codings, pieces, usize::MAX).map_err(|(broken, _)| broken)
}

/// Returns the failure of a corrupt body.
fn broken(codings: &[Coding], body: &[u8]) -> (Hop, Kind, String) {
    let broken = decode(codings, &[body]).unwrap_err();
    let (hop, kind) = broken.place();
    (hop, kind, broken.to_string())
}

const TEXT: &[u8] = br#"{"id":"ch_1","amount":100,"currency":"eur"}"#;
const ALL: [Coding; 3] = [Gzip, Deflate, Brotli];
const INCOMPLETE: (Hop, Kind) = (Hop::Receive, Kind::Incomplete);
const MALFORMED: (Hop, Kind) = (Hop::Decode, Kind::Malformed);

#[test]
fn every_member_is_decoded_wherever_the_body_is_split() {
    let mut members = encode(Gzip, TEXT);
    members.extend(encode(Gzip, b""));
    members.extend(encode(Gzip, b", and more"));
    let whole = [TEXT, b", and more"].concat();
    for at in 0..=members.len() {
        let (first, second) = members.split_at(at);
        assert_eq!(decode(&[Gzip], &[first, second]).unwrap(), whole, "{at}");
    }
    let bytes: Vec<_> = members.chunks(1).collect();
    assert_eq!(decode(&[Gzip], &bytes).unwrap(), whole);
}

#[test]
fn body_that_is_cut_anywhere_is_incomplete_in_every_coding() {
    for coding in ALL {
        let encoded = encode(coding, TEXT);
        for at in 1..encoded.len() {
            let (hop, kind, text) = broken(&[coding], &encoded[..at]);
            assert_eq!((hop, kind), INCOMPLETE, "{coding:?} {at}: {text}");
        }
    }
    let members = [encode(Gzip, TEXT), encode(Gzip, TEXT)].concat();
    let boundary = members.len() / 2;
    for at in (1..members.len()).filter(|at| *at != boundary) {
        let (hop, kind, text) = broken(&[Gzip], &members[..at]);
        assert_eq!((hop, kind), INCOMPLETE, "{at}: {text}");
    }
}

#[test]
fn surplus_bytes_fail_in_every_coding_and_every_split() {
    for coding in ALL {
        for rest in [&b"\0"[..], b"\0\0\0\0\0\0\0\0", b"garbage", b"{}"] {
            let body = [&encode(coding, TEXT), rest].concat();
            let expected = format!("bytes are left over after the {} data", coding.name());
            let (hop, kind, text) = broken(&[coding], &body);
            assert_eq!(((hop, kind), text), (INCOMPLETE, expected), "{rest:?}");
            for at in 0..body.len() {
                let (first, second) = body.split_at(at);
                let error = decode(&[coding], &[first, second]).unwrap_err();
                assert!(matches!(error, DecodeError::Long(_)), "{at}: {error}");
            }
        }
    }
    let half_a_member = [encode(Gzip, TEXT), b"\x1f\x8b\x08".to_vec()].concat();
    let (hop, kind, _) = broken(&[Gzip], &half_a_member);
    assert_eq!((hop, kind), INCOMPLETE);
    let second = [encode(Deflate, TEXT), encode(Deflate, TEXT)].concat();
    assert!(matches!(
        decode(&[Deflate], &[&second]),
        Err(DecodeError::Long(Deflate))
    ));
}

#[test]
fn every_flipped_bit_is_detected_in_codings_with_a_checksum() {
    for coding in [Gzip, Deflate] {
        let encoded = encode(coding, TEXT);
        // Bytes 4 to 9 of a gzip header are its time, its level and its system.
        let checked = |at: &usize| coding != Gzip || !(4..10).contains(at);
        for at in (0..encoded.len()).filter(checked) {
            for bit in 0..8 {
                let mut flipped = encoded.clone();
                flipped[at] ^= 1 << bit;
                let read = decode(&[coding], &[&flipped]);
                assert!(
                    read.is_err() || read.is_ok_and(|read| read == TEXT),
                    "{coding:?} {at}.{bit}"
                );
            }
        }
    }
}

#[test]
fn corrupt_data_is_malformed_and_says_so() {
    let gzip = encode(Gzip, TEXT);
    let mut checksum = gzip.clone();
    let crc = gzip.len() - 8;
    checksum[crc] ^= 1;
    let mut length = gzip.clone();
    length[crc + 4] ^= 1;
    let bad_member = [gzip, b"\x1f\x00not gzip".to_vec()].concat();
    for (coding, body, why) in [
        (Gzip, checksum, "CRC computed does not match"),
        (Gzip, length, "amount of bytes read does not match"),
        (Gzip, b"no gzip".to_vec(), "Invalid gzip header"),
        (Gzip, bad_member, "Invalid gzip header"),
        (
            Deflate,
            b"\xff\xff\xff".to_vec(),
            "deflate decompression error",
        ),
        (Brotli, vec![0xff; 64], "brotli error"),
    ] {
        let (hop, kind, text) = broken(&[coding], &body);
        assert_eq!((hop, kind), MALFORMED, "{text}");
        assert_eq!(
            text,
            format!("the {} data is corrupt: {why}", coding.name())
        );
    }
}

#[test]
fn codings_are_removed_in_the_order_in_which_they_were_applied() {
    for first in ALL {
        for second in ALL {
            let body = encode(second, &encode(first, TEXT));
            assert_eq!(decode(&[first, second], &[&body]).unwrap(), TEXT);
            let bytes: Vec<_> = body.chunks(1).collect();
            assert_eq!(decode(&[first, second], &bytes).unwrap(), TEXT);
            // The end of the inner coding is checked as well.
            let inner = [encode(first, TEXT), b"\0".to_vec()].concat();
            let error = decode(&[first, second], &[&encode(second, &inner)]).unwrap_err();
            assert!(matches!(error, DecodeError::Long(coding) if coding == first));
            let mut inner = encode(first, TEXT);
            inner.pop();
            let error = decode(&[first, second], &[&encode(second, &inner)]).unwrap_err();
            assert!(matches!(error, DecodeError::Short(coding) if coding == first));
        }
    }
}

#[test]
fn body_without_a_byte_is_empty_in_every_coding() {
    for coding in ALL {
        assert_eq!(decode(&[coding], &[]).unwrap(), b"");
        assert_eq!(decode(&[coding], &[b"", b""]).unwrap(), b"");
        assert_eq!(decode(&[coding], &[&encode(coding, b"")]).unwrap(), b"");
    }
    assert_eq!(decode(&[], &[b"as ", b"it is"]).unwrap(), b"as it is");
}

#[test]
fn bomb_is_decoded_piece_by_piece_and_one_without_content_is_refused() {
    let zeros = vec![0; 8 << 20];
    for coding in ALL {
        let bomb = encode(coding, &zeros);
        assert!(bomb.len() < 1 << 14, "{coding:?}: {}", bomb.len());
        let most = decode_most(&[coding], &[&bomb], 1 << 20).unwrap();
        assert_eq!(most.len(), 1 << 20, "not a byte more than was wanted");
    }
    // Members without content: over a megabyte of them, compressed to a few bytes.
    let nothing = encode(Gzip, b"").repeat(1 << 16);
    let hollow = encode(Brotli, &nothing);
    let (error, given) = decode_most(&[Gzip, Brotli], &[&hollow], usize::MAX).unwrap_err();
    assert_eq!((error.place(), given), (MALFORMED, 0));
    assert!(matches!(error, DecodeError::Hollow(Gzip)), "{error}");
}

#[test]
fn content_that_fills_its_pieces_exactly_is_whole() {
    let mut luck = fastrand::Rng::with_seed(7);
    for len in [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE] {
        for noise in [false, true] {
            let byte = |_| if noise { luck.u8(..) } else { b'a' };
            let text: Vec<_> = (0..len).map(byte).collect();
            for coding in ALL {
                let body = encode(coding, &text);
                assert_eq!(decode(&[coding], &[&body]).unwrap(), text, "{coding:?}");
                let bytes: Vec<_> = body.chunks(1).collect();
                assert_eq!(decode(&[coding], &bytes).unwrap(), text, "{coding:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]
    #[test]
    fn encoded_content_is_decoded_in_every_split(
        members in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20_000), 1..4),
        coding in prop::sample::select(ALL.to_vec()),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let members = if coding == Gzip { members } else { vec![members.concat()] };
        let body: Vec<u8> = members.iter().flat_map(|member| encode(coding, member)).collect();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|cut| &body[cut[0]..cut[1]]).collect();
        prop_assert_eq!(decode(&[coding], &pieces).unwrap(), members.concat());
    }
}
