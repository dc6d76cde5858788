//! Decodes bytes. No part of a body is ever put into an error.

use std::fmt;

use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use super::Response;
use super::body::failed;
use crate::call::Call;
use crate::error::{Error, ReasonText};
use crate::hop::Kind;
use crate::telemetry::{Span, decode_span, mark};
use crate::timeline::Timeline;

impl Response {
    /// Returns the whole body as text, in the charset that `Content-Type` names.
    ///
    /// A byte order mark overrides that charset, and is left out. Without a charset, or with one that the
    /// [Encoding Standard](https://encoding.spec.whatwg.org/#names-and-labels) does not know, the body is read as
    /// UTF-8. Malformed sequences are replaced by U+FFFD.
    ///
    /// # Errors
    ///
    /// Fails like [`bytes`](Self::bytes), and at decode if the body has a coding that the client cannot decode.
    ///
    /// # Cancel safety
    ///
    /// Not safe: the part of the body that was received is lost.
    pub async fn text(self) -> Result<String, Error> {
        self.text_or(UTF_8).await
    }

    /// Returns the whole body as text, like [`text`](Self::text), but reads it in `default` if `Content-Type` names no
    /// charset, or one that is unknown.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn f(client: sevenhops::Client) -> Result<(), sevenhops::Error> {
    /// let old_page = client.get("https://files.test/prices.txt").send().await?;
    /// let prices = old_page.text_with_charset("windows-1252").await?;
    /// # drop(prices); Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails like [`text`](Self::text), and at decode if `default` is not a label of the
    /// [Encoding Standard](https://encoding.spec.whatwg.org/#names-and-labels).
    pub async fn text_with_charset(self, default: &str) -> Result<String, Error> {
        match labeled(default) {
            Some(default) => self.text_or(default).await,
            None => {
                let reason = format!("{default:?} is not a charset of the Encoding Standard");
                Err(failed(Kind::Malformed, &self.timeline).because(ReasonText::new(reason)))
            }
        }
    }

    /// Returns the whole body, read as JSON.
    ///
    /// # Errors
    ///
    /// Fails like [`text`](Self::text). A body that is not the expected JSON fails at decode.
    ///
    /// # Cancel safety
    ///
    /// Not safe: the part of the body that was received is lost.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let response = self.decoded()?;
        let timeline = response.timeline.clone();
        // The call is open until its body is decoded.
        let call = timeline.as_ref().map(|Timeline(call)| call);
        let _hold = call.and_then(Call::hold);
        let bytes = response.bytes().await?;
        let span = call.map_or_else(Span::none, decode_span);
        span.in_scope(|| json(&bytes)).map_err(|cause| {
            let error = failed(Kind::Malformed, &timeline);
            mark(&span, &error.diagnosis());
            error.because(ReasonText::new(cause.to_string()))
        })
    }

    async fn text_or(self, default: &'static Encoding) -> Result<String, Error> {
        let response = self.decoded()?;
        let encoding = charset(response.headers()).unwrap_or(default);
        Ok(text(response.bytes().await?, encoding))
    }
}

/// Returns the character encoding that the content type names. `None` if it names no known one.
fn charset(headers: &HeaderMap) -> Option<&'static Encoding> {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let label = kind.and_then(|kind| parameter(kind, "charset"));
    label.and_then(labeled)
}

/// Returns the encoding with this label of the Encoding Standard.
fn labeled(label: &str) -> Option<&'static Encoding> {
    Encoding::for_label_no_replacement(label.as_bytes())
}

/// Returns the value of the first parameter of this name (RFC 9110 §5.6.6), without its quotes.
fn parameter<'k>(kind: &'k str, name: &str) -> Option<&'k str> {
    let mut is_quoted = false;
    let parameters = kind.split(|c| {
        is_quoted ^= c == '"';
        c == ';' && !is_quoted
    });
    let mut pairs = parameters.skip(1).filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(found, _)| found.trim().eq_ignore_ascii_case(name))?;
    Some(value.trim().trim_matches('"'))
}

