use std::fmt;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Version};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::address::Address;
use super::execute::Outgoing;
use super::fetch::{StatusTerms, is_conditional, is_ranged};
use super::{Body, Client, Response};
use crate::box_error::BoxError;
use crate::call::Call;
use crate::diagnose::Edge;
use crate::error::Error;
use crate::hop::Diagnosis;
use crate::options::Options;
use crate::telemetry::{Maker, call_span, encode_span, invalid};
use crate::timeout::LONGEST;
use crate::transport::basic;
use crate::transport::framing::announced;

/// Builds one request and sends it. If a part cannot be encoded, the call fails at encode when the request is sent.
///
/// # Example
///
/// ```no_run
/// use std::time::Duration;
/// use sevenhops::Client;
///
/// # async fn f(client: Client) -> Result<(), sevenhops::Error> {
/// let charges = client
///     .get("https://api.test/v1/charges")
///     .query(&[("limit", "10")])
///     .bearer_auth("token")
///     .options(|options| options.route("/v1/charges").deadline(Duration::from_secs(2)))
///     .fetch_bytes() // a 2xx with its whole body, or an error
///     .await?;
/// # drop(charges); Ok(()) }
/// ```
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    pub(super) client: Client,
    method: Method,
    url: Option<Address>,
    version: Version,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// The minimum size of a body to compress.
    pub(super) gzip: Option<u64>,
    /// `None` if the request overrides nothing of its client's config.
    options: Option<Box<Options>>,
    max_body_bytes: usize,
    /// The first part that could not be encoded.
    invalid: Option<BoxError>,
}

impl RequestBuilder {
    pub(super) fn new(client: Client, method: Method, url: Result<Address, BoxError>) -> Self {
        let (url, invalid) = match url {
            Ok(url) => (Some(url), None),
            Err(error) => (None, Some(error)),
        };
        Self {
            max_body_bytes: client.0.max_body_bytes,
            client,
            method,
            url,
            version: Version::default(),
            headers: HeaderMap::new(),
            body: Body::empty(),
            gzip: None,
            options: None,
            invalid,
        }
    }

    /// Adds a header. A `Content-Length` or `Transfer-Encoding` that contradicts the body is refused at encode.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<BoxError>>,
        V: TryInto<HeaderValue, Error: Into<BoxError>>,
    {
        match (name.try_into(), value.try_into()) {
            (Ok(name), Ok(value)) => {
                self.headers.append(name, value);
                self
            }
            (Err(error), _) => self.reject(error),
            (_, Err(error)) => self.reject(error),
        }
    }

