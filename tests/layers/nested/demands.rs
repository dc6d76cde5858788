//! Tests that a demand is carried out, or the call fails before the first byte.

use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use sevenhops::{
    AttemptLayer, CircuitBreakerLayer, DeadlineLayer, Effect, Error, Hop, IdempotencyKey,
    IdempotencyLayer, Kind, Options, RedirectConfig, RedirectLayer, RetryLayer, Timeouts,
    Transport,
};

use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::mock::{Mock, Step, optional, request, stack, standard, status, steady, with};

const SECS: fn(u64) -> Duration = Duration::from_secs;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const LOST: Step = Step::Fail(ErrorKind::ConnectionReset);

type Sent = Request<Full<Bytes>>;

pub(super) fn call() -> DeadlineLayer {
    DeadlineLayer::new(SECS(10)).unwrap()
}

fn retry() -> RetryLayer {
    RetryLayer::new(steady()).unwrap()
}

fn timeouts() -> Timeouts {
    Timeouts::new(SECS(10)).unwrap()
}

fn attempt() -> AttemptLayer {
    AttemptLayer::new(timeouts())
}

fn follow() -> RedirectLayer {
    RedirectLayer::new(RedirectConfig::new()).unwrap()
}

fn keyed(name: &str) -> Options {
    Options::new().idempotency_key(IdempotencyKey::new(name).unwrap())
}

/// A charge with the caller's key.
fn charge() -> Sent {
    optional(Method::POST, keyed("mine"))
}

fn keys(mock: &Mock) -> Vec<Option<String>> {
    let asked = mock.asked();
    let key = |asked: &crate::mock::Asked| asked.header("idempotency-key").map(str::to_owned);
    asked.iter().map(key).collect()
}

fn mine(count: usize) -> Vec<Option<String>> {
    vec![Some("mine".to_owned()); count]
}

/// Checks that the call failed at encode with nothing sent, and that its text has all of these words.
pub(super) fn refused(error: &Error, mock: &Mock, words: &[&str]) {
    let told = error.to_string();
    assert_eq!(
        (error.hop(), error.kind(), error.effect()),
        (Some(Hop::Encode), Kind::InvalidRequest, Effect::None),
        "{told}"
    );
    assert_eq!(mock.count(), 0, "{told}");
    assert!(words.iter().all(|word| told.contains(word)), "{told}");
}

