//! Tests a new config for throttle, concurrency limit and rate limit: for calls that began before it, and for names.

use std::time::Duration;

use http::Method;
use sevenhops::policy::retry::{Backoff, Jitter};
use sevenhops::{
    Config, Destination, DestinationConfig, RateLimitConfig, RetryConfig, StandardLayer,
    ThrottleConfig,
};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use super::concurrency::fixed;
use crate::mock::{Mock, request, status};

const SECS: fn(u64) -> Duration = Duration::from_secs;

fn api() -> Destination {
    "https://api.test".parse().unwrap()
}

/// Two attempts, with a second between them.
fn twice() -> Config {
    let steady = Backoff::new().jitter(Jitter::None).base(SECS(1));
    Config::new(SECS(10)).retry(RetryConfig::new().attempts(2).backoff(steady))
}

/// Sends a call whose second attempt comes after a reload and after another call.
async fn reload_within_a_call(layer: &StandardLayer, new: &Config) {
    let mock = Mock::new([status(500)]);
    let old = tokio::spawn(layer.layer(mock.clone()).oneshot(request(Method::GET)));
    while mock.count() == 0 {
        tokio::task::yield_now().await;
    }
    layer.config_handle().reload(new).unwrap();
    let other = layer.layer(Mock::default()).oneshot(request(Method::GET));
    other.await.unwrap();
    old.await.unwrap().unwrap();
    assert_eq!(mock.waits(), [SECS(1)]);
}

#[tokio::test(start_paused = true)]
async fn call_that_began_before_a_reload_does_not_bring_its_limit_back() {
    let layer = StandardLayer::from_config(&twice().concurrency(fixed(1))).unwrap();
    reload_within_a_call(&layer, &twice().concurrency(fixed(3))).await;
    let limits = layer.concurrency_handle();
    assert_eq!(limits.snapshot(&api()).unwrap().limit, 3);
    // The next reload counts again.
    reload_within_a_call(&layer, &twice().concurrency(fixed(2))).await;
    assert_eq!(limits.snapshot(&api()).unwrap().limit, 2);
}

#[tokio::test(start_paused = true)]
async fn call_that_began_before_a_reload_does_not_empty_the_window_of_the_throttle() {
    let throttle = ThrottleConfig::new();
    let layer = StandardLayer::from_config(&twice().throttle(throttle.clone())).unwrap();
    reload_within_a_call(&layer, &twice().throttle(throttle.window(SECS(60)))).await;
    // The first attempt left with the old window.
    assert_eq!(layer.throttle_handle().accepted(&api()), Some((2, 2)));
}

#[tokio::test(start_paused = true)]
async fn requests_that_were_sent_count_at_the_new_rate() {
    let rate = |per| twice().rate_limit(RateLimitConfig::new(100).per(SECS(per)));
    let layer = StandardLayer::from_config(&rate(3_600)).unwrap();
    let call = async || {
        let service = layer.layer(Mock::default());
        service.oneshot(request(Method::GET)).await.map(drop)
    };
    for _ in 0..100 {
        call().await.unwrap();
    }
    assert!(call().await.is_err(), "the next slot is free in 36 s");
    layer.config_handle().reload(&rate(1)).unwrap();
    let start = Instant::now();
    call().await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn limit_of_a_name_follows_the_rules_of_the_name() {
    let part = |limit| DestinationConfig::new().concurrency(fixed(limit));
    let parts = |config: Config| {
        let config = config.destination("a.test", part(1));
        config.destination("b.test", part(7))
    };
    let named = |config: &Config| {
        let layer = StandardLayer::from_config(config).unwrap();
        layer.key_by(|_, uri, _| match uri.host()? {
            "c.test" => "https://b.test".parse().ok(),
            _ => Some(Destination::named("tenant")),
        })
    };
    let limit = async |layer: &StandardLayer, host: &str, name: &Destination| {
        let mut request = request(Method::GET);
        *request.uri_mut() = format!("https://{host}/").parse().unwrap();
        let _ = layer.layer(Mock::default()).oneshot(request).await;
        layer.concurrency_handle().snapshot(name).unwrap().limit
    };
    let tenant = Destination::named("tenant");
    let layer = named(&parts(twice().concurrency(fixed(5))));
    for host in ["a.test", "b.test", "a.test", "other.test"] {
        assert_eq!(limit(&layer, host, &tenant).await, 5, "{host}");
    }
    let b = "https://b.test".parse().unwrap();
    assert_eq!(limit(&layer, "c.test", &b).await, 7);
    // Without a limit at the top, the first call decides.
    let layer = named(&parts(twice()));
    for host in ["a.test", "b.test"] {
        assert_eq!(limit(&layer, host, &tenant).await, 1, "{host}");
    }
}
