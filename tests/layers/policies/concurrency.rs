//! Tests the concurrency limit: its permits, its queue, and calls that leave.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use sevenhops::hop::TimelineEventKind;
use sevenhops::policy::concurrency::{Algorithm, ConcurrencyHandle};
use sevenhops::{
    ConcurrencyConfig, ConcurrencyLayer, Config, Destination, Error, Operation, OperationConfig,
    OperationError, Options, Policy, RetryConfig, StandardLayer, TimeoutsConfig,
};
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceExt};

use crate::mock::{Mock, Step, optional, request, status};

const MS: fn(u64) -> Duration = Duration::from_millis;

pub(super) fn api() -> Destination {
    "https://api.test".parse().unwrap()
}

pub(super) fn fixed(limit: u32) -> ConcurrencyConfig {
    ConcurrencyConfig::new()
        .algorithm(Algorithm::Fixed)
        .limit(limit)
}

pub(super) fn stack(config: ConcurrencyConfig) -> StandardLayer {
    let once = RetryConfig::new().attempts(1).unsent_attempts(1);
    let settings = Config::new(MS(10_000)).retry(once);
    StandardLayer::from_config(&settings.concurrency(config)).unwrap()
}

pub(super) fn counts(limits: &ConcurrencyHandle) -> (u32, usize) {
    let now = limits.snapshot(&api()).unwrap();
    (now.in_flight, now.queued)
}

/// A service that responds after 100 ms, and counts how many requests it has at once.
#[derive(Clone, Default)]
pub(super) struct Slow {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    /// The number of requests that were sent.
    sent: Arc<AtomicUsize>,
}

impl Slow {
    fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    pub(super) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}

impl<B> Service<Request<B>> for Slow {
    type Response = Response<Full<Bytes>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<B>) -> Self::Future {
        let own = self.clone();
        let now = own.now.fetch_add(1, Ordering::Relaxed) + 1;
        own.most.fetch_max(now, Ordering::Relaxed);
        own.sent.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            sleep(MS(100)).await;
            own.now.fetch_sub(1, Ordering::Relaxed);
            Ok(Response::new(Full::from("hello")))
        })
    }
}

/// Makes a call and reads its body. Returns its notes.
pub(super) async fn call(
    layer: StandardLayer,
    slow: Slow,
    options: Options,
) -> Result<Vec<TimelineEventKind>, Error> {
    let service = layer.layer(slow);
    let response = service.oneshot(optional(Method::GET, options)).await?;
    let timeline = response.body().timeline().clone();
    response.into_body().collect().await?;
    Ok(timeline
        .events()
        .into_iter()
        .map(|note| note.kind)
        .collect())
}