fn text(bytes: Bytes, encoding: &'static Encoding) -> String {
    if encoding != UTF_8 || Encoding::for_bom(&bytes).is_some() {
        return encoding.decode(&bytes).0.into_owned();
    }
    String::from_utf8(bytes.into())
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The reason why a body is not the expected JSON. It has the position of the error, without the text at that position.
#[derive(Debug)]
pub(super) struct NotJson {
    category: &'static str,
    line: usize,
    column: usize,
}

pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, NotJson> {
    serde_json::from_slice(bytes).map_err(|error| NotJson {
        category: match error.classify() {
            serde_json::error::Category::Syntax => "syntax error",
            serde_json::error::Category::Eof => "unexpected end",
            serde_json::error::Category::Data => "value of an unexpected shape",
            serde_json::error::Category::Io => "unreadable",
        },
        line: error.line(),
        column: error.column(),
    })
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            category,
            line,
            column,
        } = self;
        write!(
            f,
            "not the expected JSON: {category} at line {line} column {column}"
        )
    }
}

impl std::error::Error for NotJson {}

#[cfg(test)]
mod messages {
    crate::messages_tests::list!(NotJson: super::json::<u8>(b"{").unwrap_err(), super::json::<u8>(b"]").unwrap_err(), super::json::<u8>(b"\"a\"").unwrap_err());
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(kind: Option<&'static [u8]>, body: &'static [u8]) -> String {
        let kind = kind.map(|kind| (CONTENT_TYPE, HeaderValue::from_bytes(kind).unwrap()));
        let headers = kind.into_iter().collect();
        text(Bytes::from_static(body), charset(&headers).unwrap_or(UTF_8))
    }

    #[test]
    fn text_is_read_in_the_charset_of_its_content_type() {
        let latin = b"caf\xe9";
        for kind in [
            &b"text/plain; charset=ISO-8859-1"[..],
            b"text/plain;charset=iso-8859-1",
            b"text/plain; Charset=\"latin1\"",
            b"text/html; level=1 ; charset = windows-1252",
            b"text/html; title=\"a;charset=utf-16\"; charset=l1",
        ] {
            assert_eq!(read(Some(kind), latin), "caf\u{e9}", "{kind:?}");
        }
        let shift_jis = Some(&b"text/plain; charset=shift_jis"[..]);
        assert_eq!(read(shift_jis, b"\x93\xfa\x96{"), "\u{65e5}\u{672c}");
        let wide = Some(&b"text/plain; charset=utf-16le"[..]);
        assert_eq!(read(wide, b"a\0\xe9\0"), "a\u{e9}");
    }

    #[test]
    fn unknown_charset_is_utf_8_and_malformed_text_is_replaced() {
        for kind in [
            None,
            Some(&b"text/plain"[..]),
            Some(b"text/plain; charset=x-unheard-of"),
            Some(b"text/plain; charset=\""),
            Some(b"text/plain; charset"),
            Some(b"text/plain; charset=utf-8"),
            Some(b"text/plain; xcharset=latin1"),
            // The standard knows this label, but no encoding for it.
            Some(b"text/plain; charset=hz-gb-2312"),
            Some(b"text/plain; charset=\xe9"),
        ] {
            assert_eq!(read(kind, b"caf\xc3\xa9"), "caf\u{e9}", "{kind:?}");
            assert_eq!(read(kind, b"caf\xe9"), "caf\u{fffd}", "{kind:?}");
        }
    }

    #[test]
    fn byte_order_mark_counts_more_than_the_header_and_is_left_out() {
        let latin = Some(&b"text/plain; charset=latin1"[..]);
        for kind in [None, latin] {
            assert_eq!(read(kind, b"\xef\xbb\xbfcaf\xc3\xa9"), "caf\u{e9}");
            assert_eq!(read(kind, b"\xff\xfea\0"), "a");
        }
    }

    #[test]
    fn error_names_the_place_and_not_the_text() {
        let error = json::<u32>(br#""canary""#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "not the expected JSON: value of an unexpected shape at line 1 column 8"
        );
    }
}
