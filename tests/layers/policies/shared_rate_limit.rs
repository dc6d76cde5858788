//! Tests a rate limit with a store: its decisions, its failures, and calls that leave.

mod hedges;
mod waits;

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use http::Method;
use sevenhops::policy::rate_limit::{
    RateLimitConfig, RateLimitStore, SharedRateLimit, SharedRateLimitConfig, SlotDecision,
    SlotRequest, StoreFuture,
};
use sevenhops::{
    Config, Destination, Effect, Error, Operation, OperationError, Options, Policy, RateLimitLayer,
    RetryConfig, StandardLayer, hop::TimelineEventKind, policy::breaker::CircuitState,
    sdk::operation::OperationConfig,
};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};

use crate::mock::{Mock, optional, request, with};

const MS: fn(u64) -> Duration = Duration::from_millis;
const LOCAL: &str = "local share of the rate limit, because its store is away";

/// The reply of the store to one request.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Grant(u64),
    Refuse(u64),
    GrantLate(u64),
    Fail,
    Hang,
    Panic,
}

/// A scripted store. After its last reply, it grants everything at once.
#[derive(Clone, Debug, Default)]
struct Store {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    requests: Arc<Mutex<Vec<SlotRequest>>>,
}

impl Store {
    fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        let store = Self::default();
        store.replies.lock().unwrap().extend(replies);
        store
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// Shares the rate of five processes.
    fn shared(&self) -> SharedRateLimit {
        SharedRateLimit::new(self.clone(), SharedRateLimitConfig::new(5)).unwrap()
    }
}

impl RateLimitStore for Store {
    fn reserve<'a>(&'a self, request: &'a SlotRequest) -> StoreFuture<'a> {
        self.requests.lock().unwrap().push(request.clone());
        let reply = self.replies.lock().unwrap().pop_front();
        Box::pin(async move {
            let granted = |wait| Ok(SlotDecision::Granted { wait: MS(wait) });
            match reply.unwrap_or(Reply::Grant(0)) {
                Reply::Grant(wait) => granted(wait),
                Reply::Refuse(wait) => Ok(SlotDecision::Refused { wait: MS(wait) }),
                Reply::GrantLate(delay) => {
                    sleep(MS(delay)).await;
                    granted(0)
                }
                Reply::Fail => Err("connection refused".into()),
                Reply::Hang => pending().await,
                Reply::Panic => panic!("in the store"),
            }
        })
    }
}

/// Ten a second, ten at once: the share of a process is two a second, two at once.
fn ten() -> RateLimitConfig {
    RateLimitConfig::new(10)
}

fn stack(config: RateLimitConfig, store: &Store) -> StandardLayer {
    let once = RetryConfig::new().attempts(1);
    let settings = Config::new(MS(10_000)).retry(once).rate_limit(config);
    let layer = StandardLayer::from_config(&settings).unwrap();
    layer.share_rate_limit(&store.shared())
}

/// Makes a call. Returns the rows of its timeline.
async fn send(layer: &StandardLayer, mock: &Mock) -> Result<Vec<String>, Error> {
    let service = layer.layer(mock.clone());
    let response = service.oneshot(request(Method::GET)).await?;
    let notes = response.body().timeline().events();
    Ok(notes.iter().map(|note| note.kind.to_string()).collect())
}

#[tokio::test(start_paused = true)]
async fn store_decides_with_the_rate_of_the_config() {
    let store = Store::new([Reply::Grant(0), Reply::Grant(250), Reply::Refuse(300)]);
    let (layer, mock) = (stack(ten().burst(4), &store), Mock::default());
    let rows = send(&layer, &mock).await.unwrap();
    assert_eq!(rows, ["waited 0 µs for the rate limit"]);
    let rows = send(&layer, &mock).await.unwrap();
    assert_eq!(rows, ["waited 250.0 ms for the rate limit"]);
    assert_eq!(mock.waits(), [MS(250)]);

    let error = send(&layer, &mock).await.unwrap_err();
    assert_eq!(error.rejected_by(), Some(Policy::RateLimit));
    assert_eq!(
        (error.effect(), error.retry_after()),
        (Effect::None, Some(MS(300)))
    );
    assert!(
        error
            .to_string()
            .contains("the next slot is free in 300.0 ms"),
        "{error}"
    );
    assert_eq!(mock.count(), 2);

    let requests = store.requests.lock().unwrap();
    let request = &requests[0];
    assert_eq!(
        request.destination(),
        &Destination::named("https://api.test")
    );
    assert_eq!((request.interval(), request.burst()), (MS(100), 4));
    // The response of the store may take 100 ms of the 10 s.
    assert_eq!(request.longest(), MS(9_900) - Duration::from_nanos(1));
}