#[tokio::test(start_paused = true)]
async fn no_more_attempts_are_in_flight_than_the_limit_allows() {
    let (layer, slow, start) = (stack(fixed(3)), Slow::default(), Instant::now());
    let calls: Vec<_> = (0..10)
        .map(|_| tokio::spawn(call(layer.clone(), slow.clone(), Options::new())))
        .collect();
    let mut waits = Vec::new();
    for call in calls {
        waits.extend(call.await.unwrap().unwrap());
    }
    assert_eq!((slow.most(), slow.sent()), (3, 10));
    assert_eq!(start.elapsed(), MS(400));
    let waited = |wait| TimelineEventKind::Queued {
        policy: Policy::Concurrency,
        wait,
    };
    let expected = [100, 100, 100, 200, 200, 200, 300].map(|ms| waited(MS(ms)));
    waits.sort_by_key(ToString::to_string);
    assert_eq!(waits, expected);
    assert_eq!(waits[0].to_string(), "waited 100.0 ms for a permit");
    assert_eq!(counts(&layer.concurrency_handle()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn wait_does_not_use_up_the_time_of_the_attempt() {
    let once = RetryConfig::new().attempts(1).unsent_attempts(1);
    let timeouts = TimeoutsConfig::new().attempt(MS(150));
    let settings = Config::new(MS(10_000)).retry(once).timeouts(timeouts);
    let layer = StandardLayer::from_config(&settings.concurrency(fixed(1))).unwrap();
    let slow = Slow::default();
    let calls = [(); 3].map(|()| tokio::spawn(call(layer.clone(), slow.clone(), Options::new())));
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn permit_is_held_to_the_last_byte_of_the_body() {
    let layer = ConcurrencyLayer::new(fixed(1)).unwrap();
    let (limits, mock) = (
        layer.concurrency_handle(),
        Mock::new((0..9).map(|_| hello())),
    );
    let send = async || {
        layer
            .layer(mock.clone())
            .oneshot(request(Method::GET))
            .await
            .unwrap()
    };
    let first = send().await;
    assert_eq!(counts(&limits), (1, 0));
    let mut second = pin!(send());
    assert!(poll_once(second.as_mut()).is_pending());
    assert_eq!(counts(&limits), (1, 1));
    first.into_body().collect().await.unwrap();
    let second = second.await;
    assert_eq!(counts(&limits), (1, 0));
    drop(second);
    assert_eq!(counts(&limits), (0, 0));
}

fn hello() -> Step {
    Step::Answer(200, Vec::new(), Bytes::from("hello"))
}

pub(super) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn response_without_a_body_gives_the_permit_back_at_once() {
    let layer = ConcurrencyLayer::new(fixed(1)).unwrap();
    let service = layer.layer(Mock::default());
    let _kept = service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(counts(&layer.concurrency_handle()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn call_that_leaves_at_any_poll_gives_its_permit_back() {
    let layer = stack(fixed(1));
    let (limits, slow) = (layer.concurrency_handle(), Slow::default());
    let mut is_over = false;
    for polls in 0.. {
        let held = layer
            .layer(slow.clone())
            .oneshot(request(Method::GET))
            .await
            .unwrap();
        let mut held = Some(held);
        {
            let mut call = pin!(call(layer.clone(), slow.clone(), Options::new()));
            for poll in 0..polls {
                is_over |= poll_once(call.as_mut()).is_ready();
                if is_over {
                    break;
                }
                // The call waits in the queue, for the response, then for the body.
                if poll == 2 {
                    held = None;
                }
                advance(MS(30)).await;
            }
        }
        drop(held);
        assert_eq!(counts(&limits), (0, 0), "after {polls} polls");
        if is_over {
            assert!(polls > 5, "{polls}");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn overload_shrinks_a_limit_that_adapts() {
    let layer = ConcurrencyLayer::new(ConcurrencyConfig::new().limit(20)).unwrap();
    for (step, expected) in [(status(503), 18), (status(429), 16), (status(500), 16)] {
        let service = layer.layer(Mock::new([step]));
        let _ = service.oneshot(request(Method::GET)).await;
        assert_eq!(
            layer.concurrency_handle().snapshot(&api()).unwrap().limit,
            expected
        );
    }
}

/// A service that may only be called by the clone that was polled ready.
#[derive(Default)]
struct Reserving(bool, Slow);

impl Clone for Reserving {
    fn clone(&self) -> Self {
        Self(false, self.1.clone())
    }
}

impl<B> Service<Request<B>> for Reserving {
    type Response = Response<Full<Bytes>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.0 = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.0), "called before it was ready");
        self.1.call(request)
    }
}

/// A body that cannot be cloned.
struct Precious;

#[tokio::test(start_paused = true)]
async fn request_with_a_body_that_cannot_be_cloned_waits_with_the_ready_service() {
    let layer = ConcurrencyLayer::new(fixed(1)).unwrap();
    let service = layer.layer(Reserving::default());
    let post = || Request::post("https://api.test/").body(Precious).unwrap();
    let [one, other] = [(); 2].map(|()| {
        let service = service.clone();
        tokio::spawn(async move {
            let response = service.oneshot(post()).await?;
            response.into_body().collect().await
        })
    });
    assert!(one.await.unwrap().is_ok());
    assert!(other.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn retry_waits_for_a_permit_too() {
    let mock = Mock::new([status(503), hello()]);
    let retry = RetryConfig::new().attempts(2);
    let settings = Config::new(MS(10_000)).retry(retry).concurrency(fixed(1));
    let layer = StandardLayer::from_config(&settings).unwrap();
    let first = layer.layer(mock.clone()).oneshot(request(Method::GET));
    let mut first = pin!(first);
    // It has failed once, and waits for its backoff without a permit.
    while mock.count() == 0 {
        assert!(poll_once(first.as_mut()).is_pending());
    }
    assert_eq!(counts(&layer.concurrency_handle()), (0, 0));
    let other = tokio::spawn(call(layer.clone(), Slow::default(), Options::new()));
    tokio::task::yield_now().await;
    let response = first.await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(other.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn operation_waits_for_a_permit() {
    let settings = OperationConfig::new(MS(10_000)).concurrency(fixed(1).max_queued(1));
    let operation = Operation::from_config("orders", settings).unwrap();
    let work = async |_| {
        sleep(MS(100)).await;
        Ok::<_, OperationError>(())
    };
    let start = Instant::now();
    let (one, other, third) = tokio::join!(
        operation.run(work),
        operation.run(work),
        operation.run(work)
    );
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(third.unwrap_err().rejected_by(), Some(Policy::Concurrency));
    assert_eq!(start.elapsed(), MS(200));
}

#[tokio::test(start_paused = true)]
async fn reload_changes_the_limit_and_keeps_the_permits() {
    let layer = stack(fixed(1));
    let slow = Slow::default();
    let calls = [(); 3].map(|()| tokio::spawn(call(layer.clone(), slow.clone(), Options::new())));
    tokio::task::yield_now().await;
    assert_eq!(counts(&layer.concurrency_handle()), (1, 2));
    let config = layer.config_handle();
    let wider = config.current().concurrency(fixed(3).max_queued(0));
    config.reload(&wider).unwrap();
    // The next call brings the new limit. It also holds for waiting calls.
    let rejected = call(layer.clone(), slow.clone(), Options::new()).await;
    assert!(rejected.is_err());
    assert_eq!(counts(&layer.concurrency_handle()), (3, 0));
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
}
