//! Downloads that continue after their body broke off (RFC 9110 §14).

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_RANGE, DATE, ETAG, HeaderMap,
    HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{Method, Request, StatusCode};
use http_body::Body as _;

use super::body::failed_at;
use super::{Body, Client, RequestBuilder, Response};
use crate::error::{Error, ReasonText};
use crate::hop::{Hop, Kind};
use crate::options::Options;

impl RequestBuilder {
    /// Sends a GET whose body continues by itself after it broke off.
    ///
    /// If the body fails at receive, the client asks for the rest: with `Range`, and with `If-Range` so that the rest
    /// is of the same version. Two versions are never mixed.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use std::io::Write;
    ///
    /// # async fn f(client: sevenhops::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut file = std::fs::File::create("backup.tar")?;
    /// let mut download = client.get("https://files.test/backup.tar").download().await?;
    /// while let Some(piece) = download.chunk().await? {
    ///     file.write_all(&piece)?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Defaults
    ///
    /// The request is [`streaming`](Self::streaming): the deadline ends at each response head, and the body idle
    /// timeout applies to each pause. It asks for no content coding. A download continues at most 10 times, and only
    /// after at least one byte has come since the last time.
    ///
    /// # Trade-offs
    ///
    /// A body continues only if its length is announced and its version can be checked: by a strong `ETag`, or without
    /// an `ETag` by a `Last-Modified` that is at least a minute older than `Date`. Any other body fails where it breaks
    /// off. Each continuation is a call of its own, with its own retries, timeline and span. It asks for the URL of the
    /// request again, and follows its redirects again.
    ///
    /// # Errors
    ///
    /// Fails like [`send`](Self::send), and by a status of 400 and above. Fails at encode if the method is not GET, or
    /// if the request has a body, or the header `Range` or `If-Range`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the call is given up.
    pub async fn download(self) -> Result<Download, Error> {
        let client = self.client.clone();
        let mut request = self.options(|options| options.streaming(true)).build()?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT_ENCODING, IDENTITY);
        let is_partial = headers.contains_key(RANGE) || headers.contains_key(IF_RANGE);
        let is_get = *request.method() == Method::GET && request.body().is_end_stream();
        if is_partial || !is_get {
            let reason =
                "a download is a GET without a body, Range and If-Range: call send() instead";
            return Err(Error::invalid().because(ReasonText::new(reason)));
        }
        let again = copy(&request);
        let response = client.execute(request).await?.error_for_status()?;
        Ok(Download {
            version: Version::of(&response),
            client,
            request: again,
            response,
            received: 0,
            resumptions: 0,
            is_fresh: true,
            state: State::Receiving,
        })
    }
}

/// A response body that continues by itself. See [`RequestBuilder::download`].
pub struct Download {
    client: Client,
    request: Request<Body>,
    /// The response whose body is being read.
    response: Response,
    /// `None` if the body cannot continue.
    version: Option<Version>,
    received: u64,
    resumptions: u32,
    /// Whether a byte has come since the last response head.
    is_fresh: bool,
    state: State,
}

/// The version of a file.
struct Version {
    validator: HeaderValue,
    total: u64,
}

enum State {
    Receiving,
    /// The body broke off, or ended before the end of the file.
    Broken(Option<Error>),
    Over,
}

