//! Tests generated, supplied and derived keys: when they permit a retry, and when they are not sent.

use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderName, Method, Request};
use http_body_util::Full;
use sevenhops::hop::{NoRetryReason, Outcome, TimelineEventKind, failure_catalog};
use sevenhops::policy::idempotency::{IdempotencyConfig, IdempotencyKey};
use sevenhops::{
    Blame, Effect, Hop, IdempotencyLayer, Kind, Options, Policy, StandardLayer, StandardService,
};
use tower::{Layer, ServiceExt};

use crate::mock::{Asked, Mock, Step, optional, request, status, with};

const SECS: fn(u64) -> Duration = Duration::from_secs;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const LOST: Step = Step::Fail(ErrorKind::ConnectionReset);

#[expect(clippy::disallowed_methods, reason = "a key's time is wall time")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn stack(keys: IdempotencyConfig, mock: &Mock) -> StandardService<Mock> {
    let settings = sevenhops::Config::new(SECS(10)).idempotency(keys);
    StandardLayer::from_config(&settings)
        .unwrap()
        .layer(mock.clone())
}

fn vouched() -> IdempotencyConfig {
    IdempotencyConfig::new().honored_by("https://api.test".parse().unwrap())
}

fn post(options: Options) -> Request<Full<Bytes>> {
    optional(Method::POST, options)
}

fn key(asked: &Asked) -> Option<String> {
    asked.header("idempotency-key").map(str::to_owned)
}

fn keys(mock: &Mock) -> Vec<Option<String>> {
    mock.asked().iter().map(key).collect()
}

#[tokio::test(start_paused = true)]
async fn three_attempts_have_one_key() {
    let mock = Mock::new([status(500), status(500)]);
    let service = stack(vouched(), &mock);
    let response = service.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!(response.status(), 200);
    let keys = keys(&mock);
    assert_eq!(keys.len(), 3);
    assert!(keys[0].is_some() && keys.iter().all(|key| *key == keys[0]));
}

#[tokio::test(start_paused = true)]
async fn two_calls_with_the_same_body_have_two_keys() {
    let mock = Mock::default();
    let service = stack(vouched(), &mock);
    for _ in 0..2 {
        service
            .clone()
            .oneshot(request(Method::POST))
            .await
            .unwrap();
    }
    let keys = keys(&mock);
    assert!(keys[0].is_some() && keys[0] != keys[1]);
}

#[tokio::test(start_paused = true)]
async fn key_of_the_caller_is_kept_on_every_attempt() {
    let mock = Mock::new([LOST, status(503)]);
    let mut request = request(Method::POST);
    let mine = "mine".parse().unwrap();
    request.headers_mut().insert("idempotency-key", mine);
    stack(IdempotencyConfig::new(), &mock)
        .oneshot(request)
        .await
        .unwrap();
    let mine = Some("mine".to_owned());
    assert_eq!(keys(&mock), [mine.clone(), mine.clone(), mine]);
}

#[tokio::test(start_paused = true)]
async fn two_keys_in_one_request_permit_no_retry() {
    let mock = Mock::new([LOST]);
    let mut request = request(Method::POST);
    for key in ["mine", "another"] {
        let headers = request.headers_mut();
        headers.append("idempotency-key", key.parse().unwrap());
    }
    let lost = stack(IdempotencyConfig::new(), &mock)
        .oneshot(request)
        .await;
    assert_eq!(lost.unwrap_err().effect(), Effect::Possible);
    assert_eq!(mock.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn key_is_bare_or_quoted_under_the_configured_name() {
    let mock = Mock::default();
    let name = HeaderName::from_static("x-request-key");
    let settings = IdempotencyConfig::new().quoted(true).header(name);
    stack(settings, &mock)
        .oneshot(request(Method::POST))
        .await
        .unwrap();
    stack(IdempotencyConfig::new(), &mock)
        .oneshot(request(Method::POST))
        .await
        .unwrap();
    let asked = mock.asked();
    let quoted = asked[0].header("x-request-key").unwrap();
    let bare = asked[1].header("idempotency-key").unwrap();
    assert!(quoted.starts_with('"') && quoted.ends_with('"') && quoted.len() == 38);
    assert!(!bare.contains('"') && bare.len() == 36);
}

#[tokio::test(start_paused = true)]
async fn get_head_put_and_delete_have_no_key() {
    let mock = Mock::default();
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
        stack(vouched(), &mock)
            .oneshot(request(method))
            .await
            .unwrap();
    }
    assert_eq!(keys(&mock), [None, None, None, None]);
}

#[tokio::test(start_paused = true)]
async fn still_in_progress_is_retried_with_the_same_key() {
    let mock = Mock::new([LOST, status(409)]);
    let service = stack(vouched(), &mock);
    let response = service.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (200, 3));
    assert_eq!(keys(&mock)[0], keys(&mock)[2]);
    let waits = mock.waits();
    assert!(waits[1] <= SECS(5));

    // A supplied key may be in use by another process: a job that was redelivered.
    let mock = Mock::new([status(409)]);
    let given = Options::new().idempotency_key(IdempotencyKey::new("mine").unwrap());
    let response = stack(IdempotencyConfig::new(), &mock)
        .oneshot(post(given))
        .await
        .unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (200, 2));

    // A new key may be in use too, if a gateway sent the request twice.
    let mock = Mock::new([status(409)]);
    let service = stack(vouched(), &mock);
    let response = service.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (200, 2));
    assert_eq!(keys(&mock)[0], keys(&mock)[1]);
}

