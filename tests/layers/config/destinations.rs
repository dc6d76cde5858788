//! Parts of a config for destinations: the calls that they apply to, and the fields that they change.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use sevenhops::CircuitBreakerConfig;
use sevenhops::RetryConfig;
use sevenhops::{
    Config, DestinationConfig, Error, IdempotencyConfig, Options, RedirectConfig, StandardLayer,
    TimeoutsConfig,
    policy::{
        breaker::CircuitState,
        retry::{Backoff, Budget, Jitter},
    },
};

use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use crate::mock::{Mock, Step, status, with};

const SECS: fn(u64) -> Duration = Duration::from_secs;

pub(super) fn request(method: Method, url: &str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(url);
    request.body(Full::from("amount=100")).unwrap()
}

fn by_route(url: &str, route: &str) -> Request<Full<Bytes>> {
    let mut request = request(Method::GET, url);
    request.extensions_mut().insert(Options::new().route(route));
    request
}

/// Returns settings for two attempts, the second at once.
fn twice() -> RetryConfig {
    let at_once = Backoff::new().jitter(Jitter::None).first_at_once(true);
    RetryConfig::new().attempts(2).backoff(at_once)
}

pub(super) fn once() -> DestinationConfig {
    DestinationConfig::new().retry(RetryConfig::new().attempts(1))
}

pub(super) fn config() -> Config {
    Config::new(SECS(10)).retry(twice())
}

/// Returns how many attempts a call makes to a service that always fails.
async fn attempts(settings: &Config, request: Request<Full<Bytes>>) -> usize {
    let mock = Mock::new((0..9).map(|_| status(503)));
    let stack = StandardLayer::from_config(settings)
        .unwrap()
        .layer(mock.clone());
    stack.oneshot(request).await.unwrap();
    mock.count()
}

#[tokio::test(start_paused = true)]
async fn part_changes_the_calls_of_its_pattern_and_no_others() {
    let settings = config()
        .destination("*.bank.test", once())
        .destination("127.0.0.1:81", once())
        .destination("/v1/reports", once());
    for (url, route, expected) in [
        ("https://api.test/", "", 2),
        ("https://api.bank.test/", "", 1),
        ("https://API.BANK.test:8443/x", "", 1),
        ("https://bank.test/", "", 2),
        ("http://127.0.0.1:81/", "", 1),
        ("http://127.0.0.1:82/", "", 2),
        ("https://api.test/", "/v1/reports", 1),
        ("https://api.test/v1/reports", "/v1/charges", 2),
        ("/relative", "", 2),
        ("/relative", "/v1/reports", 1),
    ] {
        let request = match route {
            "" => request(Method::GET, url),
            route => by_route(url, route),
        };
        assert_eq!(
            attempts(&settings, request).await,
            expected,
            "{url} {route}"
        );
    }
}