impl Download {
    /// Returns the response that is being read: the first one, or that of the last continuation.
    #[must_use]
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// Returns the number of bytes received so far.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received
    }

    /// Returns how often the download has continued.
    #[must_use]
    pub fn resumptions(&self) -> u32 {
        self.resumptions
    }

    /// Returns the next piece of the file; `None` at its end.
    ///
    /// # Errors
    ///
    /// Fails like [`Response::chunk`] if the body broke off and cannot continue, and like [`RequestBuilder::send`] if
    /// the call for the rest fails. Fails at receive, incomplete, if the file has changed. After an error there are no
    /// more pieces.
    ///
    /// # Cancel safety
    ///
    /// Safe: the next call goes on where this one was dropped.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.state {
                State::Over => return Ok(None),
                State::Broken(_) => self.resume().await?,
                State::Receiving => match self.response.chunk().await {
                    Ok(Some(piece)) => {
                        self.received = self.received.saturating_add(piece.len() as u64);
                        self.is_fresh |= !piece.is_empty();
                        return Ok(Some(piece));
                    }
                    Ok(None) if self.is_short() => self.state = State::Broken(None),
                    Ok(None) => self.state = State::Over,
                    Err(error) => self.state = State::Broken(Some(error)),
                },
            }
        }
    }

    fn is_short(&self) -> bool {
        let version = self.version.as_ref();
        version.is_some_and(|version| self.received < version.total)
    }

    /// Asks for the rest of the file. Until the response is here, the state stays broken.
    async fn resume(&mut self) -> Result<(), Error> {
        let Some(request) = self.rest() else {
            return Err(self.give_up());
        };
        let response = match self.client.execute(request).await {
            Ok(response) => response,
            Err(error) => {
                self.state = State::Over;
                return Err(error);
            }
        };
        let version = self.version.as_ref();
        let fits = version.is_some_and(|version| version.goes_on(&response, self.received));
        if let Some(error) = response.status_error() {
            self.state = State::Over;
            return Err(error);
        }
        if !fits {
            self.state = State::Over;
            let reason =
                "the response does not continue the file: it has changed, or has no ranges";
            let error = failed_at((Hop::Receive, Kind::Incomplete), &response.timeline);
            return Err(error.because(ReasonText::new(reason)));
        }
        self.response = response;
        self.resumptions += 1;
        self.is_fresh = false;
        self.state = State::Receiving;
        Ok(())
    }

    /// Returns the request for the rest; `None` if the download cannot continue.
    fn rest(&self) -> Option<Request<Body>> {
        let version = self.version.as_ref()?;
        let can_pass = match &self.state {
            State::Broken(Some(error)) => {
                error.hop() == Some(Hop::Receive) && !error.kind().is_local()
            }
            State::Broken(None) => true,
            State::Receiving | State::Over => false,
        };
        if !can_pass || !self.is_short() || !self.is_fresh || self.resumptions >= MOST_RESUMPTIONS {
            return None;
        }
        let mut request = copy(&self.request);
        let range = HeaderValue::try_from(format!("bytes={}-", self.received)).ok()?;
        request.headers_mut().insert(RANGE, range);
        request
            .headers_mut()
            .insert(IF_RANGE, version.validator.clone());
        Some(request)
    }

    /// Ends the download with the failure of its body.
    fn give_up(&mut self) -> Error {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Broken(Some(error)) => error,
            State::Broken(None) | State::Receiving | State::Over => {
                let reason = "the body ended before the end of the file";
                let error = failed_at((Hop::Receive, Kind::Incomplete), &self.response.timeline);
                error.because(ReasonText::new(reason))
            }
        }
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("received_bytes", &self.received)
            .field("resumptions", &self.resumptions)
            .finish_non_exhaustive()
    }
}

impl Version {
    fn of(response: &Response) -> Option<Self> {
        let headers = response.headers();
        let has_ranges = headers.get(ACCEPT_RANGES).is_none_or(|unit| unit != "none");
        if response.status() != StatusCode::OK || !has_ranges {
            return None;
        }
        Some(Self {
            validator: validator(headers)?,
            // Unknown for a body that was decoded: a range of its encoded form would not fit.
            total: response.content_length()?,
        })
    }

