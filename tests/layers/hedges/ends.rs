//! Tests which attempt wins, and what becomes of the others.

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, Full};
use sevenhops::hop::{Attempt, Outcome};
use sevenhops::policy::retry::Budget;
use sevenhops::{Config, Effect, Error, HedgeConfig, RetryConfig, StandardLayer, Timeline};
use tower::{Layer, ServiceExt};

use super::service::{MILLIS, Reply, SECS, Slow, after, events, get, refusal, request, steady};

fn layer(hedge: HedgeConfig, retry: RetryConfig) -> StandardLayer {
    let config = Config::new(SECS(10)).hedge(hedge).retry(retry);
    StandardLayer::from_config(&config).unwrap()
}

/// Makes a call, and returns its status or its error.
async fn call(layer: &StandardLayer, slow: &Slow) -> (Result<u16, Error>, Timeline) {
    match layer.layer(slow.clone()).oneshot(get()).await {
        Ok(response) => {
            let timeline = response.body().timeline().clone();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap();
            assert_eq!(body.to_bytes(), "hello");
            (Ok(status), timeline)
        }
        Err(error) => {
            let timeline = error.timeline().cloned().unwrap();
            (Err(error), timeline)
        }
    }
}

/// Returns the outcome of each attempt, whether it is a hedge, and whether it lost.
fn attempts(timeline: &Timeline) -> Vec<(Outcome, bool, bool)> {
    let seen = |attempt: Attempt| (attempt.outcome(), attempt.is_hedge(), attempt.is_lost());
    timeline.attempts().into_iter().map(seen).collect()
}

fn answered(status: u16) -> Outcome {
    Outcome::Responded(status.try_into().unwrap())
}

#[tokio::test(start_paused = true)]
async fn first_success_wins_and_the_slow_attempt_is_shown_as_lost() {
    let slow = Slow::new([
        (SECS(8), Reply::Status(200)),
        (MILLIS(20), Reply::Status(200)),
    ]);
    let layer = layer(after(MILLIS(100)), steady());
    let (status, timeline) = call(&layer, &slow).await;
    assert_eq!(status.unwrap(), 200);
    assert_eq!(slow.in_flight(), 0);
    assert_eq!(timeline.elapsed(), MILLIS(120));
    assert_eq!(timeline.outcome(), Some(answered(200)));
    assert_eq!(timeline.effect(), Effect::Done);
    let expected = [
        (Outcome::Cancelled, false, true),
        (answered(200), true, false),
    ];
    assert_eq!(attempts(&timeline), expected);
    let drawn = timeline.to_string();
    for line in [
        "hedged after 100.0 ms",
        "attempt 1 · cancelled, another attempt was faster",
        "attempt 2 · hedge · status 200",
    ] {
        assert!(drawn.contains(line), "{line}\n{drawn}");
    }
}

#[tokio::test(start_paused = true)]
async fn first_attempt_may_win_over_its_hedges() {
    let slow = Slow::new([(MILLIS(100), Reply::Status(200))]);
    slow.add(SECS(9), Reply::Never);
    slow.add(SECS(9), Reply::Never);
    let layer = layer(after(MILLIS(10)).max_hedges(2), steady());
    let (status, timeline) = call(&layer, &slow).await;
    assert_eq!(status.unwrap(), 200);
    assert_eq!(slow.in_flight(), 0);
    assert_eq!(timeline.outcome(), Some(answered(200)));
    let lost = (Outcome::Cancelled, true, true);
    assert_eq!(
        attempts(&timeline),
        [(answered(200), false, false), lost, lost]
    );
}

#[tokio::test(start_paused = true)]
async fn transient_failure_before_the_delay_is_retried_after_its_wait() {
    let slow = Slow::new([(MILLIS(50), Reply::Status(503))]);
    let layer = layer(after(MILLIS(100)), steady());
    let (status, timeline) = call(&layer, &slow).await;
    assert_eq!(status.unwrap(), 200);
    assert_eq!(slow.waits(), [MILLIS(1_050)]);
    assert_eq!(events(&timeline), ["waited 1.00 s"]);
}

