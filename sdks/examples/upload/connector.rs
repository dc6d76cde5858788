//! The whole stack, in the form in which object_store takes an HTTP client.

use async_trait::async_trait;
use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use sevenhops::{Body, StandardService, Transport};
use tower::ServiceExt;

/// For everything that a store does: objects, listings, credentials.
#[derive(Clone, Debug)]
pub(crate) struct Stack(pub(crate) StandardService<Transport>);

impl HttpConnector for Stack {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Stack {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes(); // in memory already
        let request = http::Request::from_parts(head, Body::from(body));
        let response = self.0.clone().oneshot(request).await.map_err(failed)?;
        Ok(response.map(|body| HttpResponseBody::new(body.map_err(failed))))
    }
}

/// The stack has made all retries.
fn failed(error: sevenhops::Error) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, error)
}
