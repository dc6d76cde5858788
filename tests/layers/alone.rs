//! Tests single layers without the rest of the stack: effects, attempts, the last real response.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use sevenhops::RedirectConfig;
use sevenhops::hop::Outcome;

use sevenhops::policy::retry::Budget;
use sevenhops::testing::{Reply, TimelineRecorder};
use sevenhops::timeout::Timeouts;
use sevenhops::{
    AttemptLayer, CircuitBreakerLayer, DeadlineLayer, Destination, Effect, Hop, IdempotencyConfig,
    IdempotencyLayer, Kind, Operation, RedirectLayer, RetryLayer, Transport,
};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::mock::{Broken, Mock, Step, request, saying, standard, status, steady, with};
use crate::net::{Net, url};

const SECS: fn(u64) -> Duration = Duration::from_secs;
const LOST: Step = Step::Fail(ErrorKind::ConnectionReset);

// RetryLayer without DeadlineLayer.
#[tokio::test]
async fn retry_layer_alone_keeps_the_greatest_effect() {
    let net = Net::new().await;
    let server = net.http2().await;
    server.on_request([
        Reply::CloseAfterRequest,
        Reply::ResetStream(h2::Reason::REFUSED_STREAM),
        Reply::ResetStream(h2::Reason::REFUSED_STREAM),
    ]);
    let timeouts = Timeouts::new(SECS(10)).unwrap();
    let transport = Transport::builder(timeouts)
        .tls(net.authority.client_config())
        .resolver(net.dns.resolver())
        .build()
        .unwrap();
    let service = RetryLayer::new(steady().unsent_attempts(2))
        .unwrap()
        .layer(AttemptLayer::new(timeouts).layer(transport));
    let put = Request::put(url(&server, "https"))
        .body(Full::new(Bytes::from_static(b"amount=100")))
        .unwrap();
    let error = service.oneshot(put).await.unwrap_err();
    assert_eq!(server.requests_seen(), 3);
    assert_eq!(error.effect(), Effect::Possible, "{error}");
}

// Transport without AttemptLayer, in an operation.
#[tokio::test]
async fn request_that_failed_in_an_operation_does_not_give_up_the_next_one() {
    let net = Net::new().await;
    let server = net.http2().await;
    server.on_request([Reply::CloseAfterRequest]);
    let transport = Transport::builder(Timeouts::new(SECS(10)).unwrap())
        .tls(net.authority.client_config())
        .resolver(net.dns.resolver())
        .build()
        .unwrap();
    let get = async || {
        let get = Request::get(url(&server, "https")).body(Full::new(Bytes::new()));
        transport.clone().oneshot(get.unwrap()).await
    };
    let operation = Operation::new("api", SECS(10)).unwrap();
    let run = operation.run(async |_| {
        get().await.unwrap_err();
        Ok(get().await?.status())
    });
    assert_eq!(run.await.unwrap(), 200);
    assert_eq!(server.requests_seen(), 2);
}

#[tokio::test(start_paused = true)]
async fn redirect_layer_alone_does_not_claim_that_a_303_had_no_effect() {
    let mock = Mock::new([with(303, "location", "http://api.test/done")]);
    let service = RedirectLayer::new(RedirectConfig::new())
        .unwrap()
        .layer(mock.clone());
    let error = service.oneshot(request(Method::POST)).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Possible, "{error}");
}

