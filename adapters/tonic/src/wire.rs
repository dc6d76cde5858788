//! The transport of a channel: at each attempt it tells the server how much time is left, and how many attempts came
//! before. A method that responds with a stream is not told the time.

use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request};
use sevenhops::{Body, Timeline, Transport};
use tower_service::Service;

/// A transport that writes `grpc-timeout` and `grpc-previous-rpc-attempts`.
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
        if let Some(call) = Timeline::from_extensions(request.extensions()) {
            let is_streamed = request.extensions().get::<Streamed>().is_some();
            let headers = request.headers_mut();
            let left = HeaderValue::try_from(shown(call.remaining()));
            if let Some(left) = left.ok().filter(|_| !is_streamed) {
                headers.insert(TIMEOUT, left);
            }
            // The timeline has this attempt already. A hedge counts, too (gRFC A6).
            match call.attempt_count() {
                0 | 1 => {}
                attempts => {
                    headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from(attempts - 1));
                }
            }
        }
        self.0.call(request)
    }
}

/// Marks the request of a method that responds with a stream. The deadline of the channel ends at the head. A server would
/// end the stream at that time, so only a `grpc-timeout` of the caller's own is passed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streamed;

const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

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
