#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations)]

mod request;
mod status;
mod wire;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use sevenhops::{
    Config, ConfigError, Options, StandardLayer, StandardService, Timeouts, Transport,
    TransportBuilder,
};
use tonic::Status;
use tonic::body::Body;
use tower_layer::Layer;
use tower_service::Service;

use self::wire::{GrpcTransport, Streamed};

/// A channel for tonic's generated clients, over the whole stack of sevenhops. Cheap to clone.
///
/// Give the server's URL to the generated client: `GreeterClient::with_origin(channel, origin)`.
///
/// # Cancel safety
///
/// If the future of a call is dropped, the call is given up.
#[derive(Clone, Debug)]
pub struct Channel {
    service: StandardService<GrpcTransport>,
    idempotent: Methods,
    streaming: Methods,
}

/// Tells methods apart by their path: `/package.Service/Method`.
type Methods = fn(&str) -> bool;

impl Channel {
    /// Creates a channel whose calls end within `deadline`, or within the `grpc-timeout` of a request.
    ///
    /// # Errors
    ///
    /// Fails if `deadline` is out of range, or if the system's name servers or roots cannot be read.
    pub fn new(deadline: Duration) -> Result<Self, ConfigError> {
        Self::build(Config::new(deadline), |transport| transport)
    }

    /// Creates a channel with this config, and with these options of its connections.
    ///
    /// # Errors
    ///
    /// Fails as [`new`](Self::new) does, and if a value of the config contradicts another one.
    pub fn build(
        config: Config,
        transport: impl FnOnce(TransportBuilder) -> TransportBuilder,
    ) -> Result<Self, ConfigError> {
        let timeouts = Timeouts::from_config(config.get_deadline(), *config.get_timeouts())?;
        let builder = Transport::builder(timeouts).http2_prior_knowledge(true);
        let wire = GrpcTransport(transport(builder).build()?);
        let policies = StandardLayer::from_config(&config)?
            .classify_all(status::classify)
            .hint(|head| status::pushback(head.headers()).flatten());
        Ok(Self {
            service: policies.layer(wire),
            idempotent: |_| false,
            streaming: |_| false,
        })
    }

    /// Sets which methods may be carried out twice. Their calls are retried after a failure that may have had an
    /// effect, such as UNAVAILABLE. By default no method is.
    #[must_use]
    pub fn idempotent(mut self, is_idempotent: fn(&str) -> bool) -> Self {
        self.idempotent = is_idempotent;
        self
    }

    /// Sets which methods respond with a stream. Their responses are passed on as they come, without a deadline after
    /// the head, and are not retried once the head has come. The server gets no `grpc-timeout`, except one of the
    /// request itself: it would end the stream at that time. By default no method does, and responses of more than
    /// 4 MiB fail.
    #[must_use]
    pub fn streaming(mut self, is_streaming: fn(&str) -> bool) -> Self {
        self.streaming = is_streaming;
        self
    }

    /// Returns the options of a call: those in its request's extensions, and what a call of gRPC needs.
    fn options(&self, request: &mut Request<Body>) -> Options {
        let own = request.extensions_mut().remove::<Options>();
        let path = request.uri().path();
        // The deadline of `tonic::Request::set_timeout`. gRPC has no idempotency keys.
        let options = own.unwrap_or_default().inherit(request.headers());
        let options = options.generate_key(false).follow_redirects(false);
        let mut options = options.route(path);
        if (self.idempotent)(path) {
            options = options.idempotent(true);
        }
        match (self.streaming)(path) {
            true => options.streaming(true),
            // A response that is received whole has a deadline.
            false => options.streaming(false).whole_body(MOST_BYTES),
        }
    }

    async fn send(mut self, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        let options = self.options(&mut request);
        let (mut head, body) = request.into_parts();
        if (self.streaming)(head.uri.path()) {
            head.extensions.insert(Streamed);
        }
        head.extensions.insert(options);
        let request = Request::from_parts(head, request::replayable(body).await);
        poll_fn(|cx| self.service.poll_ready(cx))
            .await
            .map_err(status::of)?;
        let response = self.service.call(request).await.map_err(status::of)?;
        let timeline = response.body().timeline().clone();
        let mut response = response.map(|body| Body::new(body.map_err(status::of)));
        timeline.insert_into(response.extensions_mut());
        Ok(response)
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

/// gRPC's own default for a message.
const MOST_BYTES: usize = 4 << 20;
