//! Tests the layers over a foreign service, on a paused clock.

mod wrapped;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use sevenhops::hop::{Outcome, Stage, StageOutcome};
use sevenhops::timeout::{TimeoutKind, Timeouts, TimeoutsConfig};
use sevenhops::{
    AttemptLayer, DeadlineLayer, Effect, Error, Hop, Kind, Options, Policy, StandardLayer,
};
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};

type Answer = Response<Full<Bytes>>;

fn post() -> Request<Full<Bytes>> {
    Request::post("https://u:p@api.test/v1/charges?key=canary")
        .body(Full::from("canary"))
        .unwrap()
}

fn standard() -> StandardLayer {
    StandardLayer::new(Duration::from_secs(10)).unwrap()
}

async fn never(_request: Request<Full<Bytes>>) -> io::Result<Answer> {
    std::future::pending().await
}

#[tokio::test(start_paused = true)]
async fn silence_in_the_last_attempt_ends_at_the_deadline_with_effect_possible() {
    let start = Instant::now();
    let error = standard()
        .layer(service_fn(never))
        .oneshot(post())
        .await
        .unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Deadline));
    assert_eq!(
        (error.hop(), error.effect()),
        (Some(Hop::Server), Effect::Possible)
    );
    assert_eq!(
        error.to_string(),
        "POST https://api.test/v1/charges failed at server (hop 6 of 7): timeout, \
         deadline; 1 attempt, effect possible; not retried: POST, effect possible, and \
         the destination is not known to honor idempotency keys"
    );
}

#[tokio::test(start_paused = true)]
async fn earlier_deadline_is_the_one_named() {
    let timeouts = TimeoutsConfig::new().attempt(Duration::from_secs(10));
    let settings = sevenhops::Config::new(Duration::from_secs(10)).timeouts(timeouts);
    let service = StandardLayer::from_config(&settings).unwrap();
    let service = service.layer(service_fn(never));
    let error = service.oneshot(post()).await.unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Deadline));
}

#[tokio::test(start_paused = true)]
async fn request_can_set_a_shorter_deadline() {
    let start = Instant::now();
    let mut request = post();
    let options = Options::new().deadline(Duration::from_millis(100));
    request.extensions_mut().insert(options);
    let service = standard().layer(service_fn(never));
    assert!(service.oneshot(request).await.unwrap_err().is_timeout());
    assert_eq!(start.elapsed(), Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn deadline_that_has_passed_sends_nothing() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let attempt = AttemptLayer::new(Timeouts::new(Duration::from_secs(10)).unwrap());
    let inner = attempt.layer(service_fn(move |_request: Request<Full<Bytes>>| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, Infallible>(Answer::default()) }
    }));
    // A layer between call and attempt takes all the time.
    let slow = service_fn(move |request| {
        let inner = inner.clone();
        async move {
            tokio::time::advance(Duration::from_secs(1)).await;
            inner.oneshot(request).await
        }
    });
    let call = DeadlineLayer::new(Duration::from_secs(1)).unwrap();
    let error = call.layer(slow).oneshot(post()).await.unwrap_err();
    assert_eq!(error.rejected_by(), Some(Policy::Deadline));
    assert_eq!((error.hop(), error.effect()), (None, Effect::None));
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn cancellation_is_neither_a_timeout_nor_a_failure() {
    let service = standard().layer(service_fn(async |_request: Request<Full<Bytes>>| {
        let body = StreamBody::new(stalled());
        Ok::<_, Infallible>(Response::new(body))
    }));
    let response = service.oneshot(post()).await.unwrap();
    let timeline = response.body().timeline().clone();
    drop(response);
    assert_eq!(timeline.outcome(), Some(Outcome::Responded(StatusCode::OK)));
    let rows = timeline.attempts()[0].stages().to_vec();
    assert!(
        rows.iter()
            .all(|row| row.outcome() == StageOutcome::Completed),
        "{timeline}"
    );

    let service = standard().layer(service_fn(never));
    let mut calling = Box::pin(service.oneshot(post()));
    assert!(poll_once(calling.as_mut()).is_pending());
    drop(calling);
}