#[tokio::test(start_paused = true)]
async fn longest_wait_of_the_config_holds_for_the_store() {
    let store = Store::default();
    for (config, longest) in [(ten().max_wait(MS(70)), 70), (ten().wait(false), 0)] {
        send(&stack(config, &store), &Mock::default())
            .await
            .unwrap();
        assert_eq!(
            store.requests.lock().unwrap().last().unwrap().longest(),
            MS(longest)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn store_that_fails_leaves_the_local_share_of_the_rate() {
    for failing in [Reply::Fail, Reply::Panic, Reply::Grant(10_001)] {
        let store = Store::new([failing]);
        let (layer, mock) = (stack(ten(), &store), Mock::default());
        for rows in [
            vec![LOCAL, "waited 0 µs for the rate limit"],
            vec![LOCAL],
            vec![LOCAL, "waited 500.0 ms for the rate limit"],
        ] {
            assert_eq!(send(&layer, &mock).await.unwrap(), rows, "{failing:?}");
        }
        assert_eq!((store.count(), mock.count()), (1, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn local_share_rejects_with_its_own_next_slot() {
    let store = Store::new([Reply::Fail]);
    let (layer, mock) = (stack(ten().wait(false), &store), Mock::default());
    for _ in 0..2 {
        send(&layer, &mock).await.unwrap();
    }
    let text = send(&layer, &mock).await.unwrap_err().to_string();
    let reason = "the next slot of the local share is free in 500.0 ms, and the call does not wait";
    assert!(text.contains(reason), "{text}");
}

#[tokio::test(start_paused = true)]
async fn one_call_waits_for_a_store_that_hangs_and_the_next_ones_do_not() {
    let store = Store::new([Reply::Hang]);
    let (layer, mock, start) = (stack(ten(), &store), Mock::default(), Instant::now());
    let rows = send(&layer, &mock).await.unwrap();
    assert_eq!(rows, [LOCAL, "waited 100.0 ms for the rate limit"]);
    assert_eq!(send(&layer, &mock).await.unwrap(), [LOCAL]);
    assert_eq!(start.elapsed(), MS(100));
}

#[tokio::test(start_paused = true)]
async fn call_waits_for_the_store_for_half_of_its_time_at_most() {
    let store = Store::new([Reply::Hang]);
    let (layer, mock, start) = (stack(ten(), &store), Mock::default(), Instant::now());
    let short = optional(Method::GET, Options::new().deadline(MS(60)));
    layer.layer(mock.clone()).oneshot(short).await.unwrap();
    assert_eq!(mock.asked()[0].at - start, MS(30));
    // That says nothing about the store: the next call asks it.
    let rows = send(&layer, &mock).await.unwrap();
    assert_eq!(rows, ["waited 0 µs for the rate limit"]);
    assert_eq!(store.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn short_calls_in_a_row_notice_that_a_store_hangs() {
    let store = Store::new([Reply::Hang; 9]);
    let (layer, mock) = (stack(ten(), &store), Mock::default());
    for _ in 0..8 {
        // It waits for 30 ms. The timeout of the store is 100 ms.
        let short = optional(Method::GET, Options::new().deadline(MS(60)));
        let _ = layer.layer(mock.clone()).oneshot(short).await;
    }
    assert_eq!(store.count(), 4);
}

#[tokio::test(start_paused = true)]
async fn store_is_asked_again_after_a_pause_and_decides_again() {
    let store = Store::new([Reply::Fail]);
    let (layer, mock) = (stack(ten(), &store), Mock::default());
    assert!(
        send(&layer, &mock)
            .await
            .unwrap()
            .contains(&LOCAL.to_owned())
    );
    sleep(MS(499)).await;
    assert_eq!(send(&layer, &mock).await.unwrap(), [LOCAL]);
    assert_eq!(store.count(), 1);
    // The first pause is one second, shortened by at most its half.
    sleep(MS(501)).await;
    for asked in [2, 3] {
        let rows = send(&layer, &mock).await.unwrap();
        assert_eq!(rows, ["waited 0 µs for the rate limit"]);
        assert_eq!(store.count(), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn slots_of_the_store_count_for_the_local_share() {
    let store = Store::new([Reply::Grant(0), Reply::Grant(0), Reply::Fail]);
    let (layer, mock) = (stack(ten(), &store), Mock::default());
    for _ in 0..3 {
        send(&layer, &mock).await.unwrap();
    }
    assert_eq!(mock.waits(), [MS(0), MS(500)], "no other burst");
}

#[tokio::test(start_paused = true)]
async fn call_that_leaves_while_the_store_is_asked_sends_nothing() {
    let store = Store::new([Reply::Hang]);
    let (layer, mock) = (stack(ten(), &store), Mock::default());
    {
        let mut gone = pin!(send(&layer, &mock));
        let polled = gone.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    assert_eq!((store.count(), mock.count()), (1, 0));
    // A call that leaves says nothing about the store.
    assert_eq!(
        send(&layer, &mock).await.unwrap(),
        ["waited 0 µs for the rate limit"]
    );
    assert_eq!(store.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn slot_of_the_store_is_lost_with_the_call_that_waits_for_it() {
    let store = Store::new([Reply::Grant(200), Reply::Grant(400)]);
    let (layer, mock, start) = (stack(ten(), &store), Mock::default(), Instant::now());
    {
        let mut gone = pin!(send(&layer, &mock));
        let polled = gone.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    send(&layer, &mock).await.unwrap();
    assert_eq!((store.count(), mock.count()), (2, 1));
    assert_eq!(mock.asked()[0].at - start, MS(400));
}

#[tokio::test(start_paused = true)]
async fn word_of_the_server_holds_beside_the_store() {
    for (informed, expected) in [(true, MS(3_000)), (false, MS(0))] {
        let mock = Mock::new([with(200, "ratelimit", "\"default\";r=0;t=3")]);
        let layer = stack(ten().server_informed(informed), &Store::default());
        for _ in 0..2 {
            send(&layer, &mock).await.unwrap();
        }
        assert_eq!(mock.waits(), [expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn circuit_that_opens_during_the_wait_rejects() {
    let store = Store::new([Reply::GrantLate(50)]);
    let (layer, mock) = (stack(ten(), &store), Mock::default());
    let handle = layer.breaker_handle();
    let (sent, ()) = tokio::join!(send(&layer, &mock), async {
        sleep(MS(10)).await;
        handle.isolate(&Destination::named("https://api.test"));
    });
    assert_eq!(sent.unwrap_err().rejected_by(), Some(Policy::Breaker));
    let state = handle.state(&Destination::named("https://api.test"));
    assert_eq!((state, mock.count()), (CircuitState::Isolated, 0));
}

#[tokio::test(start_paused = true)]
async fn layer_alone_shares_its_rate_by_the_key_of_the_user() {
    let store = Store::new([Reply::Refuse(50)]);
    let layer = RateLimitLayer::new(ten()).unwrap();
    let layer = layer.share_rate_limit(&store.shared());
    let layer = layer.key_by(|_, _, _| Some(Destination::named("tenant 7")));
    let send = || layer.layer(Mock::default()).oneshot(request(Method::GET));
    assert_eq!(send().await.unwrap_err().retry_after(), Some(MS(50)));
    assert!(send().await.is_ok());
    let requests = store.requests.lock().unwrap();
    assert_eq!(requests[0].destination().as_str(), "tenant 7");
}

#[tokio::test(start_paused = true)]
async fn operation_shares_its_rate_limit_and_needs_one() {
    let store = Store::new([Reply::Grant(250), Reply::Refuse(60_000)]);
    let settings = OperationConfig::new(MS(10_000)).rate_limit(ten());
    let operation = Operation::from_config("orders", settings).unwrap();
    let operation = operation.share_rate_limit(&store.shared()).unwrap();
    let (start, work) = (Instant::now(), async |_| Ok::<_, OperationError>(()));
    operation.run(work).await.unwrap();
    assert_eq!(start.elapsed(), MS(250));
    let error = operation.run(work).await.unwrap_err();
    assert_eq!(error.rejected_by(), Some(Policy::RateLimit));
    assert_eq!(
        store.requests.lock().unwrap()[0].destination().as_str(),
        "orders"
    );

    let without = Operation::new("orders", MS(10_000)).unwrap();
    let refused = without.share_rate_limit(&store.shared()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "rate_limit: it is missing: a store shares the limit of the config"
    );
}

#[tokio::test(start_paused = true)]
async fn config_without_a_rate_limit_does_not_ask_the_store() {
    let store = Store::new([Reply::Hang]);
    let layer = StandardLayer::new(MS(10_000)).unwrap();
    let layer = layer.share_rate_limit(&store.shared());
    let response = layer.layer(Mock::default()).oneshot(request(Method::GET));
    let notes = response.await.unwrap().body().timeline().events();
    let is_local = |kind: &TimelineEventKind| matches!(kind, TimelineEventKind::LocalShare);
    assert!(!notes.iter().any(|note| is_local(&note.kind)));
    assert_eq!(store.count(), 0);
}
