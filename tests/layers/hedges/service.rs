//! A service that takes its time, on a paused clock. It counts the requests in flight.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use sevenhops::hop::TimelineEventKind;
use sevenhops::policy::retry::{Backoff, Jitter};
use sevenhops::{HedgeConfig, RetryConfig, Timeline};
use tokio::time::{Instant, sleep};
use tower::Service;

pub(super) const MILLIS: fn(u64) -> Duration = Duration::from_millis;
pub(super) const SECS: fn(u64) -> Duration = Duration::from_secs;

/// The reply to a request, after a time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    Status(u16),
    /// A status with `Retry-After`, in seconds.
    Later(u16, u64),
    Reset,
    Never,
}

/// The service. After its last reply, it responds with 200 at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Slow(Arc<Inner>);

/// When a request came, and its URL and headers.
type Asked = (Instant, Uri, HeaderMap);

#[derive(Debug, Default)]
struct Inner {
    replies: Mutex<VecDeque<(Duration, Reply)>>,
    asked: Mutex<Vec<Asked>>,
    in_flight: AtomicUsize,
}

impl Slow {
    pub(super) fn new(replies: impl IntoIterator<Item = (Duration, Reply)>) -> Self {
        let slow = Self::default();
        slow.0.replies.lock().unwrap().extend(replies);
        slow
    }

    /// Never replies to the first requests.
    pub(super) fn hanging(requests: usize) -> Self {
        Self::new(vec![(Duration::ZERO, Reply::Never); requests])
    }

    pub(super) fn add(&self, after: Duration, reply: Reply) {
        self.0.replies.lock().unwrap().push_back((after, reply));
    }

    /// Forgets the replies that were not used.
    pub(super) fn clear(&self) {
        self.0.replies.lock().unwrap().clear();
    }

    pub(super) fn count(&self) -> usize {
        self.0.asked.lock().unwrap().len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn headers(&self) -> Vec<HeaderMap> {
        let asked = self.0.asked.lock().unwrap();
        asked.iter().map(|asked| asked.2.clone()).collect()
    }

    /// Returns the hosts of the requests.
    pub(super) fn hosts(&self) -> Vec<String> {
        let asked = self.0.asked.lock().unwrap();
        asked
            .iter()
            .map(|asked| asked.1.host().unwrap().to_owned())
            .collect()
    }

    /// Returns the times between the requests.
    pub(super) fn waits(&self) -> Vec<Duration> {
        let asked = self.0.asked.lock().unwrap();
        asked.windows(2).map(|two| two[1].0 - two[0].0).collect()
    }
}

impl Service<Request<Full<Bytes>>> for Slow {
    type Response = Response<Full<Bytes>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Response<Full<Bytes>>>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let next = self.0.replies.lock().unwrap().pop_front();
        let (after, reply) = next.unwrap_or((Duration::ZERO, Reply::Status(200)));
        let headers = request.headers().clone();
        let asked = (Instant::now(), request.uri().clone(), headers);
        self.0.asked.lock().unwrap().push(asked);
        let flight = InFlight::begin(&self.0);
        Box::pin(async move {
            let _flight = flight;
            sleep(after).await;
            let (status, later) = match reply {
                Reply::Status(status) => (status, None),
                Reply::Later(status, seconds) => (status, Some(seconds)),
                Reply::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
                Reply::Never => return std::future::pending().await,
            };
            let mut response = Response::builder().status(status);
            if let Some(seconds) = later {
                response = response.header("retry-after", seconds);
            }
            Ok(response.body(Full::from("hello")).unwrap())
        })
    }
}

struct InFlight(Arc<Inner>);

impl InFlight {
    fn begin(inner: &Arc<Inner>) -> Self {
        inner.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(inner))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn request(method: Method) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method);
    let request = request.uri("https://api.test/v1/charges");
    request.body(Full::from("amount=100")).unwrap()
}

pub(super) fn get() -> Request<Full<Bytes>> {
    request(Method::GET)
}

/// Hedges after a fixed time.
pub(super) fn after(delay: Duration) -> HedgeConfig {
    HedgeConfig::new().delay(delay)
}

/// Retries after exactly a second.
pub(super) fn steady() -> RetryConfig {
    let backoff = Backoff::new()
        .jitter(Jitter::None)
        .base(SECS(1))
        .cap(SECS(1));
    RetryConfig::new().backoff(backoff)
}

/// Returns the events of a timeline as text.
pub(super) fn events(timeline: &Timeline) -> Vec<String> {
    let events = timeline.events().into_iter();
    events.map(|event| event.kind.to_string()).collect()
}

/// Returns why the call was not hedged, if it says so.
pub(super) fn refusal(timeline: &Timeline) -> Option<&'static str> {
    let events = timeline.events().into_iter();
    let mut reasons = events.filter_map(|event| match event.kind {
        TimelineEventKind::NotHedged(reason) => Some(reason.as_str()),
        _ => None,
    });
    let reason = reasons.next();
    assert_eq!(reasons.next(), None, "one reason is enough");
    reason
}
