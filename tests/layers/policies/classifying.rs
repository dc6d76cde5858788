//! The values that a classifier sees, and the effects of its class.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Method, Response};
use http_body_util::BodyExt;
use sevenhops::{
    AttemptLayer, CircuitBreakerConfig, DeadlineLayer, Effect, Options, RetryLayer, StandardLayer,
    Timeouts,
    driver::DriverBody,
    hop::{FailureClass, Hop, Kind, NoRetryReason, Outcome},
    policy::{breaker::CircuitState, retry::Failure},
};

use tokio::time::Instant;
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::served::{Answer, Piece, Pieces, answer, serving};
use crate::mock::{optional, request, standard, steady};

const SECS: fn(u64) -> Duration = Duration::from_secs;
const WHOLE: usize = 1 << 20;

type Answered = Result<Response<DriverBody<Pieces>>, sevenhops::Error>;

/// Sends a request that receives the whole body. Returns how it ended, and the number of requests.
async fn fetch(
    layer: &StandardLayer,
    method: Method,
    answers: impl IntoIterator<Item = Answer>,
) -> (Answered, u32) {
    let (service, count) = serving(answers);
    let request = optional(method, Options::new().whole_body(WHOLE));
    let ended = layer.layer(service).oneshot(request).await;
    let count = *count.lock().unwrap();
    (ended, count)
}

async fn body(answered: Answered) -> Bytes {
    let body = answered.unwrap().into_body();
    body.collect().await.unwrap().to_bytes()
}

/// Records each body that the classifier sees.
fn seeing(class: Option<FailureClass>) -> (Bodies, impl ClassifyFn) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let classify = move |failure: &Failure<'_>| {
        let body = failure.body().map(Bytes::copy_from_slice);
        notes.lock().unwrap().push(body);
        class
    };
    (seen, classify)
}

type Bodies = Arc<Mutex<Vec<Option<Bytes>>>>;

trait ClassifyFn: Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync + 'static {}
impl<F: Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync + 'static> ClassifyFn for F {}

#[tokio::test(start_paused = true)]
async fn beginning_of_an_error_is_seen_and_its_whole_body_is_delivered() {
    let pieces: Vec<_> = (0..5_u8)
        .map(|i| Bytes::from(vec![b'a' + i; 3_000]))
        .collect();
    let whole = pieces.concat();
    for class in [None, Some(FailureClass::Permanent)] {
        let (seen, classify) = seeing(class);
        let layer = standard(steady()).classify(classify);
        let said = Answer {
            body: pieces.iter().cloned().map(Piece::Data).collect(),
            ..answer(400, "")
        };
        let (ended, requests) = fetch(&layer, Method::GET, [said]).await;
        assert_eq!(requests, 1);
        assert_eq!(body(ended).await, whole);
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 1, "asked once for retry and breaker");
        assert_eq!(seen[0].as_deref(), Some(&whole[..8 << 10]));
    }
}

#[tokio::test(start_paused = true)]
async fn body_of_a_call_that_does_not_receive_it_is_not_read() {
    let (seen, classify) = seeing(None);
    let (service, _) = serving([answer(400, "said")]);
    let service = standard(steady()).classify(classify).layer(service);
    let ended = service.oneshot(request(Method::GET)).await;
    assert_eq!(body(ended).await, "said");
    assert_eq!(*seen.lock().unwrap(), [None]);
}

#[tokio::test(start_paused = true)]
async fn body_is_seen_without_its_coding() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"try again").unwrap();
    let encoded = Bytes::from(encoder.finish().unwrap());
    for (coding, expected) in [("gzip", Some(&b"try again"[..])), ("zstd", None)] {
        let (seen, classify) = seeing(None);
        let layer = standard(steady()).classify(classify);
        let said = Answer {
            headers: vec![("content-encoding", coding.to_owned())],
            ..answer(400, encoded.clone())
        };
        let (ended, _) = fetch(&layer, Method::GET, [said]).await;
        assert_eq!(body(ended).await, encoded, "it is delivered as it came");
        assert_eq!(seen.lock().unwrap()[0].as_deref(), expected, "{coding}");
    }
}

