#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations)]

use std::pin::Pin;
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use sevenhops::{Client, ConfigError, Error, Options};

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

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, Error> {
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
        // The flow reads the error codes of a 4xx. A 429 or a 5xx has none.
        if matches!(response.status().as_u16(), 429 | 500..) {
            response.error_for_status_ref()?;
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
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Error>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

/// A token response is small; a set of keys is larger.
const MOST_BYTES: usize = 1 << 20;
