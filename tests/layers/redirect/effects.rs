//! The effect of a call that was redirected, over nested stacks and layers.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use sevenhops::policy::redirect::RedirectConfig;
use sevenhops::{
    AttemptLayer, DeadlineLayer, Effect, IdempotencyLayer, Kind, Options, Policy, RedirectLayer,
    RetryLayer, StandardLayer,
};
use tower::{Layer, ServiceExt, service_fn};

use super::{DEADLINE, LOST, honored, stack, timeouts, to};
use crate::mock::{Mock, optional, request, saying, status, steady};

#[tokio::test(start_paused = true)]
async fn redirected_post_has_effect_possible() {
    let mock = Mock::new([to(303, "/done"), status(404)]);
    let response = stack(RedirectConfig::new(), &mock)
        .oneshot(request(Method::POST))
        .await
        .unwrap();
    assert_eq!(response.body().timeline().effect(), Effect::Possible);
    let mock = Mock::new([to(307, "/there"), status(404)]);
    let response = stack(RedirectConfig::new(), &mock)
        .oneshot(request(Method::POST))
        .await
        .unwrap();
    assert_eq!(response.body().timeline().effect(), Effect::Declined);
}

#[tokio::test(start_paused = true)]
async fn get_response_of_an_inner_stack_does_not_prove_the_post() {
    let mock = Mock::new([to(303, "/done")]);
    let inner = stack(RedirectConfig::new(), &mock);
    let outer = StandardLayer::new(DEADLINE).unwrap().layer(inner);
    let response = outer.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.body().timeline().effect(), Effect::Possible);
}

#[tokio::test(start_paused = true)]
async fn rejection_of_a_later_leg_does_not_hide_the_previous_leg() {
    let mock = Mock::new([status(429), to(303, "https://other.test/")]);
    let layer = StandardLayer::new(DEADLINE).unwrap();
    layer
        .breaker_handle()
        .isolate(&"https://other.test".parse().unwrap());
    let retry = RetryLayer::new(steady()).unwrap();
    let service = retry.layer(layer.layer(mock.clone()));
    let error = service.oneshot(request(Method::POST)).await.unwrap_err();
    assert_eq!((mock.count(), error.effect()), (2, Effect::Possible));
    assert_eq!(error.rejected_by(), Some(Policy::Breaker));
}

#[tokio::test(start_paused = true)]
async fn get_response_of_an_outer_layer_does_not_prove_the_post() {
    let mock = Mock::new([status(200), LOST]);
    let attempt = AttemptLayer::new(timeouts()).layer(mock.clone());
    let asks_first = service_fn(move |post: Request<Full<Bytes>>| {
        let (attempt, mut get) = (attempt.clone(), post.clone());
        *get.method_mut() = Method::GET;
        async move {
            attempt.clone().oneshot(get).await?;
            attempt.oneshot(post).await
        }
    });
    let call = DeadlineLayer::new(DEADLINE).unwrap().layer(asks_first);
    let error = call.oneshot(request(Method::POST)).await.unwrap_err();
    assert_eq!((mock.count(), error.effect()), (2, Effect::Possible));
}

#[tokio::test(start_paused = true)]
async fn declined_get_after_a_redirect_does_not_send_the_post_again() {
    let steps = || [to(303, "/done"), status(429)];
    let mock = Mock::new(steps());
    let inner = stack(RedirectConfig::new(), &mock);
    let outer = StandardLayer::new(DEADLINE).unwrap().layer(inner);
    let response = outer.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (429, 2));
    assert_eq!(response.body().timeline().effect(), Effect::Possible);

    let redirect = RedirectLayer::new(RedirectConfig::new()).unwrap();
    let retry = RetryLayer::new(steady()).unwrap();
    let call = DeadlineLayer::new(DEADLINE).unwrap();
    let mock = Mock::new(steps());
    let recorded = redirect.layer(AttemptLayer::new(timeouts()).layer(mock.clone()));
    let service = call.layer(retry.layer(recorded));
    service.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!(mock.count(), 2);
    let mock = Mock::new(steps());
    let service = call.layer(retry.layer(redirect.layer(mock.clone())));
    service.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!(mock.count(), 2, "no layer recorded the attempts");
}

#[tokio::test(start_paused = true)]
async fn effect_of_an_inner_stack_is_that_of_the_call() {
    let mock = Mock::new([to(303, "/done"), status(404)]);
    let inner = stack(RedirectConfig::new(), &mock);
    let outer = StandardLayer::new(DEADLINE).unwrap().layer(inner);
    let response = outer.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!(response.body().timeline().effect(), Effect::Possible);
    let mock = Mock::new([status(503), status(404)]);
    let inner = stack(RedirectConfig::new(), &mock);
    let call = DeadlineLayer::new(DEADLINE).unwrap().layer(inner);
    let response = call.oneshot(honored()).await.unwrap();
    assert_eq!(response.body().timeline().effect(), Effect::Possible);
}

#[tokio::test(start_paused = true)]
async fn request_is_not_redirected_without_its_key_if_attempts_have_no_record() {
    let steps = || [status(503), to(307, "https://other.test/")];
    let redirect = RedirectLayer::new(RedirectConfig::new()).unwrap();
    let keyed = IdempotencyLayer::default();
    let mock = Mock::new(steps());
    let retry = RetryLayer::new(steady()).unwrap().layer(mock.clone());
    let service = keyed.layer(redirect.layer(retry));
    assert!(service.oneshot(honored()).await.is_err());
    assert_eq!(mock.count(), 2);
    let mock = Mock::new(steps());
    let inner = stack(RedirectConfig::new().enabled(false), &mock);
    let service = keyed.layer(redirect.layer(inner));
    assert!(service.oneshot(honored()).await.is_err());
    assert_eq!(mock.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn failed_body_of_the_get_does_not_prove_the_post() {
    let whole = |method| optional(method, Options::new().whole_body(1));
    for (redirect, expected) in [(303, Effect::Possible), (307, Effect::Done)] {
        let mock = Mock::new([to(redirect, "/done"), saying(200, "too long")]);
        let service = stack(RedirectConfig::new(), &mock);
        let error = service.oneshot(whole(Method::POST)).await.unwrap_err();
        assert_eq!(mock.count(), 2);
        assert_eq!((error.kind(), error.effect()), (Kind::TooLarge, expected));
        assert_eq!(error.timeline().unwrap().effect(), expected);
    }
}
