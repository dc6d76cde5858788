//! Tests the retry at its place in the stack, over a foreign service, on a paused clock.

use std::io::ErrorKind;
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;
use sevenhops::hop::{NoRetryReason, TimelineEventKind};
use sevenhops::policy::retry::{Budget, RetryConfig};
use sevenhops::{Effect, Error, Hop, Options, RetryLayer};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use crate::mock::{Mock, Step, optional, request, saying, stack, standard, status, steady};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

/// A budget that pays for one retry a second.
fn one_token() -> Budget {
    let nothing = Budget::new().ratio(0.0);
    nothing.min_retries_per_second(1).window(SECS(1))
}

#[tokio::test(start_paused = true)]
async fn get_is_retried_until_it_succeeds() {
    let mock = Mock::new([status(500), Step::Fail(ErrorKind::ConnectionReset)]);
    let response = stack(steady(), &mock)
        .oneshot(request(Method::GET))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(mock.waits(), [MS(100), MS(200)]);
    let timeline = response.into_body().timeline().clone();
    let waits: Vec<_> = timeline
        .events()
        .into_iter()
        .map(|note| note.kind)
        .collect();
    assert_eq!(
        waits,
        [MS(100), MS(200)].map(|wait| TimelineEventKind::Waited {
            wait,
            hinted: false
        })
    );
    assert_eq!(
        (timeline.attempt_count(), timeline.no_retry_reason()),
        (3, None)
    );
}

