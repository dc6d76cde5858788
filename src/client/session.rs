//! The reads and writes of one session: no read goes back in time, and no update is lost.

use std::fmt;

use http::StatusCode;
use http::header::{
    ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};
use httpdate::{fmt_http_date, parse_http_date};

use super::{RequestBuilder, Response};
use crate::error::ReasonText;

impl RequestBuilder {
    /// Makes the request conditional: the server carries it out only if the resource is still the one in `response`
    /// (RFC 9110 §13.1). So no update of another client is lost.
    ///
    /// The request gets `If-Match` with the strong `ETag` of the response. Without a strong `ETag` it gets
    /// `If-Unmodified-Since` with its `Last-Modified`.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn f(client: sevenhops::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use sevenhops::Kind;
    ///
    /// let url = "https://api.test/v1/accounts/7";
    /// let read = client.get(url).send().await?.error_for_status()?;
    /// let write = client.put(url).if_unchanged(&read).json(&"new owner");
    /// match write.fetch_bytes().await {
    ///     Err(error) if error.kind() == Kind::PreconditionFailed => {
    ///         // Another client was faster, or `error.effect()` is possible: read again, and decide again.
    ///     }
    ///     written => drop(written?),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The request fails at encode if the response has no validator. That is a response without a strong `ETag` and
    /// without a valid `Last-Modified`, or with a status other than 2xx and 304.
    ///
    /// If the resource has changed, the response is a 412: [`Kind::PreconditionFailed`](crate::Kind). If an earlier
    /// attempt of the call may have been carried out, the 412 may be the result of that attempt. The effect is then
    /// possible, and the error says so. To find out, GET the resource and compare it with what you wrote.
    ///
    /// # Trade-offs
    ///
    /// `Last-Modified` counts whole seconds: two updates in one second look the same (RFC 9110 §8.8.2.2). A server
    /// without a modification date ignores `If-Unmodified-Since`.
    ///
    /// # How people get it wrong
    ///
    /// - The response belongs to another URL, or to another representation of the resource. Some servers append the
    ///   coding to the ETag (`"a-gzip"`) and do not recognize it in a write. Then read with `accept-encoding:
    ///   identity`.
    /// - The server ignores preconditions. Check that a wrong `If-Match` gets a 412.
    pub fn if_unchanged(mut self, response: &Response) -> Self {
        match precondition(response.status(), response.headers()) {
            Ok((name, value)) => {
                self.headers.remove(IF_MATCH);
                self.headers.remove(IF_UNMODIFIED_SINCE);
                self.headers.insert(name, value);
                self
            }
            Err(none) => self.reject(ReasonText::new(none.to_string())),
        }
    }
}

/// Returns the header that makes a request conditional on this response.
///
/// # Errors
///
/// Fails with the reason if the response has no validator that a write can use.
fn precondition(
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<(HeaderName, HeaderValue), NoValidator> {
    if !status.is_success() && status != StatusCode::NOT_MODIFIED {
        return Err(NoValidator::Status(status));
    }
    let tag = only(headers, &ETAG);
    if let Some(tag) = tag.filter(|tag| is_strong(tag.as_bytes())) {
        return Ok((IF_MATCH, tag.clone()));
    }
    match only(headers, &LAST_MODIFIED) {
        // A server ignores a date that it cannot read: the write would be unconditional.
        Some(date) => date
            .to_str()
            .ok()
            .and_then(|date| parse_http_date(date).ok())
            .and_then(|date| HeaderValue::try_from(fmt_http_date(date)).ok())
            .map(|date| (IF_UNMODIFIED_SINCE, date))
            .ok_or(NoValidator::Malformed),
        None if headers.contains_key(ETAG) => Err(NoValidator::Weak),
        None => Err(NoValidator::Missing),
    }
}

/// Returns the value of a header, if it has only one.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.all(|other| other == first).then_some(first)
}