#[tokio::test(start_paused = true)]
async fn body_continues_after_the_attempt_is_over() {
    let service = standard().layer(service_fn(async |_request: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(StreamBody::new(slow(3))))
    }));
    let response = service.oneshot(post()).await.unwrap();
    let body = response.into_body();
    let timeline = body.timeline().clone();
    // Three pieces, 3 s apart: longer than the attempt timeout, but within deadline and idle limit.
    let whole = body.collect().await.unwrap().to_bytes();
    assert_eq!(whole, "piecepiecepiece");
    assert_eq!(timeline.elapsed(), Duration::from_secs(9));
}

#[tokio::test(start_paused = true)]
async fn streaming_body_outlives_the_deadline() {
    let service = standard().layer(service_fn(async |_request: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(StreamBody::new(slow(9))))
    }));
    let mut request = post();
    request
        .extensions_mut()
        .insert(Options::new().streaming(true));
    let body = service.oneshot(request).await.unwrap().into_body();
    let timeline = body.timeline().clone();
    assert_eq!(body.collect().await.unwrap().to_bytes().len(), 45);
    assert_eq!(timeline.elapsed(), Duration::from_secs(27));
}

#[tokio::test(start_paused = true)]
async fn trickling_body_ends_at_the_deadline() {
    let service = standard().layer(service_fn(async |_request: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(StreamBody::new(slow(9))))
    }));
    let start = Instant::now();
    let body = service.oneshot(post()).await.unwrap().into_body();
    let error = body.collect().await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Deadline));
    assert_eq!(
        (error.hop(), error.effect()),
        (Some(Hop::Receive), Effect::Done)
    );
}

#[tokio::test(start_paused = true)]
async fn stalled_body_ends_at_the_idle_timeout() {
    let layer = StandardLayer::new(Duration::from_secs(30)).unwrap();
    let service = layer.layer(service_fn(async |_request: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(StreamBody::new(stalled())))
    }));
    let start = Instant::now();
    let body = service.oneshot(post()).await.unwrap().into_body();
    let error = body.collect().await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::BodyIdle));
}

#[tokio::test]
async fn foreign_error_is_kept_as_the_cause() {
    let service = standard().layer(service_fn(async |_request: Request<Full<Bytes>>| {
        Err::<Answer, _>(io::Error::from(io::ErrorKind::ConnectionRefused))
    }));
    let error: Error = service.oneshot(post()).await.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Server), Kind::Refused)
    );
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(
        cause.downcast_ref::<io::Error>().unwrap().kind(),
        io::ErrorKind::ConnectionRefused
    );
}

#[tokio::test]
async fn whole_body_is_received_inside_the_attempt() {
    let service = standard().layer(service_fn(async |_request: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
    }));
    let mut request = post();
    request
        .extensions_mut()
        .insert(Options::new().whole_body(5));
    let response = service.clone().oneshot(request).await.unwrap();
    let rows = response.body().timeline().attempts()[0].stages().to_vec();
    assert_eq!(
        rows.last().map(|row| (row.stage(), row.outcome())),
        Some((Stage::Receive, StageOutcome::Completed))
    );
    let mut request = post();
    request
        .extensions_mut()
        .insert(Options::new().whole_body(4));
    let error = service.oneshot(request).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.effect()),
        (Kind::TooLarge, Effect::Done)
    );
}

#[tokio::test(start_paused = true)]
async fn call_alone_does_not_claim_that_nothing_happened() {
    let call = DeadlineLayer::new(Duration::from_secs(1)).unwrap();
    let error = call
        .layer(service_fn(never))
        .oneshot(post())
        .await
        .unwrap_err();
    assert_eq!(error.effect(), Effect::Possible);
}

