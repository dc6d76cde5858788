//! Tests the rules of servers, users and settings for retries, over a foreign service, on a paused clock.

use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use sevenhops::hop::{FailureClass, NoRetryReason, TimelineEventKind};
use sevenhops::policy::retry::{Backoff, Jitter, RetryConfig};
use sevenhops::{Options, StandardLayer};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use crate::mock::{Mock, Step, optional, request, stack, standard, status, steady, with};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

#[tokio::test(start_paused = true)]
async fn status_429_without_a_hint_waits_from_a_second_on() {
    let mock = Mock::new([status(429), status(429)]);
    stack(steady(), &mock)
        .oneshot(request(Method::GET))
        .await
        .unwrap();
    assert_eq!(mock.waits(), [SECS(1), SECS(2)]);
}

#[tokio::test(start_paused = true)]
async fn status_429_with_a_hint_has_the_usual_backoff() {
    let mock = Mock::new([with(429, "retry-after", "0")]);
    let service = stack(steady(), &mock);
    service.oneshot(request(Method::GET)).await.unwrap();
    assert!((MS(100)..=MS(111)).contains(&mock.waits()[0]));
}

#[tokio::test(start_paused = true)]
async fn wait_is_never_shorter_than_the_hint_and_hardly_longer() {
    for code in [429, 503, 500] {
        let mock = Mock::new([with(code, "retry-after", "2")]);
        let response = stack(steady(), &mock)
            .oneshot(request(Method::GET))
            .await
            .unwrap();
        let waited = mock.waits()[0];
        assert!((SECS(2)..=MS(2_201)).contains(&waited), "{waited:?}");
        let notes = response.into_body().timeline().events();
        assert!(matches!(
            notes[0].kind,
            TimelineEventKind::Waited { hinted: true, .. }
        ));
    }
    let mock = Mock::new([with(503, "retry-after", "0")]);
    stack(steady(), &mock)
        .oneshot(request(Method::GET))
        .await
        .unwrap();
    assert!(mock.waits()[0] >= MS(100), "not below our own backoff");
    let mock = Mock::new([with(429, "ratelimit", r#""default";r=0;t=3"#)]);
    stack(steady(), &mock)
        .oneshot(request(Method::GET))
        .await
        .unwrap();
    assert!(mock.waits()[0] >= SECS(3));
}

#[tokio::test(start_paused = true)]
async fn hint_within_the_deadline_is_never_refused_by_jitter() {
    for _ in 0..50 {
        let mock = Mock::new([with(503, "retry-after", "1")]);
        let short = Options::new().deadline(Duration::from_millis(1_050));
        let get = optional(Method::GET, short);
        let patient = steady().max_hint(SECS(2));
        stack(patient, &mock).oneshot(get).await.unwrap();
        assert_eq!(mock.count(), 2);
        assert!((SECS(1)..MS(1_050)).contains(&mock.waits()[0]));
    }
}

#[tokio::test(start_paused = true)]
async fn hint_beyond_the_deadline_returns_the_response_immediately() {
    let day = SECS(86_400);
    for (hint, retry, fits) in [
        ("11", steady().max_hint(day), true),
        ("11", steady(), false),
        ("9223372036854775807", steady().max_hint(day), false),
    ] {
        let start = Instant::now();
        let answer = Step::Answer(
            503,
            vec![("retry-after", hint.to_owned())],
            "come back later".into(),
        );
        let mock = Mock::new([answer]);
        let response = stack(retry, &mock).oneshot(request(Method::GET));
        let response = response.await.unwrap();
        assert_eq!((start.elapsed(), mock.count()), (Duration::ZERO, 1));
        assert_eq!(response.headers()["retry-after"], hint);
        let timeline = response.body().timeline().clone();
        match timeline.no_retry_reason() {
            Some(NoRetryReason::DeadlineTooClose { .. }) => assert!(fits, "{hint}"),
            Some(NoRetryReason::HintTooLong { .. }) => assert!(!fits, "{hint}"),
            other => panic!("{other:?}"),
        }
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "come back later");
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_includes_backoff() {
    // 2.7 s of 3 s are gone when the first attempt fails: 0.3 s are left for everything else.
    let timeouts = sevenhops::timeout::TimeoutsConfig::new().attempt(SECS(3));
    for (base, sent) in [(MS(299), 2), (MS(300), 1)] {
        let retry = RetryConfig::new().backoff(Backoff::new().jitter(Jitter::None).base(base));
        let settings = sevenhops::Config::new(SECS(3))
            .timeouts(timeouts)
            .retry(retry);
        let mock = Mock::new([Step::FailAfter(MS(2_700)), Step::Hang]);
        let start = Instant::now();
        let service = StandardLayer::from_config(&settings)
            .unwrap()
            .layer(mock.clone());
        let error = service.oneshot(request(Method::GET)).await.unwrap_err();
        assert_eq!(mock.count(), sent);
        assert!(start.elapsed() <= SECS(3));
        let reason = error.no_retry_reason();
        match sent {
            1 => assert!(
                matches!(reason, Some(NoRetryReason::DeadlineTooClose { .. })),
                "{error}"
            ),
            _ => assert!(error.is_timeout(), "{error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn options_of_a_request_override_the_retry_config() {
    let off = Options::new().retry(false);
    let more = Options::new().attempts(5);
    let only = Options::new().retry_statuses([StatusCode::NOT_FOUND]);
    for (options, code, sent) in [
        (off, 503, 1),
        (more, 503, 5),
        (only.clone(), 503, 1),
        (only, 404, 3),
    ] {
        let mock = Mock::new((0..9).map(|_| status(code)));
        let get = optional(Method::GET, options.clone());
        stack(steady(), &mock).oneshot(get).await.unwrap();
        assert_eq!(mock.count(), sent, "{options:?} {code}");
    }
}

#[tokio::test(start_paused = true)]
async fn should_retry_header_overrides_the_status_both_ways() {
    let name = http::HeaderName::from_static("stripe-should-retry");
    for (code, word, sent) in [(503, "false", 1), (400, "true", 2), (400, "maybe", 1)] {
        let mock = Mock::new([with(code, "stripe-should-retry", word)]);
        let retry = steady().should_retry_header(name.clone());
        stack(retry, &mock)
            .oneshot(request(Method::GET))
            .await
            .unwrap();
        assert_eq!(mock.count(), sent, "{code} {word}");
    }
}

#[tokio::test(start_paused = true)]
async fn users_classifier_comes_first() {
    let layer = standard(steady());
    let layer = layer.classify(|failure| {
        let found = failure.headers()?.get("x-passing")?;
        let passing = found == "yes" && failure.method() == Method::GET;
        Some(if passing {
            FailureClass::Transient
        } else {
            FailureClass::Permanent
        })
    });
    for (code, word, sent) in [(404, "yes", 2), (503, "no", 1)] {
        let mock = Mock::new([with(code, "x-passing", word)]);
        let service = layer.layer(mock.clone());
        service.oneshot(request(Method::GET)).await.unwrap();
        assert_eq!(mock.count(), sent, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn host_outside_of_the_retry_config_is_not_retried() {
    let mock = Mock::new([status(503), status(503)]);
    let only = steady().only_for("https://api.test".parse().unwrap());
    let service = stack(only, &mock);
    let mut other = request(Method::GET);
    *other.uri_mut() = "https://other.test/".parse().unwrap();
    let response = service.clone().oneshot(other).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (503, 1));
    let reason = response.into_body().timeline().no_retry_reason();
    assert_eq!(reason, Some(NoRetryReason::OtherDestination));
    let response = service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!((response.status().as_u16(), mock.count()), (200, 3));
}

#[tokio::test(start_paused = true)]
async fn attempt_and_time_left_are_passed_to_the_next_process_if_enabled() {
    let mock = Mock::new([Step::FailAfter(SECS(1)), status(503)]);
    let settings = sevenhops::Config::new(SECS(10)).retry(steady());
    let layer = StandardLayer::from_config(&settings.clone().propagate_deadline(true)).unwrap();
    layer
        .layer(mock.clone())
        .oneshot(request(Method::GET))
        .await
        .unwrap();
    let asked = mock.asked();
    let sent = |name| {
        asked
            .iter()
            .map(move |asked| asked.header(name).unwrap().to_owned())
    };
    let attempts: Vec<_> = sent("sevenhops-attempt").collect();
    assert_eq!(attempts, ["1;max=3", "2;max=3", "3;max=3"]);
    let left: Vec<_> = sent("sevenhops-timeout-ms").collect();
    assert_eq!(left, ["10000", "8900", "8700"]);

    // The next process does not retry, and gives up at its caller's deadline.
    let there = Mock::new((0..9).map(|_| Step::Hang));
    let inherited = Options::new().inherit(&asked[1].head.headers);
    let (start, get) = (Instant::now(), optional(Method::GET, inherited));
    let layer = StandardLayer::from_config(&settings).unwrap();
    let error = layer.layer(there.clone()).oneshot(get).await.unwrap_err();
    assert_eq!(
        error.no_retry_reason(),
        Some(NoRetryReason::RetriedUpstream)
    );
    // Half of the 8.9 s that its caller had left: the caller may try again.
    let half = Duration::from_millis(4_450);
    assert_eq!((there.count(), start.elapsed()), (1, half));

    // Its caller's time ends before its own, and it leaves room for its caller's next attempt.
    let mut hurried = asked[2].head.headers.clone();
    hurried.insert("sevenhops-timeout-ms", "2000".parse().unwrap());
    let there = Mock::new([Step::Hang]);
    let (start, inherited) = (Instant::now(), Options::new().inherit(&hurried));
    let get = optional(Method::GET, inherited);
    let error = layer.layer(there.clone()).oneshot(get).await.unwrap_err();
    assert_eq!(
        error.timeout_kind(),
        Some(sevenhops::timeout::TimeoutKind::Attempt)
    );
    assert_eq!(start.elapsed(), SECS(1));

    assert!(
        there.asked()[0].header("sevenhops-attempt").is_none(),
        "off by default"
    );
}
