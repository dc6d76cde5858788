use std::fmt;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{Extensions, HeaderMap, StatusCode, Uri, Version};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use url::Url;

use super::ResponseBody;
use super::body::{encoding, failed};
use crate::body::Progress;
use crate::box_error::BoxError;
use crate::call::Call;
use crate::diagnose::Edge;
use crate::driver::DriverBody;
use crate::driver::Truncated;
use crate::error::{Error, ReasonText};
use crate::hop::{Diagnosis, Keyed, Kind};
use crate::policy::fallback::Replacement;
use crate::policy::idempotency;
use crate::policy::stale::Staleness;
use crate::timeline::Timeline;

/// A response whose head has arrived. Its body may still be on its way.
///
/// # Example
///
/// ```no_run
/// # async fn f(client: sevenhops::Client) -> Result<(), sevenhops::Error> {
/// let mut response = client.get("https://files.test/backup.tar").send().await?.error_for_status()?;
/// println!("{} over {:?}", response.status(), response.version());
///
/// let mut bytes = 0;
/// while let Some(piece) = response.chunk().await? {
///     bytes += piece.len(); // one piece at a time; `bytes()`, `text()` and `json()` receive the whole body
/// }
/// println!("{bytes} bytes");
/// # Ok(()) }
/// ```
pub struct Response {
    head: Parts,
    pub(super) body: ResponseBody,
    pub(super) uri: Uri,
    pub(super) timeline: Option<Timeline>,
    pub(super) max_body_bytes: usize,
}

