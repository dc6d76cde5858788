//! Tests each fault through the standard stack, on a paused clock.

use std::io::ErrorKind;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use sevenhops::{
    Effect, Error, Hop, Kind, Options, RetryConfig, StandardService,
    chaos::{ChaosConfig, ChaosLayer, ChaosService, Fault, Latency},
    hop::{Outcome, TimelineEventKind},
    timeout::TimeoutKind,
};

use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};

use crate::mock::{Mock, Step, optional, request, saying, standard, status, steady};

const SECS: fn(u64) -> Duration = Duration::from_secs;

/// Returns a layer without random faults.
pub(crate) fn quiet() -> ChaosLayer {
    ChaosLayer::new(ChaosConfig::new(0)).unwrap()
}

pub(crate) fn stack(
    retry: RetryConfig,
    chaos: &ChaosLayer,
    mock: &Mock,
) -> StandardService<ChaosService<Mock>> {
    standard(retry).layer(chaos.layer(mock.clone()))
}

/// Makes one attempt. Returns its error, and how often the service was called.
pub(crate) async fn once(method: Method, fault: Fault) -> (Error, usize) {
    let (chaos, mock) = (quiet(), Mock::new([saying(200, "charged")]));
    chaos.enqueue([fault]).unwrap();
    let service = stack(steady().attempts(1).unsent_attempts(1), &chaos, &mock);
    let failed = match service.oneshot(request(method)).await {
        Err(error) => error,
        Ok(response) => {
            let timeline = response.body().timeline().clone();
            let read = response.into_body().collect().await;
            read.map(|body| panic!("{body:?}\n{timeline}")).unwrap_err()
        }
    };
    assert_eq!(chaos.injected(), 1);
    (failed, mock.count())
}

