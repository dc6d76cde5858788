//! A new config while calls run: which values change, which stay, and which are refused.

use std::time::Duration;

use http::Method;
use sevenhops::CircuitBreakerConfig;
use sevenhops::RetryConfig;
use sevenhops::{
    Config, Destination, DestinationConfig, StandardLayer, TimeoutsConfig,
    policy::{
        breaker::{CircuitState, FailureWindow},
        retry::{Backoff, Budget, Budgets, Jitter},
    },
};

use tokio::time::{Instant, advance};
use tower::{Layer, ServiceExt};

use super::destinations::request;
use crate::mock::{Mock, Step, status};

const SECS: fn(u64) -> Duration = Duration::from_secs;
const URL: &str = "https://api.test/";

fn api() -> Destination {
    "https://api.test".parse().unwrap()
}

fn attempts(attempts: u32) -> Config {
    let steady = Backoff::new().jitter(Jitter::None).base(SECS(1));
    Config::new(SECS(10)).retry(RetryConfig::new().attempts(attempts).backoff(steady))
}

fn failing() -> Mock {
    Mock::new((0..99).map(|_| status(500)))
}

/// Makes calls that fail.
async fn fail(layer: &StandardLayer, calls: u32) {
    let mock = failing();
    for _ in 0..calls {
        let _ = layer
            .layer(mock.clone())
            .oneshot(request(Method::GET, URL))
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn later_calls_use_the_new_config_in_every_service_of_the_layer() {
    let layer = StandardLayer::from_config(&attempts(1)).unwrap();
    let config = layer.config_handle();
    let mock = failing();
    let (one, other) = (layer.layer(mock.clone()), layer.clone().layer(mock.clone()));
    let kept = one.clone();
    config.reload(&attempts(3)).unwrap();
    assert_eq!(config.current(), attempts(3));
    for (service, made) in [
        (one, 3),
        (other, 6),
        (kept, 9),
        (layer.layer(mock.clone()), 12),
    ] {
        service.oneshot(request(Method::GET, URL)).await.unwrap();
        assert_eq!(mock.count(), made);
    }
}

#[tokio::test(start_paused = true)]
async fn call_in_flight_keeps_the_config_that_it_began_with() {
    let layer = StandardLayer::from_config(&attempts(3)).unwrap();
    let mock = failing();
    let call = layer.layer(mock.clone()).oneshot(request(Method::GET, URL));
    let call = tokio::spawn(call);
    while mock.count() == 0 {
        tokio::task::yield_now().await;
    }
    layer.config_handle().reload(&attempts(1)).unwrap();
    call.await.unwrap().unwrap();
    assert_eq!(mock.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn deadline_and_timeouts_change() {
    let layer = StandardLayer::from_config(&Config::new(SECS(10))).unwrap();
    let part = DestinationConfig::new().timeouts(TimeoutsConfig::new().attempt(SECS(1)));
    let new = Config::new(SECS(4)).retry(RetryConfig::new().attempts(1).unsent_attempts(1));
    layer
        .config_handle()
        .reload(&new.destination("fast.test", part))
        .unwrap();
    for (url, secs) in [(URL, 4), ("https://fast.test", 1)] {
        let start = Instant::now();
        let stack = layer.layer(Mock::new([Step::Hang]));
        assert!(stack.oneshot(request(Method::GET, url)).await.is_err());
        assert_eq!(start.elapsed(), SECS(secs), "{url}");
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_config_is_refused_completely_and_the_old_one_stays() {
    let old = attempts(3);
    let layer = StandardLayer::from_config(&old).unwrap();
    let config = layer.config_handle();
    let bad = DestinationConfig::new().deadline(SECS(0));
    let refused = config
        .reload(&attempts(1).destination("*.bank.test", bad))
        .unwrap_err();
    let said = r#"destinations."*.bank.test".deadline: 0ns is invalid: expected 10ms..=86400s"#;
    assert_eq!(refused.to_string(), said);
    assert_eq!(config.current(), old);
    let mock = failing();
    layer
        .layer(mock.clone())
        .oneshot(request(Method::GET, URL))
        .await
        .unwrap();
    assert_eq!(mock.count(), 3);
}

fn once(breaker: CircuitBreakerConfig) -> Config {
    attempts(1).circuit_breaker(breaker)
}

#[tokio::test(start_paused = true)]
async fn counts_of_a_circuit_survive_a_new_threshold() {
    let layer = StandardLayer::from_config(&once(CircuitBreakerConfig::new())).unwrap();
    let state = || layer.breaker_handle().state(&api());
    fail(&layer, 5).await;
    assert_eq!(state(), CircuitState::Closed);
    let touchy = CircuitBreakerConfig::new().min_attempts(6);
    layer.config_handle().reload(&once(touchy)).unwrap();
    assert_eq!(
        layer.breaker_handle().snapshot(&api()).unwrap().attempts(),
        5
    );
    fail(&layer, 1).await;
    assert_eq!(state(), CircuitState::Open, "the sixth failure, of six");
}

#[tokio::test(start_paused = true)]
async fn changed_window_begins_empty() {
    let layer = StandardLayer::from_config(&once(CircuitBreakerConfig::new())).unwrap();
    fail(&layer, 5).await;
    let count = CircuitBreakerConfig::new().window(FailureWindow::Count(50));
    layer.config_handle().reload(&once(count)).unwrap();
    assert_eq!(
        layer.breaker_handle().snapshot(&api()).unwrap().attempts(),
        0
    );
}

#[tokio::test(start_paused = true)]
async fn open_circuit_stays_open_for_its_time_and_then_follows_the_new_one() {
    let open = |secs| {
        CircuitBreakerConfig::new()
            .consecutive_failures(2)
            .break_duration(SECS(secs))
    };
    let layer = StandardLayer::from_config(&once(open(60))).unwrap();
    let left = || layer.breaker_handle().snapshot(&api()).unwrap().open_left();
    fail(&layer, 2).await;
    let first = left().unwrap();
    assert!(first >= SECS(60), "{first:?}");
    layer.config_handle().reload(&once(open(5))).unwrap();
    assert_eq!(left(), Some(first));
    assert_eq!(layer.breaker_handle().state(&api()), CircuitState::Open);
    advance(first).await;
    fail(&layer, 1).await;
    let second = left().unwrap();
    assert!(
        second <= SECS(12),
        "twice the new time, and luck: {second:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn circuit_can_become_one_that_only_observes() {
    let observe = |yes| {
        CircuitBreakerConfig::new()
            .consecutive_failures(1)
            .observe_only(yes)
    };
    let layer = StandardLayer::from_config(&once(observe(false))).unwrap();
    fail(&layer, 1).await;
    let is_rejected = async || {
        let stack = layer.layer(failing());
        let ended = stack.oneshot(request(Method::GET, URL)).await;
        ended.is_err_and(|error| error.rejected_by().is_some())
    };
    assert!(is_rejected().await);
    layer.config_handle().reload(&once(observe(true))).unwrap();
    assert!(!is_rejected().await);
    // A switch that was set by hand overrides the config.
    layer.breaker_handle().observe_only(false);
    assert!(is_rejected().await);
}

fn with_budget(budget: Budget) -> Config {
    let retry = RetryConfig::new().attempts(2).budget(budget);
    Config::new(SECS(10)).retry(retry.backoff(Backoff::new().first_at_once(true)))
}

#[tokio::test(start_paused = true)]
async fn budget_keeps_its_spent_tokens() {
    let rate = |per_second| Budget::new().ratio(0.0).min_retries_per_second(per_second);
    for (old, new, left) in [
        (rate(1), rate(2), [9, 19]),
        (rate(2), rate(1), [19, 9]),
        (rate(1), rate(1).window(SECS(20)), [9, 19]),
        (Budget::reserve(100), Budget::reserve(50), [19, 9]),
        (Budget::throttle(10, 0.1), Budget::throttle(20, 0.1), [3, 8]),
        // A budget of another kind is a new one.
        (rate(1), Budget::reserve(50), [9, 10]),
    ] {
        let layer = StandardLayer::from_config(&with_budget(old)).unwrap();
        let mock = Mock::new([status(503), status(503)]);
        layer
            .layer(mock)
            .oneshot(request(Method::GET, URL))
            .await
            .unwrap();
        let now = || layer.budgets().left(&api()).unwrap();
        let before = now();
        layer.config_handle().reload(&with_budget(new)).unwrap();
        assert_eq!([before, now()], left, "{old:?} {new:?}");
    }
    let layer = StandardLayer::from_config(&with_budget(Budget::unlimited())).unwrap();
    layer
        .layer(failing())
        .oneshot(request(Method::GET, URL))
        .await
        .unwrap();
    assert_eq!(layer.budgets().left(&api()), None);
    layer.config_handle().reload(&with_budget(rate(1))).unwrap();
    assert_eq!(layer.budgets().left(&api()), Some(10));
}

#[tokio::test(start_paused = true)]
async fn shared_budgets_keep_their_config() {
    let shared = Budgets::new(Budget::new().ratio(0.1)).unwrap();
    let layer = StandardLayer::from_config(&attempts(2))
        .unwrap()
        .share_budgets(&shared)
        .unwrap();
    let config = layer.config_handle();
    let other = DestinationConfig::new().retry(RetryConfig::new().budget(Budget::unlimited()));
    let refused = config
        .reload(&attempts(2).destination("a.test", other.clone()))
        .unwrap_err();
    let said = refused.to_string();
    assert!(
        said.starts_with(r#"destinations."a.test".retry.budget: "#),
        "{said}"
    );
    assert!(
        said.contains("expected the terms of the shared budgets"),
        "{said}"
    );
    config.reload(&attempts(3)).unwrap();
    assert_eq!(shared.terms(), Budget::new().ratio(0.1));
    let own = StandardLayer::from_config(&attempts(2).destination("a.test", other)).unwrap();
    assert!(own.share_budgets(&shared).is_err());
}

#[tokio::test(start_paused = true)]
async fn circuit_that_is_made_after_a_reload_follows_the_new_rules() {
    let layer = StandardLayer::from_config(&once(CircuitBreakerConfig::new())).unwrap();
    let touchy = CircuitBreakerConfig::new().consecutive_failures(1);
    layer.config_handle().reload(&once(touchy)).unwrap();
    fail(&layer, 1).await;
    assert_eq!(layer.breaker_handle().state(&api()), CircuitState::Open);
}

#[test]
fn threads_that_reload_and_call_leave_one_config() {
    let layer = StandardLayer::from_config(&attempts(1)).unwrap();
    let config = layer.config_handle();
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let (config, layer) = (config.clone(), layer.clone());
            scope.spawn(move || {
                for nth in 0..50 {
                    let touchy =
                        CircuitBreakerConfig::new().min_attempts(1 + (thread * 50 + nth) % 20);
                    config.reload(&once(touchy)).unwrap();
                    layer
                        .breaker_handle()
                        .isolate(&Destination::named(format!("https://h{nth}.test")));
                    drop(layer.layer(failing()));
                }
            });
        }
    });
    let last = once(CircuitBreakerConfig::new().consecutive_failures(1));
    config.reload(&last).unwrap();
    assert_eq!(config.current(), last);
}
