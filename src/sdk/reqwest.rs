//! Your own [`reqwest::Client`] below a stack, with its connections, proxy and TLS. (Feature `reqwest`.)
//!
//! # Example
//!
//! ```no_run
//! use std::time::Duration;
//! use sevenhops::{Body, StandardLayer, Transport};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # async fn f(client: reqwest::Client) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let service = ServiceBuilder::new()
//!     .layer(StandardLayer::new(Duration::from_secs(10))?)
//!     .service(Transport::over(client));
//! let request = http::Request::get("https://api.test/").body(Body::empty())?;
//! let response = service.oneshot(request).await?;
//! # drop(response); Ok(()) }
//! ```
//!
//! # Protects from
//!
//! A request is refused before the client sees it if its framing contradicts its body. So is a request with a demand
//! that no layer has carried out. The stack above protects from the rest.
//!
//! # Defaults
//!
//! None: the client is used as it was built. It has no filter, and none can be set, because its addresses cannot be
//! judged. For a filter use [`Transport`] or a client of [`sdk::bare`](crate::sdk::bare).
//!
//! # Reports
//!
//! One wait from the request to the response head, and then receive. An error has the hop that reqwest's error shows;
//! otherwise its hop is `Server`. Its effect is `Possible`, because the client may have sent the request before it
//! failed. If the client comes from [`sdk::bare`](crate::sdk::bare), dns, connect and tls are reported, and a failure
//! there has no effect.
//!
//! # Trade-offs
//!
//! The client's pool does not follow DNS. Send and first byte have no timeout of their own: the attempt's timeout
//! covers the whole wait. Each piece of an upload that the client takes begins that timeout again, unless it is set. A
//! body of more than 64 KiB in memory is passed to the client as a stream.
//!
//! # How people get it wrong
//!
//! The client follows redirects, retries, or has a shorter timeout of its own. Use `redirect::Policy::none()` and
//! `retry::never()`: the stack does both, and does not send keys and credentials to other origins.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::CONTENT_LENGTH;
use http_body::Body as _;
use reqwest::ResponseBuilderExt;
use tower_service::Service;

use crate::box_error::BoxError;
use crate::call::{attempt_of_request, unmet_elsewhere};
use crate::client::Body;
use crate::diagnose::{AttemptFailure, View};
use crate::error::Error;
use crate::transport::Transport;
use crate::transport::framing::announced;

impl Transport {
    /// Creates a service that sends through your own reqwest client: see [`sdk::reqwest`](crate::sdk::reqwest).
    /// (Feature `reqwest`.)
    #[must_use]
    pub fn over(client: reqwest::Client) -> ReqwestService {
        ReqwestService { client }
    }
}

/// The service that [`Transport::over`] makes. (Feature `reqwest`.)
#[derive(Clone, Debug)]
pub struct ReqwestService {
    client: reqwest::Client,
}

impl Service<http::Request<Body>> for ReqwestService {
    type Response = http::Response<reqwest::Body>;
    type Error = Error;
    type Future = ReqwestFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> ReqwestFuture {
        if let Some(unmet) = unmet_elsewhere(&request) {
            return ReqwestFuture(Box::pin(std::future::ready(Err(unmet.into()))));
        }
        let client = self.client.clone();
        ReqwestFuture(Box::pin(async move {
            let request = framed(request).await?.map(in_parts);
            let request = reqwest::Request::try_from(request).map_err(failed)?;
            let response = client.execute(request).await.map_err(failed)?;
            located(response).map_err(failed)
        }))
    }
}

/// The future of [`ReqwestService`]. (Feature `reqwest`.)
#[must_use = "futures do nothing unless polled"]
pub struct ReqwestFuture(Pin<Box<dyn Future<Output = ReqwestResult> + Send>>);

type ReqwestResult = Result<http::Response<reqwest::Body>, Error>;

impl Future for ReqwestFuture {
    type Output = Result<http::Response<reqwest::Body>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ReqwestFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestFuture").finish_non_exhaustive()
    }
}

