//! Sends a request through the stack of a client.

use std::future::poll_fn;
use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, HeaderMap, RANGE};
use http::{Request, Response as HttpResponse};
use tower_service::Service;

use super::layers::{CallStack, LayeredStack};
use super::precompiled::Precompiled;
use super::{Body, Client, RequestBuilder, Response};
use crate::coding::ACCEPTED;
use crate::driver::{DriverBody, refresh};
use crate::error::Error;
use crate::transport::Incoming;

/// The body of a response of the stack, as it came.
pub(crate) type StackBody = DriverBody<Incoming>;

/// A request to send.
pub(super) enum Outgoing {
    /// Built at the first poll, and sent with the client's headers.
    Builder(RequestBuilder),
    /// Sent as it is.
    AsIs(Request<Body>),
}

impl Client {
    /// Sends a request that was built elsewhere.
    ///
    /// # Errors
    ///
    /// Fails with the hop at which the call failed. A failing status is not an error.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the call ends. A request that no connection took is not sent. A request that was sent
    /// may still have its effect.
    pub fn execute(
        &self,
        mut request: Request<Body>,
    ) -> impl Future<Output = Result<Response, Error>> + Send + use<> {
        self.add_defaults(request.headers_mut());
        self.send_as_is(request)
    }

    /// Sends a request without the client's headers.
    pub(super) fn send_as_is(
        &self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response, Error>> + Send + use<> {
        self.send_outgoing(Outgoing::AsIs(request), self.0.max_body_bytes)
    }

    /// Sends a request. It is one future for everything: a future inside would be moved into the outer one, byte by
    /// byte.
    #[inline(never)]
    pub(super) fn send_outgoing(
        &self,
        outgoing: Outgoing,
        max_body_bytes: usize,
    ) -> impl Future<Output = Result<Response, Error>> + Send + use<> {
        let client = self.clone();
        Precompiled::new(async move {
            let request = match outgoing {
                Outgoing::AsIs(request) => request,
                Outgoing::Builder(builder) => {
                    let mut request = builder.build()?;
                    client.add_defaults(request.headers_mut());
                    request
                }
            };
            let response = match client.0.stack.clone() {
                CallStack::Standard(mut stack) => {
                    poll_fn(|cx| Service::<Request<Body>>::poll_ready(&mut stack, cx)).await?;
                    let mut response = stack.call(request).await?;
                    refresh(&mut response, || stack, Body::empty);
                    response
                }
                CallStack::Layered(stack) => Box::pin(within_layers(stack, request)).await?,
            };
            Ok(Response::new(response, max_body_bytes))
        })
    }

    /// Adds the client's headers that the request does not set, and the codings that the client decodes.
    pub(super) fn add_defaults(&self, headers: &mut HeaderMap) {
        self.add_default_headers(headers);
        // A range belongs to the encoded form (RFC 9110 §14.2): a part of it cannot be decoded.
        if !headers.contains_key(RANGE) {
            headers.entry(ACCEPT_ENCODING).or_insert(ACCEPTED);
        }
    }

    /// Passes a request on, and returns the response as it came. `Accept-Encoding` is the request's own.
    ///
    /// # Errors
    ///
    /// Fails like [`execute`](Self::execute).
    #[cfg(feature = "gateway")]
    pub(crate) async fn forward(
        &self,
        mut request: Request<Body>,
    ) -> Result<HttpResponse<StackBody>, Error> {
        self.add_default_headers(request.headers_mut());
        match self.0.stack.clone() {
            CallStack::Standard(mut stack) => {
                let mut response = Box::pin(respond(&mut stack, request)).await?;
                refresh(&mut response, || stack, Body::empty);
                Ok(response)
            }
            CallStack::Layered(stack) => Box::pin(within_layers(stack, request)).await,
        }
    }

    fn add_default_headers(&self, headers: &mut HeaderMap) {
        for name in self.0.headers.keys() {
            if !headers.contains_key(name) {
                for value in self.0.headers.get_all(name) {
                    headers.append(name, value.clone());
                }
            }
        }
    }
}

/// Sends a request through the user's layers, and refreshes the stored response if the response is stale.
async fn within_layers(
    stack: Arc<LayeredStack>,
    request: Request<Body>,
) -> Result<HttpResponse<StackBody>, Error> {
    let mut response = respond(&mut stack.calls.clone(), request).await?;
    refresh(&mut response, || stack.refreshes.clone(), Body::empty);
    Ok(response)
}

async fn respond<S>(stack: &mut S, request: Request<Body>) -> Result<HttpResponse<StackBody>, Error>
where
    S: Service<Request<Body>, Response = HttpResponse<StackBody>, Error = Error>,
{
    poll_fn(|cx| stack.poll_ready(cx)).await?;
    stack.call(request).await
}
