//! Tests the function whose response stands in for a failure.

use std::future::{pending, ready};
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use sevenhops::hop::{Outcome, TimelineEventKind};
use sevenhops::policy::fallback::Replacement;
use sevenhops::policy::stale::{StaleConfig, Staleness};
use sevenhops::{Config, Consistency, Effect, Error, FallbackLayer, Hop, Options, StandardLayer};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt};

use crate::mock::{Mock, Step, optional, request, saying, standard, status, steady};

const SECS: fn(u64) -> Duration = Duration::from_secs;
const RESET: Step = Step::Fail(ErrorKind::ConnectionReset);

fn value(_: &Error) -> std::future::Ready<Option<Response<Bytes>>> {
    ready(Some(Response::new(Bytes::from("a default"))))
}

#[tokio::test(start_paused = true)]
async fn value_stands_in_for_the_failure_and_is_told_from_a_success() {
    let mock = Mock::new([RESET]);
    let layer = standard(steady()).fallback(value);
    let response = layer
        .layer(mock)
        .oneshot(request(Method::POST))
        .await
        .unwrap();
    let error = response.extensions().get::<Replacement>().unwrap().error();
    assert_eq!(
        (error.hop(), error.effect()),
        (Some(Hop::Server), Effect::Possible)
    );
    let timeline = response.body().timeline().clone();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "a default"
    );
    // The charge may still have happened.
    assert_eq!(timeline.effect(), Effect::Possible);
    assert_eq!(
        timeline.outcome(),
        Some(Outcome::Responded(http::StatusCode::OK))
    );
    let note = timeline.events().pop().unwrap();
    assert!(matches!(note.kind, TimelineEventKind::Fallback { .. }));
    let attempt = timeline.attempts().remove(0);
    assert!(matches!(
        attempt.outcome(),
        Outcome::Failed {
            effect: Effect::Possible,
            ..
        }
    ));
    let drawn = timeline.to_string();
    assert!(drawn.contains("fallback, in place of: server, "), "{drawn}");
}