#[tokio::test(start_paused = true)]
async fn transient_failure_lets_the_others_go_on_and_later_hedges_keep_their_delay() {
    // The first fails while the second is in flight, the third wins.
    let slow = Slow::new([
        (MILLIS(150), Reply::Status(503)),
        (SECS(5), Reply::Never),
        (MILLIS(30), Reply::Status(200)),
    ]);
    let layer = layer(after(MILLIS(100)).max_hedges(2), steady());
    let (status, timeline) = call(&layer, &slow).await;
    assert_eq!(status.unwrap(), 200);
    assert_eq!(slow.waits(), [MILLIS(100), MILLIS(100)]);
    assert_eq!(timeline.elapsed(), MILLIS(230));
    assert_eq!(slow.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn permanent_failure_is_returned_and_cancels_the_others() {
    let slow = Slow::new([(SECS(9), Reply::Never), (MILLIS(50), Reply::Status(404))]);
    let layer = layer(after(MILLIS(100)), steady());
    let (status, timeline) = call(&layer, &slow).await;
    assert_eq!(status.unwrap(), 404);
    assert_eq!((slow.count(), slow.in_flight()), (2, 0));
    assert_eq!(timeline.elapsed(), MILLIS(150));
    // The request that was cancelled may have been processed.
    assert_eq!(timeline.effect(), Effect::Possible);
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_the_retry_decides_with_the_greatest_effect() {
    let slow = Slow::new([
        (MILLIS(150), Reply::Reset),
        (MILLIS(100), Reply::Status(503)),
        (MILLIS(10), Reply::Status(503)),
    ]);
    let layer = layer(after(MILLIS(100)), steady());
    let (status, timeline) = call(&layer, &slow).await;
    assert_eq!(status.unwrap(), 503);
    assert_eq!(slow.waits(), [MILLIS(100), MILLIS(1_100)]);
    assert_eq!(timeline.effect(), Effect::Possible);
    let reason = timeline.no_retry_reason().unwrap().to_string();
    assert_eq!(reason, "all 3 attempts are spent");
    let expected = ["hedged after 100.0 ms", "waited 1.00 s"];
    assert_eq!(events(&timeline), expected);
}

#[tokio::test(start_paused = true)]
async fn server_that_says_when_to_come_back_gets_no_hedge_and_its_wait() {
    let slow = Slow::new([
        (MILLIS(150), Reply::Later(503, 3)),
        (MILLIS(300), Reply::Reset),
    ]);
    let layer = layer(after(MILLIS(100)).max_hedges(2), steady());
    let (status, timeline) = call(&layer, &slow).await;
    assert_eq!(status.unwrap(), 200);
    assert_eq!(slow.count(), 3);
    assert_eq!(refusal(&timeline), Some("throttled"));
    let wait = slow.waits()[1];
    assert!(wait >= MILLIS(3_050) && wait < MILLIS(3_500), "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn dry_budget_stops_the_next_hedge_and_nothing_in_flight() {
    let slow = Slow::new([(SECS(2), Reply::Status(200)), (SECS(9), Reply::Never)]);
    let one = Budget::new()
        .ratio(0.0)
        .min_retries_per_second(1)
        .window(SECS(1));
    let layer = layer(after(MILLIS(100)).max_hedges(2), steady().budget(one));
    let (status, timeline) = call(&layer, &slow).await;
    assert_eq!(status.unwrap(), 200);
    assert_eq!(slow.count(), 2);
    assert_eq!(refusal(&timeline), Some("budget_exhausted"));
    assert_eq!(timeline.elapsed(), SECS(2));
}

#[tokio::test(start_paused = true)]
async fn deadline_ends_all_attempts_at_once() {
    let slow = Slow::hanging(9);
    let layer = layer(after(MILLIS(100)).max_hedges(2), steady());
    let (error, timeline) = call(&layer, &slow).await;
    let error = error.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!((slow.count(), slow.in_flight()), (3, 0));
    assert_eq!(timeline.elapsed(), SECS(10));
    assert_eq!(error.effect(), Effect::Possible);
}

#[tokio::test(start_paused = true)]
async fn attempt_is_cut_short_only_if_another_one_may_follow_the_hedge() {
    // Half of the deadline is 5 s. With two attempts, the hedge is the last one, so the first one may go on.
    for (attempts, expected) in [(2, SECS(8)), (3, SECS(6))] {
        let slow = Slow::new([(SECS(8), Reply::Status(200)), (SECS(9), Reply::Never)]);
        let layer = layer(after(MILLIS(100)), steady().attempts(attempts));
        let (status, timeline) = call(&layer, &slow).await;
        assert_eq!(status.unwrap(), 200);
        let took = timeline.elapsed();
        assert!(
            took >= expected && took < expected + MILLIS(300),
            "{attempts}: {took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_share_the_idempotency_key() {
    let slow = Slow::hanging(1);
    let keys = sevenhops::policy::idempotency::IdempotencyConfig::new().honored_by_all(true);
    let config = Config::new(SECS(10))
        .hedge(after(MILLIS(100)))
        .idempotency(keys);
    let service = StandardLayer::from_config(&config)
        .unwrap()
        .layer(slow.clone());
    let post: http::Request<Full<Bytes>> = request(Method::POST);
    assert_eq!(service.oneshot(post).await.unwrap().status(), 200);
    let keys = slow.headers().into_iter();
    let keys: Vec<_> = keys
        .map(|headers| headers["idempotency-key"].clone())
        .collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}
