//! Tests invalid configs.

use sevenhops::{CircuitBreakerConfig, Operation, OperationConfig};

use super::work::*;

#[test]
fn invalid_config_is_refused_by_name_and_value() {
    let breaker = CircuitBreakerConfig::new().failure_ratio(2.0);
    for (settings, told) in [
        (
            OperationConfig::new(MS(1)),
            "deadline: 1ms is invalid: expected 10ms..=86400s",
        ),
        (
            settings().attempt(SECS(11)),
            "timeouts.attempt: 11s is invalid: expected at most deadline (10s)",
        ),
        (
            settings().retry(steady().attempts(0)),
            "retry.attempts: 0 is invalid: expected 1..=255",
        ),
        (
            settings().circuit_breaker(breaker),
            "circuit_breaker.failure_ratio: 2.0 is invalid: expected more than 0, at most 1",
        ),
    ] {
        let refused = Operation::from_config("postgres", settings).unwrap_err();
        assert_eq!(refused.to_string(), told);
    }
    assert!(Operation::new("postgres", SECS(0)).is_err());
}
