//! The framing of a request that its caller set manually. It is checked before anything is sent.

use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{HeaderValue, Version};
use http_body::{Body, SizeHint};

use crate::error::ReasonText;

/// Returns the number of bytes that the body must have: the `Content-Length`, or else the body's own exact length.
/// `None` if it is not known.
///
/// # Errors
///
/// Fails if the headers and the body contradict each other, or if the client cannot send a framing that a header
/// announces (RFC 9112 §6).
pub(crate) fn announced<B: Body>(
    version: Version,
    headers: &HeaderMap,
    body: &B,
) -> Result<Option<u64>, ReasonText> {
    let size = match body.is_end_stream() {
        true => SizeHint::with_exact(0),
        false => body.size_hint(),
    };
    let length = content_length(headers)?;
    if headers.contains_key(TRANSFER_ENCODING) {
        transfer_encoding(version, headers, &size)?;
    }
    match length {
        None => Ok(size.exact()),
        Some(length) => fits(length, &size).map(|()| Some(length)),
    }
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, ReasonText> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(ReasonText::new("content-length is set more than once"));
    }
    match number(value) {
        Some(length) => Ok(Some(length)),
        None => Err(ReasonText::new("content-length is not a number of bytes")),
    }
}

/// Reads digits only (RFC 9110 §8.6): `u64::from_str` would also accept a sign.
pub(crate) fn number(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn fits(length: u64, size: &SizeHint) -> Result<(), ReasonText> {
    let (least, most) = (size.lower(), size.upper());
    let (bound, bytes) = match (size.exact(), most) {
        (Some(exact), _) if exact != length => ("", exact),
        (None, _) if length < least => ("at least ", least),
        (None, Some(most)) if length > most => ("at most ", most),
        _ => return Ok(()),
    };
    let unit = if bytes == 1 { "byte" } else { "bytes" };
    let text = format!("content-length says {length}, the body has {bound}{bytes} {unit}");
    Err(ReasonText::new(text))
}

/// Only `chunked` can be sent, and only if the client would choose it anyway.
fn transfer_encoding(
    version: Version,
    headers: &HeaderMap,
    size: &SizeHint,
) -> Result<(), ReasonText> {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = values.all(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let once = headers.get_all(TRANSFER_ENCODING).iter().count() == 1;
    let wrong = if headers.contains_key(CONTENT_LENGTH) {
        "content-length is set, too"
    } else if version == Version::HTTP_2 {
        "HTTP/2 does not have it"
    } else if !(chunked && once) {
        "only \"chunked\" can be sent"
    } else if size.exact().is_some() {
        "the length of the body is known"
    } else {
        return Ok(());
    };
    Err(ReasonText::new(format!(
        "transfer-encoding must be removed: {wrong}"
    )))
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