#[tokio::test(start_paused = true)]
async fn derived_key_is_on_every_attempt_even_if_the_retry_layer_is_outside() {
    #[expect(clippy::disallowed_methods, reason = "a key's time is wall time")]
    let key = IdempotencyKey::derive("charge", "order-4711", SystemTime::now(), DAY).unwrap();
    let mock = Mock::new([status(429), LOST]);
    let service = ServiceBuilder::new()
        .layer(call())
        .layer(retry())
        .layer(IdempotencyLayer::default())
        .layer(attempt())
        .service(mock.clone());
    let post = optional(Method::POST, Options::new().idempotency_key(key.clone()));
    let _ = service.oneshot(post).await;
    let sent = keys(&mock);
    assert!(sent.len() >= 2, "{sent:?}");
    let derived = Some(key.as_str().to_owned());
    assert!(sent.iter().all(|key| *key == derived), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn generated_key_is_the_same_on_every_attempt_even_if_the_retry_layer_is_outside() {
    let mock = Mock::new([status(429), status(429)]);
    let service = ServiceBuilder::new()
        .layer(call())
        .layer(retry())
        .layer(IdempotencyLayer::default())
        .layer(attempt())
        .service(mock.clone());
    service.oneshot(request(Method::POST)).await.unwrap();
    let sent = keys(&mock);
    assert_eq!(sent.len(), 3);
    assert!(
        sent[0].is_some() && sent.iter().all(|key| *key == sent[0]),
        "{sent:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn key_in_the_options_replaces_the_header_of_an_outer_layer() {
    let mock = Mock::new([status(429)]);
    let service = ServiceBuilder::new()
        .layer(call())
        .layer(retry())
        .map_request(|mut request: Sent| {
            let other = "other".parse().unwrap();
            request.headers_mut().insert("idempotency-key", other);
            request
        })
        .layer(IdempotencyLayer::default())
        .layer(attempt())
        .service(mock.clone());
    service.oneshot(charge()).await.unwrap();
    assert_eq!(keys(&mock), mine(2));
}

#[tokio::test(start_paused = true)]
async fn key_of_an_outer_stack_is_set_by_the_first_layer_that_can() {
    // The outer stack has a deadline, or a deadline and a retry, but no idempotency layer.
    let mock = Mock::new([LOST]);
    let service = call().layer(stack(steady(), &mock));
    service.oneshot(charge()).await.unwrap();
    assert_eq!(keys(&mock), mine(2));
    let mock = Mock::new([LOST]);
    let service = call().layer(retry().layer(stack(steady(), &mock)));
    let _ = service.oneshot(charge()).await;
    assert!(keys(&mock).iter().all(|key| key.as_deref() == Some("mine")));
    // A layer between the stacks removes the key.
    let mock = Mock::new([LOST]);
    let service = standard(steady().attempts(1)).layer(
        ServiceBuilder::new()
            .map_request(|mut request: Sent| {
                request.headers_mut().remove("idempotency-key");
                request
            })
            .service(stack(steady(), &mock)),
    );
    let error = service.oneshot(charge()).await;
    // The outer stack's attempt is above that layer, and the inner stack adds the key again.
    error.unwrap();
    assert_eq!(keys(&mock), mine(2));
}

#[tokio::test(start_paused = true)]
async fn key_without_a_layer_for_keys_is_refused_before_anything_is_sent() {
    let mock = Mock::default();
    let service = ServiceBuilder::new()
        .layer(call())
        .layer(retry())
        .layer(CircuitBreakerLayer::new(timeouts()))
        .layer(attempt())
        .service(mock.clone());
    let error = service
        .oneshot(optional(Method::POST, keyed("canary")))
        .await
        .unwrap_err();
    refused(
        &error,
        &mock,
        &["Options::idempotency_key", "IdempotencyLayer"],
    );
    assert!(!format!("{error} {error:?}").contains("canary"));
    // The attempt layer alone checks demands, too.
    let error = attempt()
        .layer(mock.clone())
        .oneshot(optional(Method::PUT, keyed("k")))
        .await;
    refused(&error.unwrap_err(), &mock, &["Options::idempotency_key"]);
}

#[tokio::test(start_paused = true)]
async fn unmet_key_demand_permits_no_retry_without_a_transport() {
    let mock = Mock::new([LOST]);
    let service = call().layer(retry().layer(mock.clone()));
    let post = optional(Method::POST, keyed("mine").honors_idempotency_keys(true));
    let error = service.oneshot(post).await.unwrap_err();
    assert_eq!((error.effect(), mock.count()), (Effect::Possible, 1));
}

#[tokio::test(start_paused = true)]
async fn key_that_an_inner_layer_removes_is_refused() {
    let mock = Mock::default();
    let service = ServiceBuilder::new()
        .layer(call())
        .layer(IdempotencyLayer::default())
        .map_request(|mut request: Sent| {
            request.headers_mut().remove("idempotency-key");
            request
        })
        .layer(attempt())
        .service(mock.clone());
    let error = service.clone().oneshot(charge()).await;
    refused(&error.unwrap_err(), &mock, &["Options::idempotency_key"]);
    // No caller demanded a generated key.
    service.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!(keys(&mock), [None]);
}

#[tokio::test(start_paused = true)]
async fn two_different_keys_for_one_call_are_refused() {
    let mock = Mock::default();
    let between = |key: &'static str| {
        ServiceBuilder::new()
            .layer(standard(steady()))
            .map_request(move |mut request: Sent| {
                request.extensions_mut().insert(keyed(key));
                request
            })
            .service(stack(steady(), &mock))
    };
    let error = between("other").oneshot(charge()).await;
    refused(
        &error.unwrap_err(),
        &mock,
        &["Options::idempotency_key", "two"],
    );
    between("mine").oneshot(charge()).await.unwrap();
    // The caller's own key has priority over a key that the outer stack generated.
    between("mine")
        .oneshot(request(Method::POST))
        .await
        .unwrap();
    assert_eq!(keys(&mock), mine(2));
}

#[tokio::test(start_paused = true)]
async fn options_that_come_too_late_are_refused() {
    let mock = Mock::default();
    let service = ServiceBuilder::new()
        .layer(call())
        .map_request(|mut request: Sent| {
            request
                .extensions_mut()
                .insert(Options::new().follow_redirects(false));
            request
        })
        .layer(follow())
        .layer(attempt())
        .service(mock.clone());
    let error = service.oneshot(request(Method::GET)).await.unwrap_err();
    refused(&error, &mock, &["Options", "above"]);
}

#[tokio::test(start_paused = true)]
async fn key_is_sent_to_its_origin_only() {
    for (location, home) in [("/v2", true), ("https://elsewhere.test/", false)] {
        let mock = Mock::new([with(307, "location", location)]);
        // The key is added below the redirect layer, for each leg.
        let service = ServiceBuilder::new()
            .layer(call())
            .layer(follow())
            .layer(IdempotencyLayer::default())
            .layer(attempt())
            .service(mock.clone());
        service.oneshot(charge()).await.unwrap();
        let second = home.then(|| "mine".to_owned());
        assert_eq!(
            keys(&mock),
            [Some("mine".to_owned()), second.clone()],
            "{location}"
        );
        // In a stack below.
        let mock = Mock::new([with(307, "location", location)]);
        let below = ServiceBuilder::new()
            .map_request(|mut request: Sent| {
                request
                    .extensions_mut()
                    .insert(Options::new().follow_redirects(false));
                request
            })
            .service(stack(steady(), &mock));
        let service = call().layer(follow().layer(below));
        service.oneshot(charge()).await.unwrap();
        let sent = keys(&mock);
        assert_eq!(sent.len(), 2);
        assert_eq!(
            sent[1].as_deref() == Some("mine"),
            home,
            "{location} {sent:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn key_is_not_sent_again_if_a_redirect_leads_back_to_its_origin() {
    let steps = || {
        let away = with(307, "location", "https://elsewhere.test/");
        [away, with(307, "location", "https://api.test/v2")]
    };
    let expected = [Some("mine".to_owned()), None, None];
    let mock = Mock::new(steps());
    let service = stack(steady(), &mock);
    service.oneshot(charge()).await.unwrap();
    assert_eq!(keys(&mock), expected);
    let mock = Mock::new(steps());
    let service = ServiceBuilder::new()
        .layer(call())
        .layer(follow())
        .layer(IdempotencyLayer::default())
        .layer(attempt())
        .service(mock.clone());
    service.oneshot(charge()).await.unwrap();
    assert_eq!(keys(&mock), expected);
}

#[tokio::test(start_paused = true)]
async fn get_that_follows_a_post_has_no_key() {
    let mock = Mock::new([with(303, "location", "/v1/charges/1")]);
    let service = ServiceBuilder::new()
        .layer(call())
        .layer(follow())
        .layer(IdempotencyLayer::default())
        .layer(attempt())
        .service(mock.clone());
    service.oneshot(charge()).await.unwrap();
    assert_eq!(keys(&mock), [Some("mine".to_owned()), None]);
}

#[tokio::test]
async fn transport_refuses_an_unmet_demand() {
    let transport = || Transport::new(timeouts()).unwrap();
    let nothing_sent = Mock::default();
    let post = |options| {
        let mut post = Request::post("http://127.0.0.1:1/")
            .body(Full::<Bytes>::default())
            .unwrap();
        post.extensions_mut().insert::<Options>(options);
        post
    };
    for (options, words) in [
        (
            keyed("mine"),
            ["Options::idempotency_key", "IdempotencyLayer"],
        ),
        (
            Options::new().whole_body(9),
            ["Options::whole_body", "AttemptLayer"],
        ),
        (
            Options::new().deadline(Duration::from_secs(1)),
            ["Options::deadline", "DeadlineLayer"],
        ),
    ] {
        let error = transport().oneshot(post(options)).await.unwrap_err();
        refused(&error, &nothing_sent, &words);
    }
    for (options, words) in [
        (
            keyed("mine"),
            ["Options::idempotency_key", "IdempotencyLayer"],
        ),
        (
            Options::new().whole_body(9),
            ["Options::whole_body", "AttemptLayer"],
        ),
    ] {
        let error = call()
            .layer(transport())
            .oneshot(post(options))
            .await
            .unwrap_err();
        refused(&error, &nothing_sent, &words);
    }
    // The demand is carried out: the connection fails.
    let service = call().layer(attempt().layer(transport()));
    let whole = post(
        Options::new()
            .whole_body(9)
            .deadline(Duration::from_secs(1)),
    );
    let error = service.oneshot(whole).await.unwrap_err();
    assert_eq!(error.hop(), Some(Hop::Connect), "{error}");
}
