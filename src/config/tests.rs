use super::*;
use crate::policy::breaker::CircuitBreakerConfig;
use crate::policy::idempotency::IdempotencyConfig;
use crate::policy::retry::RetryConfig;
use crate::policy::{breaker, retry};

fn read(json: &str) -> Result<Config, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[test]
fn what_is_written_is_read_again() {
    let slow = Duration::from_secs(2);
    let config = Config::new(Duration::from_secs(10))
        .retry(RetryConfig::new().budget(retry::Budget::unlimited()))
        .circuit_breaker(
            CircuitBreakerConfig::new()
                .slow_calls(slow, 0.5)
                .window(breaker::FailureWindow::Count(100)),
        )
        .idempotency(IdempotencyConfig::new().honored_by("https://api.test".parse().unwrap()));
    for config in [Config::new(slow), config] {
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(read(&json).as_ref(), Ok(&config), "{json}");
    }
}

#[test]
fn what_does_not_stand_in_the_file_is_the_default() {
    let config = read(r#"{"deadline": "10s"}"#).unwrap();
    assert_eq!(config, Config::new(Duration::from_secs(10)));
    assert!(read("{}").unwrap_err().contains("deadline"));
}

#[test]
fn unknown_field_is_refused_wherever_it_stands() {
    for (json, field) in [
        (r#"{"deadline": "1s", "x": 1}"#, "x"),
        (r#"{"deadline": "1s", "timeouts": {"x": 1}}"#, "x"),
        (r#"{"deadline": "1s", "retry": {"x": 1}}"#, "x"),
        (r#"{"deadline": "1s", "retry": {"backoff": {"x": 1}}}"#, "x"),
        (r#"{"deadline": "1s", "retry": {"budget": {"x": 1}}}"#, "x"),
        (r#"{"deadline": "1s", "circuit_breaker": {"x": 1}}"#, "x"),
        (
            r#"{"deadline": "1s", "circuit_breaker": {"window": {"x": 1}}}"#,
            "x",
        ),
        (r#"{"deadline": "1s", "idempotency": {"x": 1}}"#, "x"),
        (r#"{"deadline": "1s", "redirect": {"x": 1}}"#, "x"),
    ] {
        let refused = read(json).unwrap_err();
        assert!(
            refused.contains("unknown") && refused.contains(field),
            "{refused}"
        );
    }
}

#[test]
fn value_that_cannot_be_read_is_named() {
    for (json, value) in [
        (r#"{"deadline": "soon"}"#, "soon"),
        (
            r#"{"deadline": "1s", "retry": {"budget": {"unlimited": true, "ratio": 1}}}"#,
            "unlimited",
        ),
        (r#"{"deadline": "1s", "retry": {"statuses": [42]}}"#, "42"),
        (
            r#"{"deadline": "1s", "redirect": {"keep_header_cross_origin": ["a b"]}}"#,
            "a b",
        ),
        (
            r#"{"deadline": "1s", "idempotency": {"honored_by": ["api"]}}"#,
            "api",
        ),
    ] {
        let refused = read(json).unwrap_err();
        assert!(refused.contains(value), "{refused}");
    }
}