#[tokio::test(start_paused = true)]
async fn class_never_makes_an_unsafe_retry_safe_and_throttled_retries_a_declined_post() {
    for (status, class, method, expected) in [
        (400, FailureClass::Throttled, Method::POST, 2),
        (400, FailureClass::Transient, Method::POST, 1),
        (400, FailureClass::Transient, Method::PUT, 2),
        (500, FailureClass::Throttled, Method::POST, 1),
        (500, FailureClass::Transient, Method::POST, 1),
        (500, FailureClass::Permanent, Method::GET, 1),
        (409, FailureClass::Throttled, Method::POST, 1),
    ] {
        let layer = standard(steady()).classify(move |_| Some(class));
        let (ended, requests) = fetch(&layer, method.clone(), [answer(status, "said")]).await;
        assert_eq!(requests, expected, "{status} {class:?} {method}");
        let last = if expected == 1 { status } else { 200 };
        assert_eq!(ended.unwrap().status(), last);
    }
}

#[tokio::test(start_paused = true)]
async fn stalled_body_is_judged_by_its_received_part() {
    let said = Answer {
        body: vec![Piece::Data("half".into()), Piece::Hang],
        ..answer(503, "")
    };
    let (seen, classify) = seeing(Some(FailureClass::Permanent));
    let layer = standard(steady()).classify(classify);
    let begun = Instant::now();
    let (ended, requests) = fetch(&layer, Method::GET, [said]).await;
    assert_eq!((ended.unwrap().status().as_u16(), requests), (503, 1));
    assert_eq!(begun.elapsed(), Duration::from_millis(250));
    assert_eq!(seen.lock().unwrap()[0].as_deref(), Some(&b"half"[..]));
}

#[tokio::test(start_paused = true)]
async fn body_that_breaks_off_also_fails_for_the_caller() {
    let said = Answer {
        body: vec![Piece::Data("half".into()), Piece::Broken],
        ..answer(400, "")
    };
    let (seen, classify) = seeing(None);
    let layer = standard(steady()).classify(classify);
    let (ended, _) = fetch(&layer, Method::GET, [said]).await;
    assert_eq!(seen.lock().unwrap()[0].as_deref(), Some(&b"half"[..]));
    let mut body = ended.unwrap().into_body();
    let half = body.frame().await.unwrap().unwrap();
    assert_eq!(half.into_data().unwrap(), "half");
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.hop(), Some(Hop::Receive));
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn success_classified_as_a_failure_is_retried_if_effect_possible_permits_it() {
    for (class, method, expected) in [
        (Some(FailureClass::Transient), Method::GET, 2),
        (Some(FailureClass::Throttled), Method::GET, 2),
        (Some(FailureClass::Permanent), Method::GET, 1),
        (Some(FailureClass::Success), Method::GET, 1),
        (Some(FailureClass::Ignore), Method::GET, 1),
        (None, Method::GET, 1),
        // It may be done, so it is not sent twice.
        (Some(FailureClass::Transient), Method::POST, 1),
        (Some(FailureClass::Throttled), Method::POST, 1),
    ] {
        let layer = standard(steady()).classify_all(move |response| match response.body()? {
            b"failed" => class,
            _ => None,
        });
        let (ended, requests) = fetch(&layer, method.clone(), [answer(200, "failed")]).await;
        assert_eq!(requests, expected, "{class:?} {method}");
        let response = ended.unwrap();
        let call = response.body().timeline().clone();
        let effects: Vec<_> = call
            .attempts()
            .iter()
            .map(|a| outcome(&a.outcome()))
            .collect();
        let failed = matches!(
            class,
            Some(FailureClass::Transient | FailureClass::Throttled | FailureClass::Permanent)
        );
        let first = failed.then_some((Some(Hop::Server), Effect::Possible));
        assert_eq!(effects[0], first, "{class:?} {method}");
        let expected = if expected == 1 { &b"failed"[..] } else { b"" };
        assert_eq!(body(Ok(response)).await, expected);
    }
}

