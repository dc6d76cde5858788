//! The service that shows the recorded calls to an operator.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tower_service::Service;

use super::FlightRecorder;

/// Serves the recorded calls of a [`FlightRecorder`]: a tower service for any path of an axum or hyper server.
///
/// It is off unless you mount it. In axum: `router.route_service("/debug/calls", recorder.service())`.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use http_body_util::BodyExt;
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = sevenhops::Client::builder(Duration::from_secs(10)).build()?;
/// let recorder = client.flight_recorder().ok_or("it is off")?;
/// let request = http::Request::get("/debug/calls").body(String::new())?;
/// let response = recorder.service().oneshot(request).await?;
/// let text = response.into_body().collect().await?.to_bytes();
/// assert_eq!(text, "No call is recorded.\n");
/// # Ok(()) }
/// ```
///
/// # Responses
///
/// | query | response |
/// |---|---|
/// | none, or `format=text` | each call as a waterfall, each failure with its explanation |
/// | `format=json` (feature `serde`) | the recorder as JSON |
/// | `format=har` (feature `har`) | an HTTP archive for the network panel of a browser |
///
/// Another format is a 400 that lists the formats. A method other than GET and HEAD is a 405.
///
/// # How people get it wrong
///
/// They mount it on a public port. Calls are shown without secrets, but with the paths of their URLs and the addresses
/// of their servers. Mount it next to the metrics, on the port for operators.
#[derive(Clone, Debug)]
pub struct RecorderService {
    recorder: FlightRecorder,
}

impl RecorderService {
    pub(super) const fn new(recorder: FlightRecorder) -> Self {
        Self { recorder }
    }

    fn respond(&self, method: &Method, query: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refused = refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "GET and HEAD are allowed.\n",
            );
            let allowed = HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(ALLOW, allowed);
            return refused;
        }
        let format = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("format="));
        match format {
            None | Some("text") => response(TEXT, self.recorder.to_string()),
            #[cfg(feature = "serde")]
            Some("json") => match serde_json::to_string(&self.recorder) {
                Ok(json) => response(JSON, json),
                Err(_) => refuse(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "The calls are not JSON.\n",
                ),
            },
            #[cfg(feature = "har")]
            Some("har") => response(JSON, self.recorder.to_har().to_string()),
            Some(_) => refuse(StatusCode::BAD_REQUEST, FORMATS),
        }
    }
}

impl<B> Service<Request<B>> for RecorderService {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let query = request.uri().query().unwrap_or_default();
        ready(Ok(self.respond(request.method(), query)))
    }
}

fn refuse(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut refused = response(TEXT, text.to_owned());
    *refused.status_mut() = status;
    refused
}

fn response(kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

const TEXT: &str = "text/plain; charset=utf-8";
#[cfg(any(feature = "har", feature = "serde"))]
const JSON: &str = "application/json";
const FORMATS: &str = "The formats are: text, json (feature serde), har (feature har).\n";
