//! Tests that a call that is dropped at any moment gives everything back.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use sevenhops::{CircuitBreakerConfig, Config, StandardLayer};

use tokio::time::advance;
use tower::{Layer, ServiceExt};

use super::service::{MILLIS, Reply, SECS, Slow, after, get, steady};

/// Polls a call this many times, 10 ms apart, and drops it. Returns whether it ended.
async fn dropped_after(polls: usize, layer: &StandardLayer, slow: &Slow) -> bool {
    let mut call = pin!(layer.layer(slow.clone()).oneshot(get()));
    for _ in 0..polls {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(ended) = call.as_mut().poll(&mut context) {
            drop(ended);
            return true;
        }
        advance(MILLIS(10)).await;
    }
    false
}

#[tokio::test(start_paused = true)]
async fn call_that_is_dropped_at_any_poll_gives_permits_and_tokens_back() {
    let api = "https://api.test".parse().unwrap();
    for polls in 0.. {
        let slow = Slow::new([
            (MILLIS(200), Reply::Status(503)),
            (MILLIS(150), Reply::Status(503)),
            (MILLIS(100), Reply::Status(200)),
        ]);
        let config = Config::new(SECS(10)).hedge(after(MILLIS(50)).same_address(true));
        let config = config
            .retry(steady())
            .circuit_breaker(CircuitBreakerConfig::new());
        let layer = StandardLayer::from_config(&config).unwrap();
        let full = {
            let slow = Slow::default();
            layer.layer(slow).oneshot(get()).await.unwrap();
            layer.budgets().left(&api).unwrap()
        };
        let ended = dropped_after(polls, &layer, &slow).await;
        assert_eq!(slow.in_flight(), 0, "{polls}");
        // Each request after the first one costs one token, and no other token is gone.
        let paid = slow.count().saturating_sub(1) as i64;
        let left = layer.budgets().left(&api).unwrap();
        assert_eq!(left, full - paid, "{polls}");
        // No permit of the circuit is lost, and no claim of the next call.
        let next = Slow::hanging(1);
        layer.layer(next.clone()).oneshot(get()).await.unwrap();
        assert_eq!(next.count(), 2, "{polls}");
        if ended {
            assert!(polls > 100, "{polls}");
            return;
        }
    }
}