#[tokio::test(start_paused = true)]
async fn effect_of_an_earlier_attempt_is_not_forgotten() {
    let two = TimeoutsConfig::new().attempt(Duration::from_secs(2));
    let attempt = AttemptLayer::new(Timeouts::from_config(Duration::from_secs(4), two).unwrap());
    let inner = attempt.layer(service_fn(never));
    let repeating = service_fn(move |request: Request<Full<Bytes>>| {
        let inner = inner.clone();
        async move {
            let lost = inner.clone().oneshot(request.clone()).await;
            assert_eq!(lost.unwrap_err().effect(), Effect::Possible);
            // There is no time for another attempt: it is rejected, and has no effect of its own.
            tokio::time::advance(Duration::from_secs(10)).await;
            inner.oneshot(request).await
        }
    });
    let call = DeadlineLayer::new(Duration::from_secs(10)).unwrap();
    let error = call.layer(repeating).oneshot(post()).await.unwrap_err();
    assert_eq!(error.rejected_by(), Some(Policy::Deadline));
    assert_eq!((error.attempts(), error.effect()), (1, Effect::Possible));
}

#[tokio::test(start_paused = true)]
async fn deadline_reaches_a_reader_that_is_slower_than_the_network() {
    let service = standard().layer(service_fn(async |_request: Request<Full<Bytes>>| {
        let instant = Slow {
            pieces: 100,
            wait: None,
            every: Duration::ZERO,
        };
        Ok::<_, Infallible>(Response::new(StreamBody::new(instant)))
    }));
    let start = Instant::now();
    let mut body = service.oneshot(post()).await.unwrap().into_body();
    let error = loop {
        match body.frame().await.unwrap() {
            Ok(_) => tokio::time::advance(Duration::from_secs(1)).await,
            Err(error) => break error,
        }
    };
    assert!(start.elapsed() < Duration::from_secs(12));
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Deadline));
}

#[tokio::test(start_paused = true)]
async fn last_piece_of_a_body_that_comes_too_late_fails_at_receive() {
    let service = standard().layer(service_fn(async |_request: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
    }));
    let mut body = service.oneshot(post()).await.unwrap().into_body();
    tokio::time::advance(Duration::from_secs(11)).await;
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Deadline));
    assert_eq!(
        (error.hop(), error.effect()),
        (Some(Hop::Receive), Effect::Done)
    );
}

#[tokio::test(start_paused = true)]
async fn last_piece_of_a_body_ends_the_call_however_long_the_body_is_kept() {
    let service = standard().layer(service_fn(async |_request: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
    }));
    let mut body = service.oneshot(post()).await.unwrap().into_body();
    assert!(body.frame().await.unwrap().is_ok());
    tokio::time::advance(Duration::from_secs(30)).await;
    let timeline = body.timeline();
    assert_eq!(timeline.outcome(), Some(Outcome::Responded(StatusCode::OK)));
    assert_eq!(timeline.elapsed(), Duration::ZERO);
    assert!(body.frame().await.is_none(), "and it stays ended");
}

type Frame = Result<http_body::Frame<Bytes>, Infallible>;

fn stalled() -> impl futures_core::Stream<Item = Frame> + Send {
    Slow {
        pieces: 1,
        wait: None,
        every: Duration::from_secs(3_600),
    }
}

fn slow(pieces: usize) -> impl futures_core::Stream<Item = Frame> + Send {
    Slow {
        pieces,
        wait: None,
        every: Duration::from_secs(3),
    }
}

/// A body that sends pieces at an interval.
struct Slow {
    pieces: usize,
    wait: Option<std::pin::Pin<Box<tokio::time::Sleep>>>,
    every: Duration,
}

impl futures_core::Stream for Slow {
    type Item = Frame;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Frame>> {
        if self.pieces == 0 {
            return std::task::Poll::Ready(None);
        }
        let every = self.every;
        let wait = self
            .wait
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(every)));
        std::task::ready!(wait.as_mut().poll(cx));
        self.wait = None;
        self.pieces -= 1;
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(
            b"piece",
        )))))
    }
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}
