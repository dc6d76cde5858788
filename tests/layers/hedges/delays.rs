//! Tests when hedges are due.

use sevenhops::{DeadlineLayer, HedgeConfig, HedgeLayer};
use tokio::time::sleep;
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::service::{MILLIS, Reply, SECS, Slow, after, events, get};

#[tokio::test(start_paused = true)]
async fn each_delay_without_a_response_adds_an_attempt() {
    let slow = Slow::hanging(9);
    let layer = HedgeLayer::new(after(MILLIS(500)).max_hedges(3)).unwrap();
    let call = tokio::spawn(layer.layer(slow.clone()).oneshot(get()));
    for in_flight in [1, 2, 3, 4, 4, 4] {
        sleep(MILLIS(1)).await;
        assert_eq!(slow.in_flight(), in_flight);
        sleep(MILLIS(499)).await;
    }
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    assert_eq!(slow.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn response_before_the_delay_leaves_no_hedge() {
    let slow = Slow::new([(MILLIS(99), Reply::Status(200))]);
    let layer = HedgeLayer::new(after(MILLIS(100))).unwrap();
    let response = layer.layer(slow.clone()).oneshot(get()).await.unwrap();
    assert_eq!(slow.count(), 1);
    assert!(response.body().timeline().events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn quantile_hedges_only_the_call_that_is_slower_than_those_before() {
    let slow = Slow::new((0..25).map(|_| (MILLIS(5), Reply::Status(200))));
    slow.add(MILLIS(200), Reply::Status(200));
    slow.add(MILLIS(5), Reply::Status(200));
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(SECS(10)).unwrap())
        .layer(HedgeLayer::new(HedgeConfig::new()).unwrap())
        .service(slow.clone());
    for _ in 0..25 {
        let response = service.clone().oneshot(get()).await.unwrap();
        assert!(response.body().timeline().events().is_empty());
    }
    assert_eq!(slow.count(), 25);
    let response = service.clone().oneshot(get()).await.unwrap();
    assert_eq!(slow.count(), 27);
    let timeline = response.body().timeline();
    assert_eq!(events(timeline), ["hedged after 6.0 ms"]);
    assert!(timeline.elapsed() <= MILLIS(12), "{:?}", timeline.elapsed());
}

#[tokio::test(start_paused = true)]
async fn quantile_hedges_nothing_before_twenty_calls() {
    let slow = Slow::new((0..19).map(|_| (MILLIS(5), Reply::Status(200))));
    slow.add(SECS(5), Reply::Status(200));
    let service = HedgeLayer::new(HedgeConfig::new())
        .unwrap()
        .layer(slow.clone());
    for _ in 0..20 {
        service.clone().oneshot(get()).await.unwrap();
    }
    assert_eq!(slow.count(), 20);
}

#[tokio::test(start_paused = true)]
async fn slow_calls_that_lose_still_count_as_slow() {
    // Every fourth call is slow, so the 95th percentile is slow, too: hedges would only double the load.
    let slow = Slow::default();
    let service = HedgeLayer::new(HedgeConfig::new())
        .unwrap()
        .layer(slow.clone());
    for call in 0..400 {
        let took = if call % 4 == 0 { SECS(1) } else { MILLIS(5) };
        slow.add(took, Reply::Status(200));
        service.clone().oneshot(get()).await.unwrap();
    }
    assert!(slow.count() <= 401, "{}", slow.count());
}