// RetryLayer without DeadlineLayer.
#[tokio::test(start_paused = true)]
async fn body_that_breaks_off_keeps_the_effect_of_the_attempt_before() {
    let asked = Arc::new(AtomicU32::new(0));
    let service = service_fn({
        let asked = Arc::clone(&asked);
        move |_: Request<Full<Bytes>>| {
            let status = match asked.fetch_add(1, Ordering::Relaxed) {
                0 => 503,
                _ => 400,
            };
            let response = Response::builder().status(status).body(Broken);
            std::future::ready(Ok::<_, std::io::Error>(response.unwrap()))
        }
    });
    let timeouts = Timeouts::new(SECS(10)).unwrap();
    let service = RetryLayer::new(steady())
        .unwrap()
        .layer(AttemptLayer::new(timeouts).layer(service));
    let response = service.oneshot(request(Method::PUT)).await.unwrap();
    assert_eq!(response.status(), 400);
    let Err(error) = response.into_body().collect().await else {
        panic!("the body is whole");
    };
    assert_eq!(error.effect(), Effect::Possible, "{error}");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn kept_body_that_breaks_off_does_not_claim_no_effect() {
    let mock = Mock::new([saying(503, vec![b'x'; 100_000])]);
    let breaker = CircuitBreakerLayer::new(Timeouts::new(SECS(10)).unwrap());
    let handle = breaker.breaker_handle();
    let api: Destination = "https://api.test".parse().unwrap();
    let retry = RetryLayer::new(steady()).unwrap().classify(move |_| {
        handle.isolate(&api);
        None
    });
    let service = retry.layer(breaker.layer(mock.clone()));
    let response = service.oneshot(request(Method::PUT)).await.unwrap();
    assert_eq!(response.status(), 503);
    let error = response.into_body().collect().await.unwrap_err();
    assert_eq!(error.effect(), Effect::Possible, "{error}");
}

#[tokio::test(start_paused = true)]
async fn retry_that_never_gets_ready_leaves_the_last_response_unchanged() {
    let mock = Mock::new([status(503)]);
    let once = Once {
        inner: mock.clone(),
        calls: Arc::default(),
        fail: None,
        failed: false,
    };
    let service = standard(steady()).layer(once);
    match service.oneshot(request(Method::GET)).await {
        Ok(response) => assert_eq!(response.status(), 503),
        Err(error) => {
            let timeline = error.timeline().unwrap();
            panic!(
                "{error}\nattempt 1 now reads {:?}",
                timeline.attempts()[0].outcome()
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn body_that_breaks_off_under_a_retry_alone_is_receive_and_done() {
    let service =
        RetryLayer::new(steady())
            .unwrap()
            .layer(service_fn(async |_: Request<Full<Bytes>>| {
                Ok::<_, std::io::Error>(Response::new(Broken))
            }));
    let response = service.oneshot(request(Method::POST)).await.unwrap();
    let error = response.into_body().collect().await.unwrap_err();
    assert_eq!(
        (error.hop(), error.effect()),
        (Some(Hop::Receive), Effect::Done),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn failed_readiness_does_not_pay_twice() {
    // Two tokens. One retry is sent after a failed readiness, so one token is left.
    let mock = Mock::new([status(503), status(200), status(503), status(200)]);
    let two = Budget::new()
        .ratio(0.0)
        .min_retries_per_second(2)
        .window(SECS(1));
    let layer = RetryLayer::new(steady().budget(two)).unwrap();
    let once = |fail| Once {
        inner: mock.clone(),
        calls: Arc::default(),
        fail: Some(fail),
        failed: false,
    };
    let _first = layer.layer(once(1)).oneshot(request(Method::GET)).await;
    let second = layer.layer(once(99)).oneshot(request(Method::GET)).await;
    assert_eq!(second.unwrap().status(), 200, "a token is gone");
}

#[tokio::test(start_paused = true)]
async fn retry_alone_says_how_many_attempts_it_made() {
    let mock = Mock::new([LOST, LOST, LOST]);
    let service = RetryLayer::new(steady()).unwrap().layer(mock.clone());
    let error = service.oneshot(request(Method::GET)).await.unwrap_err();
    assert_eq!((mock.count(), error.attempts()), (3, 3));
}

// A redirect policy below the retry rejects the redirect of attempt 2. That redirect is the last real response.
#[tokio::test(start_paused = true)]
async fn refused_redirect_after_an_attempt_is_the_result() {
    let mock = Mock::new([status(503), with(303, "location", "http://api.test/done")]);
    let redirect = RedirectLayer::new(RedirectConfig::new()).unwrap();
    let retry = RetryLayer::new(steady()).unwrap();
    let service = retry.layer(redirect.layer(mock.clone()));
    let answer = service.oneshot(request(Method::PUT)).await;
    assert_eq!(mock.count(), 2);
    assert!(answer.is_err(), "{:?}", answer.map(|r| r.status()));
}

// DeadlineLayer without AttemptLayer.
#[tokio::test(start_paused = true)]
async fn call_without_an_attempt_layer_ends_with_its_response() {
    let mock = Mock::new([status(200), status(500)]);
    let service = DeadlineLayer::new(SECS(10)).unwrap().layer(mock);
    let answered = async || {
        let answer = service.clone().oneshot(request(Method::POST)).await;
        let body = answer.unwrap().into_body();
        let timeline = body.timeline().clone();
        assert_eq!((timeline.outcome(), timeline.attempt_count()), (None, 0));
        drop(body);
        (timeline.outcome().unwrap(), timeline.effect())
    };
    let good = Outcome::Responded(StatusCode::OK);
    assert_eq!(answered().await, (good, Effect::Done));
    let (failed, effect) = answered().await;
    let Outcome::Failed { hop, kind, .. } = failed else {
        panic!("{failed:?}");
    };
    assert_eq!((hop, kind), (Some(Hop::Server), Kind::ServerError));
    assert_eq!(effect, Effect::Possible);
}

/// A service that is ready once, then never again.
#[derive(Clone)]
struct Once {
    inner: Mock,
    calls: Arc<AtomicU32>,
    fail: Option<u32>,
    failed: bool,
}

impl Service<Request<Full<Bytes>>> for Once {
    type Response = Response<Full<Bytes>>;
    type Error = std::io::Error;
    type Future = <Mock as Service<Request<Full<Bytes>>>>::Future;
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let made = self.calls.load(Ordering::Relaxed);
        match self.fail {
            None if made == 1 && !self.failed => Poll::Pending,
            Some(at) if made == at => {
                self.fail = None;
                self.failed = true;
                Poll::Ready(Err(ErrorKind::ConnectionReset.into()))
            }
            _ => Poll::Ready(Ok(())),
        }
    }
    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inner.call(request)
    }
}

/// Makes a call below a deadline alone. Returns the effect in its timeline at the end.
async fn effect_at_the_end<S, R>(
    over: impl FnOnce(Mock) -> S,
    steps: impl IntoIterator<Item = Step>,
    patience: Duration,
) -> Effect
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<tower::BoxError>>,
    R: http_body::Body<Error: Into<tower::BoxError>>,
{
    let recorder = TimelineRecorder::new();
    let deadline = DeadlineLayer::new(Duration::from_secs(10)).unwrap();
    let deadline = deadline.on_complete(recorder.listener());
    let service = deadline.layer(over(Mock::new(steps)));
    let sent = service.oneshot(request(Method::POST));
    if let Ok(Ok(response)) = tokio::time::timeout(patience, sent).await {
        let _ = response.into_body().collect().await;
    }
    recorder.wait_for(1).await[0].effect()
}

#[tokio::test(start_paused = true)]
async fn call_that_is_dropped_without_a_record_may_have_had_an_effect() {
    let short = Duration::from_millis(50);
    let hang = effect_at_the_end(|mock| mock, [Step::Hang], short);
    assert_eq!(hang.await, Effect::Possible);
    // The caller leaves between the attempts.
    let all = || IdempotencyLayer::new(IdempotencyConfig::new().honored_by_all(true)).unwrap();
    let retried = |mock: Mock| all().layer(RetryLayer::new(steady()).unwrap().layer(mock));
    let lost = Step::Fail(ErrorKind::ConnectionReset);
    let waits = effect_at_the_end(retried, [lost], short);
    assert_eq!(waits.await, Effect::Possible);
}

#[tokio::test(start_paused = true)]
async fn response_without_a_record_is_read_with_its_headers_and_its_redirects() {
    let long = Duration::from_secs(5);
    let grpc = || with(200, "content-type", "application/grpc");
    let ended = effect_at_the_end(|mock| mock, [grpc()], long).await;
    assert_eq!(ended, Effect::Possible, "its code is in the trailers");
    let follows = |mock| {
        RedirectLayer::new(RedirectConfig::new())
            .unwrap()
            .layer(mock)
    };
    for (status, expected) in [(303, Effect::Possible), (307, Effect::Done)] {
        let steps = [with(status, "location", "/there")];
        let ended = effect_at_the_end(follows, steps, long).await;
        assert_eq!(ended, expected, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn substitute_of_a_stack_below_does_not_mean_that_the_request_was_done() {
    let long = Duration::from_secs(5);
    let substituted = |mock: Mock| {
        let layer = standard(steady());
        let api = Destination::named("https://api.test");
        layer.breaker_handle().isolate(&api);
        let empty = || Response::new(Bytes::new());
        let layer = layer.fallback(move |_| std::future::ready(Some(empty())));
        layer.layer(mock)
    };
    let ended = effect_at_the_end(substituted, [], long).await;
    // From outside, a call without an attempt and without a failure proves nothing.
    assert_eq!(ended, Effect::Possible);
}
