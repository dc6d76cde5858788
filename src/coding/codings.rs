//! Reads the codings of a body (RFC 9110 §8.4). Pure.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, HeaderValue};

/// A coding that the client can decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    /// The zlib format (RFC 1950). Raw deflate data has no checksum, and is refused as corrupt.
    Deflate,
    Brotli,
}

/// A list of codings that the client cannot decode. It shows the first of those, if its name is registered: any other
/// name is text of the peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsupported(&'static str);

impl Coding {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
        }
    }

    /// Reads a coding name. It may be in any case, or an older alias (RFC 9110 §8.4.1.3).
    fn read(name: &str) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name {
            _ if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            _ if is("deflate") => Some(Self::Deflate),
            _ if is("br") => Some(Self::Brotli),
            _ => None,
        }
    }
}

/// Returns the codings of a body in the order in which they were applied. Several header lines are one list.
///
/// # Errors
///
/// Fails if one of them cannot be decoded, or if there are more than [`MOST_CODINGS`].
pub(crate) fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, Unsupported> {
    let mut codings = Vec::new();
    for line in headers.get_all(CONTENT_ENCODING) {
        let line = line.to_str().map_err(|_| Unsupported(UNKNOWN))?;
        for name in line.split(',').map(str::trim) {
            if name.is_empty() || name.eq_ignore_ascii_case("identity") {
                continue;
            }
            codings.push(Coding::read(name).ok_or_else(|| Unsupported(shown(name)))?);
        }
    }
    match codings.len() > MOST_CODINGS {
        true => Err(Unsupported("a chain of more than 4 codings")),
        false => Ok(codings),
    }
}

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// Returns the name of a coding for the error message.
fn shown(name: &str) -> &'static str {
    let mut registered = REGISTERED.into_iter();
    let known = registered.find(|known| known.eq_ignore_ascii_case(name));
    known.unwrap_or(UNKNOWN)
}

/// The value of `Accept-Encoding`: all codings that the client can decode.
pub(crate) const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip,deflate,br");
/// A server applies one coding, and a proxy may add another. A longer list is an attack: each decoder multiplies the
/// work.
const MOST_CODINGS: usize = 4;
/// The codings of IANA's registry that the client cannot decode.
const REGISTERED: [&str; 8] = [
    "aes128gcm",
    "compress",
    "dcb",
    "dcz",
    "exi",
    "pack200-gzip",
    "x-compress",
    "zstd",
];
const UNKNOWN: &str = "an unknown coding";

#[cfg(test)]
mod messages {
    crate::messages_tests::list!(Unsupported: super::Unsupported(super::UNKNOWN), super::Unsupported("compress"), super::Unsupported("a chain of more than 4 codings"));
}

#[cfg(test)]
mod tests {
    use super::Coding::{Brotli, Deflate, Gzip};
    use super::*;

    /// The lines of `Content-Encoding` in a test.
    type Lines = &'static [&'static [u8]];

    fn read(lines: Lines) -> Result<Vec<Coding>, String> {
        let lines = lines.iter().map(|line| HeaderValue::from_bytes(line));
        let headers = lines.map(|line| (CONTENT_ENCODING, line.unwrap()));
        codings(&headers.collect()).map_err(|unsupported| unsupported.to_string())
    }

    #[test]
    fn names_are_read_in_any_case_and_in_order_over_all_lines() {
        let rows: &[(Lines, &[Coding])] = &[
            (&[], &[]),
            (&[b""], &[]),
            (&[b"identity"], &[]),
            (&[b"gzip"], &[Gzip]),
            (&[b"GZIP"], &[Gzip]),
            (&[b"x-gzip"], &[Gzip]),
            (&[b"X-GZip"], &[Gzip]),
            (&[b" deflate\t"], &[Deflate]),
            (&[b"Br"], &[Brotli]),
            (&[b"gzip, br"], &[Gzip, Brotli]),
            (&[b"br,,gzip,"], &[Brotli, Gzip]),
            (&[b"gzip", b"br"], &[Gzip, Brotli]),
            (&[b"identity, gzip, Identity"], &[Gzip]),
            (&[b"gzip,gzip,gzip,gzip"], &[Gzip; 4]),
        ];
        for (lines, expected) in rows {
            assert_eq!(read(lines).unwrap(), *expected, "{lines:?}");
        }
    }

    #[test]
    fn unsupported_coding_is_named_if_its_name_is_registered() {
        let unknown = "an unknown coding";
        let rows: &[(Lines, &str)] = &[
            (&[b"zstd"], "zstd"),
            (&[b"ZSTD"], "zstd"),
            (&[b"gzip, foo"], unknown),
            (&[b"exi, gzip"], "exi"),
            (&[b"gzip", b"compress"], "compress"),
            (&[b"s3cret"], unknown),
            (&[b"gzip;q=1"], unknown),
            (&[b"gzip br"], unknown),
            (&[b"\xff"], unknown),
            (&[b"a-name-that-is-longer-than-any"], unknown),
            (&[b"br,br,br,br,br"], "a chain of more than 4 codings"),
        ];
        for (lines, expected) in rows {
            assert_eq!(read(lines).unwrap_err(), *expected, "{lines:?}");
        }
    }
}
