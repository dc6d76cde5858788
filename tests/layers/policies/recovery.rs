//! Tests the ways of an open circuit back to a closed one.

use std::time::Duration;

use sevenhops::policy::breaker::{CircuitState, Recovery};
use sevenhops::{CircuitBreakerConfig, RateLimitConfig, RetryConfig, StandardLayer};
use tokio::time::{Instant, advance};

use super::circuits::{api, once, rejections};
use crate::mock::{Mock, status};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

#[tokio::test(start_paused = true)]
async fn recovery_by_ratio_and_by_ramp_through_the_whole_stack() {
    let ratio = Recovery::Ratio {
        probes: 4,
        failure_ratio: 0.5,
    };
    let layer = once(
        CircuitBreakerConfig::new()
            .recovery(ratio)
            .break_duration_by(|nth| SECS(1) * nth),
    );
    let mock = Mock::new(
        (0..20)
            .map(|_| status(500))
            .chain([status(200), status(500)]),
    );
    rejections(&layer, &mock, 20).await;
    advance(MS(1_201)).await;
    assert_eq!(rejections(&layer, &mock, 4).await, 0);
    assert_eq!(layer.breaker_handle().state(&api()), CircuitState::Closed);

    let layer = once(CircuitBreakerConfig::new().recovery(Recovery::Ramp { step: SECS(10) }));
    let mock = Mock::new((0..20).map(|_| status(500)));
    rejections(&layer, &mock, 20).await;
    advance(SECS(6)).await;
    assert_eq!(
        rejections(&layer, &mock, 101).await,
        90,
        "one probe, then a tenth"
    );
    advance(SECS(10)).await;
    assert_eq!(rejections(&layer, &mock, 100).await, 75);
    advance(SECS(20)).await;
    assert_eq!(rejections(&layer, &mock, 100).await, 0);
}

#[tokio::test(start_paused = true)]
async fn ramp_counts_a_call_once_if_it_waits_for_the_rate_limit() {
    let retry = RetryConfig::new().attempts(1).unsent_attempts(1);
    let ramp = CircuitBreakerConfig::new().recovery(Recovery::Ramp { step: SECS(10) });
    let config = sevenhops::Config::new(SECS(10))
        .retry(retry)
        .circuit_breaker(ramp)
        .rate_limit(RateLimitConfig::new(1_000).burst(1));
    let layer = StandardLayer::from_config(&config).unwrap();
    let mock = Mock::new((0..20).map(|_| status(500)));
    rejections(&layer, &mock, 20).await;
    advance(SECS(6)).await;
    let start = Instant::now();
    assert_eq!(rejections(&layer, &mock, 101).await, 90);
    assert_ne!(start.elapsed(), MS(0), "they have waited");
}
