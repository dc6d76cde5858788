//! Parses header fields that are lists (RFC 9110 §5.6.1) and older than structured fields.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Returns the non-empty members of a list, over all its lines. Lines longer than [`MOST_BYTES`] are ignored.
pub(super) fn members<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    comments: bool,
) -> impl Iterator<Item = &'h str> + use<'h> {
    let lines = headers.get_all(name).into_iter().take(MOST_LINES);
    lines
        .map(HeaderValue::as_bytes)
        .filter(|line| line.len() <= MOST_BYTES)
        .filter_map(|line| str::from_utf8(line).ok())
        .flat_map(move |line| parts(line, b',', comments))
}

/// Returns the trimmed parts between separators. A separator does not count inside a quoted string, or inside a comment
/// if the field has comments (RFC 9110 §5.6.5).
pub(super) fn parts(text: &str, separator: u8, comments: bool) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    let parts = std::iter::from_fn(move || {
        let text = rest?;
        let (part, after) = match end(text, separator, comments) {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        rest = after;
        Some(part.trim_matches([' ', '\t']))
    });
    parts.filter(|part| !part.is_empty())
}

/// Returns the end of the first part, if there is another part.
fn end(text: &str, separator: u8, comments: bool) -> Option<usize> {
    let (mut quoted, mut depth, mut escaped) = (false, 0_usize, false);
    text.bytes().position(|byte| {
        if escaped {
            escaped = false;
            return false;
        }
        match byte {
            b'\\' => escaped = quoted || depth > 0,
            b'"' if depth == 0 => quoted = !quoted,
            b'(' if comments && !quoted => depth += 1,
            b')' if comments && !quoted => depth = depth.saturating_sub(1),
            _ => return byte == separator && !quoted && depth == 0,
        }
        false
    })
}

/// Returns whether the text is a token (RFC 9110 §5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(token)
}

/// Ten times as much as a verbose server sends.
pub(super) const MOST_BYTES: usize = 8 * 1024;
pub(super) const MOST_LINES: usize = 16;
