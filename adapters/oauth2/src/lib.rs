#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations)]

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_LENGTH;
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use sevenhops::{Client, ConfigError, Effect, Error, Options, Timeline};

/// The HTTP client of an OAuth flow, over the whole stack of sevenhops. Cheap to clone.
///
/// # Cancel safety
///
/// If the flow drops a request, the call is given up.
#[derive(Clone, Debug)]
pub struct OauthHttpClient {
    client: Client,
}

impl OauthHttpClient {
    /// Creates a client whose calls end within `deadline`.
    ///
    /// # Errors
    ///
    /// Fails for the reasons of [`ClientBuilder::build`](sevenhops::ClientBuilder::build).
    pub fn new(deadline: Duration) -> Result<Self, ConfigError> {
        Ok(Self::over(Client::builder(deadline).build()?))
    }

    /// Uses a client of yours.
    #[must_use]
    pub fn over(client: Client) -> Self {
        Self { client }
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, RequestError> {
        let (head, body) = request.into_parts();
        // No redirects: the issuer could lead the request to a host of its choice.
        let options = Options::new()
            .follow_redirects(false)
            .generate_key(false)
            .whole_body(MOST_BYTES);
        let mut headers = head.headers;
        headers.remove(CONTENT_LENGTH);
        let call = self.client.request(head.method, head.uri.to_string());
        let response = call
            .headers(headers)
            .body(body)
            .options(|_| options)
            .body_limit(MOST_BYTES)
            .send()
            .await?;
        let status = response.status();
        let effect = response.timeline().map(Timeline::effect);
        // The flow reads the error codes of a status that declines the request. A 429 or a 5xx has none.
        let is_open = !status.is_success() && effect > Some(Effect::Declined);
        if is_open || matches!(status.as_u16(), 429 | 500..) {
            response.error_for_status_ref()?;
        }
        if is_open {
            return Err(RequestError::Redirected(status));
        }
        let mut converted = HttpResponse::new(Vec::new());
        *converted.status_mut() = response.status();
        *converted.headers_mut() = response.headers().clone();
        if let Some(timeline) = response.timeline().cloned() {
            timeline.insert_into(converted.extensions_mut());
        }
        *converted.body_mut() = response.bytes().await?.to_vec();
        Ok(converted)
    }
}

impl<'c> AsyncHttpClient<'c> for OauthHttpClient {
    type Error = RequestError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, RequestError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

/// The failure of a request that has no response for the flow.
#[derive(Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// The call failed: its hop, its effect, its timeline.
    Failed(Error),
    /// The issuer redirected the request with this status, and may have carried it out. The redirect is not followed.
    Redirected(StatusCode),
}

impl RequestError {
    /// Returns whether the issuer may have carried the request out.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self {
            Self::Failed(error) => error.effect(),
            Self::Redirected(_) => Effect::Possible,
        }
    }

    /// Returns whether it is proved that the request had no effect, so that it is safe to send it again.
    #[must_use]
    pub fn had_no_effect(&self) -> bool {
        self.effect() == Effect::None
    }

    /// Returns the error of the call, if it failed.
    #[must_use]
    pub fn failure(&self) -> Option<&Error> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Redirected(_) => None,
        }
    }
}

impl From<Error> for RequestError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Redirected(status) => {
                write!(
                    f,
                    "redirected with {}, not followed; effect possible",
                    status.as_u16()
                )
            }
        }
    }
}

impl StdError for RequestError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.failure().map(|error| error as _)
    }
}

/// A token response is small; a set of keys is larger.
const MOST_BYTES: usize = 1 << 20;
