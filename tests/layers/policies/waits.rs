//! Tests requests that wait for a permit before an attempt.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use std::time::{Duration, SystemTime};

use http::{Method, Response};
use sevenhops::policy::retry::Budget;
use sevenhops::{Config, Effect, IdempotencyKey, Kind, Options, Policy, StandardLayer};
use tower::{Layer, ServiceExt};

use super::concurrency::{api, counts, fixed};
use crate::mock::{Mock, Step, optional, request, status, steady};

const MS: fn(u64) -> Duration = Duration::from_millis;

#[expect(clippy::disallowed_methods, reason = "a key's time is wall time")]
fn wall() -> SystemTime {
    SystemTime::now()
}

fn pending<F: Future>(future: Pin<&mut F>) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(future.poll(&mut cx).is_pending());
}

/// Returns a stack that has one attempt in flight at a time, and two attempts for a call.
fn one_at_a_time() -> StandardLayer {
    let retry = steady()
        .attempts(2)
        .budget(Budget::reserve_with_costs(1, 1, 1));
    let config = Config::new(MS(10_000)).retry(retry);
    StandardLayer::from_config(&config.concurrency(fixed(1))).unwrap()
}

#[tokio::test(start_paused = true)]
async fn key_that_expires_while_its_request_waits_is_not_sent() {
    let layer = one_at_a_time();
    let mock = Mock::new([Step::Hang]);
    let mut first = Box::pin(layer.layer(mock.clone()).oneshot(request(Method::GET)));
    pending(first.as_mut());

    let expires_at = wall() + MS(50);
    let remembered = MS(3_600_000);
    let key = IdempotencyKey::derive("charge", "order-4711", expires_at - remembered, remembered);
    let options = Options::new().idempotency_key(key.unwrap());
    let mut second = pin!(
        layer
            .layer(mock.clone())
            .oneshot(optional(Method::POST, options))
    );
    pending(second.as_mut());
    while wall() <= expires_at {
        std::hint::spin_loop();
    }
    drop(first);
    let error = second.await.unwrap_err();
    assert_eq!(error.rejected_by(), Some(Policy::Idempotency));
    assert_eq!(
        (error.kind(), error.effect()),
        (Kind::KeyExpired, Effect::Possible)
    );
    assert_eq!(mock.count(), 1, "only the first request was sent");
}

#[tokio::test(start_paused = true)]
async fn retry_that_is_dropped_while_it_waits_gives_its_token_back() {
    let layer = one_at_a_time();
    let mock = Mock::new([status(503), Step::Hang, status(503)]);
    let get = || Box::pin(layer.layer(mock.clone()).oneshot(request(Method::GET)));
    let mut first = get();
    let mut second = get();
    // The first call fails, and its retry waits for the permit that the second call has taken meanwhile.
    let tick = tokio::time::timeout(MS(50), first.as_mut());
    assert!(tick.await.is_err());
    pending(second.as_mut());
    let tick = tokio::time::timeout(MS(1_000), first.as_mut());
    assert!(tick.await.is_err());
    let limits = layer.concurrency_handle();
    assert_eq!(counts(&limits), (1, 1));
    assert_eq!(layer.budgets().left(&api()), Some(0));
    drop(first);
    assert_eq!(layer.budgets().left(&api()), Some(1));
    drop(second);
    let third = get().await.map(|response| Response::status(&response));
    assert_eq!(third.unwrap(), 200, "the retry was paid for");
    assert_eq!(mock.count(), 4);
}
