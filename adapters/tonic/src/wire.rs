//! The transport of a channel: it tells the server how much time is left, at each attempt.

use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request};
use sevenhops::{Body, Timeline, Transport};
use tower_service::Service;

/// A transport that writes `grpc-timeout`.
#[derive(Clone, Debug)]
pub(crate) struct GrpcTransport(pub(crate) Transport);

impl Service<Request<Body>> for GrpcTransport {
    type Response = <Transport as Service<Request<Body>>>::Response;
    type Error = <Transport as Service<Request<Body>>>::Error;
    type Future = <Transport as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request<Body>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let call = Timeline::from_extensions(request.extensions());
        let left = call.map(|call| shown(call.remaining()));
        if let Some(Ok(left)) = left.map(HeaderValue::try_from) {
            let name = HeaderName::from_static("grpc-timeout");
            request.headers_mut().insert(name, left);
        }
        self.0.call(request)
    }
}

/// Writes a time in milliseconds, or in seconds if that takes more than eight digits ("gRPC over HTTP2").
fn shown(left: Duration) -> String {
    match left.as_millis() {
        millis @ ..100_000_000 => format!("{millis}m"),
        _ => format!("{}S", left.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_has_at_most_eight_digits() {
        assert_eq!(shown(Duration::from_micros(299_900)), "299m");
        assert_eq!(shown(Duration::from_secs(86_400)), "86400000m");
        assert_eq!(shown(Duration::from_secs(200_000)), "200000S");
    }
}