#[tokio::test(start_paused = true)]
async fn reused_or_missing_key_is_a_client_error() {
    let given = || Options::new().idempotency_key(IdempotencyKey::new("mine").unwrap());
    for (code, options, kind) in [
        (422, given(), Kind::KeyReused),
        (400, given(), Kind::ClientError),
        // A key that was generated for this call cannot have been used before.
        (422, Options::new(), Kind::ClientError),
    ] {
        let mock = Mock::new([status(code)]);
        let response = stack(vouched(), &mock)
            .oneshot(post(options))
            .await
            .unwrap();
        assert_eq!(mock.count(), 1);
        let timeline = response.body().timeline().clone();
        assert!(
            matches!(timeline.attempts()[0].outcome(), Outcome::Failed { hop: Some(Hop::Server), kind: named, effect: Effect::Declined, .. } if named == kind),
            "{timeline}"
        );
        let row = failure_catalog()
            .iter()
            .find(|row| (row.hop, row.kind) == (Hop::Server, kind));
        assert_eq!(row.unwrap().blame, Blame::Client);
    }
}

#[tokio::test(start_paused = true)]
async fn replayed_response_is_a_success_and_is_marked() {
    let mock = Mock::new([LOST, with(200, "idempotent-replayed", "true")]);
    let service = stack(vouched(), &mock);
    let response = service.oneshot(request(Method::POST)).await.unwrap();
    let notes = response.body().timeline().events();
    assert_eq!(notes.last().unwrap().kind, TimelineEventKind::Replayed);
    assert!(sevenhops::Response::from(response).is_replayed());
}

#[tokio::test(start_paused = true)]
async fn post_without_a_key_whose_response_was_lost_is_not_retried() {
    let mock = Mock::new([LOST]);
    let service = stack(vouched().generate_keys(false), &mock);
    let error = service.oneshot(request(Method::POST)).await.unwrap_err();
    assert_eq!((mock.count(), error.effect()), (1, Effect::Possible));
    let reason = NoRetryReason::NotIdempotent {
        method: Some(Method::POST),
        effect: Effect::Possible,
        keyed: false,
    };
    assert_eq!(error.no_retry_reason(), Some(reason));
    assert_eq!(keys(&mock), [None]);
}

