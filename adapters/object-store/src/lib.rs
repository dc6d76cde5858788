#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations)]

use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use sevenhops::{
    Body, ConfigError, Error, Options, Response, StandardLayer, StandardService, Timeouts,
    Transport,
};
use tower::ServiceExt;

/// The HTTP of a store, over the whole stack of sevenhops: objects, listings, credentials. Cheap to clone.
///
/// # Cancel safety
///
/// If the store drops a request, the call is given up.
#[derive(Clone, Debug)]
pub struct StackConnector {
    service: StandardService<Transport>,
}

impl StackConnector {
    /// Creates a connector whose calls end within `deadline`, to the last byte of an object.
    ///
    /// # Errors
    ///
    /// Fails if `deadline` is out of range, or if the system's name servers or roots cannot be read.
    pub fn new(deadline: Duration) -> Result<Self, ConfigError> {
        let transport = Transport::new(Timeouts::new(deadline)?)?;
        Ok(Self::over(StandardLayer::new(deadline)?.over(transport)))
    }

    /// Creates a connector over a stack of yours.
    #[must_use]
    pub fn over(service: StandardService<Transport>) -> Self {
        Self { service }
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (mut head, body) = request.into_parts();
        // The store signed the request for this host. No store reads a key from this header.
        let options = Options::new().generate_key(false).follow_redirects(false);
        head.extensions.insert(options);
        let body = body.collect().await?.to_bytes(); // it is in memory
        let request = http::Request::from_parts(head, Body::from(body));
        let mut response = self
            .service
            .clone()
            .oneshot(request)
            .await
            .map_err(failed)?;
        // The store would retry these, whatever the request does. The stack has made all safe retries.
        if matches!(response.status().as_u16(), 408 | 429 | 500..) {
            let timeline = response.body().timeline().clone();
            timeline.insert_into(response.extensions_mut());
            let (head, body) = response.into_parts();
            let status = http::Response::from_parts(head.clone(), Body::empty());
            Response::from(status).error_for_status().map_err(failed)?;
            response = http::Response::from_parts(head, body);
        }
        Ok(response.map(|body| HttpResponseBody::new(body.map_err(failed))))
    }
}

impl HttpConnector for StackConnector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for StackConnector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.send(request).await
    }
}

/// Converts an error. `Unknown` means in the store's terms: no retry.
fn failed(error: Error) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, error)
}
