#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations)]

use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::{Error as AzureError, ErrorKind};
use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::{AsyncRawResponse, Body as AzureBody, HttpClient, Request};
use futures::{StreamExt, TryStreamExt};
use http::header;
use sevenhops::{Body, Client, ConfigError, Error, Options, sdk};

/// The HTTP client of Azure's SDKs, over the whole stack of sevenhops. Cheap to clone.
///
/// # Cancel safety
///
/// If the SDK drops a request, the call is given up.
#[derive(Clone, Debug)]
pub struct AzureHttpClient {
    client: Client,
}

impl AzureHttpClient {
    /// Creates a client whose calls end within `deadline`, to the last byte of the body.
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
}

#[async_trait]
impl HttpClient for AzureHttpClient {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let invalid = |error: http::Error| AzureError::new(ErrorKind::DataConversion, error);
        let mut head = http::Request::builder()
            .method(request.method().as_str())
            .uri(request.url().as_str());
        for (name, value) in request.headers().iter() {
            head = head.header(name.as_str(), value.as_str());
        }
        let mut call = head.body(body(request.body())).map_err(invalid)?;
        // The body announces its own length.
        call.headers_mut().remove(header::CONTENT_LENGTH);
        // The SDK signed the request for this host. No Azure service reads a key from this header.
        let options = Options::new().generate_key(false).follow_redirects(false);
        call.extensions_mut().insert(options);
        let response = self.client.execute(call).await.map_err(failed)?;
        // The SDK would retry these, whatever the request does. The stack has made all safe retries.
        if matches!(response.status().as_u16(), 408 | 429 | 500..) {
            response.error_for_status_ref().map_err(failed)?;
        }
        let timeline = response.timeline();
        if timeline.is_some_and(|timeline| timeline.is_in_doubt(response.status())) {
            // Without the status, which the SDK would take for the result of the whole call.
            let unsure = |error| converted(ErrorKind::Other, error);
            response.error_for_status_ref().map_err(unsure)?;
        }
        let (status, headers) = (response.status(), headers(response.headers()));
        let pieces = response.bytes_stream().map_err(failed);
        Ok(AsyncRawResponse::new(
            status.as_u16().into(),
            headers,
            pieces.boxed(),
        ))
    }
}

/// Returns the error of sevenhops in an error of the SDK: its hop, its effect, its timeline.
#[must_use]
pub fn call(error: &AzureError) -> Option<&Error> {
    sdk::classify_error(error).error()
}

/// Converts a body. A stream is read from its beginning again for each attempt.
fn body(body: &AzureBody) -> Body {
    match body {
        AzureBody::Bytes(bytes) => Body::from(bytes.clone()),
        AzureBody::SeekableStream(stream) => {
            let length = stream.len();
            let stream = stream.clone();
            let body = Body::retryable(move || {
                let mut stream = stream.clone();
                async move {
                    stream.reset().await?;
                    Ok::<_, AzureError>(Body::from_stream(stream))
                }
            });
            match length {
                Some(length) => body.with_length(length),
                None => body,
            }
        }
    }
}

fn headers(from: &http::HeaderMap) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in from {
        if let Ok(value) = value.to_str() {
            let name = HeaderName::from(name.as_str().to_owned());
            headers.insert(name, HeaderValue::from(value.to_owned()));
        }
    }
    headers
}

/// Converts an error. `HttpResponse` and `Other` mean in the SDK's terms: no retry.
fn failed(error: Error) -> AzureError {
    let kind = match error.status() {
        Some(status) => ErrorKind::HttpResponse {
            status: status.as_u16().into(),
            error_code: None,
            raw_response: None,
        },
        None => ErrorKind::Other,
    };
    converted(kind, error)
}

fn converted(kind: ErrorKind, error: Error) -> AzureError {
    let shown = error.to_string();
    AzureError::with_error(kind, error, shown)
}