/// Returns whether a value is a strong entity tag: an opaque tag in quotes (RFC 9110 §8.8.3).
fn is_strong(tag: &[u8]) -> bool {
    let inside = tag
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    let is_tag = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
    inside.is_some_and(|inside| inside.iter().all(is_tag))
}

/// Why a response has no validator that a write can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoValidator {
    /// The status is neither 2xx nor 304: the headers do not describe the resource.
    Status(StatusCode),
    Missing,
    /// There is an ETag, and it is weak or malformed.
    Weak,
    /// `Last-Modified` is not a date, or has several values.
    Malformed,
}

impl fmt::Display for NoValidator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("if_unchanged needs a validator, and the response has ")?;
        match self {
            Self::Status(status) => write!(f, "status {}", status.as_u16()),
            Self::Missing => f.write_str("no ETag and no Last-Modified"),
            Self::Weak => f.write_str("no strong ETag and no Last-Modified"),
            Self::Malformed => f.write_str("no strong ETag and a malformed Last-Modified"),
        }
    }
}

#[cfg(test)]
mod messages {
    crate::messages_tests::list!(NoValidator: super::NoValidator::Status(http::StatusCode::NOT_FOUND), super::NoValidator::Missing, super::NoValidator::Weak, super::NoValidator::Malformed);
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn read(status: u16, lines: &[(&HeaderName, &str)]) -> Result<(HeaderName, String), String> {
        let status = StatusCode::from_u16(status).unwrap();
        let lines = lines
            .iter()
            .map(|(name, value)| ((*name).clone(), value.parse().unwrap()));
        let headers = lines.collect::<HeaderMap>();
        match precondition(status, &headers) {
            Ok((name, value)) => Ok((name, value.to_str().unwrap().to_owned())),
            Err(none) => Err(none.to_string()),
        }
    }

    #[test]
    fn strong_tag_comes_first_then_the_date() {
        let date = (&LAST_MODIFIED, DATE);
        let by_date = || Ok((IF_UNMODIFIED_SINCE, DATE.to_owned()));
        let by_tag = |tag: &str| Ok((IF_MATCH, tag.to_owned()));
        for (lines, expected) in [
            (&[(&ETAG, "\"a\""), date][..], by_tag("\"a\"")),
            (&[(&ETAG, "\"\"")], by_tag("\"\"")),
            (&[(&ETAG, "\"a\""), (&ETAG, "\"a\"")], by_tag("\"a\"")),
            (&[(&ETAG, "\"a\""), (&ETAG, "\"b\""), date], by_date()),
            (&[(&ETAG, "W/\"a\""), date], by_date()),
            (&[(&ETAG, "a"), date], by_date()),
            (&[(&ETAG, "\""), date], by_date()),
            (&[(&ETAG, "\"a\"b\""), date], by_date()),
            (&[date], by_date()),
            // An obsolete form is written in the form that a client must send (RFC 9110 §5.6.7).
            (
                &[(&LAST_MODIFIED, "Sunday, 06-Nov-94 08:49:37 GMT")],
                by_date(),
            ),
        ] {
            assert_eq!(read(200, lines), expected, "{lines:?}");
            assert_eq!(read(304, lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn response_without_a_validator_says_what_is_missing() {
        for (status, lines, missing) in [
            (200, &[][..], "no ETag and no Last-Modified"),
            (
                200,
                &[(&ETAG, "W/\"a\"")],
                "no strong ETag and no Last-Modified",
            ),
            (
                200,
                &[(&LAST_MODIFIED, "yesterday")],
                "no strong ETag and a malformed Last-Modified",
            ),
            (404, &[(&ETAG, "\"a\"")], "status 404"),
            (302, &[(&ETAG, "\"a\"")], "status 302"),
        ] {
            let expected =
                format!("if_unchanged needs a validator, and the response has {missing}");
            assert_eq!(read(status, lines), Err(expected));
        }
    }
}
