//! Tests hedges of a destination whose load is bounded: a hedge takes a free permit and a free slot, and never waits.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use http_body_util::BodyExt;
use sevenhops::policy::concurrency::{Algorithm, ConcurrencyHandle};
use sevenhops::{
    ConcurrencyConfig, Config, Error, Options, Priority, RateLimitConfig, RetryConfig,
    StandardLayer, Timeline,
};
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, ServiceExt};

use super::service::{MILLIS, Reply, SECS, Slow, after, events, get, refusal};

fn config() -> Config {
    let once = RetryConfig::new().attempts(2).unsent_attempts(1);
    let hedge = after(MILLIS(100)).same_address(true);
    Config::new(SECS(10)).hedge(hedge).retry(once)
}

fn fixed(limit: u32) -> ConcurrencyConfig {
    let fixed = ConcurrencyConfig::new().algorithm(Algorithm::Fixed);
    fixed.limit(limit).max_queued(1)
}

fn stack(config: Config) -> StandardLayer {
    StandardLayer::from_config(&config).unwrap()
}

/// Returns the attempts in flight and the calls in the queue.
fn counts(limits: &ConcurrencyHandle) -> (u32, usize) {
    let now = limits.snapshot(&"https://api.test".parse().unwrap());
    now.map_or((0, 0), |now| (now.in_flight, now.queued))
}

fn left(layer: &StandardLayer) -> i64 {
    let api = "https://api.test".parse().unwrap();
    layer.budgets().left(&api).unwrap()
}

/// A server that takes this many milliseconds for each request.
fn slow<const REQUESTS: usize>(millis: [u64; REQUESTS]) -> Slow {
    Slow::new(millis.map(|millis| (MILLIS(millis), Reply::Status(200))))
}

async fn call(layer: StandardLayer, slow: Slow, options: Options) -> Result<Timeline, Error> {
    let mut request = get();
    request.extensions_mut().insert(options);
    let response = layer.layer(slow).oneshot(request).await?;
    let timeline = response.body().timeline().clone();
    response.into_body().collect().await?;
    Ok(timeline)
}

