use http::{Request, Response};
use sevenhops::client::InnerService;
use sevenhops::transport::Incoming;
use sevenhops::{Body, Error, Timeline};
use tower::layer::layer_fn;
use tower::{Layer, Service, ServiceExt, service_fn};

/// Returns a layer that passes a line about each attempt to `log`.
pub(crate) fn log_attempts(log: fn(String)) -> impl Layer<InnerService, Service = impl Attempt> {
    layer_fn(move |inner: InnerService| {
        service_fn(move |request: Request<Body>| {
            let mut inner = inner.clone();
            async move {
                let call = Timeline::from_extensions(request.extensions());
                let number = call.map_or(1, |call| call.attempt_count());
                let method = request.method().clone();
                let answered = inner.ready().await?.call(request).await;
                match &answered {
                    Ok(response) => log(format!("{method} {number}: {}", response.status())),
                    Err(error) => log(format!("{method} {number}: {error}")),
                }
                answered
            }
        })
    })
}

/// The service of a layer that passes requests on.
pub(crate) trait Attempt:
    Service<Request<Body>, Response = Response<Incoming>, Error = Error, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Attempt for S where
    S: Service<Request<Body>, Response = Response<Incoming>, Error = Error, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}
