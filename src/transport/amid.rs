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
use crate::call::attempt_of_request;
use crate::chaos::ChaosLayer;
use crate::diagnose::diagnose;
use crate::error::Error;
use crate::hop::{Diagnosis, Hop};

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
    let mut service = chaos.layer(service_fn(move |request| {
        send(Arc::clone(&shared), request)
    }));
    match service.call(request).await {
        Ok(answer) => Ok(answer.map(reqwest::Body::wrap)),
        // Chaos plays what a transport of ours would meet.
        Err(error) => Err(Error::ours(error).unwrap_or_else(|played| {
            let diagnosis = match attempt_of_request() {
                Some(tracker) => diagnose(&tracker, &*played),
                None => Diagnosis::foreign(&*played).or_at(Hop::Server),
            };
            Error::new(diagnosis).because(played)
        })),
    }
}
