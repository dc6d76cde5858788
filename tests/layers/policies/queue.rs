//! Tests the queue of a concurrency limit: who waits, who is served first, who has to go.

use std::pin::pin;
use std::time::Duration;

use http::Method;
use sevenhops::hop::TimelineEventKind;
use sevenhops::{
    Blame, CircuitBreakerConfig, Config, Effect, Kind, Options, Policy, Priority, RetryConfig,
    StandardLayer,
};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use super::concurrency::{Slow, call, counts, fixed, poll_once, stack};
use crate::mock::{Mock, Step, request};

const MS: fn(u64) -> Duration = Duration::from_millis;

#[tokio::test(start_paused = true)]
async fn full_queue_rejects_at_once_and_says_so() {
    let (layer, slow) = (stack(fixed(1).max_queued(1)), Slow::default());
    let waiting = [(); 2].map(|()| tokio::spawn(call(layer.clone(), slow.clone(), Options::new())));
    tokio::task::yield_now().await;
    let start = Instant::now();
    let error = call(layer.clone(), slow.clone(), Options::new())
        .await
        .unwrap_err();
    assert_eq!(start.elapsed(), MS(0));
    assert_eq!(error.rejected_by(), Some(Policy::Concurrency));
    assert_eq!((error.kind(), error.hop()), (Kind::ConcurrencyLimit, None));
    assert_eq!(
        (error.effect(), error.blame()),
        (Effect::None, Blame::Client)
    );
    let text = error.to_string();
    let reason = "rejected by the concurrency limit: too many in flight: 1 in flight, and the queue of 1 is full; 0 \
                  attempts, no effect";
    assert!(text.ends_with(reason), "{text}");
    let notes = error.timeline().unwrap().events();
    assert_eq!(
        notes[0].kind,
        TimelineEventKind::Rejected(Policy::Concurrency)
    );
    for call in waiting {
        assert!(call.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn important_call_takes_the_place_of_a_less_important_one() {
    let (layer, slow) = (stack(fixed(1).max_queued(2)), Slow::default());
    let spawn = |priority| {
        let options = Options::new().priority(priority);
        tokio::spawn(call(layer.clone(), slow.clone(), options))
    };
    let first = spawn(Priority::Normal);
    tokio::task::yield_now().await;
    let (low, normal) = (spawn(Priority::Low), spawn(Priority::Normal));
    tokio::task::yield_now().await;
    let critical = spawn(Priority::Critical);
    let shed = low.await.unwrap().unwrap_err();
    let text = shed.to_string();
    assert!(
        text.contains("a more important call took its place in the queue"),
        "{text}"
    );
    assert!(first.await.unwrap().is_ok());
    let waited = |notes: Vec<TimelineEventKind>| notes[0].to_string();
    let critical = waited(critical.await.unwrap().unwrap());
    let normal = waited(normal.await.unwrap().unwrap());
    assert_eq!(critical, "waited 100.0 ms for a permit");
    assert_eq!(normal, "waited 200.0 ms for a permit");
}

#[tokio::test(start_paused = true)]
async fn wait_that_does_not_fit_the_deadline_is_rejected_at_once() {
    let (layer, slow) = (stack(fixed(1)), Slow::default());
    // One call shows how long a permit is held.
    assert!(
        call(layer.clone(), slow.clone(), Options::new())
            .await
            .is_ok()
    );
    let held = tokio::spawn(call(layer.clone(), slow.clone(), Options::new()));
    tokio::task::yield_now().await;
    let start = Instant::now();
    let short = Options::new().deadline(Duration::from_millis(150));
    let error = call(layer.clone(), slow.clone(), short).await.unwrap_err();
    assert_eq!(start.elapsed(), MS(0));
    let text = error.to_string();
    let reason = "the expected wait is 100.0 ms, and the call waits for at most 75.0 ms";
    assert!(text.contains(reason), "{text}");
    assert!(held.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn call_gives_up_after_its_longest_wait() {
    let layer = stack(fixed(1).max_wait(MS(500)));
    let hang = Mock::new([Step::Hang]);
    let mut held = pin!(layer.layer(hang).oneshot(request(Method::GET)));
    assert!(poll_once(held.as_mut()).is_pending());
    let start = Instant::now();
    let error = call(layer.clone(), Slow::default(), Options::new())
        .await
        .unwrap_err();
    assert_eq!(start.elapsed(), MS(500));
    let text = error.to_string();
    assert!(
        text.contains("no permit was free within 500.0 ms"),
        "{text}"
    );
    let notes = error.timeline().unwrap().events();
    assert_eq!(notes[0].kind.to_string(), "waited 500.0 ms for a permit");
    assert_eq!(counts(&layer.concurrency_handle()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn circuit_that_opens_during_the_wait_rejects_the_call() {
    let once = RetryConfig::new().attempts(1).unsent_attempts(1);
    let breaker = CircuitBreakerConfig::new().consecutive_failures(1);
    let settings = Config::new(MS(10_000)).retry(once).circuit_breaker(breaker);
    let layer = StandardLayer::from_config(&settings.concurrency(fixed(1))).unwrap();
    let failing = layer.layer(Mock::new([Step::FailAfter(MS(100))]));
    let failing = tokio::spawn(failing.oneshot(request(Method::GET)));
    tokio::task::yield_now().await;
    let slow = Slow::default();
    let error = call(layer.clone(), slow.clone(), Options::new())
        .await
        .unwrap_err();
    assert_eq!(error.rejected_by(), Some(Policy::Breaker), "{error}");
    assert_eq!(slow.sent(), 0);
    assert!(failing.await.unwrap().is_err());
    assert_eq!(counts(&layer.concurrency_handle()), (0, 0));
}
