//! Tests the throttle: what counts as overload, what is rejected, and what the caller learns.

use std::io::ErrorKind;
use std::time::Duration;

use http::Method;
use sevenhops::{
    Blame, Config, Destination, DestinationConfig, Effect, Error, Kind, Options, Policy,
    RetryConfig, StandardLayer, ThrottleLayer,
    hop::{FailureClass, TimelineEventKind},
    policy::{retry, throttle::ThrottleConfig},
};

use sevenhops::{Operation, OperationConfig, OperationError};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use crate::mock::{Mock, Step, optional, request, status, with};

const SECS: fn(u64) -> Duration = Duration::from_secs;

fn api() -> Destination {
    "https://api.test".parse().unwrap()
}

fn layer() -> ThrottleLayer {
    ThrottleLayer::new(ThrottleConfig::new()).unwrap()
}

/// Makes calls through a layer of its own. Returns the rejections.
async fn rejections(layer: &ThrottleLayer, mock: &Mock, calls: usize) -> Vec<Error> {
    let mut rejected = Vec::new();
    for _ in 0..calls {
        let service = layer.layer(mock.clone());
        let ended = service.oneshot(request(Method::GET)).await;
        rejected.extend(ended.err().filter(|error| error.rejected_by().is_some()));
    }
    rejected
}

#[tokio::test(start_paused = true)]
async fn destination_that_is_overloaded_gets_few_of_the_calls() {
    fastrand::seed(1);
    let mock = Mock::new((0..200).map(|_| with(503, "retry-after", "3")));
    let layer = layer();
    let rejected = rejections(&layer, &mock, 200).await;
    // The probability grows with each attempt: n/(n + 1) after n of them.
    assert!(mock.count() < 40, "{} of 200 were sent", mock.count());
    assert_eq!(layer.throttle_handle().accepted(&api()), Some((0, 200)));
    let error = &rejected[0];
    assert_eq!(error.rejected_by(), Some(Policy::Throttle));
    assert_eq!(error.kind(), Kind::ClientThrottled);
    assert_eq!((error.hop(), error.effect()), (None, Effect::None));
    assert_eq!(error.blame(), Blame::Client);
    assert_eq!(error.retry_after(), Some(SECS(3)));
    let text = error.to_string();
    let shown = " rejected by the throttle: destination overloaded: the destination accepted 0 of ";
    assert!(text.contains(shown), "{text}");
}