    /// Returns whether a response has the rest of this version, from this byte on.
    fn goes_on(&self, response: &Response, from: u64) -> bool {
        let headers = response.headers();
        let name = match self.validator.as_bytes().starts_with(b"\"") {
            true => ETAG,
            false => LAST_MODIFIED,
        };
        // The rest may leave the validator out (RFC 9110 §15.3.7). Another one belongs to another version.
        let validators = headers.get_all(name);
        let is_same = validators.iter().all(|value| *value == self.validator);
        let range = headers
            .get(CONTENT_RANGE)
            .and_then(|range| range.to_str().ok());
        let range = range.and_then(content_range);
        let fits = range.is_some_and(|(first, last, total)| {
            first == from && last < self.total && total.is_none_or(|total| total == self.total)
        });
        let fits =
            fits && response.content_length() == range.map(|(first, last, _)| last - first + 1);
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        is_part && is_same && fits && !headers.contains_key(CONTENT_ENCODING)
    }
}

/// Returns the validator for `If-Range`, if it is strong (RFC 9110 §13.1.5, §8.8.2.2).
fn validator(headers: &HeaderMap) -> Option<HeaderValue> {
    if let Some(tag) = headers.get(ETAG) {
        return tag.as_bytes().starts_with(b"\"").then(|| tag.clone());
    }
    let date = |name| httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok();
    let (modified, sent) = (date(LAST_MODIFIED)?, date(DATE)?);
    let age = sent.duration_since(modified).ok()?;
    let is_strong = age >= STRONG_AGE;
    is_strong
        .then(|| headers.get(LAST_MODIFIED).cloned())
        .flatten()
}

/// The first byte of a part, the last one, and the length of the whole if it is known.
type FilePart = (u64, u64, Option<u64>);

/// Reads `bytes 5-9/10`.
fn content_range(text: &str) -> Option<FilePart> {
    let (unit, rest) = text.trim().split_once(' ')?;
    let (range, total) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |digits: &str| {
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    };
    let total = match total {
        "*" => None,
        total => Some(number(total)?),
    };
    let (first, last) = (number(first)?, number(last)?);
    (unit.eq_ignore_ascii_case("bytes") && first <= last).then_some((first, last, total))
}

/// Returns a request without a body that equals another one.
fn copy(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    if let Some(options) = request.extensions().get::<Options>() {
        copy.extensions_mut().insert(options.clone());
    }
    copy
}

const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
/// A body that breaks more often than this has a cause that another request does not remove.
const MOST_RESUMPTIONS: u32 = 10;
/// The seconds of a date are too coarse for two changes in one of them, and clocks differ.
const STRONG_AGE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_range_is_read_strictly() {
        for (text, expected) in [
            ("bytes 5-9/10", Some((5, 9, Some(10)))),
            ("Bytes 5-9/*", Some((5, 9, None))),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("bytes 5-/10", None),
            ("bytes +5-9/10", None),
            ("lines 5-9/10", None),
            ("bytes 5-99999999999999999999/10", None),
            ("", None),
        ] {
            assert_eq!(content_range(text), expected, "{text}");
        }
    }

    #[test]
    fn only_a_strong_validator_counts() {
        let modified = ("last-modified", "Tue, 03 Nov 2026 10:00:00 GMT");
        let date = |text| ("date", text);
        for (lines, expected) in [
            (vec![("etag", "\"v1\"")], Some("\"v1\"")),
            (vec![("etag", "W/\"v1\"")], None),
            (
                vec![
                    ("etag", "W/\"v1\""),
                    modified,
                    date("Tue, 03 Nov 2026 12:00:00 GMT"),
                ],
                None,
            ),
            (
                vec![modified, date("Tue, 03 Nov 2026 10:01:00 GMT")],
                Some(modified.1),
            ),
            (vec![modified, date("Tue, 03 Nov 2026 10:00:59 GMT")], None),
            (vec![modified, date("Tue, 03 Nov 2026 09:00:00 GMT")], None),
            (vec![modified], None),
            (vec![], None),
        ] {
            let lines = lines.into_iter().map(|(name, value)| {
                let name = http::HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            });
            let found = validator(&lines.collect());
            assert_eq!(found.as_ref().and_then(|v| v.to_str().ok()), expected);
        }
    }
}