#[test]
fn all_parts_apply_and_the_more_specific_one_wins_in_any_order() {
    let part = |attempts| DestinationConfig::new().retry(RetryConfig::new().attempts(attempts));
    let mut parts = [
        ("*.test", part(11).deadline(SECS(1))),
        ("*.bank.test", part(12)),
        ("api.bank.test", part(13).propagate_deadline(true)),
        ("api.bank.test:8443", part(14)),
        ("/v1", part(15)),
        ("*.bank.test/v1", part(16)),
        ("api.bank.test/v1", part(17)),
    ];
    for _ in 0..parts.len() {
        parts.rotate_left(1);
        let add = |settings: Config, (pattern, part): &(&str, DestinationConfig)| {
            settings.destination(*pattern, part.clone())
        };
        let settings = parts.iter().fold(config(), add);
        for (url, route, attempts) in [
            ("https://test/", None, 2),
            ("https://a.test/", None, 11),
            ("https://a.bank.test/", None, 12),
            ("https://api.bank.test/", None, 13),
            ("https://api.bank.test:8443/", None, 14),
            ("https://a.test/", Some("/v1"), 15),
            ("https://a.bank.test/", Some("/v1"), 16),
            ("https://api.bank.test:8443/", Some("/v1"), 17),
            ("https://api.bank.test/", Some("/v2"), 13),
        ] {
            let own = settings.effective(&url.parse().unwrap(), route).unwrap();
            assert_eq!(own.get_retry().get_attempts(), attempts, "{url} {route:?}");
            // A field that only a less specific part sets applies as well.
            let is_below = url.contains(".test");
            assert_eq!(
                own.get_deadline(),
                SECS(if is_below { 1 } else { 10 }),
                "{url}"
            );
            assert_eq!(
                own.get_propagate_deadline(),
                url.contains("api.bank"),
                "{url}"
            );
            assert_eq!(own.get_retry().get_backoff(), twice().get_backoff());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn timeouts_and_deadline_are_those_of_the_destination() {
    let settings = Config::new(SECS(10))
        .retry(RetryConfig::new().attempts(1).unsent_attempts(1))
        .destination("*.slow.test", DestinationConfig::new().deadline(SECS(60)))
        .destination(
            "fast.test",
            DestinationConfig::new().timeouts(TimeoutsConfig::new().attempt(SECS(2))),
        );
    let layer = StandardLayer::from_config(&settings).unwrap();
    for (url, secs) in [
        ("https://api.test/", 10),
        ("https://a.slow.test/", 60),
        ("https://fast.test/", 2),
    ] {
        let (mock, start) = (Mock::new([Step::Hang]), Instant::now());
        let ended = layer.layer(mock).oneshot(request(Method::GET, url)).await;
        assert!(ended.is_err());
        assert_eq!(start.elapsed().as_secs(), secs, "{url}");
    }
}

#[tokio::test(start_paused = true)]
async fn circuit_follows_the_rules_of_its_host_for_every_route() {
    let touchy = CircuitBreakerConfig::new().consecutive_failures(2);
    let settings = Config::new(SECS(10))
        .retry(RetryConfig::new().attempts(1))
        .destination(
            "*.bank.test",
            DestinationConfig::new().circuit_breaker(touchy),
        )
        .destination("/v1", DestinationConfig::new().deadline(SECS(5)));
    let layer = StandardLayer::from_config(&settings).unwrap();
    let mock = Mock::new((0..9).map(|_| status(500)));
    for url in ["https://api.bank.test/", "https://api.test/"] {
        for _ in 0..2 {
            let _ = layer
                .layer(mock.clone())
                .oneshot(by_route(url, "/v1"))
                .await;
        }
    }
    let state = |host: &str| layer.breaker_handle().state(&host.parse().unwrap());
    assert_eq!(state("https://api.bank.test"), CircuitState::Open);
    assert_eq!(state("https://api.test"), CircuitState::Closed);
    // Opened by hand before any call: its host's rules apply too.
    let other = "https://b.bank.test".parse().unwrap();
    layer.breaker_handle().isolate(&other);
    layer.breaker_handle().close(&other);
    for _ in 0..2 {
        let request = request(Method::GET, "https://b.bank.test");
        let _ = layer.layer(mock.clone()).oneshot(request).await;
    }
    assert_eq!(layer.breaker_handle().state(&other), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn budget_follows_the_config_of_its_host() {
    let none = Budget::new().ratio(0.0).min_retries_per_second(0);
    let part = DestinationConfig::new().retry(RetryConfig::new().budget(none));
    let settings = config().destination("poor.test", part);
    let get = |url| request(Method::GET, url);
    assert_eq!(attempts(&settings, get("https://poor.test")).await, 1);
    assert_eq!(attempts(&settings, get("https://api.test")).await, 2);
}

#[tokio::test(start_paused = true)]
async fn key_is_honored_if_the_part_says_so() {
    let honored = IdempotencyConfig::new().honored_by_all(true);
    let part = DestinationConfig::new().idempotency(honored);
    let settings = config().destination("pay.test", part);
    let layer = StandardLayer::from_config(&settings).unwrap();
    for (url, expected) in [("https://pay.test/", 2), ("https://api.test/", 1)] {
        let mock = Mock::new([Step::Fail(ErrorKind::ConnectionReset), status(200)]);
        let ended = layer
            .layer(mock.clone())
            .oneshot(request(Method::POST, url))
            .await;
        assert_eq!(
            (mock.count(), ended.is_ok()),
            (expected, expected == 2),
            "{url}"
        );
    }
}

fn found(to: &str) -> Step {
    with(302, "location", to)
}

#[tokio::test(start_paused = true)]
async fn leg_after_a_redirect_uses_the_part_of_its_own_destination() {
    let settings = config().destination("once.test", once());
    let layer = StandardLayer::from_config(&settings).unwrap();
    for (from, to, expected) in [
        ("https://api.test/", "https://once.test/", 2),
        ("https://once.test/", "https://api.test/", 3),
        ("https://api.test/", "https://b.test/", 3),
    ] {
        let steps = [found(to), status(503), status(503), status(503)];
        let mock = Mock::new(steps);
        layer
            .layer(mock.clone())
            .oneshot(request(Method::GET, from))
            .await
            .unwrap();
        assert_eq!(mock.count(), expected, "{from} {to}");
    }
}

#[tokio::test(start_paused = true)]
async fn part_of_the_redirecting_destination_decides_about_the_redirect() {
    let stays = DestinationConfig::new().redirect(RedirectConfig::new().enabled(false));
    let settings = config().destination("stays.test", stays);
    let layer = StandardLayer::from_config(&settings).unwrap();
    for (url, expected) in [("https://stays.test/", 1), ("https://api.test/", 2)] {
        let mock = Mock::new([found("https://stays.test/a"), found("https://b.test/")]);
        let ended = layer
            .layer(mock.clone())
            .oneshot(request(Method::GET, url))
            .await;
        assert_eq!(ended.unwrap().status(), 302);
        assert_eq!(mock.count(), expected, "{url}");
    }
}

#[test]
fn part_that_disables_redirects_keeps_their_limits_for_a_more_specific_part() {
    let follow = |yes| RedirectConfig::new().enabled(yes);
    let part = |redirect| DestinationConfig::new().redirect(redirect);
    let settings = config()
        .redirect(RedirectConfig::new().max_redirects(3))
        .destination("*.bank.test", part(follow(false)))
        .destination("api.bank.test", part(follow(true)))
        .destination("/v1", part(RedirectConfig::new().max_redirects(4)));
    for (url, route, follows, most) in [
        ("https://a.bank.test", None, false, 10),
        ("https://a.bank.test", Some("/v1"), false, 10),
        ("https://api.bank.test", None, true, 3),
        ("https://api.bank.test", Some("/v1"), true, 4),
    ] {
        let effective = settings.effective(&url.parse().unwrap(), route).unwrap();
        let redirect = effective.get_redirect();
        assert_eq!(
            (redirect.get_enabled(), redirect.get_max_redirects()),
            (follows, most),
            "{url} {route:?}"
        );
    }
}

#[test]
fn redirect_limits_in_a_part_that_disables_redirects_are_refused() {
    let redirect = RedirectConfig::new().enabled(false).max_redirects(5);
    let part = DestinationConfig::new().redirect(redirect);
    let refused = StandardLayer::from_config(&config().destination("a.test", part)).unwrap_err();
    let expected = r#"destinations."a.test".redirect.max_redirects: 5 is invalid: expected no value where redirect.enabled is false"#;
    assert_eq!(refused.to_string(), expected);
}

#[tokio::test(start_paused = true)]
async fn route_also_chooses_the_part_of_an_inner_stack() {
    let settings = config().destination("/v1", once());
    for (path, expected) in [("/v1", 1), ("/v2", 2)] {
        let mock = Mock::new((0..9).map(|_| status(503)));
        let inner = StandardLayer::from_config(&settings)
            .unwrap()
            .layer(mock.clone());
        // A layer in between changes the path, so it is another request.
        let moved = tower::util::MapRequestLayer::new(move |mut request: Request<_>| {
            *request.uri_mut() = format!("https://api.test{path}").parse().unwrap();
            request
        });
        let outer = sevenhops::DeadlineLayer::new(SECS(10)).unwrap();
        let stack = outer.layer(moved.layer(inner));
        let request = by_route("https://api.test/v1", "/v1");
        stack.oneshot(request).await.unwrap();
        assert_eq!(mock.count(), expected, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn route_does_not_count_after_a_redirect() {
    let settings = config().destination("/v1", once());
    let mock = Mock::new([found("/v2"), status(503), status(503)]);
    let stack = StandardLayer::from_config(&settings)
        .unwrap()
        .layer(mock.clone());
    stack
        .oneshot(by_route("https://api.test/v1", "/v1"))
        .await
        .unwrap();
    assert_eq!(mock.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn name_that_begins_like_a_url_has_the_rules_of_that_host() -> Result<(), Error> {
    let touchy = CircuitBreakerConfig::new().consecutive_failures(1);
    let settings = Config::new(SECS(10))
        .retry(RetryConfig::new().attempts(1))
        .destination(
            "*.bank.test",
            DestinationConfig::new().circuit_breaker(touchy),
        );
    let layer = StandardLayer::from_config(&settings)
        .unwrap()
        .key_by(|_, uri, _| {
            let name = format!("{}#tenant", sevenhops::Destination::of(uri)?);
            Some(sevenhops::Destination::named(name))
        });
    let mock = Mock::new([status(500), status(500)]);
    for (host, state) in [
        ("https://api.bank.test", CircuitState::Open),
        ("https://api.test", CircuitState::Closed),
    ] {
        layer
            .layer(mock.clone())
            .oneshot(request(Method::GET, host))
            .await?;
        let name = sevenhops::Destination::named(format!("{host}#tenant"));
        assert_eq!(layer.breaker_handle().state(&name), state, "{host}");
    }
    Ok(())
}