    /// Sets headers, and replaces those of the same name.
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        for name in headers.keys() {
            self.headers.remove(name);
        }
        self.headers.extend(headers);
        self
    }

    /// Adds key-value pairs to the query.
    pub fn query<T: Serialize + ?Sized>(mut self, query: &T) -> Self {
        match serde_urlencoded::to_string(query) {
            Ok(pairs) => {
                let url = self.url.as_mut().filter(|_| !pairs.is_empty());
                if let Some(Ok(url)) = url.map(Address::url_mut) {
                    let all = match url.query().filter(|query| !query.is_empty()) {
                        Some(before) => format!("{before}&{pairs}"),
                        None => pairs,
                    };
                    url.set_query(Some(&all));
                }
                self
            }
            Err(error) => self.reject(error),
        }
    }

    /// Sets the body to JSON, and sets `Content-Type` unless it is set already.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        match encoded(&self.client.0.maker, || serde_json::to_vec(value)) {
            Ok(json) => self.content(json.into(), "application/json"),
            Err(error) => self.reject(error),
        }
    }

    /// Sets the body to a form, and sets `Content-Type` unless it is set already.
    pub fn form<T: Serialize + ?Sized>(self, form: &T) -> Self {
        match encoded(&self.client.0.maker, || serde_urlencoded::to_string(form)) {
            Ok(pairs) => self.content(pairs.into(), "application/x-www-form-urlencoded"),
            Err(error) => self.reject(error),
        }
    }

    /// Sets the body: bytes, or a stream. For a stream that can be retried see [`Body::retryable`].
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets `Authorization: Bearer` (RFC 6750).
    pub fn bearer_auth(self, token: impl fmt::Display) -> Self {
        let mut line = format!("Bearer {token}").into_bytes();
        let value = HeaderValue::from_bytes(&line);
        line.fill(0);
        match value {
            Ok(value) => self.authorization(value),
            Err(error) => self.reject(error),
        }
    }

    /// Sets `Authorization: Basic` (RFC 7617).
    pub fn basic_auth(self, user: impl fmt::Display, password: Option<&str>) -> Self {
        let value = basic(user.to_string().as_bytes(), password.map(str::as_bytes));
        self.authorization(value)
    }

    /// Sets the HTTP version. `HTTP_2` requires HTTP/2: if the connection does not speak it, the call fails at encode.
    /// `HTTP_11`, the default, lets the TLS handshake choose. For HTTP/1.1 alone see
    /// [`TransportBuilder::http1_only`](crate::transport::TransportBuilder::http1_only). Other versions fail at encode.
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Changes the options of this request: its route, deadline, attempts, idempotency key and more. See [`Options`].
    ///
    /// # Example
    ///
    /// ```no_run
    /// use sevenhops::{Client, Options};
    ///
    /// # async fn f(client: Client, incoming: http::Request<()>) -> Result<(), sevenhops::Error> {
    /// let url = "https://api.test/v1/charges";
    /// let charges = client.get(url).options(|options| options.route("/v1/charges").attempts(5));
    ///
    /// // The same options for several requests. `|_|` replaces the options that were set before.
    /// let inherited = Options::new().inherit(incoming.headers());
    /// let prices = client.get("https://api.test/v1/prices").options(|_| inherited.clone());
    /// let rates = client.get("https://api.test/v1/rates").options(|_| inherited.route("/v1/rates"));
    /// # drop((charges, prices, rates)); Ok(()) }
    /// ```
    pub fn options(mut self, change: impl FnOnce(Options) -> Options) -> Self {
        let options = self.options.take().unwrap_or_default();
        self.options = Some(Box::new(change(*options)));
        self
    }

    /// Sets the maximum size of the response body, if it is received whole. The default is the client's limit.
    pub fn body_limit(mut self, max_bytes: usize) -> Self {
        self.max_body_bytes = max_bytes;
        self
    }

    /// Sends the request, and returns as soon as the response head has arrived.
    ///
    /// # Errors
    ///
    /// Fails with the hop at which the call failed. A failing status is not an error: see
    /// [`Response::error_for_status`]. A coding that the client cannot decode is not an error either: the body is
    /// returned encoded, with its `Content-Encoding`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the call ends. A request that no connection took is not sent. A request that was sent
    /// may still have its effect.
    pub fn send(self) -> impl Future<Output = Result<Response, Error>> + Send + use<> {
        let (client, max_body_bytes) = (self.client.clone(), self.max_body_bytes);
        client.send_outgoing(Outgoing::Builder(self), max_body_bytes)
    }

    /// Sends the request and receives the whole body, as part of the attempt.
    ///
    /// # Errors
    ///
    /// Fails like [`send`](Self::send). Every status other than 2xx is also an error. If a redirect was not followed,
    /// the error says why. A GET or HEAD with `If-None-Match` or `If-Modified-Since` may get a 304, without a body. A
    /// 206 is an error if the request has no `Range`. [`Error::body`] has the beginning of such a failure's body. The
    /// call also fails if the body is longer than the body limit, or has a coding that the client cannot decode. Only
    /// [`send`](Self::send) returns encoded bytes.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the call ends. A request that no connection took is not sent. A request that was sent
    /// may still have its effect.
    pub async fn fetch_bytes(self) -> Result<Bytes, Error> {
        self.fetch().await?.bytes().await
    }

    /// Sends the request, receives the whole body as part of the attempt, and reads it as JSON.
    ///
    /// # Errors
    ///
    /// Fails like [`fetch_bytes`](Self::fetch_bytes), but a 304 has no JSON and always fails. A body that is not the
    /// expected JSON fails at decode.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the call ends. A request that no connection took is not sent. A request that was sent
    /// may still have its effect.
    pub async fn fetch_json<T: DeserializeOwned>(self) -> Result<T, Error> {
        self.fetch().await?.readable()?.json().await
    }

    async fn fetch(self) -> Result<Response, Error> {
        let headers = [&self.headers, &self.client.0.headers];
        let asks = StatusTerms {
            conditional: is_conditional(&self.method, headers),
            ranged: is_ranged(headers),
            config: self.client.0.config.clone(),
        };
        let most = self.max_body_bytes;
        let whole = self.options(|options| {
            let most = options.whole_body.unwrap_or(usize::MAX).min(most);
            options.whole_body(most)
        });
        whole.send().await?.fetched(asks).await
    }

    /// Builds the request without sending it. Send it with [`Client::execute`] or through another service.
    ///
    /// # Errors
    ///
    /// Fails at encode if the URL, a header or the body cannot be encoded.
    pub fn build(mut self) -> Result<Request<Body>, Error> {
        let uri = self.url.take().map(Address::into_uri);
        let uri = uri.and_then(|uri| uri.map_err(|error| self.note(error)).ok());
        if let Err(reason) = announced(self.version, &self.headers, &self.body) {
            self.note(reason);
        }
        self.compress();
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = uri.unwrap_or_default();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers;
        if let Some(options) = self.options {
            request.extensions_mut().insert(*options);
        }
        match self.invalid {
            None => Ok(request),
            Some(cause) => Err(unwritten(&mut request, cause, self.client)),
        }
    }

    fn note(&mut self, error: impl Into<BoxError>) {
        self.invalid.get_or_insert_with(|| error.into());
    }

    pub(super) fn reject(mut self, error: impl Into<BoxError>) -> Self {
        self.note(error);
        self
    }

    fn content(mut self, bytes: Bytes, kind: &'static str) -> Self {
        let kind = HeaderValue::from_static(kind);
        self.headers.entry(CONTENT_TYPE).or_insert(kind);
        self.body(bytes)
    }

    fn authorization(mut self, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.headers.insert(AUTHORIZATION, value);
        self
    }
}

/// Encodes a body in its own span.
fn encoded<T, E>(maker: &Maker, encode: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let span = encode_span(maker);
    let encoded = span.in_scope(encode);
    if encoded.is_err() {
        invalid(&span);
    }
    encoded
}

/// Ends the call of a request that could not be encoded, and returns its error.
fn unwritten(request: &mut Request<Body>, cause: BoxError, client: Client) -> Error {
    let call = Call::begin(request, LONGEST);
    let target = (request.method(), request.uri());
    let span = call_span(&client.0.maker, &call, target);
    call.listen(&span, client.0.observer.as_ref());
    let open = call.open();
    call.fail(Diagnosis::invalid());
    drop(open);
    let error = Error::invalid().because(cause);
    Error::at_edge(Edge::of_call(&call), error.into())
}

impl fmt::Debug for RequestBuilder {
    /// Leaves out headers, query and body: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("method", &self.method)
            .field("host", &self.url.as_ref().and_then(Address::host))
            .finish_non_exhaustive()
    }
}
