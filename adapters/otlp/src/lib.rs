#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations)]

mod runtime;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use sevenhops::{Client, ConfigError, Error, Options};

use self::runtime::OwnRuntime;

/// The HTTP client of an OTLP exporter, over the whole stack of sevenhops. Cheap to clone.
///
/// It has a runtime of its own, with one thread: exporters run on threads without a runtime.
///
/// # Cancel safety
///
/// If the exporter drops an export, the call is given up.
#[derive(Clone, Debug)]
pub struct OtlpHttpClient {
    client: Client,
    runtime: Arc<OwnRuntime>,
}

impl OtlpHttpClient {
    /// Creates a client whose exports end within `deadline`.
    ///
    /// # Errors
    ///
    /// Fails for the reasons of [`ClientBuilder::build`](sevenhops::ClientBuilder::build), or if the thread cannot be
    /// started.
    pub fn new(deadline: Duration) -> Result<Self, HttpError> {
        let client: Result<_, ConfigError> = Client::builder(deadline).build();
        Self::over(client?)
    }

    /// Uses a client of yours. It must not export its own metrics or spans through this exporter.
    ///
    /// # Errors
    ///
    /// Fails if the thread cannot be started.
    pub fn over(client: Client) -> Result<Self, HttpError> {
        let runtime = Arc::new(OwnRuntime::start()?);
        Ok(Self { client, runtime })
    }
}

#[async_trait]
impl HttpClient for OtlpHttpClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = send(self.client.clone(), request);
        Ok(self.runtime.run(sent).await??)
    }
}

async fn send(client: Client, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
    let (mut head, body) = request.into_parts();
    head.headers.remove(CONTENT_LENGTH);
    // OTLP accepts duplicates: a batch is sent again after a lost response.
    let options = Options::new()
        .idempotent(true)
        .follow_redirects(false)
        .whole_body(MOST_BYTES);
    let call = client
        .request(head.method, head.uri.to_string())
        .headers(head.headers);
    let response = call
        .body(body)
        .options(|_| options)
        .body_limit(MOST_BYTES)
        .send()
        .await?;
    let mut converted = Response::new(Bytes::new());
    *converted.status_mut() = response.status();
    *converted.headers_mut() = response.headers().clone();
    *converted.body_mut() = response.bytes().await?;
    Ok(converted)
}

/// The bound of opentelemetry's own clients.
const MOST_BYTES: usize = 4 << 20;