#[tokio::test(start_paused = true)]
async fn keys_can_be_declared_honored_by_client_destination_or_request() {
    let all = IdempotencyConfig::new().honored_by_all(true);
    let other = IdempotencyConfig::new().honored_by("https://other.test".parse().unwrap());
    for (settings, options, sent) in [
        (IdempotencyConfig::new(), Options::new(), 1),
        (
            IdempotencyConfig::new(),
            Options::new().honors_idempotency_keys(true),
            2,
        ),
        (all.clone(), Options::new(), 2),
        (all, Options::new().honors_idempotency_keys(false), 1),
        (vouched(), Options::new(), 2),
        (vouched(), Options::new().generate_key(false), 1),
        (other, Options::new(), 1),
    ] {
        let mock = Mock::new([LOST]);
        let told = format!("{settings:?} {options:?}");
        let _ = stack(settings, &mock).oneshot(post(options)).await;
        assert_eq!(mock.count(), sent, "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn derived_key_permits_a_retry_and_is_the_same_everywhere() {
    let derive = || IdempotencyKey::derive("charge", "order-4711", now(), DAY).unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mock = Mock::new([LOST]);
        let options = Options::new().idempotency_key(derive());
        stack(IdempotencyConfig::new(), &mock)
            .oneshot(post(options))
            .await
            .unwrap();
        seen.extend(keys(&mock));
    }
    assert_eq!(seen.len(), 4);
    assert!(
        seen.iter()
            .all(|key| key.as_deref() == Some(derive().as_str()))
    );
}

#[tokio::test(start_paused = true)]
async fn call_with_an_expired_key_is_rejected() {
    let yesterday = now() - DAY;
    let key = IdempotencyKey::derive("charge", "order-4711", yesterday, DAY).unwrap();
    let mock = Mock::default();
    let options = Options::new().idempotency_key(key);
    let refused = stack(IdempotencyConfig::new(), &mock)
        .oneshot(post(options))
        .await;
    let error = refused.unwrap_err();
    assert_eq!(error.rejected_by(), Some(Policy::Idempotency));
    assert_eq!(
        (error.kind(), error.effect()),
        (Kind::KeyExpired, Effect::Possible)
    );
    assert_eq!(mock.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn key_that_expires_before_the_deadline_permits_no_retry() {
    let made_at = now() - DAY + SECS(5);
    let key = IdempotencyKey::derive("charge", "order-4711", made_at, DAY).unwrap();
    let mock = Mock::new([LOST]);
    let options = Options::new().idempotency_key(key);
    let error = stack(IdempotencyConfig::new(), &mock)
        .oneshot(post(options))
        .await;
    assert!(matches!(
        error.unwrap_err().no_retry_reason(),
        Some(NoRetryReason::KeyExpiring { .. })
    ));
    assert_eq!(mock.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn layer_alone_gives_every_post_a_key() {
    let mock = Mock::default();
    let service = IdempotencyLayer::default().layer(mock.clone());
    service.oneshot(request(Method::PATCH)).await.unwrap();
    assert!(keys(&mock)[0].is_some());
}

#[tokio::test(start_paused = true)]
async fn key_is_in_no_debug_output() {
    let mock = Mock::new([LOST]);
    let key = IdempotencyKey::new("canary").unwrap();
    let options = Options::new()
        .idempotency_key(key)
        .honors_idempotency_keys(false);
    let told = format!("{options:?}");
    let error = stack(IdempotencyConfig::new(), &mock)
        .oneshot(post(options))
        .await;
    let error = error.unwrap_err();
    let told = format!("{told} {error} {error:?} {:?}", error.timeline());
    assert_eq!(keys(&mock), [Some("canary".to_owned())]);
    assert!(!told.contains("canary"), "{told}");
}

async fn effect(steps: impl IntoIterator<Item = Step>, request: Request<Full<Bytes>>) -> Effect {
    let mock = Mock::new(steps);
    let answered = stack(vouched(), &mock).oneshot(request).await.unwrap();
    answered.body().timeline().effect()
}

#[tokio::test(start_paused = true)]
async fn status_is_a_claim_of_its_sender() {
    for (code, expected) in [
        (400, Effect::Declined),
        (403, Effect::Declined),
        (421, Effect::Declined),
        (424, Effect::Possible),
        (499, Effect::Possible),
        (302, Effect::Possible),
        (600, Effect::Possible),
        (101, Effect::Possible),
    ] {
        let told = effect([status(code)], request(Method::POST)).await;
        assert_eq!(told, expected, "{code}");
    }
    assert_eq!(
        effect([status(302)], request(Method::GET)).await,
        Effect::Declined
    );
}

#[tokio::test(start_paused = true)]
async fn conflict_leaves_the_effect_open_for_every_key() {
    let given = Options::new().idempotency_key(IdempotencyKey::new("mine").unwrap());
    for options in [
        Options::new(),
        Options::new().honors_idempotency_keys(false),
        Options::new().generate_key(false),
        given,
    ] {
        let told = effect([status(409), status(409), status(409)], post(options)).await;
        assert_eq!(told, Effect::Possible);
    }
}

#[tokio::test(start_paused = true)]
async fn status_after_a_lost_response_may_result_from_the_earlier_attempt() {
    for code in [400, 404, 410, 412] {
        let told = effect([LOST, status(code)], request(Method::POST)).await;
        assert_eq!(told, Effect::Possible, "{code}");
    }
    let early = [LOST, status(425), status(425)];
    let told = effect(early, request(Method::POST)).await;
    assert_eq!(told, Effect::Possible);
    assert_eq!(
        effect([status(412)], request(Method::POST)).await,
        Effect::Declined
    );
}
