//! Sending amid chaos: what befalls a request befalls it where the network begins.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::service_fn;
use tower_layer::Layer;
use tower_service::Service;

use super::Shared;
use super::send::send;
use crate::box_error::BoxError;
use crate::call::Call;
use crate::chaos::ChaosLayer;
use crate::error::Error;

/// Sends a request, unless it is its turn to fail on purpose.
pub(super) async fn send_amid<B>(
    chaos: ChaosLayer,
    shared: Arc<Shared>,
    request: Request<B>,
) -> Result<Response<reqwest::Body>, Error>
where
    B: Body + Send + 'static,
    B::Data: Into<Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let call = Call::of(request.extensions());
    let mut service = chaos.layer(service_fn(move |request| {
        send(Arc::clone(&shared), request)
    }));
    match service.call(request).await {
        Ok(answer) => Ok(answer.map(reqwest::Body::wrap)),
        Err(error) => Err(Error::of_inner(error, call.as_ref())),
    }
}
