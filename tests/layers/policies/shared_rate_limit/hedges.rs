//! Hedges under a rate limit with a store.

use std::pin::pin;
use std::time::Duration;

use sevenhops::policy::retry::Budget;
use sevenhops::{Config, HedgeConfig, RetryConfig, StandardLayer};
use tokio::time::Instant;

use super::{LOCAL, MS, Reply, Store, send, ten};
use crate::mock::{Mock, Step};

/// Makes a call that is slow enough for a hedge. Returns when its requests were sent, and the rows of its timeline.
async fn hedged(store: &Store) -> (Vec<Duration>, Vec<String>) {
    let hedge = HedgeConfig::new().delay(MS(100)).same_address(true);
    let settings = Config::new(MS(10_000)).rate_limit(ten()).hedge(hedge);
    let layer = StandardLayer::from_config(&settings).unwrap();
    let layer = layer.share_rate_limit(&store.shared());
    let mock = Mock::new([Step::AnswerAfter(MS(500)), Step::AnswerAfter(MS(10))]);
    let start = Instant::now();
    let rows = send(&layer, &mock).await.unwrap();
    let at = mock.asked().iter().map(|asked| asked.at - start).collect();
    (at, rows)
}

#[tokio::test(start_paused = true)]
async fn hedge_is_sent_when_the_store_has_granted_its_slot() {
    let store = Store::new([Reply::Grant(0), Reply::GrantLate(20)]);
    let (at, rows) = hedged(&store).await;
    assert_eq!(at, [MS(0), MS(120)]);
    assert_eq!(rows[1], "hedged after 120.0 ms");
    let requests = store.requests.lock().unwrap();
    assert_eq!(
        requests[1].longest(),
        MS(0),
        "a hedge does not wait for a slot"
    );
}

#[tokio::test(start_paused = true)]
async fn hedge_without_a_slot_of_the_store_is_not_sent() {
    let store = Store::new([Reply::Grant(0), Reply::Refuse(50)]);
    let (at, rows) = hedged(&store).await;
    assert_eq!((at, store.count()), (vec![MS(0)], 2));
    assert_eq!(rows[1], "not hedged: rejected by the rate limit");
}

#[tokio::test(start_paused = true)]
async fn hedge_of_a_store_that_hangs_has_the_local_share() {
    let store = Store::new([Reply::Grant(0), Reply::Hang]);
    let (at, rows) = hedged(&store).await;
    assert_eq!(at, [MS(0), MS(200)]);
    assert_eq!(rows[1..], [LOCAL, "hedged after 200.0 ms"]);
}

/// A slot of a store is not given back.
#[tokio::test(start_paused = true)]
async fn store_is_not_asked_for_a_hedge_that_cannot_be_paid_for() {
    let store = Store::new([]);
    let hedge = HedgeConfig::new().delay(MS(100)).same_address(true);
    let poor = RetryConfig::new().budget(Budget::reserve_with_costs(1, 1, 1));
    let settings = Config::new(MS(10_000)).retry(poor).rate_limit(ten());
    let layer = StandardLayer::from_config(&settings.hedge(hedge)).unwrap();
    let layer = layer.share_rate_limit(&store.shared());
    let mock = Mock::new([Step::Hang, Step::Hang, Step::AnswerAfter(MS(500))]);
    // The hedge of the first call has the only token.
    let mut first = pin!(send(&layer, &mock));
    let hedged = tokio::time::timeout(MS(200), first.as_mut());
    assert!(hedged.await.is_err());
    assert_eq!((mock.count(), store.count()), (2, 2));
    let rows = send(&layer, &mock).await.unwrap();
    assert_eq!(store.count(), 3, "{rows:?}");
    assert!(rows[1].starts_with("not hedged: "), "{rows:?}");
}
