//! A scripted service that records its requests, on any clock.
#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "no test needs all of it, and each needs another part"
)]

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use sevenhops::{
    Options, RetryConfig, StandardLayer, StandardService,
    policy::retry::{Backoff, Jitter},
};

use tokio::time::Instant;
use tower::{Layer, Service};

/// The reply to one request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A response: status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, Bytes),
    /// A response with a header of arbitrary bytes.
    Raw(u16, http::HeaderName, http::HeaderValue),
    /// A connection error.
    Fail(io::ErrorKind),
    /// A connection error after a delay.
    FailAfter(Duration),
    /// Status 200 after a delay.
    AnswerAfter(Duration),
    /// No reply, ever.
    Hang,
}

pub(crate) fn status(code: u16) -> Step {
    Step::Answer(code, Vec::new(), Bytes::new())
}

pub(crate) fn with(code: u16, name: &'static str, value: &str) -> Step {
    Step::Answer(code, vec![(name, value.to_owned())], Bytes::new())
}

pub(crate) fn saying(code: u16, body: impl Into<Bytes>) -> Step {
    Step::Answer(code, Vec::new(), body.into())
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let value = self.head.headers.get(name)?;
        value.to_str().ok()
    }
}

/// The service. After its last step, it responds with 200.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mock {
    steps: Arc<Mutex<VecDeque<Step>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Mock {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let mock = Self::default();
        mock.steps.lock().unwrap().extend(steps);
        mock
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// Returns the times between the requests.
    pub(crate) fn waits(&self) -> Vec<Duration> {
        let asked = self.asked();
        let pairs = asked.windows(2);
        pairs.map(|pair| pair[1].at - pair[0].at).collect()
    }
}

impl Service<Request<Full<Bytes>>> for Mock {
    type Response = Response<Full<Bytes>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Response<Full<Bytes>>>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let step = self.steps.lock().unwrap().pop_front();
        let (head, body) = request.into_parts();
        let asked = Arc::clone(&self.asked);
        Box::pin(async move {
            let body = body.collect().await.unwrap().to_bytes();
            let at = Instant::now();
            asked.lock().unwrap().push(Asked { head, body, at });
            match step.unwrap_or_else(|| status(200)) {
                Step::Answer(status, headers, body) => {
                    let mut response = Response::builder().status(status);
                    for (name, value) in headers {
                        response = response.header(name, value);
                    }
                    Ok(response.body(Full::new(body)).unwrap())
                }
                Step::Raw(status, name, value) => {
                    let response = Response::builder().status(status).header(name, value);
                    Ok(response.body(Full::default()).unwrap())
                }
                Step::Fail(kind) => Err(kind.into()),
                Step::FailAfter(wait) => {
                    tokio::time::sleep(wait).await;
                    Err(io::ErrorKind::ConnectionReset.into())
                }
                Step::AnswerAfter(wait) => {
                    tokio::time::sleep(wait).await;
                    Ok(Response::new(Full::default()))
                }
                Step::Hang => std::future::pending().await,
            }
        })
    }
}

/// Returns a request to the payments API.
pub(crate) fn request(method: http::Method) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method);
    let request = request.uri("https://api.test/v1/charges?order=1");
    let request = request.header("authorization", "Bearer canary");
    request.body(Full::from("amount=100")).unwrap()
}

/// Returns the same request with options.
pub(crate) fn optional(method: http::Method, options: Options) -> Request<Full<Bytes>> {
    let mut request = request(method);
    request.extensions_mut().insert(options);
    request
}

/// Returns settings with fixed waits: 100 ms, 200 ms, 400 ms.
pub(crate) fn steady() -> RetryConfig {
    RetryConfig::new().backoff(Backoff::new().jitter(Jitter::None))
}

/// Returns the standard stack, with ten seconds for a call.
pub(crate) fn standard(retry: RetryConfig) -> StandardLayer {
    let settings = sevenhops::Config::new(Duration::from_secs(10)).retry(retry);
    StandardLayer::from_config(&settings).unwrap()
}

/// Returns the same stack over a mock.
pub(crate) fn stack(retry: RetryConfig, mock: &Mock) -> StandardService<Mock> {
    standard(retry).layer(mock.clone())
}

/// A body that breaks off at once.
pub(crate) struct Broken;

impl Body for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
    }
}
