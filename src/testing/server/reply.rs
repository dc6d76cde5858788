//! The faults of a request.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use crate::testing::Gate;

/// The treatment of one request by a [`FaultServer`](super::FaultServer).
///
/// Every variant reads the whole request before it acts, unless it says otherwise. "Closes" means FIN (over TLS a
/// close_notify before it). The server then discards the bytes that the client still sends, so that no RST overtakes
/// the response. On HTTP/2, closing and resetting affect the connection with all its streams.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reply {
    /// Responds, and keeps the connection open.
    Response(CannedResponse),
    /// Responds as soon as the head has arrived, while the client still sends the body, then closes. On HTTP/2 only the
    /// stream ends: RST_STREAM(NO_ERROR) after the response.
    EarlyAnswer(CannedResponse),
    /// Responds and keeps the connection open. As soon as bytes of the next request arrive, it closes without a
    /// response. That next request is not counted, and it does not use up a reply.
    CloseOnNextRequest(CannedResponse),
    /// Responds as if the connection stayed open, then closes it at once.
    AnswerThenClose(CannedResponse),
    /// Forwards to the upstream. The reply is a 502 if there is no upstream, or if it cannot be reached.
    Upstream,
    /// Never responds.
    Silent,
    /// Reads the head, then reads nothing more and never responds. On HTTP/2 the window of the stream is never opened
    /// again, and other streams continue.
    StopReading,
    /// Resets the connection (RST) after the first bytes of the body have arrived.
    ResetWhileReading,
    /// Resets the connection (RST) without a response.
    ResetAfterRequest,
    /// Closes without a response.
    CloseAfterRequest,
    /// Writes these raw bytes in place of a response, then closes.
    Garbage(Bytes),
    /// Sends a 200 that declares `declared` bytes, sends `sent`, and then nothing more.
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
    /// HTTP/2: resets the stream before a head. On HTTP/1.1 it is like [`ResetAfterRequest`](Self::ResetAfterRequest).
    ResetStream(h2::Reason),
    /// HTTP/2: sends a 200 and some of its body, then resets the stream. On HTTP/1.1 it is like
    /// [`ResetInBody`](Self::ResetInBody).
    ResetStreamInBody(h2::Reason),
    /// HTTP/2: sends a GOAWAY whose last stream is below this one, then closes. On HTTP/1.1 it is like
    /// [`CloseAfterRequest`](Self::CloseAfterRequest).
    GoAwayBelow(h2::Reason),
    /// HTTP/2: sends a GOAWAY(NO_ERROR) whose last stream is this one, then closes without a response. On HTTP/1.1 it
    /// is like [`CloseAfterRequest`](Self::CloseAfterRequest).
    GoAwayAtOrAbove,
}

impl Reply {
    /// Returns garbage in place of a status line. On HTTP/2 it is a frame that no peer can accept.
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

/// A well-formed response.
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
    /// Creates a response without headers or body. The content-length is added when it is sent.
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

    /// Creates a 200 with this JSON text.
    #[must_use]
    pub fn json(text: &str) -> Self {
        Self::new(StatusCode::OK)
            .header("content-type", "application/json")
            .body(text.to_owned())
    }

    /// Sets the status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds a header, and keeps others of the same name. A content-length that is set here is sent unchanged.
    ///
    /// # Panics
    ///
    /// Panics if `name` or `value` is not valid in a header.
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

    /// Sends the body in chunks instead of declaring its length. HTTP/2 has no chunks: the length is left out.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Holds the whole response back until `gate` opens.
    #[must_use]
    pub fn hold(mut self, gate: &Gate) -> Self {
        self.before_head = Some(gate.clone());
        self
    }

    /// Sends the head at once, and holds the body back until `gate` opens.
    #[must_use]
    pub fn hold_body(mut self, gate: &Gate) -> Self {
        self.before_body = Some(gate.clone());
        self
    }

    /// Returns a 200 that declares more bytes than it has.
    pub(super) fn broken(declared: u64, sent: Bytes) -> Self {
        let mut answer = Self::new(StatusCode::OK).body(sent);
        answer.headers.insert(CONTENT_TYPE, JSON);
        answer
            .headers
            .insert(http::header::CONTENT_LENGTH, declared.into());
        answer
    }

    /// Returns the part of a body that precedes a reset.
    pub(super) fn half() -> Self {
        Self::broken(100, Bytes::from_static(b"{\"ok\":"))
    }
}

impl Default for CannedResponse {
    /// Returns a 200 with `{"ok":true}`.
    fn default() -> Self {
        Self::json(r#"{"ok":true}"#)
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