#[tokio::test(start_paused = true)]
async fn failures_that_are_no_overload_are_never_throttled() {
    for step in [
        status(200),
        status(404),
        status(500),
        Step::Fail(ErrorKind::ConnectionReset),
    ] {
        let mock = Mock::new((0..100).map(|_| step.clone()));
        let rejected = rejections(&layer(), &mock, 100).await;
        assert_eq!((rejected.len(), mock.count()), (0, 100), "{step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn classifier_and_hint_function_have_the_first_say() {
    fastrand::seed(1);
    let mock = Mock::new((0..200).map(|_| status(400)));
    let layer = layer().classify(|_| Some(FailureClass::Throttled));
    let layer = layer.hint(|_| Some(Duration::from_millis(70)));
    let rejected = rejections(&layer, &mock, 200).await;
    assert!(mock.count() < 40);
    assert_eq!(rejected[0].retry_after(), Some(Duration::from_millis(70)));
}

#[tokio::test(start_paused = true)]
async fn groups_of_a_function_have_windows_of_their_own() {
    fastrand::seed(1);
    let mock = Mock::new((0..50).map(|_| status(429)));
    let by_path = layer().key_by(|_, uri, _| Some(Destination::named(uri.query()?)));
    let rejected = rejections(&by_path, &mock, 50).await;
    assert!(!rejected.is_empty());
    let known = by_path
        .throttle_handle()
        .accepted(&Destination::named("order=1"));
    assert_eq!(known.unwrap().0, 0);
    assert!(by_path.throttle_handle().accepted(&api()).is_none());
}

fn stack(settings: Config) -> StandardLayer {
    let retry = RetryConfig::new().budget(retry::Budget::unlimited());
    StandardLayer::from_config(&settings.retry(retry)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn retry_that_is_throttled_leaves_the_response_before_it() {
    fastrand::seed(1);
    let layer = stack(Config::new(SECS(10)).throttle(ThrottleConfig::new()));
    let mock = Mock::new((0..300).map(|_| status(429)));
    let mut kept = 0;
    for _ in 0..100 {
        let service = layer.layer(mock.clone());
        match service.oneshot(request(Method::GET)).await {
            Ok(response) => {
                let notes = response.body().timeline().events();
                let last = notes.last().map(|note| note.kind.clone());
                kept += usize::from(last == Some(TimelineEventKind::Rejected(Policy::Throttle)));
            }
            Err(error) => {
                assert_eq!((error.kind(), error.attempts()), (Kind::ClientThrottled, 0));
                let notes = error.timeline().unwrap().events();
                assert_eq!(notes[0].kind, TimelineEventKind::Rejected(Policy::Throttle));
            }
        }
    }
    assert!(kept > 0);
}

/// Lets the destination reject calls as overload.
async fn overload(layer: &StandardLayer, calls: usize) {
    for _ in 0..calls {
        let mock = Mock::new([status(503)]);
        let once = optional(Method::GET, Options::new().retry(false));
        let _ = layer.layer(mock).oneshot(once).await;
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_is_throttled_asks_again_and_pays_once() {
    fastrand::seed(1);
    let layer = StandardLayer::from_config(&Config::new(SECS(10)).throttle(ThrottleConfig::new()));
    let layer = layer.unwrap();
    overload(&layer, 3).await;
    let before = layer.budgets().left(&api()).unwrap();
    let mock = Mock::new([status(200)]);
    let post = layer.layer(mock.clone()).oneshot(request(Method::POST));
    let response = post.await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (200, 1));
    let timeline = response.body().timeline();
    let events: Vec<_> = timeline
        .events()
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(events[0], TimelineEventKind::Rejected(Policy::Throttle));
    assert!(matches!(events[1], TimelineEventKind::Waited { .. }));
    assert_eq!(timeline.attempt_count(), 1);
    drop(response);
    let left = layer.budgets().left(&api()).unwrap();
    assert!(left + 1 >= before, "{before} {left}");
}

#[tokio::test(start_paused = true)]
async fn call_that_is_throttled_to_the_end_gets_its_payment_back() {
    fastrand::seed(1);
    let retry = RetryConfig::new().unsent_attempts(2);
    let config = Config::new(SECS(10)).throttle(ThrottleConfig::new());
    let layer = StandardLayer::from_config(&config.retry(retry)).unwrap();
    overload(&layer, 60).await;
    let before = layer.budgets().left(&api()).unwrap();
    let mock = Mock::new([]);
    let get = layer.layer(mock.clone()).oneshot(request(Method::GET));
    let error = get.await.unwrap_err();
    assert_eq!(error.rejected_by(), Some(Policy::Throttle));
    assert_eq!((error.effect(), mock.count()), (Effect::None, 0));
    let asked = error.timeline().unwrap().events().into_iter();
    let asked = asked.filter(|event| event.kind == TimelineEventKind::Rejected(Policy::Throttle));
    assert_eq!(asked.count(), 2);
    assert_eq!(layer.budgets().left(&api()), Some(before));
}

#[tokio::test(start_paused = true)]
async fn call_without_retries_is_rejected_at_once() {
    fastrand::seed(1);
    let layer = stack(Config::new(SECS(10)).throttle(ThrottleConfig::new()));
    overload(&layer, 60).await;
    let begun = Instant::now();
    let once = optional(Method::GET, Options::new().retry(false));
    let error = layer.layer(Mock::new([])).oneshot(once).await.unwrap_err();
    assert_eq!(error.rejected_by(), Some(Policy::Throttle));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn call_is_not_held_for_longer_than_the_server_may_ask_for() {
    fastrand::seed(1);
    let layer = stack(Config::new(SECS(10)).throttle(ThrottleConfig::new()));
    for _ in 0..3 {
        let mock = Mock::new([with(503, "retry-after", "3600")]);
        let _ = layer.layer(mock).oneshot(request(Method::GET)).await;
    }
    let begun = Instant::now();
    let get = layer.layer(Mock::new([])).oneshot(request(Method::GET));
    let error = get.await.unwrap_err();
    assert_eq!(error.rejected_by(), Some(Policy::Throttle));
    assert_eq!(
        (begun.elapsed(), error.retry_after()),
        (Duration::ZERO, Some(SECS(60)))
    );
}

#[tokio::test(start_paused = true)]
async fn operation_that_is_throttled_asks_again() {
    fastrand::seed(1);
    let begun = Instant::now();
    for _ in 0..8 {
        let config = OperationConfig::new(SECS(10)).throttle(ThrottleConfig::new());
        let operation = Operation::from_config("api", config).unwrap();
        let failed = operation.run(async |_| {
            let failed = OperationError::unknown("busy").permanent();
            Err::<(), _>(failed.retry_after(Duration::from_millis(1)))
        });
        failed.await.unwrap_err();
        operation.run(async |_| Ok(())).await.unwrap();
    }
    assert!(!begun.elapsed().is_zero());
}

#[tokio::test(start_paused = true)]
async fn throttle_is_on_where_the_config_says_so() {
    fastrand::seed(1);
    let settings = || Config::new(SECS(10));
    let on = || DestinationConfig::new().throttle(ThrottleConfig::new());
    let off = DestinationConfig::new().throttle(ThrottleConfig::new().enabled(false));
    for (settings, is_throttled) in [
        (settings(), false),
        (settings().throttle(ThrottleConfig::new()), true),
        (settings().destination("api.test", on()), true),
        (settings().destination("other.test", on()), false),
        (
            settings()
                .throttle(ThrottleConfig::new())
                .destination("api.test", off),
            false,
        ),
    ] {
        let layer = stack(settings);
        let mock = Mock::new((0..60).map(|_| status(429)));
        for _ in 0..60 {
            let once = optional(Method::GET, Options::new().retry(false));
            let _ = layer.layer(mock.clone()).oneshot(once).await;
        }
        assert_eq!(mock.count() < 60, is_throttled);
        assert_eq!(
            layer.throttle_handle().accepted(&api()).is_some(),
            is_throttled
        );
    }
}

/// A server that accepts ten requests a second, of thirty.
#[tokio::test(start_paused = true)]
async fn server_with_a_fixed_rate_accepts_no_fewer_requests() {
    let accepted = async |config: ThrottleConfig| {
        let layer = ThrottleLayer::new(config).unwrap();
        let mut accepted = 0;
        for _ in 0..100 {
            let mut left = 10;
            for _ in 0..30 {
                let server = Mock::new([status(if left > 0 { 200 } else { 503 })]);
                let ended = layer
                    .layer(server.clone())
                    .oneshot(request(Method::GET))
                    .await;
                accepted += usize::from(ended.is_ok_and(|response| response.status() == 200));
                left -= i32::try_from(server.count()).unwrap();
            }
        }
        accepted
    };
    fastrand::seed(1);
    let without = accepted(ThrottleConfig::new().enabled(false)).await;
    let with = accepted(ThrottleConfig::new()).await;
    assert_eq!((without, with), (1_000, 1_000));
}

/// A server that spends half as much on a rejection as on a response, at three times its capacity.
#[tokio::test(start_paused = true)]
async fn server_that_pays_for_rejections_accepts_more_requests() {
    let accepted = async |config: ThrottleConfig| {
        let layer = ThrottleLayer::new(config).unwrap();
        let (mut accepted, mut sent_before) = (0, 0);
        for _ in 0..200 {
            // Ten units a second. The rejections of the second before have used up a part of them.
            let (mut room, mut sent) = (10 - sent_before / 2, 0);
            for _ in 0..30 {
                let server = Mock::new([status(if room > 0 { 200 } else { 503 })]);
                let ended = layer
                    .layer(server.clone())
                    .oneshot(request(Method::GET))
                    .await;
                accepted += usize::from(ended.is_ok_and(|response| response.status() == 200));
                sent += i32::try_from(server.count()).unwrap();
                room -= i32::try_from(server.count()).unwrap();
            }
            sent_before = sent;
        }
        accepted
    };
    let without = accepted(ThrottleConfig::new().enabled(false)).await;
    let with = accepted(ThrottleConfig::new()).await;
    assert!(without < 100, "{without}");
    assert!(with > 500, "{with}");
}

#[tokio::test(start_paused = true)]
async fn burst_in_flight_is_not_an_overload() {
    let mock = Mock::new((0..100).map(|_| Step::AnswerAfter(Duration::from_millis(100))));
    let layer = layer();
    let calls: Vec<_> = (0..100)
        .map(|_| tokio::spawn(layer.layer(mock.clone()).oneshot(request(Method::GET))))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(layer.throttle_handle().accepted(&api()), Some((100, 100)));
}