impl Response {
    pub(super) fn new<R>(response: http::Response<DriverBody<R>>, max_body_bytes: usize) -> Self
    where
        R: HttpBody<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let timeline = response.body().timeline().clone();
        let (mut head, body) = response.into_parts();
        let body = ResponseBody::decoding(&mut head, body, &timeline);
        Self {
            head,
            body,
            uri: timeline.0.current_uri(),
            timeline: Some(timeline),
            max_body_bytes,
        }
    }

    /// Keeps the call with a response that is converted to another type, and perhaps back.
    fn keep_call(&mut self) {
        if let Some(Timeline(call)) = &self.timeline {
            self.head.extensions.insert(call.clone());
        }
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// Returns the HTTP version of the response.
    #[must_use]
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// Returns the headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Returns the extensions.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.head.extensions
    }

    /// Returns the complete URL of the response: the requested URL, or the URL that redirects led to.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Returns the URL of the response, like [`uri`](Self::uri), as a parsed URL. `None` for a response without a URL:
    /// it was not received by this crate.
    #[must_use]
    pub fn url(&self) -> Option<Url> {
        Url::parse(&self.uri.to_string()).ok()
    }

    /// Returns the address of the peer that sent the response: the server, or the proxy. `None` for a unix socket, and
    /// for a response that did not come through this crate's transport or that stands in for a failure.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn f(client: sevenhops::Client) -> Result<(), sevenhops::Error> {
    /// let response = client.get("https://api.test/").send().await?;
    /// println!("{:?} answered for {}", response.remote_addr(), response.uri());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        let is_substitute = self.is_stale() || self.replacement().is_some();
        let timeline = self.timeline().filter(|_| !is_substitute)?;
        timeline.attempts().pop()?.peer_addr()
    }

    /// Returns the timeline of the call so far. It continues while the body is received. `None` for a response that was
    /// not received by this crate.
    #[must_use]
    pub fn timeline(&self) -> Option<&Timeline> {
        self.timeline.as_ref()
    }

    /// Returns whether the server declares that it replayed its earlier response to the same idempotency key.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        idempotency::is_replayed(self.headers())
    }

    /// Returns whether only the beginning of the body was kept. That is the case if a retry was in progress and then
    /// did not happen. Reading the body fails at the end of the kept bytes.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.extensions().get::<Truncated>().is_some()
    }

    /// Returns whether this is an earlier response, from the store: see [`StaleLayer`](crate::StaleLayer).
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.staleness().is_some()
    }

    /// Returns the age of a stale response, and the failure that it stands in for. `None` if the response is the
    /// server's own.
    #[must_use]
    pub fn staleness(&self) -> Option<&Staleness> {
        self.extensions().get()
    }

    /// Returns the failure that a fallback stands in for: see [`FallbackLayer`](crate::FallbackLayer). `None` if the
    /// response is the server's own.
    #[must_use]
    pub fn replacement(&self) -> Option<&Replacement> {
        self.extensions().get()
    }

    /// Returns the length of the body, if the server declared it and the body is not encoded.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// Turns a status of 400 and above into an error whose hop is gateway or server. A redirect that was not followed
    /// is not an error here: see [`fetch_bytes`](super::RequestBuilder::fetch_bytes).
    ///
    /// # Errors
    ///
    /// Fails with the hop, the kind and the effect of the status. The body is dropped.
    pub fn error_for_status(self) -> Result<Self, Error> {
        match self.status_error() {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    /// Returns a status of 400 and above as an error, like [`error_for_status`](Self::error_for_status), and keeps the
    /// response, for example to read the body of the error.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn f(client: sevenhops::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let response = client.get("https://api.test/v1/charges").send().await?;
    /// if let Err(error) = response.error_for_status_ref() {
    ///     let explanation = response.text().await?;
    ///     return Err(format!("{error}: {explanation}").into());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with the hop, the kind and the effect of the status.
    pub fn error_for_status_ref(&self) -> Result<&Self, Error> {
        match self.status_error() {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    pub(super) fn status_error(&self) -> Option<Error> {
        let call = self.timeline.as_ref().map(|Timeline(call)| call);
        let (status, headers) = (self.head.status, &self.head.headers);
        // The attempt's diagnosis is more exact: it knows whether the server honored the key.
        let judged = call.and_then(|call| call.judged(status));
        let diagnosis = judged.or_else(|| Diagnosis::status(status, headers, Keyed::No))?;
        Some(self.fail(diagnosis))
    }

    /// Returns why the body is still encoded, if it is.
    pub(super) fn still_encoded(&self) -> Option<ReasonText> {
        match encoding(&self.head, &self.body) {
            Ok(codings) => codings.first().map(|coding| {
                let name = coding.name();
                ReasonText::new(format!("its body is encoded: {name}"))
            }),
            Err(reason) => Some(reason),
        }
    }

    /// Fails if the body is still encoded. Its bytes would be mistaken for the decoded body.
    pub(super) fn decoded(self) -> Result<Self, Error> {
        match self.still_encoded() {
            Some(reason) => Err(failed(Kind::Malformed, &self.timeline).because(reason)),
            None => Ok(self),
        }
    }

    /// Fails the call by its status.
    pub(super) fn fail(&self, diagnosis: Diagnosis) -> Error {
        let error = Error::by_status(diagnosis, self.headers());
        let Some(Timeline(call)) = &self.timeline else {
            return error;
        };
        // The client's own function may have read another hint than the table does.
        let error = match call.hint() {
            Some(wait) => error.after(wait),
            None => error,
        };
        let error = Error::at_edge(Edge::of_call(call), error.into());
        call.fail(error.diagnosis());
        error
    }

    /// Returns the next piece of the body; `None` at its end.
    ///
    /// # Errors
    ///
    /// Fails at receive if the body breaks off or stalls, or if it ends before or after its content-coding does. Fails
    /// at decode if its content-coding is corrupt.
    ///
    /// # Cancel safety
    ///
    /// Safe: a piece is lost only together with the response.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// Calls `observe` after each piece of the body that is read. The arguments are the bytes read so far, and the
    /// length of the body if it is known. Both count the decoded body. A panic of `observe` is ignored.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn f(client: sevenhops::Client) -> Result<(), sevenhops::Error> {
    /// let response = client.get("https://files.test/backup.tar").send().await?;
    /// let mut response = response.on_progress(|read, total| println!("{read} of {total:?} bytes"));
    /// while let Some(piece) = response.chunk().await? {
    ///     # drop(piece);
    ///     // write it to a file
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn on_progress(
        mut self,
        observe: impl Fn(u64, Option<u64>) + Send + Sync + 'static,
    ) -> Self {
        let progress = Progress::new("Response::on_progress", observe);
        self.body = self.body.counted(progress);
        self
    }

    /// Returns the body as a stream of pieces.
    pub fn bytes_stream(self) -> http_body_util::BodyDataStream<ResponseBody> {
        self.body.into_data_stream()
    }

    /// Returns the whole body.
    ///
    /// # Errors
    ///
    /// Fails like [`chunk`](Self::chunk), and if the body is longer than the body limit.
    ///
    /// # Cancel safety
    ///
    /// Not safe: the part of the body that was received is lost.
    pub async fn bytes(mut self) -> Result<Bytes, Error> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            if piece.len() > self.max_body_bytes - whole.len() {
                return Err(failed(Kind::TooLarge, &self.timeline));
            }
            if whole.is_empty() {
                if self.body.is_end_stream() {
                    return Ok(piece);
                }
                let rest = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
                let room = piece.len().saturating_add(rest).min(self.max_body_bytes);
                whole.reserve(room.min(MOST_RESERVED));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }
}

impl From<Response> for http::Response<ResponseBody> {
    fn from(mut response: Response) -> Self {
        response.keep_call();
        Self::from_parts(response.head, response.body)
    }
}

impl<B> From<http::Response<B>> for Response
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn from(response: http::Response<B>) -> Self {
        let call = response.extensions().get::<Call>().cloned();
        let uri = call.as_ref().map(Call::current_uri).unwrap_or_default();
        let timeline = call.map(|call| call.timeline());
        let (head, body) = response.into_parts();
        Self {
            body: ResponseBody::new(body, timeline.clone()),
            head,
            uri,
            timeline,
            max_body_bytes: usize::MAX,
        }
    }
}

/// A server may declare more than it sends, so no more than this is reserved at once. The buffer of a longer body grows
/// as the body arrives.
const MOST_RESERVED: usize = 8 << 20;

impl fmt::Debug for Response {
    /// Prints status and version: headers and body may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}
