//! A call of two attempts: the first one has a record, the second one goes to a service of another crate and has none.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use sevenhops::hop::Outcome;
use sevenhops::testing::TimelineRecorder;
use sevenhops::timeout::Timeouts;
use sevenhops::{AttemptLayer, DeadlineLayer, Effect, RetryLayer, Timeline};
use tower::{Layer, ServiceExt, service_fn};

use super::{LOST, MS, SECS};
use crate::mock::{Mock, Step, request, status, steady};

/// The first attempt gets a 429 in an attempt layer, and the next ones go to a service without one. Returns the timeline
/// of a call whose caller waits for this long.
async fn after_a_declined_attempt(
    (method, next): (Method, Step),
    patience: Duration,
) -> (Timeline, usize) {
    let (first, second) = (Mock::new([status(429)]), Mock::new([next]));
    let recorded = AttemptLayer::new(Timeouts::new(SECS(10)).unwrap()).layer(first.clone());
    let (asked, foreign) = (first.clone(), second.clone());
    let failover = service_fn(move |request: Request<Full<Bytes>>| {
        let (recorded, foreign) = (recorded.clone(), foreign.clone());
        let is_first = asked.count() == 0;
        async move {
            if is_first {
                let response = recorded.oneshot(request).await?;
                return Ok(response.map(|_| Full::default()));
            }
            Ok::<_, tower::BoxError>(foreign.oneshot(request).await?)
        }
    });
    let recorder = TimelineRecorder::new();
    let deadline = DeadlineLayer::new(SECS(10)).unwrap();
    let deadline = deadline.on_complete(recorder.listener());
    let retry = RetryLayer::new(steady()).unwrap();
    let service = deadline.layer(retry.layer(failover));
    let _ = tokio::time::timeout(patience, service.oneshot(request(method))).await;
    let timeline = recorder.wait_for(1).await.remove(0);
    (timeline, second.count())
}

#[tokio::test(start_paused = true)]
async fn success_of_an_attempt_without_a_record_is_not_the_failure_of_the_one_before() {
    let (timeline, sent) = after_a_declined_attempt((Method::POST, status(201)), SECS(9)).await;
    assert_eq!(sent, 1);
    assert_eq!(
        timeline.outcome(),
        Some(Outcome::Responded(StatusCode::CREATED))
    );
    assert_eq!(timeline.effect(), Effect::Done);
}

#[tokio::test(start_paused = true)]
async fn attempt_without_a_record_that_is_dropped_in_flight_may_have_had_an_effect() {
    let (timeline, sent) = after_a_declined_attempt((Method::POST, Step::Hang), SECS(9)).await;
    assert_eq!((timeline.effect(), sent), (Effect::Possible, 1));
}

#[tokio::test(start_paused = true)]
async fn failed_attempt_without_a_record_counts_if_the_caller_leaves_before_the_next_one() {
    // The attempts are at 0 s, 1 s and 1.2 s.
    let (timeline, sent) = after_a_declined_attempt((Method::PUT, LOST), MS(1_100)).await;
    assert_eq!((timeline.effect(), sent), (Effect::Possible, 1));
}