#[tokio::test(start_paused = true)]
async fn fault_has_its_hop_and_its_true_effect() {
    let delay = Fault::Delay(Latency::between(SECS(60), SECS(60)));
    for (fault, hop, kind, effect, asked) in [
        (
            Fault::RefuseConnect,
            Hop::Connect,
            Kind::Refused,
            Effect::None,
            0,
        ),
        (
            Fault::BlackholeConnect,
            Hop::Connect,
            Kind::Timeout,
            Effect::None,
            0,
        ),
        (
            Fault::BreakConnection,
            Hop::Send,
            Kind::Closed,
            Effect::None,
            0,
        ),
        (delay, Hop::Server, Kind::Timeout, Effect::Possible, 1),
        (
            Fault::DropResponse,
            Hop::Server,
            Kind::Closed,
            Effect::Possible,
            1,
        ),
        (
            Fault::Silence,
            Hop::Server,
            Kind::Timeout,
            Effect::Possible,
            1,
        ),
        (
            Fault::BreakBody,
            Hop::Receive,
            Kind::Incomplete,
            Effect::Done,
            1,
        ),
    ] {
        let (error, count) = once(Method::POST, fault).await;
        let found = (error.hop(), error.kind(), error.effect(), count);
        assert_eq!(
            found,
            (Some(hop), kind, effect, asked),
            "{fault:?}: {error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn injected_response_is_judged_by_its_status() {
    let gone = Fault::Respond {
        status: StatusCode::BAD_GATEWAY,
        retry_after: None,
    };
    for (fault, hop, kind, effect) in [
        (
            Fault::throttled(SECS(7)),
            Hop::Server,
            Kind::Throttled,
            Effect::Declined,
        ),
        (
            Fault::unavailable(),
            Hop::Server,
            Kind::Unavailable,
            Effect::Possible,
        ),
        (gone, Hop::Gateway, Kind::BadGateway, Effect::Possible),
    ] {
        let (chaos, mock) = (quiet(), Mock::default());
        chaos.enqueue([fault]).unwrap();
        let service = stack(steady().attempts(1).unsent_attempts(1), &chaos, &mock);
        let response = service.oneshot(request(Method::POST)).await.unwrap();
        let wait = response.headers().get("retry-after").cloned();
        assert_eq!(wait.is_some(), kind == Kind::Throttled);
        let outcome = response.body().timeline().attempts()[0].outcome();
        let status = Some(response.status());
        let expired = None;
        let judged = Outcome::Failed {
            hop: Some(hop),
            kind,
            effect,
            timeout_kind: expired,
            status,
        };
        assert_eq!(outcome, judged);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(b"chaos: "));
        assert_eq!(mock.count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_whole_seconds_and_is_waited_for() {
    let (chaos, mock) = (quiet(), Mock::default());
    let wait = Duration::from_millis(6_001);
    chaos.enqueue([Fault::throttled(wait)]).unwrap();
    let start = Instant::now();
    let patient = steady().max_hint(SECS(9));
    let response = stack(patient, &chaos, &mock)
        .oneshot(request(Method::POST))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let waited = start.elapsed();
    assert!((SECS(7)..SECS(8)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn unsent_request_is_retried_for_any_method_and_any_body() {
    for fault in [
        Fault::RefuseConnect,
        Fault::BlackholeConnect,
        Fault::BreakConnection,
    ] {
        let (chaos, mock) = (quiet(), Mock::default());
        chaos.enqueue([fault]).unwrap();
        // The retry keeps no copy, so the layer has to return the body.
        let service = standard(steady()).clone_body_with(|_: &Full<Bytes>| None, Full::default);
        let service = service.layer(chaos.layer(mock.clone()));
        let response = service.oneshot(request(Method::POST)).await.unwrap();
        assert_eq!(response.body().timeline().attempt_count(), 2, "{fault:?}");
        let [asked] = &mock.asked()[..] else {
            panic!("asked once, after {fault:?}")
        };
        assert_eq!(asked.body, "amount=100");
    }
    // A request with a real response was taken.
    let (chaos, mock) = (quiet(), Mock::default());
    chaos.enqueue([Fault::throttled(SECS(1))]).unwrap();
    let service = standard(steady()).clone_body_with(|_: &Full<Bytes>| None, Full::default);
    let service = service.layer(chaos.layer(mock.clone()));
    let response = service.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!(response.status(), 429);
}

#[tokio::test(start_paused = true)]
async fn lost_response_is_retried_only_if_that_is_safe() {
    for (method, attempts, asked) in [(Method::POST, 1, 1), (Method::PUT, 2, 2)] {
        let (chaos, mock) = (quiet(), Mock::default());
        chaos.enqueue([Fault::DropResponse]).unwrap();
        let result = stack(steady(), &chaos, &mock)
            .oneshot(request(method.clone()))
            .await;
        let made = match &result {
            Ok(response) => response.body().timeline().attempt_count(),
            Err(error) => error.attempts(),
        };
        assert_eq!((made, mock.count()), (attempts, asked), "{method}");
        assert_eq!(result.is_ok(), method == Method::PUT);
    }
}

#[tokio::test(start_paused = true)]
async fn waits_end_with_the_timeout_of_their_hop() {
    for (fault, limit, expired) in [
        (Fault::BlackholeConnect, SECS(3), TimeoutKind::Connect),
        // A POST that no other attempt may follow.
        (Fault::Silence, SECS(10), TimeoutKind::Deadline),
    ] {
        let start = Instant::now();
        let (error, _) = once(Method::POST, fault).await;
        assert_eq!(error.timeout_kind(), Some(expired), "{error:?}");
        assert_eq!(start.elapsed(), limit);
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_connect_ends_without_an_outer_attempt_too() {
    let chaos = quiet();
    chaos.enqueue([Fault::BlackholeConnect]).unwrap();
    let start = Instant::now();
    let error = chaos
        .layer(Mock::default())
        .oneshot(request(Method::GET))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "chaos: connect swallowed, on purpose");
    assert_eq!(start.elapsed(), SECS(127));
}

#[tokio::test(start_paused = true)]
async fn delayed_response_is_the_real_one() {
    let (chaos, mock) = (quiet(), Mock::new([saying(201, "charged")]));
    let delay = Latency::between(SECS(1), SECS(2));
    chaos.enqueue([Fault::Delay(delay)]).unwrap();
    let start = Instant::now();
    let response = stack(steady(), &chaos, &mock)
        .oneshot(request(Method::POST))
        .await
        .unwrap();
    let took = start.elapsed();
    assert!((SECS(1)..SECS(2)).contains(&took), "{took:?}");
    assert_eq!(response.status(), 201);
    let note = response.body().timeline().events().remove(0);
    let TimelineEventKind::Chaos {
        delay: Some(delay), ..
    } = note.kind
    else {
        panic!("{note:?}")
    };
    assert!(took.abs_diff(delay) <= Duration::from_millis(1));
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "charged"
    );
}

#[tokio::test(start_paused = true)]
async fn real_failure_that_comes_first_is_reported() {
    let (chaos, mock) = (quiet(), Mock::new([Step::Fail(ErrorKind::UnexpectedEof)]));
    chaos.enqueue([Fault::Silence]).unwrap();
    let service = stack(steady().attempts(1).unsent_attempts(1), &chaos, &mock);
    let error = service.oneshot(request(Method::POST)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Closed);
    assert_eq!(
        (chaos.injected(), error.timeline().unwrap().events().len()),
        (0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn body_that_breaks_off_is_not_at_its_end_before() {
    let (chaos, mock) = (quiet(), Mock::new([saying(200, "charged")]));
    chaos.enqueue([Fault::BreakBody]).unwrap();
    let service = chaos.layer(mock);
    let answer = service.oneshot(request(Method::GET)).await.unwrap();
    let mut body = answer.into_body();
    assert!(!body.is_end_stream());
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.is_end_stream() && body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn response_without_a_body_does_not_break_off() {
    let (chaos, mock) = (quiet(), Mock::new([status(204)]));
    chaos.enqueue([Fault::BreakBody]).unwrap();
    let service = stack(steady(), &chaos, &mock);
    let response = service.oneshot(request(Method::POST)).await.unwrap();
    assert!(response.into_body().collect().await.is_ok());
    assert_eq!(chaos.injected(), 0);
}

#[tokio::test(start_paused = true)]
async fn drop_during_a_delay_is_a_cancellation() {
    for fault in [Fault::BlackholeConnect, Fault::Silence] {
        let (chaos, mock) = (quiet(), Mock::default());
        chaos.enqueue([fault]).unwrap();
        let (ended, outcomes) = std::sync::mpsc::channel();
        let standard = standard(steady()).on_complete(move |timeline| {
            ended.send(timeline.outcome()).unwrap();
        });
        let service = standard.layer(chaos.layer(mock.clone()));
        let mut call = Box::pin(service.oneshot(request(Method::POST)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
        assert_eq!(chaos.injected(), 1);
        drop(call);
        assert_eq!(outcomes.recv().unwrap(), Some(Outcome::Cancelled));
    }
}

#[tokio::test]
async fn disabled_or_excluded_request_is_unchanged() {
    let real = || {
        service_fn(async |request: Request<Full<Bytes>>| {
            let (head, body) = request.into_parts();
            let mut response = Response::new(body);
            *response.headers_mut() = head.headers;
            *response.extensions_mut() = head.extensions;
            *response.version_mut() = http::Version::HTTP_2;
            Ok::<_, std::io::Error>(response)
        })
    };
    let off = quiet();
    off.set_enabled(false);
    let elsewhere = ChaosConfig::new(0).destination("https://other.test".parse().unwrap());
    let elsewhere = ChaosLayer::new(elsewhere).unwrap();
    let never = quiet().when(|head| head.method == Method::GET);
    for chaos in [off, elsewhere, never] {
        chaos.enqueue([Fault::RefuseConnect]).unwrap();
        let mut request = request(Method::POST);
        request.extensions_mut().insert("mine");
        let response = chaos.layer(real()).oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.version(), http::Version::HTTP_2);
        assert_eq!(response.headers()["authorization"], "Bearer canary");
        assert_eq!(response.headers().len(), 1);
        assert_eq!(response.extensions().get::<&str>(), Some(&"mine"));
        let body = response.into_body();
        assert_eq!(body.size_hint().exact(), Some(10));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "amount=100");
        assert_eq!(chaos.injected(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn generated_response_reads_no_replica_so_a_session_may_have_it() {
    let session = || optional(Method::GET, Options::new().affinity("session"));
    let respond = |status| Fault::Respond {
        status,
        retry_after: None,
    };
    let (chaos, mock) = (quiet(), Mock::new([]));
    chaos.enqueue([respond(StatusCode::NOT_FOUND)]).unwrap();
    let service = stack(steady().attempts(1), &chaos, &mock);
    let response = service.oneshot(session()).await.unwrap();
    assert_eq!(
        (response.status(), mock.count()),
        (StatusCode::NOT_FOUND, 0)
    );
    // The next attempt reaches a service that keeps no session on one address.
    chaos
        .enqueue([respond(StatusCode::SERVICE_UNAVAILABLE)])
        .unwrap();
    let service = stack(steady(), &chaos, &mock);
    let error = service.oneshot(session()).await.unwrap_err();
    assert_eq!((error.hop(), mock.count()), (Some(Hop::Encode), 1));
}