#[tokio::test(start_paused = true)]
async fn transient_statuses_are_retried_and_others_are_not() {
    for code in [408, 425, 429, 500, 502, 503, 504] {
        let mock = Mock::new([status(code)]);
        let answer = stack(steady(), &mock).oneshot(request(Method::GET)).await;
        assert_eq!(
            (answer.unwrap().status().as_u16(), mock.count()),
            (200, 2),
            "{code}"
        );
    }
    for code in [400, 401, 403, 404, 409, 422, 501, 505] {
        let mock = Mock::new([status(code)]);
        let answer = stack(steady(), &mock)
            .oneshot(request(Method::GET))
            .await
            .unwrap();
        assert_eq!((answer.status().as_u16(), mock.count()), (code, 1));
        let reason = answer.into_body().timeline().no_retry_reason();
        assert_eq!(reason, Some(NoRetryReason::Permanent), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn post_with_a_lost_response_and_no_honored_key_is_sent_once_and_says_why() {
    let mock = Mock::new([Step::Fail(ErrorKind::ConnectionReset)]);
    let error = stack(steady(), &mock)
        .oneshot(request(Method::POST))
        .await
        .unwrap_err();
    assert_eq!((mock.count(), error.effect()), (1, Effect::Possible));
    assert!(
        error.to_string().ends_with(
            "1 attempt, effect possible; not retried: POST, effect possible, and the \
             destination is not known to honor idempotency keys"
        ),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn post_without_a_key_is_retried_on_425_and_429_only() {
    for code in [408, 425, 429, 500, 502, 503, 504] {
        let mock = Mock::new([status(code)]);
        let options = Options::new().generate_key(false);
        let post = optional(Method::POST, options);
        stack(steady(), &mock).oneshot(post).await.unwrap();
        let expected = if matches!(code, 425 | 429) { 2 } else { 1 };
        assert_eq!(mock.count(), expected, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn last_real_response_is_returned_when_attempts_are_used_up() {
    let mock = Mock::new([
        saying(503, "first"),
        Step::Fail(ErrorKind::ConnectionReset),
        saying(500, "third"),
    ]);
    let response = stack(steady(), &mock)
        .oneshot(request(Method::GET))
        .await
        .unwrap();
    assert_eq!(response.status(), 500);
    let timeline = response.body().timeline().clone();
    let spent = NoRetryReason::AttemptsExhausted { made: 3 };
    assert_eq!(timeline.no_retry_reason(), Some(spent));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "third");
    let shown = timeline.to_string();
    assert!(shown.contains("waited 100.0 ms") && shown.contains("all 3 attempts are spent"));
}

#[tokio::test(start_paused = true)]
async fn empty_budget_returns_the_last_real_response() {
    let mock = Mock::new([saying(503, "down")]);
    let nothing = Budget::new().ratio(0.0).min_retries_per_second(0);
    let service = stack(steady().budget(nothing), &mock);
    let response = service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (503, 1));
    let reason = response.body().timeline().no_retry_reason();
    assert_eq!(reason, Some(NoRetryReason::BudgetExhausted));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "down");
}

#[tokio::test(start_paused = true)]
async fn budget_is_shared_by_clones_and_kept_for_each_destination() {
    let mock = Mock::new((0..100).map(|_| status(503)));
    let two = Budget::new()
        .ratio(0.0)
        .min_retries_per_second(2)
        .window(SECS(1));
    let service = stack(steady().attempts(2).budget(two), &mock);
    for _ in 0..3 {
        service.clone().oneshot(request(Method::GET)).await.unwrap();
    }
    assert_eq!(mock.count(), 3 + 2);
    let mut other = request(Method::GET);
    *other.uri_mut() = "https://other.test/".parse().unwrap();
    service.clone().oneshot(other).await.unwrap();
    assert_eq!(mock.count(), 5 + 2);
}

#[tokio::test(start_paused = true)]
async fn rejected_call_deposits_nothing_into_the_budget() {
    let one_each = Budget::new().ratio(1.0).min_retries_per_second(0);
    let layer = standard(steady().budget(one_each));
    let (breaker, api) = (layer.breaker_handle(), "https://api.test".parse().unwrap());
    let mock = Mock::new((0..9).map(|_| status(503)));
    let service = layer.layer(mock.clone());
    breaker.isolate(&api);
    for _ in 0..5 {
        assert!(service.clone().oneshot(request(Method::GET)).await.is_err());
    }
    breaker.close(&api);
    service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(mock.count(), 2, "its own token, and no other");
}

#[tokio::test(start_paused = true)]
async fn two_stacks_of_three_attempts_make_three() {
    let mock = Mock::new((0..9).map(|_| status(503)));
    let inner = stack(steady(), &mock);
    let outer = standard(steady()).layer(inner);
    let response = outer.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (503, 3));
    // The same once more: the right to retry is returned when a call ends.
    let outer = RetryLayer::new(steady()).unwrap();
    let inner = RetryLayer::new(steady()).unwrap();
    let mock = Mock::new((0..9).map(|_| status(503)));
    let service = outer.layer(inner.layer(mock.clone()));
    service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(mock.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn retry_has_the_same_method_uri_headers_and_body() {
    let mock = Mock::new([status(503), status(503)]);
    let options = Options::new().honors_idempotency_keys(true);
    let post = optional(Method::POST, options);
    stack(steady(), &mock).oneshot(post).await.unwrap();
    let asked = mock.asked();
    assert_eq!(asked.len(), 3);
    for again in &asked[1..] {
        assert_eq!(again.head.method, asked[0].head.method);
        assert_eq!(again.head.uri, asked[0].head.uri);
        assert_eq!(again.head.headers, asked[0].head.headers);
        assert_eq!(again.body, asked[0].body);
    }
}

#[tokio::test(start_paused = true)]
async fn two_calls_have_different_waits() {
    let mut seen = std::collections::HashSet::new();
    for _ in 0..200 {
        let mock = Mock::new([status(503), status(503)]);
        stack(RetryConfig::new(), &mock)
            .oneshot(request(Method::GET))
            .await
            .unwrap();
        seen.insert(mock.waits());
    }
    // Paused time moves in whole milliseconds, so some of the 100 × 200 pairs are equal.
    assert!(seen.len() > 180, "{} of 200 differ", seen.len());
}

#[tokio::test(start_paused = true)]
async fn cancelled_wait_sends_nothing_more_and_is_not_a_failure() {
    let mock = Mock::new([status(503)]);
    let service = stack(steady(), &mock);
    let calling = tokio::time::timeout(MS(50), service.oneshot(request(Method::GET)));
    assert!(calling.await.is_err());
    tokio::time::sleep(SECS(10)).await;
    assert_eq!(mock.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn cancelled_wait_returns_its_token_to_the_budget() {
    let mock = Mock::new([status(503), status(503)]);
    let service = stack(steady().budget(one_token()), &mock);
    let calling = service.clone().oneshot(request(Method::GET));
    assert!(tokio::time::timeout(MS(50), calling).await.is_err());
    let response = service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (200, 3));
}

#[tokio::test(start_paused = true)]
async fn begun_retry_costs_its_token_even_if_the_caller_goes_away() {
    let mock = Mock::new([status(503), Step::Hang, status(503)]);
    let service = stack(steady().budget(one_token()), &mock);
    let calling = service.clone().oneshot(request(Method::GET));
    assert!(tokio::time::timeout(MS(150), calling).await.is_err());
    let response = service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (503, 3));
}

#[tokio::test(start_paused = true)]
async fn outer_stack_of_one_attempt_leaves_the_retries_to_the_inner_one() {
    let mock = Mock::new((0..9).map(|_| status(503)));
    let outer = standard(steady().attempts(1));
    let service = outer.layer(stack(steady(), &mock));
    service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(mock.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn error_of_an_earlier_attempt_raises_the_effect_of_a_status() {
    // A 400 alone means that nothing happened. After a lost response, an effect is possible.
    let mock = Mock::new([Step::Fail(ErrorKind::ConnectionReset), status(400)]);
    let response = stack(steady(), &mock)
        .oneshot(request(Method::GET))
        .await
        .unwrap();
    assert_eq!(response.into_body().timeline().effect(), Effect::Possible);
}

#[tokio::test(start_paused = true)]
async fn each_retry_has_its_own_attempt_timeout() {
    let mock = Mock::new([Step::Hang, Step::Hang, Step::Hang]);
    let short = optional(Method::GET, Options::new().deadline(Duration::from_secs(4)));
    let start = Instant::now();
    let error: Error = stack(steady(), &mock).oneshot(short).await.unwrap_err();
    // Half of 4 s, half of the time left then, and the rest.
    assert_eq!((start.elapsed(), mock.count()), (SECS(4), 3));
    assert_eq!(
        error.timeout_kind(),
        Some(sevenhops::timeout::TimeoutKind::Deadline)
    );
    assert_eq!(error.hop(), Some(Hop::Server));
}
