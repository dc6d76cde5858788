//! Tests the layer alone: over a foreign service, above a stack, and refreshing in the background.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use sevenhops::hop::TimelineEventKind;
use sevenhops::policy::stale::{StaleConfig, Staleness};
use sevenhops::{Consistency, DeadlineLayer, Options, StaleLayer};
use tokio::task::yield_now;
use tokio::time::advance;
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::mock::{Mock, Step, saying, standard, steady};

const SECS: fn(u64) -> Duration = Duration::from_secs;

fn config() -> StaleConfig {
    StaleConfig::new()
        .store_bytes(1 << 20)
        .consistency(Consistency::StaleFor(SECS(60)))
}

fn get() -> Request<Full<Bytes>> {
    let request = Request::get("https://shop.test/wishes");
    request.body(Full::default()).unwrap()
}

/// Lets a refresh in the background finish.
async fn settle() {
    for _ in 0..16 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn layer_works_alone() {
    let mock = Mock::new([
        saying(200, "a bicycle"),
        Step::Fail(ErrorKind::ConnectionRefused),
    ]);
    let service = StaleLayer::new(config()).unwrap().layer(mock);
    let first = service.clone().oneshot(get()).await.unwrap();
    first.into_body().collect().await.unwrap();
    let stale = service.clone().oneshot(get()).await.unwrap();
    assert!(stale.extensions().get::<Staleness>().is_some());
    let body = stale.into_body();
    let note = body.timeline().events().pop().unwrap();
    assert!(matches!(note.kind, TimelineEventKind::Stale { .. }));
    assert_eq!(body.collect().await.unwrap().to_bytes(), "a bicycle");
}

#[tokio::test(start_paused = true)]
async fn layer_above_a_deadline_answers_its_failure() {
    let mock = Mock::new([saying(200, "a bicycle"), Step::Hang]);
    let service = ServiceBuilder::new()
        .layer(StaleLayer::new(config()).unwrap())
        .layer(DeadlineLayer::new(SECS(2)).unwrap())
        .service(mock);
    let first = service.clone().oneshot(get()).await.unwrap();
    first.into_body().collect().await.unwrap();
    let stale = service.clone().oneshot(get()).await.unwrap();
    let staleness = stale.extensions().get::<Staleness>().unwrap();
    assert!(staleness.error().unwrap().is_timeout());
    assert_eq!(staleness.age(), SECS(2));
}

#[tokio::test(start_paused = true)]
async fn response_is_served_at_once_and_refreshed_once_in_the_background() {
    let mock = Mock::new([saying(200, "one"), saying(200, "two")]);
    let layer = StaleLayer::new(config().while_revalidate(SECS(10))).unwrap();
    let service = layer.layer(mock.clone());
    let read = async || {
        let response = service.clone().oneshot(get()).await.unwrap();
        let staleness = response.extensions().get::<Staleness>().cloned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (
            body,
            staleness.map(|stale| (stale.age(), stale.error().is_some())),
        )
    };
    assert_eq!(read().await, (Bytes::from("one"), None));
    advance(SECS(5)).await;
    let calls = [read().await, read().await];
    assert_eq!(calls[0], (Bytes::from("one"), Some((SECS(5), false))));
    assert_eq!(calls[0], calls[1]);
    settle().await;
    assert_eq!(mock.count(), 2, "one refresh for both");
    assert_eq!(mock.asked()[1].head.uri, "https://shop.test/wishes");
    advance(SECS(1)).await;
    assert_eq!(read().await, (Bytes::from("two"), Some((SECS(1), false))));
    settle().await;
    // Above the bound the server is asked first.
    advance(SECS(11)).await;
    assert_eq!(read().await.1, None);
}

#[tokio::test(start_paused = true)]
async fn failed_refresh_leaves_the_response_and_may_be_tried_again() {
    let refused = || Step::Fail(ErrorKind::ConnectionRefused);
    let mock = Mock::new([saying(200, "one"), refused(), Step::Hang, refused()]);
    let layer = StaleLayer::new(config().while_revalidate(SECS(60))).unwrap();
    let service = layer.layer(mock.clone());
    let read = async || service.clone().oneshot(get()).await.unwrap();
    read().await.into_body().collect().await.unwrap();
    for sent in [2, 3] {
        advance(SECS(1)).await;
        assert!(read().await.extensions().get::<Staleness>().is_some());
        settle().await;
        assert_eq!(mock.count(), sent);
    }
    // The refresh that hangs is the only one until its time is over.
    read().await;
    settle().await;
    assert_eq!(mock.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn refresh_has_the_options_and_headers_of_its_request() {
    let public = || Step::Answer(200, vec![("cache-control", "public".into())], "one".into());
    let mock = Mock::new([public(), public()]);
    let layer = StaleLayer::new(config().while_revalidate(SECS(10))).unwrap();
    let service = ServiceBuilder::new()
        .layer(layer)
        .layer(DeadlineLayer::new(SECS(2)).unwrap())
        .service(mock.clone());
    for _ in 0..2 {
        let mut request = get();
        request
            .headers_mut()
            .insert("authorization", "Bearer 1".parse().unwrap());
        request
            .extensions_mut()
            .insert(Options::new().route("/wishes"));
        let response = service.clone().oneshot(request).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    settle().await;
    let asked = mock.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].header("authorization"), Some("Bearer 1"));
    assert_eq!(asked[1].head.method, Method::GET);
}

#[tokio::test(start_paused = true)]
async fn response_that_a_stack_below_took_from_elsewhere_is_not_stored() {
    let to = || {
        let location = vec![("location", "https://other.test/".into())];
        Step::Answer(302, location, Bytes::new())
    };
    let refused = || Step::Fail(ErrorKind::ConnectionRefused);
    let stack = standard(steady().attempts(1));
    let is_first = AtomicBool::new(true);
    let inventing = stack.clone().fallback(move |_| {
        let is_first = is_first.swap(false, Ordering::Relaxed);
        std::future::ready(is_first.then(|| Response::new(Bytes::from("a default"))))
    });
    for (stack, steps) in [
        (stack, vec![to(), saying(200, "of another"), refused()]),
        (inventing, vec![refused(), refused()]),
    ] {
        let mock = Mock::new(steps);
        let service = ServiceBuilder::new()
            .layer(StaleLayer::new(config()).unwrap())
            .layer(stack)
            .service(mock);
        let read = || service.clone().oneshot(get());
        let first = read().await.unwrap();
        assert!(
            !first
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .is_empty()
        );
        let second = read().await;
        assert!(second.is_err());
    }
}

#[test]
fn layer_needs_a_store() {
    let refused = StaleLayer::new(StaleConfig::new()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "stale.store_bytes: it is missing: a StaleLayer needs a store"
    );
}

#[tokio::test(start_paused = true)]
async fn refresh_does_not_end_with_the_deadline_of_its_caller() {
    let mock = Mock::new([saying(200, "one"), Step::AnswerAfter(SECS(3))]);
    let layer = StaleLayer::new(config().while_revalidate(SECS(20))).unwrap();
    let service = ServiceBuilder::new()
        .layer(layer)
        .layer(DeadlineLayer::new(SECS(10)).unwrap())
        .service(mock.clone());
    let read = async || {
        let mut request = get();
        let options = Options::new().deadline(SECS(1));
        request.extensions_mut().insert(options);
        let response = service.clone().oneshot(request).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    };
    assert_eq!([read().await, read().await], ["one"; 2]);
    settle().await;
    assert_eq!(mock.count(), 2);
    for _ in 0..3 {
        advance(SECS(1)).await;
        settle().await;
    }
    assert_eq!(read().await, "", "the refreshed response");
}