#[tokio::test(start_paused = true)]
async fn substitute_does_not_make_a_request_done_that_was_not_sent() {
    let mock = Mock::new([]);
    let layer = standard(steady()).fallback(value);
    layer
        .breaker_handle()
        .isolate(&"https://api.test".parse().unwrap());
    let service = layer.layer(mock.clone());
    let response = service.oneshot(request(Method::POST)).await.unwrap();
    assert!(response.extensions().get::<Replacement>().is_some());
    assert_eq!(response.body().timeline().effect(), Effect::None);
    assert_eq!(mock.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn function_that_has_no_response_leaves_the_failure() {
    type Function = fn(&Error) -> std::future::Ready<Option<Response<Bytes>>>;
    let functions: [Function; 2] = [|_| ready(None), |_| panic!("on purpose")];
    for function in functions {
        let layer = FallbackLayer::new(function);
        let service = layer.layer(Mock::new([RESET, saying(503, "down")]));
        let error = service
            .clone()
            .oneshot(request(Method::POST))
            .await
            .unwrap_err();
        assert_eq!(error.effect(), Effect::Possible);
        let outcome = error.timeline().unwrap().outcome();
        assert!(!matches!(outcome, Some(Outcome::Responded(_))));
        let response = service.oneshot(request(Method::POST)).await.unwrap();
        assert_eq!(response.status(), 503);
        assert!(response.extensions().get::<Replacement>().is_none());
        assert_eq!(
            response.into_body().collect().await.unwrap().to_bytes(),
            "down"
        );
    }
    let layer = FallbackLayer::new(|_| async { panic!("later") });
    let service = layer.layer(Mock::new([RESET]));
    assert!(service.oneshot(request(Method::GET)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn server_error_is_asked_about_and_other_responses_are_not() {
    for (code, is_replaced) in [
        (200, false),
        (404, false),
        (429, false),
        (500, true),
        (503, true),
    ] {
        let layer = FallbackLayer::new(value);
        let service = layer.layer(Mock::new([status(code)]));
        let response = service.oneshot(request(Method::GET)).await.unwrap();
        let replacement = response.extensions().get::<Replacement>();
        assert_eq!(replacement.is_some(), is_replaced, "{code}");
        let failed = replacement.and_then(|replacement| replacement.error().status());
        assert_eq!(
            failed.map(|status| status.as_u16()),
            is_replaced.then_some(code)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn another_call_has_the_rest_of_the_deadline() {
    let second = |wait| {
        standard(steady().attempts(1)).fallback(move |_| async move {
            sleep(wait).await;
            Some(Response::new(Bytes::from("the other region")))
        })
    };
    let quick = second(SECS(3)).layer(Mock::new([RESET]));
    let response = quick.oneshot(request(Method::GET)).await.unwrap();
    assert!(response.extensions().get::<Replacement>().is_some());
    let began = Instant::now();
    let slow = second(SECS(60)).layer(Mock::new([RESET]));
    let error = slow.oneshot(request(Method::GET)).await.unwrap_err();
    assert_eq!(began.elapsed(), SECS(10));
    assert_eq!(error.hop(), Some(Hop::Server));
}

#[tokio::test(start_paused = true)]
async fn value_answers_a_passed_deadline() {
    let layer = standard(steady()).fallback(value);
    let service = layer.layer(Mock::new([Step::Hang, Step::Hang, Step::Hang]));
    let response = service.oneshot(request(Method::GET)).await.unwrap();
    let error = response.extensions().get::<Replacement>().unwrap().error();
    assert!(error.is_timeout());
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "a default"
    );
}

#[tokio::test(start_paused = true)]
async fn last_good_response_goes_before_a_default() {
    let stale = StaleConfig::new().store_bytes(1 << 20).shared(false);
    let settings = Config::new(SECS(10))
        .retry(steady().attempts(1))
        .stale(stale);
    let layer = StandardLayer::from_config(&settings)
        .unwrap()
        .fallback(value);
    let service = layer.layer(Mock::new([saying(200, "good"), RESET, RESET]));
    let read = |secs| {
        let options = Options::new().consistency(Consistency::StaleFor(SECS(secs)));
        // A read without content.
        let get = optional(Method::GET, options).map(|_| Full::default());
        service.clone().oneshot(get)
    };
    let first = read(60).await.unwrap();
    first.into_body().collect().await.unwrap();
    tokio::time::advance(SECS(30)).await;
    let stale = read(60).await.unwrap();
    assert!(stale.extensions().get::<Staleness>().is_some());
    let fallback = read(20).await.unwrap();
    assert!(fallback.extensions().get::<Replacement>().is_some());
    // A default is never stored.
    fallback.into_body().collect().await.unwrap();
    let good = read(60).await.unwrap();
    assert_eq!(good.into_body().collect().await.unwrap().to_bytes(), "");
}

#[tokio::test(start_paused = true)]
async fn caller_may_go_away_while_the_function_works() {
    let layer = standard(steady().attempts(1)).fallback(|_| pending());
    let mut service = layer.layer(Mock::new([RESET]));
    let call = service.call(request(Method::POST));
    let left = tokio::time::timeout(SECS(1), call).await;
    assert!(left.is_err());
}

/// A body that tells when it is dropped. Without an end it stalls.
struct Held {
    pieces: Vec<Bytes>,
    ends: bool,
    is_held: Arc<AtomicBool>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.is_held.store(false, Ordering::Relaxed);
    }
}

impl Body for Held {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        match self.pieces.pop() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failed_response_is_released_before_the_function_works() {
    for (ends, replaces) in [(true, true), (true, false), (false, true), (false, false)] {
        let is_held = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&is_held);
        let layer = FallbackLayer::new(move |_| {
            let seen = Arc::clone(&seen);
            async move {
                assert!(!seen.load(Ordering::Relaxed), "the response is still held");
                replaces.then(|| Response::new(Bytes::from("a default")))
            }
        });
        let service = layer.layer(tower::service_fn(move |_: http::Request<Full<Bytes>>| {
            let is_held = Arc::clone(&is_held);
            let pieces = vec!["down".into()];
            let body = Held {
                pieces,
                ends,
                is_held,
            };
            let response = Response::builder().status(503).body(body);
            ready(Ok::<_, std::io::Error>(response.unwrap()))
        }));
        let began = Instant::now();
        let mut response = service.oneshot(request(Method::GET)).await.unwrap();
        assert!(began.elapsed() < SECS(1));
        let is_replaced = response.extensions().get::<Replacement>().is_some();
        assert_eq!(is_replaced, replaces);
        let first = response.body_mut().frame().await.unwrap().unwrap();
        let first = first.into_data().unwrap();
        assert_eq!(first, if replaces { "a default" } else { "down" });
        let end = response.body_mut().frame().await;
        assert_eq!(end.is_none(), ends || replaces, "{end:?}");
    }
}