fn outcome(outcome: &Outcome) -> Option<(Option<Hop>, Effect)> {
    match *outcome {
        Outcome::Failed { hop, effect, .. } => Some((hop, effect)),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn success_that_failed_and_was_not_retried_says_why() {
    let layer = standard(steady()).classify_all(|_| Some(FailureClass::Transient));
    let (ended, _) = fetch(&layer, Method::POST, [answer(201, "failed")]).await;
    let response = ended.unwrap();
    assert_eq!(response.status(), 201);
    let reason = response.body().timeline().no_retry_reason();
    let Some(NoRetryReason::NotIdempotent { effect, .. }) = reason else {
        panic!("{reason:?}");
    };
    assert_eq!(effect, Effect::Possible);
}

#[tokio::test(start_paused = true)]
async fn success_is_classified_by_its_head_if_the_caller_reads_the_body() {
    let (service, count) = serving([
        Answer {
            headers: vec![("x-failed", "yes".to_owned())],
            ..answer(200, "failed")
        },
        answer(302, ""),
    ]);
    let layer = standard(steady()).classify_all(|response| {
        assert_ne!(
            response.status().unwrap(),
            302,
            "nothing but a 2xx or a failure"
        );
        assert!(response.body().is_none());
        let failed = response.headers()?.contains_key("x-failed");
        failed.then_some(FailureClass::Transient)
    });
    let ended = layer.layer(service).oneshot(request(Method::GET)).await;
    assert_eq!(ended.unwrap().status(), 302);
    assert_eq!(*count.lock().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn success_that_failed_is_not_done() {
    let layer = standard(steady()).classify_all(|response| {
        let failed = response.status()?.is_success();
        failed.then_some(FailureClass::Transient)
    });
    let key = Options::new()
        .whole_body(WHOLE)
        .honors_idempotency_keys(true);
    let (service, count) = serving([answer(200, "failed"), answer(400, "")]);
    let response = layer.layer(service).oneshot(optional(Method::POST, key));
    let response = response.await.unwrap();
    assert_eq!(
        (response.status().as_u16(), *count.lock().unwrap()),
        (400, 2)
    );
    assert_eq!(response.body().timeline().effect(), Effect::Possible);
}

#[tokio::test(start_paused = true)]
async fn successes_that_failed_open_the_circuit() {
    for (class, expected) in [
        (FailureClass::Transient, CircuitState::Open),
        (FailureClass::Permanent, CircuitState::Closed),
        (FailureClass::Throttled, CircuitState::Closed),
        (FailureClass::Ignore, CircuitState::Closed),
    ] {
        let settings = sevenhops::Config::new(SECS(10))
            .retry(steady().attempts(1))
            .circuit_breaker(CircuitBreakerConfig::new());
        let layer = StandardLayer::from_config(&settings).unwrap();
        let layer = layer.classify_all(move |_| Some(class));
        for _ in 0..40 {
            let _ = fetch(&layer, Method::GET, [answer(200, "failed")]).await;
        }
        let api = "https://api.test".parse().unwrap();
        assert_eq!(layer.breaker_handle().state(&api), expected, "{class:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn classifier_that_panics_is_absent() {
    let layer = standard(steady()).classify_all(|_| panic!("boom"));
    for (status, requests) in [(200, 1), (400, 1), (503, 2)] {
        let (ended, count) = fetch(&layer, Method::GET, [answer(status, "said")]).await;
        assert_eq!(count, requests);
        assert!(ended.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn retry_layer_alone_sees_the_body_that_the_attempt_received() {
    let timeouts = Timeouts::new(SECS(10)).unwrap();
    for (status, said) in [(200, "failed"), (400, "failed")] {
        let (service, count) = serving([answer(status, said)]);
        let retry = RetryLayer::new(steady()).unwrap();
        let service = ServiceBuilder::new()
            .layer(DeadlineLayer::new(SECS(10)).unwrap())
            .layer(retry.classify_all(|response| {
                let failed = response.body()? == b"failed";
                failed.then_some(FailureClass::Transient)
            }))
            .layer(AttemptLayer::new(timeouts))
            .service(service);
        let request = optional(Method::GET, Options::new().whole_body(WHOLE));
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(*count.lock().unwrap(), 2, "{status}");
        let attempts = response.body().timeline().attempts();
        let first = outcome(&attempts[0].outcome());
        let effect = if status == 200 {
            Effect::Possible
        } else {
            Effect::Declined
        };
        assert_eq!(first, Some((Some(Hop::Server), effect)));
    }
}

#[tokio::test(start_paused = true)]
async fn success_that_failed_is_not_done_without_a_record() {
    for (classes, expected) in [
        (&[None][..], Effect::Done),
        (&[Some(FailureClass::Permanent)], Effect::Possible),
        (&[Some(FailureClass::Transient), None], Effect::Done),
        (
            &[Some(FailureClass::Transient), Some(FailureClass::Permanent)],
            Effect::Possible,
        ),
    ] {
        let (service, count) = serving(classes.iter().map(|_| answer(200, "")));
        let told = Arc::new(Mutex::new(Vec::new()));
        let (tell, attempt) = (Arc::clone(&told), Arc::clone(&count));
        let retry = RetryLayer::new(steady()).unwrap();
        let service = ServiceBuilder::new()
            .layer(
                DeadlineLayer::new(SECS(10))
                    .unwrap()
                    .on_complete(move |timeline| tell.lock().unwrap().push(timeline.effect())),
            )
            .layer(retry.classify_all({
                let classes = classes.to_vec();
                move |_| classes[*attempt.lock().unwrap() as usize - 1]
            }))
            .service(service);
        let response = service.oneshot(request(Method::PUT));
        let body = response.await.unwrap().into_body();
        assert_eq!(*count.lock().unwrap() as usize, classes.len());
        assert_eq!(body.timeline().effect(), expected, "{classes:?}");
        body.collect().await.unwrap();
        assert_eq!(*told.lock().unwrap(), [expected], "{classes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whole_body_of_a_success_that_failed_is_kept_if_its_retry_does_not_happen() {
    let long = "x".repeat(100 << 10);
    let touchy = CircuitBreakerConfig::new().consecutive_failures(1);
    let settings = sevenhops::Config::new(SECS(10))
        .retry(steady())
        .circuit_breaker(touchy);
    let layer = StandardLayer::from_config(&settings).unwrap();
    let layer = layer.classify_all(|_| Some(FailureClass::Transient));
    let (ended, count) = fetch(&layer, Method::GET, [answer(200, long.clone())]).await;
    let body = ended.unwrap().into_body();
    let why = body.timeline().no_retry_reason();
    assert_eq!(
        why,
        Some(NoRetryReason::Rejected(sevenhops::Policy::Breaker))
    );
    assert_eq!(count, 1);
    assert_eq!(body.collect().await.unwrap().to_bytes().len(), long.len());
}

#[tokio::test(start_paused = true)]
async fn success_that_failed_is_a_failure_of_the_server_in_the_record() {
    let layer = standard(steady().attempts(1)).classify_all(|_| Some(FailureClass::Throttled));
    let (ended, _) = fetch(&layer, Method::GET, [answer(200, "failed")]).await;
    let attempts = ended.unwrap().body().timeline().attempts();
    let Outcome::Failed { kind, status, .. } = attempts[0].outcome() else {
        panic!("{:?}", attempts[0].outcome());
    };
    assert_eq!((kind, status.unwrap().as_u16()), (Kind::Throttled, 200));
}