#[tokio::test(start_paused = true)]
async fn hedge_at_the_concurrency_limit_is_not_sent() {
    let layer = stack(config().concurrency(fixed(1)));
    let limits = layer.concurrency_handle();
    let warm = layer.layer(Slow::default()).oneshot(get()).await.unwrap();
    drop(warm);
    let full = left(&layer);

    let slow = slow([1_000]);
    let response = layer.layer(slow.clone()).oneshot(get()).await.unwrap();
    let timeline = response.body().timeline().clone();
    assert_eq!(slow.count(), 1);
    assert_eq!(refusal(&timeline), Some("rejected"));
    assert_eq!(
        events(&timeline),
        ["not hedged: rejected by the concurrency limit"]
    );
    assert_eq!((counts(&limits), left(&layer)), ((1, 0), full));
    drop(response);
    assert_eq!(counts(&limits), (0, 0));
    assert_eq!(
        (timeline.attempt_count(), timeline.attempts().len()),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn permits_of_a_hedged_call_come_back_whenever_it_is_dropped() {
    for limit in [1, 2] {
        for polls in 0..40 {
            let layer = stack(config().concurrency(fixed(limit)));
            let limits = layer.concurrency_handle();
            let slow = slow([300, 150]);
            {
                let mut call = pin!(call(layer.clone(), slow.clone(), Options::new()));
                for poll in 0..polls {
                    let mut context = Context::from_waker(Waker::noop());
                    if call.as_mut().poll(&mut context).is_ready() {
                        break;
                    }
                    let expected = if limit == 2 && poll >= 10 { 2 } else { 1 };
                    assert_eq!(counts(&limits), (expected, 0), "{limit} {polls} {poll}");
                    advance(MILLIS(10)).await;
                }
            }
            assert_eq!(slow.in_flight(), 0, "{limit} {polls}");
            assert_eq!(counts(&limits), (0, 0), "{limit} {polls}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn attempt_that_lost_gives_its_permit_to_the_next_call() {
    let layer = stack(config().concurrency(fixed(2)));
    let (limits, slow) = (layer.concurrency_handle(), slow([9_000, 50, 10]));
    let hedged = layer.layer(slow.clone()).oneshot(get());
    let (hedged, next) = tokio::join!(hedged, async {
        sleep(MILLIS(120)).await;
        let begun = Instant::now();
        let timeline = call(layer.clone(), slow.clone(), Options::new()).await;
        (begun.elapsed(), timeline.unwrap())
    });
    let hedged = hedged.unwrap();
    assert_eq!(hedged.body().timeline().attempts().len(), 2);
    // The hedge won after 150 ms. Its permit is held with its body.
    let (took, timeline) = next;
    assert_eq!(took, MILLIS(40));
    assert_eq!(events(&timeline), ["waited 30.0 ms for a permit"]);
    assert_eq!(counts(&limits), (1, 0));
    drop(hedged);
    assert_eq!(counts(&limits), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn hedge_takes_no_place_in_the_queue() {
    let layer = stack(config().concurrency(fixed(1)));
    let slow = slow([1_000, 10]);
    let important = Options::new().priority(Priority::Critical);
    let first = tokio::spawn(call(layer.clone(), slow.clone(), important));
    sleep(MILLIS(50)).await;
    // The queue has one place. The hedge of a more important call could take it.
    let low = Options::new().priority(Priority::Low);
    let second = tokio::spawn(call(layer.clone(), slow.clone(), low));
    let first = first.await.unwrap().unwrap();
    assert_eq!(refusal(&first), Some("rejected"));
    let second = second.await.unwrap().unwrap();
    assert_eq!(events(&second), ["waited 950.0 ms for a permit"]);
    assert_eq!(slow.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn hedge_over_the_rate_is_not_sent_and_uses_no_slot_and_no_permit() {
    let rate = RateLimitConfig::new(1).per(SECS(2)).burst(1);
    let layer = stack(config().concurrency(fixed(2)).rate_limit(rate));
    let (limits, slow) = (layer.concurrency_handle(), slow([1_000]));
    let begun = Instant::now();
    let response = layer.layer(slow.clone()).oneshot(get()).await.unwrap();
    let timeline = response.body().timeline().clone();
    assert_eq!(
        events(&timeline),
        ["not hedged: rejected by the rate limit"]
    );
    assert_eq!((slow.count(), counts(&limits)), (1, (1, 0)));
    assert_eq!(timeline.attempt_count(), 1);
    drop(response);
    // The next slot is free.
    call(layer, slow.clone(), Options::new()).await.unwrap();
    assert_eq!((slow.count(), begun.elapsed()), (2, SECS(2)));
    assert_eq!(counts(&limits), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn call_that_waited_for_a_permit_is_hedged_from_its_attempt_on() {
    let layer = stack(config().concurrency(fixed(2)));
    let slow = slow([90, 90, 1_000, 10]);
    let before: Vec<_> = (0..2)
        .map(|_| tokio::spawn(call(layer.clone(), slow.clone(), Options::new())))
        .collect();
    sleep(MILLIS(10)).await;
    let timeline = call(layer.clone(), slow.clone(), Options::new()).await;
    let timeline = timeline.unwrap();
    assert_eq!(
        events(&timeline),
        ["waited 80.0 ms for a permit", "hedged after 100.0 ms"]
    );
    assert_eq!(timeline.elapsed(), MILLIS(190));
    for call in before {
        call.await.unwrap().unwrap();
    }
    assert_eq!(counts(&layer.concurrency_handle()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn call_after_a_hedge_that_was_not_sent_ends_as_without_hedges() {
    let layer = stack(config().concurrency(fixed(1)));
    let slow = Slow::new([
        (MILLIS(200), Reply::Status(503)),
        (MILLIS(10), Reply::Status(200)),
    ]);
    let timeline = call(layer.clone(), slow.clone(), Options::new()).await;
    let timeline = timeline.unwrap();
    assert_eq!((slow.count(), timeline.attempt_count()), (2, 2));
    assert_eq!(refusal(&timeline), Some("rejected"));
}
