//! Parts of a config for destinations that are refused.

use std::time::Duration;

use sevenhops::policy::retry::Budget;
use sevenhops::{
    CircuitBreakerConfig, ConcurrencyConfig, Config, DestinationConfig, EndpointConfig,
    EndpointsConfig, HedgeConfig, RateLimitConfig, RetryConfig, StandardLayer, TimeoutsConfig,
};

use super::destinations::{config, once};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn bad_parts_are_refused_with_the_path_of_the_part() {
    let timeouts =
        |attempt| DestinationConfig::new().timeouts(TimeoutsConfig::new().attempt(attempt));
    let budget = RetryConfig::new().budget(Budget::unlimited());
    let bad = DestinationConfig::new().retry(RetryConfig::new().attempts(0));
    for (settings, said) in [
        (
            config().destination("*.bank.test", bad),
            r#"destinations."*.bank.test".retry.attempts: 0 is invalid: expected 1..=255"#,
        ),
        (
            config()
                .timeouts(TimeoutsConfig::new().connect(SECS(3)))
                .destination("a.test", timeouts(SECS(2))),
            r#"destinations."a.test".timeouts.connect: 3s is invalid: expected at most timeouts.attempt (2s)"#,
        ),
        (
            // Each part is valid; a call to that host by that route would have both.
            config()
                .destination("a.test", timeouts(SECS(8)))
                .destination("/v1", DestinationConfig::new().deadline(SECS(5))),
            r#"destinations."/v1".timeouts.attempt: 8s is invalid: expected at most deadline (5s)"#,
        ),
        (
            config()
                .destination("a.test", once())
                .destination("A.test.", once()),
            r#"destinations."A.test.": the pattern a.test occurs twice: remove one"#,
        ),
        (
            config().destination("user:canary@a.test", once()),
            "destinations: \"a.test\" is invalid: expected a host (api.test, api.test:8443), the hosts below a \
             name (*.example.com), a route (/v1/charges/{id}), or a host with a route",
        ),
        (
            config().destination("https://a.test", once()),
            "destinations: \"https://a.test\" is invalid: expected a host (api.test, api.test:8443), the hosts below a \
             name (*.example.com), a route (/v1/charges/{id}), or a host with a route",
        ),
        (
            config().destination(
                "/v1",
                DestinationConfig::new()
                    .circuit_breaker(CircuitBreakerConfig::new().break_duration(MS(9))),
            ),
            r#"destinations."/v1".circuit_breaker: a circuit is shared by all routes of a host: set it for the host, or for all destinations"#,
        ),
        (
            config().destination("a.test/v1", DestinationConfig::new().retry(budget)),
            r#"destinations."a.test/v1".retry.budget: a budget is shared by all routes of a host: set it for the host, or for all destinations"#,
        ),
    ] {
        assert_eq!(
            StandardLayer::from_config(&settings)
                .unwrap_err()
                .to_string(),
            said
        );
        assert!(
            settings
                .effective(&"https://a.test".parse().unwrap(), None)
                .is_err()
        );
    }
}

#[test]
fn parts_about_the_load_are_refused_with_the_path_of_the_part() {
    for (settings, said) in [
        (
            config().destination(
                "/v1",
                DestinationConfig::new().rate_limit(RateLimitConfig::new(1)),
            ),
            r#"destinations."/v1".rate_limit: a rate limit is shared by all routes of a host: set it for the host, or for all destinations"#,
        ),
        (
            // The deadline of the part is shorter than the wait of the config.
            config()
                .concurrency(ConcurrencyConfig::new().max_wait(SECS(2)))
                .destination("a.test", DestinationConfig::new().deadline(SECS(1))),
            r#"destinations."a.test".concurrency.max_wait: 2s is invalid: expected less than deadline (1s)"#,
        ),
    ] {
        let refused = StandardLayer::from_config(&settings).unwrap_err();
        assert_eq!(refused.to_string(), said);
    }
}

#[test]
fn calls_without_limits_of_their_own_may_have_less_time_than_the_waits() {
    let short = DestinationConfig::new().deadline(SECS(1));
    let waits = || {
        let config = config().concurrency(ConcurrencyConfig::new().max_wait(SECS(2)));
        config.rate_limit(RateLimitConfig::new(10).max_wait(SECS(2)))
    };
    for route in ["/v1", "a.test/v1"] {
        let settings = waits().destination(route, short.clone());
        assert!(StandardLayer::from_config(&settings).is_ok(), "{route}");
    }
    let hedged = waits().hedge(HedgeConfig::new().delay(SECS(1))).endpoints(
        "pay.internal",
        EndpointsConfig::new().endpoint(EndpointConfig::new("https://a.test")),
    );
    for name in ["pay.internal", "pay.internal/v1"] {
        let settings = hedged.clone().destination(name, short.clone());
        assert!(StandardLayer::from_config(&settings).is_ok(), "{name}");
    }
    // A hedge is the route's own.
    let settings = hedged.destination("a.test/v1", short);
    let refused = StandardLayer::from_config(&settings).unwrap_err();
    let said =
        r#"destinations."a.test/v1".hedge.delay: 1s is invalid: expected less than deadline (1s)"#;
    assert_eq!(refused.to_string(), said);
}

#[test]
fn more_combinations_than_the_bound_are_refused() {
    let many = |settings: Config, nth: usize| {
        let settings = settings.destination(format!("h{nth}.test"), once());
        settings.destination(format!("/{nth}"), once())
    };
    let refused = StandardLayer::from_config(&(0..100).fold(config(), many)).unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("destinations: 20301 is invalid"),
        "{refused}"
    );
}
