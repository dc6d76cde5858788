//! The faults of a request.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use crate::testing::Gate;

/// The treatment of one request by a [`FaultServer`](super::FaultServer).
///
/// Every variant takes the whole request before it acts, unless it says otherwise. "Closes" means
/// FIN (over TLS a close_notify before it), and what the client still sends is thrown away, so that
/// no RST overtakes what was written. On HTTP/2, closing and resetting hit the connection with all
/// its streams.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reply {
    /// Answers, and keeps the connection.
    Response(CannedResponse),
    /// Answers as soon as the head is there, while the body still goes out, then closes. On HTTP/2
    /// only the stream ends: RST_STREAM(NO_ERROR) after the response.
    EarlyAnswer(CannedResponse),
    /// Answers, keeps the connection, and closes it without a byte as soon as bytes of the next
    /// request arrive. That next request is neither counted nor does it use up a reply.
    CloseOnNextRequest(CannedResponse),
    /// Answers as if the connection were to be kept, then closes it at once.
    AnswerThenClose(CannedResponse),
    /// Forwards to the upstream; 502 when there is none or it cannot be reached.
    Upstream,
    /// Never answers.
    Silent,
    /// Reads the head, then nothing any more, and never answers. On HTTP/2 the window of the stream
    /// is never opened again; other streams go on.
    StopReading,
    /// Resets the connection (RST) once the first bytes of the body are there.
    ResetWhileReading,
    /// Resets the connection (RST) without a byte.
    ResetAfterRequest,
    /// Closes without a byte.
    CloseAfterRequest,
    /// Writes these raw bytes in the place of a response, then closes.
    Garbage(Bytes),
    /// Sends a 200 that declares `declared` bytes, sends `sent`, and falls silent.
    StallInBody {
        /// The content-length.
        declared: u64,
        /// The part that is sent.
        sent: Bytes,
    },
    /// Sends a 200 that declares `declared` bytes, sends `sent`, and closes.
    TruncateBody {
        /// The content-length.
        declared: u64,
        /// The part that is sent.
        sent: Bytes,
    },
    /// Sends a 200 and some of its body, then resets the connection (RST).
    ResetInBody,
    /// HTTP/2: resets the stream before a head. On HTTP/1.1: like
    /// [`ResetAfterRequest`](Self::ResetAfterRequest).
    ResetStream(h2::Reason),
    /// HTTP/2: sends a 200 and some of its body, then resets the stream. On HTTP/1.1: like
    /// [`ResetInBody`](Self::ResetInBody).
    ResetStreamInBody(h2::Reason),
    /// HTTP/2: sends a GOAWAY whose last stream is below this one, then closes. On HTTP/1.1: like
    /// [`CloseAfterRequest`](Self::CloseAfterRequest).
    GoAwayBelow(h2::Reason),
    /// HTTP/2: sends a GOAWAY(NO_ERROR) whose last stream is this one, then closes without an
    /// answer. On HTTP/1.1: like [`CloseAfterRequest`](Self::CloseAfterRequest).
    GoAwayAtOrAbove,
}

impl Reply {
    /// Garbage where a status line should be; on HTTP/2 a frame no peer can accept.
    #[must_use]
    pub fn garbage() -> Self {
        Self::Garbage(Bytes::from_static(b"GARBAGE no status line\r\n\r\n"))
    }
}

impl From<CannedResponse> for Reply {
    fn from(answer: CannedResponse) -> Self {
        Self::Response(answer)
    }
}

/// A well-formed answer.
///
/// # Example
///
/// ```
/// use http::StatusCode;
/// use sevenhops::testing::CannedResponse;
///
/// let throttled = CannedResponse::new(StatusCode::TOO_MANY_REQUESTS).header("retry-after", "2");
/// let created = CannedResponse::json(r#"{"id":"ch_1"}"#).status(StatusCode::CREATED);
/// # drop((throttled, created));
/// ```
#[derive(Clone, Debug)]
pub struct CannedResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) chunked: bool,
    pub(super) before_head: Option<Gate>,
    pub(super) before_body: Option<Gate>,
}

impl CannedResponse {
    /// Makes a response without headers or body; the content-length is added when it is sent.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            chunked: false,
            before_head: None,
            before_body: None,
        }
    }

    /// Makes a 200 with this JSON text.
    #[must_use]
    pub fn json(text: &str) -> Self {
        Self::new(StatusCode::OK)
            .header("content-type", "application/json")
            .body(text.to_owned())
    }

    /// Changes the status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds a header, beside any of the same name. A content-length given here is sent as it is.
    ///
    /// # Panics
    ///
    /// Panics when `name` or `value` cannot stand in a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name).expect("a header name");
        let value = HeaderValue::try_from(value).expect("a header value");
        self.headers.append(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the body in chunks instead of declaring its length. HTTP/2 has no chunks: there the
    /// length is left out.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Keeps the whole response back until `gate` opens.
    #[must_use]
    pub fn hold(mut self, gate: &Gate) -> Self {
        self.before_head = Some(gate.clone());
        self
    }

    /// Sends the head at once and keeps the body back until `gate` opens.
    #[must_use]
    pub fn hold_body(mut self, gate: &Gate) -> Self {
        self.before_body = Some(gate.clone());
        self
    }

    /// A 200 that declares more than it has.
    pub(super) fn broken(declared: u64, sent: Bytes) -> Self {
        let mut answer = Self::new(StatusCode::OK).body(sent);
        answer.headers.insert(CONTENT_TYPE, JSON);
        answer
            .headers
            .insert(http::header::CONTENT_LENGTH, declared.into());
        answer
    }

    /// The part that precedes a reset in mid-body.
    pub(super) fn half() -> Self {
        Self::broken(100, Bytes::from_static(b"{\"ok\":"))
    }
}

impl Default for CannedResponse {
    /// A 200 with `{"ok":true}`.
    fn default() -> Self {
        Self::json(r#"{"ok":true}"#)
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
