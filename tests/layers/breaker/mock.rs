//! A scripted service, and helpers of the tests.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use sevenhops::{
    CircuitBreakerConfig, CircuitBreakerLayer, Destination, Error, Timeouts,
    layer::CircuitBreakerService,
    policy::breaker::{CircuitBreakerHandle, CircuitState},
};

use tower::{Layer, Service, ServiceExt};

pub(super) const SECS: fn(u64) -> Duration = Duration::from_secs;
/// Longer than any first open time with its jitter.
pub(super) const OPEN_TIME: Duration = Duration::from_secs(6);
pub(super) const ATTEMPT: Duration = Duration::from_secs(5);

/// The reply of the service to the next calls.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leaf {
    Answers(u16),
    RetryAfter(&'static str),
    Fails(io::ErrorKind),
    Hangs,
    /// A head, one piece, and then no more data.
    Stalls,
    /// A head, one piece, and then an error.
    BreaksOff,
    /// A head, one piece, the end.
    Streams,
    /// A head, one piece, and the end before the announced length.
    EndsEarly,
}

/// A service with scripted replies that counts its calls.
#[derive(Clone)]
pub(super) struct Mock {
    leaf: Arc<Mutex<Leaf>>,
    calls: Arc<AtomicUsize>,
}

impl Mock {
    pub(super) fn new(leaf: Leaf) -> Self {
        Self {
            leaf: Arc::new(Mutex::new(leaf)),
            calls: Arc::default(),
        }
    }

    pub(super) fn set(&self, leaf: Leaf) {
        *self.leaf.lock().unwrap() = leaf;
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl<B> Service<Request<B>> for Mock {
    type Response = Response<Script>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Response<Script>>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<B>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let leaf = *self.leaf.lock().unwrap();
        Box::pin(async move {
            let mut response = Response::new(Script::of(leaf));
            match leaf {
                Leaf::Answers(status) => *response.status_mut() = status.try_into().unwrap(),
                Leaf::RetryAfter(seconds) => {
                    // A 503 with a hint opens no circuit, so the status is 500.
                    *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                    let value = seconds.parse().unwrap();
                    response.headers_mut().insert("retry-after", value);
                }
                Leaf::Fails(kind) => return Err(kind.into()),
                Leaf::Hangs => std::future::pending().await,
                Leaf::Stalls | Leaf::BreaksOff | Leaf::Streams | Leaf::EndsEarly => {}
            }
            Ok(response)
        })
    }
}

/// A body: its remaining pieces, and its end.
#[derive(Debug)]
pub(super) struct Script {
    piece: bool,
    leaf: Leaf,
}

impl Script {
    pub(super) fn of(leaf: Leaf) -> Self {
        let piece = matches!(
            leaf,
            Leaf::Stalls | Leaf::BreaksOff | Leaf::Streams | Leaf::EndsEarly
        );
        Self { piece, leaf }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if std::mem::take(&mut self.piece) {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"piece")))));
        }
        match self.leaf {
            Leaf::Stalls => Poll::Pending,
            Leaf::BreaksOff => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            _ => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.leaf, Leaf::Answers(_) | Leaf::RetryAfter(_))
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::default();
        hint.set_lower(u64::from(matches!(self.leaf, Leaf::EndsEarly)));
        hint
    }
}

pub(super) fn timeouts() -> Timeouts {
    Timeouts::new(SECS(10)).unwrap()
}

pub(super) fn get() -> Request<()> {
    Request::get("https://u:p@api.test/v1?key=canary")
        .body(())
        .unwrap()
}

pub(super) fn api() -> Destination {
    "https://api.test".parse().unwrap()
}

pub(super) fn over(leaf: Leaf) -> (Mock, CircuitBreakerService<Mock>, CircuitBreakerHandle) {
    with(leaf, CircuitBreakerConfig::new())
}

pub(super) fn with(
    leaf: Leaf,
    settings: CircuitBreakerConfig,
) -> (Mock, CircuitBreakerService<Mock>, CircuitBreakerHandle) {
    let mock = Mock::new(leaf);
    let layer = CircuitBreakerLayer::from_config(timeouts(), settings).unwrap();
    (mock.clone(), layer.layer(mock), layer.breaker_handle())
}

pub(super) type Answer = Result<Response<sevenhops::driver::DriverBody<Script>>, Error>;

pub(super) async fn ask(service: &CircuitBreakerService<Mock>) -> Answer {
    service.clone().oneshot(get()).await
}

/// Calls a failing service until its circuit is open.
pub(super) async fn opened(
    settings: CircuitBreakerConfig,
) -> (Mock, CircuitBreakerService<Mock>, CircuitBreakerHandle) {
    let (mock, service, breaker) = with(Leaf::Answers(503), settings);
    for _ in 0..20 {
        assert_eq!(ask(&service).await.unwrap().status(), 503);
    }
    assert_eq!(breaker.state(&api()), CircuitState::Open);
    (mock, service, breaker)
}

pub(super) async fn fail(service: &CircuitBreakerService<Mock>, times: usize) {
    for _ in 0..times {
        let _ = ask(service).await;
    }
}

pub(super) fn ready(service: &mut CircuitBreakerService<Mock>, cx: &mut Context<'_>) -> Poll<()> {
    Service::<Request<()>>::poll_ready(service, cx).map(Result::unwrap)
}

pub(super) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
