#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations)]

use std::time::Duration;

use futures::StreamExt;
use http_body_util::BodyDataStream;
use opendal_core::{Buffer, ErrorKind, HttpBody, HttpTransport};
use sevenhops::{
    Body, ConfigError, Error, Options, Response, StandardLayer, StandardService, Timeouts,
    Transport,
};
use tower::ServiceExt;

/// The HTTP of an operator, over the whole stack of sevenhops. Cheap to clone.
///
/// # Cancel safety
///
/// If the operator drops a request, the call is given up.
#[derive(Clone, Debug)]
pub struct StackTransport {
    service: StandardService<Transport>,
}

impl StackTransport {
    /// Creates a transport whose calls end within `deadline`, to the last byte of an object.
    ///
    /// # Errors
    ///
    /// Fails if `deadline` is out of range, or if the system's name servers or roots cannot be read.
    pub fn new(deadline: Duration) -> Result<Self, ConfigError> {
        let transport = Transport::new(Timeouts::new(deadline)?)?;
        Ok(Self::over(StandardLayer::new(deadline)?.over(transport)))
    }

    /// Creates a transport over a stack of yours.
    #[must_use]
    pub fn over(service: StandardService<Transport>) -> Self {
        Self { service }
    }
}

impl HttpTransport for StackTransport {
    async fn fetch(
        &self,
        request: http::Request<Buffer>,
    ) -> opendal_core::Result<http::Response<HttpBody>> {
        let (mut head, body) = request.into_parts();
        // The operator signed the request for this host. No service reads a key from this header.
        let options = head.extensions.remove::<Options>().unwrap_or_default();
        let options = options.generate_key(false);
        // A read may be redirected. Another host that it leads to does not get the credentials.
        head.extensions.insert(match head.method.is_safe() {
            true => options,
            false => options.follow_redirects(false),
        });
        let request = http::Request::from_parts(head, Body::from(body.to_bytes()));
        let mut response = self
            .service
            .clone()
            .oneshot(request)
            .await
            .map_err(failed)?;
        // The operator would call these temporary, whatever the request does. The stack has made all safe retries.
        let is_judged = matches!(response.status().as_u16(), 408 | 429 | 500..);
        let timeline = response.body().timeline().clone();
        if is_judged || timeline.is_in_doubt(response.status()) {
            timeline.insert_into(response.extensions_mut());
            let (head, body) = response.into_parts();
            let status = http::Response::from_parts(head.clone(), Body::empty());
            Response::from(status).error_for_status().map_err(failed)?;
            response = http::Response::from_parts(head, body);
        }
        Ok(response.map(|body| {
            let pieces = BodyDataStream::new(body);
            let pieces = pieces.map(|piece| piece.map(Buffer::from).map_err(failed));
            // The transport checks the end of the body. The length of a response to HEAD, or of a 304, is not that of
            // its body.
            HttpBody::new(Box::pin(pieces), None)
        }))
    }
}

/// Converts an error. Without `set_temporary` it is permanent in OpenDAL's terms: no retry.
fn failed(error: Error) -> opendal_core::Error {
    opendal_core::Error::new(ErrorKind::Unexpected, error.to_string()).set_source(error)
}
