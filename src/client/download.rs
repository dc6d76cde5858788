//! Downloads that continue after their body broke off (RFC 9110 §14).

use std::fmt;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, HeaderValue, IF_RANGE, RANGE};
use http::{Method, Request};
use http_body::Body as _;

use super::body::failed_at;
use super::fetch::{StatusTerms, is_conditional};
use super::version::Version;
use super::{Body, Client, RequestBuilder, Response};
use crate::call::Call;
use crate::destination::OtherOrigin;
use crate::error::{Error, ReasonText};
use crate::hop::{Hop, Kind};
use crate::options::Options;

impl RequestBuilder {
    /// Sends a GET whose body continues by itself after it broke off.
    ///
    /// If the body fails at receive, the client asks for the rest. It sends `Range`, and `If-Range` so that the rest is
    /// of the same version. Two versions are never mixed.
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
    /// The request is [`streaming`](crate::Options::streaming): the deadline ends at each response head, and the body idle
    /// timeout applies to each pause. It asks for no content coding. A download continues at most 10 times, and only
    /// after at least one byte has come since the last time.
    ///
    /// # Trade-offs
    ///
    /// A body continues only if its length is announced and its version can be checked. That needs a strong `ETag`.
    /// Without an `ETag` it needs a `Last-Modified` that is at least a minute older than `Date`. Any other body fails
    /// where it breaks off. Each continuation is a call of its own, with its own retries, timeline and span. It goes to
    /// the final URL of the first response, with the headers that the redirects left. It follows no redirect itself,
    /// because another URL may have another file under the same `ETag`. A signed URL that has expired by then ends the
    /// download.
    ///
    /// # Errors
    ///
    /// Fails like [`send`](Self::send). Every status other than 2xx is also an error, with the beginning of the body
    /// in [`Error::body`]: only a 2xx is the file. A request with `If-None-Match` or `If-Modified-Since` may get a 304,
    /// which has no body. A 206 is an error, because the request asks for the whole file. Fails at encode if the method
    /// is not GET, or if the request has a body, or the header `Range` or `If-Range`.
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
        client.add_defaults(request.headers_mut());
        let mut rest = copy(&request);
        let asks = StatusTerms {
            conditional: is_conditional(request.method(), [request.headers(); 2]),
            ranged: false,
            config: client.0.config.clone(),
        };
        let response = client.send_as_is(request).await?.of_success(asks).await?;
        client.follow_to(&mut rest, &response);
        Ok(Download {
            version: Version::of(&response),
            client,
            request: rest,
            response,
            received: 0,
            resumptions: 0,
            is_fresh: true,
            state: State::Receiving,
        })
    }
}

impl Client {
    /// Changes a request, so that it asks for the final URL of a response to it. Headers that a redirect removed are
    /// removed, too.
    fn follow_to(&self, request: &mut Request<Body>, response: &Response) {
        let options = request.extensions_mut().remove::<Options>();
        let mut options = options.unwrap_or_default().follow_redirects(false);
        let asked = std::mem::replace(request.uri_mut(), response.uri().clone());
        let call = response.timeline.as_ref().map(|timeline| &timeline.0);
        if call.is_some_and(Call::is_led_away) {
            let route = options.route.as_deref();
            self.0.config.prune((&asked, route), request.headers_mut());
            request.extensions_mut().insert(OtherOrigin);
        }
        if call.is_some_and(Call::is_redirected) {
            options.route = None;
        }
        request.extensions_mut().insert(options);
    }
}

/// A response body that continues by itself. See [`RequestBuilder::download`].
pub struct Download {
    client: Client,
    /// The request for the rest, without its range.
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
        let response = match self.client.send_as_is(request).await {
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
    if let Some(mark) = request.extensions().get::<OtherOrigin>() {
        copy.extensions_mut().insert(*mark);
    }
    copy
}

const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
/// A body that breaks more often than this has a cause that another request does not remove.
const MOST_RESUMPTIONS: u32 = 10;
