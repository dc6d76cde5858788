//! Reads the codings of a body (RFC 9110 §8.4). Pure.

use std::borrow::Cow;

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

/// A list of codings that the client cannot decode. It shows the first of those.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsupported(Cow<'static, str>);

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
        let line = line.to_str().map_err(|_| Unsupported(UNREADABLE))?;
        for name in line.split(',').map(str::trim) {
            if name.is_empty() || name.eq_ignore_ascii_case("identity") {
                continue;
            }
            codings.push(Coding::read(name).ok_or_else(|| Unsupported(shown(name)))?);
        }
    }
    match codings.len() > MOST_CODINGS {
        true => Err(Unsupported("a chain of more than 4 codings".into())),
        false => Ok(codings),
    }
}

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns a name that looks like that of a coding, for the error message.
fn shown(name: &str) -> Cow<'static, str> {
    let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    match name.len() <= LONGEST_NAME && name.bytes().all(is_of_a_name) {
        true => name.to_ascii_lowercase().into(),
        false => UNREADABLE,
    }
}

/// The value of `Accept-Encoding`: all codings that the client can decode.
pub(crate) const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip,deflate,br");
/// A server applies one coding, and a proxy may add another. A longer list is an attack: each decoder multiplies the
/// work.
const MOST_CODINGS: usize = 4;
/// The longest registered name has 12 characters.
const LONGEST_NAME: usize = 16;
const UNREADABLE: Cow<'static, str> = Cow::Borrowed("a coding with an unreadable name");

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
    fn unsupported_coding_is_named_if_its_name_can_be_shown() {
        let unreadable = "a coding with an unreadable name";
        let rows: &[(Lines, &str)] = &[
            (&[b"zstd"], "zstd"),
            (&[b"ZSTD"], "zstd"),
            (&[b"gzip, foo"], "foo"),
            (&[b"foo, gzip"], "foo"),
            (&[b"gzip", b"compress"], "compress"),
            (&[b"x-deflate"], "x-deflate"),
            (&[b"gzip;q=1"], unreadable),
            (&[b"gzip br"], unreadable),
            (&[b"\xff"], unreadable),
            (&[b"a-name-that-is-longer-than-any"], unreadable),
            (&[b"br,br,br,br,br"], "a chain of more than 4 codings"),
        ];
        for (lines, expected) in rows {
            assert_eq!(read(lines).unwrap_err(), *expected, "{lines:?}");
        }
    }
}
