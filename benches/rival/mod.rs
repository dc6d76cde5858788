//! A comparable stack of another crate.

use std::fmt::Debug;
use std::time::Duration;

use tower::{Service, ServiceBuilder};
use tower_resilience::circuitbreaker::CircuitBreakerLayer;
use tower_resilience::retry::RetryLayer;
use tower_resilience::timelimiter::TimeLimiterLayer;

use crate::driver::{Answer, Ask, DEADLINE, Leaf};

/// Builds the stack in the order that the crate's guide recommends: timeout, retry, breaker, timeout.
pub(crate) fn tower_resilience_stack(
    leaf: Leaf,
) -> impl Service<Ask, Response = Answer, Error: Debug, Future: Send> {
    let retry = RetryLayer::builder()
        .max_attempts(3)
        .exponential_backoff(Duration::from_millis(100))
        .build();
    let breaker = CircuitBreakerLayer::standard()
        .build()
        .expect("the preset is valid");
    let timeout = |limit| TimeLimiterLayer::builder().timeout_duration(limit).build();
    ServiceBuilder::new()
        .layer(timeout(DEADLINE))
        .layer(retry)
        .layer(breaker)
        .layer(timeout(DEADLINE / 2))
        .service(leaf)
}