/// Creates the body, and checks it against its declared length, as this crate's transport does. A stream reports its
/// pieces to the attempt, so that an upload that moves is not given up.
pub(super) async fn framed(request: http::Request<Body>) -> Result<http::Request<Body>, Error> {
    let (mut head, mut body) = request.into_parts();
    body.prepare().await?;
    let length = announced(head.version, &head.headers, &body);
    let length = length.map_err(|reason| Error::invalid().because(reason))?;
    if length == Some(0) && !body.is_end_stream() {
        // hyper would send the head and never look at the body.
        head.headers.remove(CONTENT_LENGTH);
    }
    let body = body.measured(length);
    let body = match body.is_in_memory() {
        // Middleware may read it.
        true => body,
        false => reporting(body),
    };
    Ok(http::Request::from_parts(head, body))
}

/// Returns a body whose pieces are reported to the attempt that is being polled right here.
fn reporting(body: Body) -> Body {
    match attempt_of_request() {
        Some(attempt) => body.reporting(move || attempt.moved_on()),
        None => body,
    }
}

/// Sends a long body in parts: the client takes one that is in memory as a single piece.
fn in_parts(body: Body) -> Body {
    let is_long = body.size_hint().lower() > WHOLE_BYTES;
    match is_long && body.is_in_memory() {
        true => reporting(body),
        false => body,
    }
}

/// The client takes a body of this length in one piece.
const WHOLE_BYTES: u64 = 64 << 10;

/// Converts a reqwest response and keeps its URL. The conversion loses the URL, and only a builder can set it again.
pub(super) fn located(
    response: reqwest::Response,
) -> Result<http::Response<reqwest::Body>, http::Error> {
    let url = response.url().clone();
    let marked = http::Response::builder().url(url).body(())?;
    let mut response = http::Response::<reqwest::Body>::from(response);
    let mark = marked.into_parts().0.extensions;
    response.extensions_mut().extend(mark);
    Ok(response)
}

/// Returns the hop and the effect that the error shows, given the attempt around it.
fn failed(error: impl Into<BoxError>) -> Error {
    let attempt = attempt_of_request();
    let view = View {
        record: attempt.as_deref(),
        ..View::default()
    };
    AttemptFailure::below(error.into(), view).into_error()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::BodyExt;
    use tokio::time::advance;

    use super::*;
    use crate::clock;
    use crate::record::tracker::{self, Tracker};
    use crate::telemetry::AttemptSpans;
    use crate::timeout::Timeouts;

    /// A body of this many pieces.
    struct Pieces(u32);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let left = self.0.checked_sub(1);
            self.0 = left.unwrap_or_default();
            Poll::Ready(left.map(|_| Ok(Frame::data(Bytes::from_static(b"piece")))))
        }
    }

    /// Reads an upload, one piece in three seconds. Returns the seconds at which bytes moved, seen from its attempt.
    async fn moved(body: Body) -> Vec<u64> {
        let timeouts = Timeouts::new(Duration::from_secs(10)).unwrap();
        let tracker = Tracker::new(timeouts, AttemptSpans::default(), clock::now());
        let tracker = Arc::new(tracker);
        let request = http::Request::post("https://api.test/").body(body).unwrap();
        let framing = async {
            framed(request)
                .await
                .map(|request| in_parts(request.into_body()))
        };
        let framed = tracker::scope(Arc::clone(&tracker), framing).await;
        let mut body = framed.unwrap();
        let mut moved = Vec::new();
        loop {
            advance(Duration::from_secs(3)).await;
            if body.frame().await.transpose().unwrap().is_none() {
                return moved;
            }
            moved.push((tracker.moved() - tracker.started()).as_secs());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_piece_of_an_upload_postpones_the_end_of_its_attempt() {
        assert_eq!(moved(Body::wrap(Pieces(3))).await, [3, 6, 9]);
    }

    #[tokio::test(start_paused = true)]
    async fn long_body_in_memory_is_sent_in_parts() {
        let long = Bytes::from(vec![7; 150 << 10]);
        assert_eq!(moved(Body::from(long)).await, [3, 6, 9]);
    }
}
