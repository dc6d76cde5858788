//! Tests that a call that is dropped at any of its polls gives everything back.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use sevenhops::hop::{Outcome, StageOutcome};
use sevenhops::policy::breaker::CircuitState;
use sevenhops::policy::retry::Budget;
use sevenhops::{Effect, Error, Options, StandardLayer, StandardService, Timeline};
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt};

use crate::mock::{optional, steady};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

type Reading<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;

/// One response: the number of polls to connect and to respond, and the pieces of its body.
#[derive(Clone, Default)]
struct Reply {
    connecting: u32,
    waiting: u32,
    status: StatusCode,
    location: Option<&'static str>,
    /// `None` means a poll without data.
    pieces: VecDeque<Option<Bytes>>,
}

impl Reply {
    fn slow(status: u16) -> Self {
        let piece = Some(Bytes::from_static(b"piece"));
        Self {
            connecting: 2,
            waiting: 2,
            status: StatusCode::from_u16(status).unwrap(),
            location: None,
            pieces: [None, piece.clone(), None, piece].into(),
        }
    }

    fn leading(mut self, to: &'static str) -> Self {
        self.location = Some(to);
        self
    }
}

/// Gives its replies in order, then plain 200s.
#[derive(Clone, Default)]
struct Leaf {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    sent: Arc<AtomicU32>,
    /// The number of polls until it is ready for the next request.
    unready: Arc<AtomicU32>,
}

impl Leaf {
    fn sent(&self) -> u32 {
        self.sent.load(Ordering::Relaxed)
    }

    fn set(&self, replies: &[Reply]) {
        *self.replies.lock().unwrap() = replies.iter().cloned().collect();
        self.unready.store(0, Ordering::Relaxed);
    }
}

impl Service<Request<Full<Bytes>>> for Leaf {
    type Response = Response<Pieces>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Response<Pieces>>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.unready.load(Ordering::Relaxed) {
            0 => Poll::Ready(Ok(())),
            polls => {
                self.unready.store(polls - 1, Ordering::Relaxed);
                Poll::Pending
            }
        }
    }

    fn call(&mut self, _request: Request<Full<Bytes>>) -> Self::Future {
        let reply = self.replies.lock().unwrap().pop_front().unwrap_or_default();
        self.unready.store(reply.waiting, Ordering::Relaxed);
        let sent = Arc::clone(&self.sent);
        Box::pin(async move {
            pending(reply.connecting).await;
            sent.fetch_add(1, Ordering::Relaxed);
            pending(reply.waiting).await;
            let mut response = Response::builder().status(reply.status);
            if let Some(to) = reply.location {
                response = response.header("location", to);
            }
            Ok(response.body(Pieces(reply.pieces)).unwrap())
        })
    }
}

/// Is pending for this number of polls. The test polls by hand, so no waker is needed.
async fn pending(mut polls: u32) {
    std::future::poll_fn(|_| match polls {
        0 => Poll::Ready(()),
        _ => {
            polls -= 1;
            Poll::Pending
        }
    })
    .await
}

struct Pieces(VecDeque<Option<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.0.pop_front() {
            None => Poll::Ready(None),
            Some(None) => Poll::Pending,
            Some(Some(piece)) => Poll::Ready(Some(Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

/// A stack over a leaf, and the timelines of its finished calls.
struct Stack {
    leaf: Leaf,
    layer: StandardLayer,
    service: StandardService<Leaf>,
    ended: Arc<Mutex<Vec<Timeline>>>,
}

impl Stack {
    /// Creates a stack whose budget is one retry a second.
    fn new() -> Self {
        let one = Budget::new()
            .ratio(0.0)
            .min_retries_per_second(1)
            .window(SECS(1));
        let ended = Arc::new(Mutex::new(Vec::new()));
        let settings = sevenhops::Config::new(SECS(60)).retry(steady().budget(one));
        let layer = StandardLayer::from_config(&settings).unwrap().on_complete({
            let ended = Arc::clone(&ended);
            move |timeline| ended.lock().unwrap().push(timeline.clone())
        });
        let leaf = Leaf::default();
        Self {
            service: layer.layer(leaf.clone()),
            leaf,
            layer,
            ended,
        }
    }

    /// Creates a stack with a half-open circuit.
    async fn half_open() -> Self {
        let stack = Self::new();
        let failing = Reply {
            status: StatusCode::SERVICE_UNAVAILABLE,
            ..Reply::default()
        };
        stack.leaf.set(&vec![failing; 20]);
        for _ in 0..20 {
            let once = optional(Method::GET, Options::new().retry(false));
            stack.service.clone().oneshot(once).await.unwrap();
        }
        advance(SECS(6)).await;
        // The next call is the probe.
        assert_eq!(stack.state(), CircuitState::Open);
        stack.leaf.sent.store(0, Ordering::Relaxed);
        stack.ended.lock().unwrap().clear();
        stack
    }

    fn state(&self) -> CircuitState {
        let api = "https://api.test".parse().unwrap();
        self.layer.breaker_handle().state(&api)
    }

    /// Makes a call, polls it this number of times and drops it. Returns whether it had ended before.
    async fn drop_after(&self, polls: u32, options: Options) -> bool {
        let mut service = self.service.clone();
        let called = service.ready().await.unwrap();
        let called = called.call(optional(Method::GET, options));
        let read = async {
            let body = called.await?.into_body();
            body.collect().await.map(drop)
        };
        let mut read: Reading<'_> = Box::pin(read);
        for _ in 0..polls {
            let mut context = Context::from_waker(Waker::noop());
            if read.as_mut().poll(&mut context).is_ready() {
                return true;
            }
            advance(MS(10)).await;
        }
        false
    }

    /// Checks the properties of every dropped call.
    fn check(&self, is_over: bool, told: &str) {
        let ended = self.ended.lock().unwrap();
        assert_eq!(ended.len(), 1, "{told}: on_complete");
        let timeline = &ended[0];
        match timeline.outcome() {
            Some(Outcome::Cancelled) if !is_over => {}
            Some(Outcome::Responded(StatusCode::OK)) => {}
            other => panic!("{told}: {other:?}\n{timeline}"),
        }
        for attempt in timeline.attempts() {
            assert_ne!(attempt.outcome(), Outcome::Pending, "{told}\n{timeline}");
            let is_open = |end: StageOutcome| end == StageOutcome::InProgress;
            assert!(
                !attempt.stages().iter().any(|row| is_open(row.outcome())),
                "{told}\n{timeline}"
            );
        }
        // A redirect declines. The effect of a service before its response is unknown.
        let least = match is_over {
            true => Effect::Done,
            false => Effect::Declined,
        };
        assert!(timeline.effect() >= least, "{told}\n{timeline}");
    }

    /// Checks that nothing more is sent, even after a long wait.
    async fn assert_silent(&self, told: &str) {
        let sent = self.leaf.sent();
        for _ in 0..10 {
            advance(SECS(10)).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(self.leaf.sent(), sent, "{told}: sent after the drop");
    }
}

fn options() -> [(&'static str, Options); 3] {
    [
        ("read after the head", Options::new()),
        ("whole body", Options::new().whole_body(1_000)),
        ("streaming", Options::new().streaming(true)),
    ]
}

#[tokio::test(start_paused = true)]
async fn probe_dropped_at_any_poll_returns_its_permit() {
    let plain = vec![Reply::slow(200)];
    let redirected = vec![Reply::slow(307).leading("/v1/charges/2"), Reply::slow(200)];
    for (replies, longest) in [(plain, 7), (redirected, 15)] {
        for (name, options) in options() {
            let mut polls = 0;
            loop {
                let stack = Stack::half_open().await;
                stack.leaf.set(&replies);
                let is_over = stack.drop_after(polls, options.clone()).await;
                let told = format!("{name}, {} replies, {polls} polls", replies.len());
                stack.check(is_over, &told);
                assert_ne!(stack.state(), CircuitState::Open, "{told}");
                stack.leaf.set(&[]);
                let next = optional(Method::GET, Options::new().retry(false));
                let next = stack.service.clone().oneshot(next).await;
                assert!(next.is_ok(), "{told}: {:?}", next.err());
                drop(next);
                stack.assert_silent(&told).await;
                if is_over {
                    break;
                }
                polls += 1;
            }
            assert_eq!(polls, longest, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn token_of_a_retry_that_was_not_sent_returns_to_the_budget() {
    let replies = [Reply::slow(503), Reply::slow(200)];
    for (name, options) in options() {
        for polls in 0.. {
            let stack = Stack::new();
            stack.leaf.set(&replies);
            let is_over = stack.drop_after(polls, options.clone()).await;
            let told = format!("{name}, {polls} polls");
            stack.check(is_over, &told);
            assert_eq!(stack.state(), CircuitState::Closed, "{told}");
            let (sent, launched) = (
                stack.leaf.sent(),
                2 - stack.leaf.replies.lock().unwrap().len(),
            );
            stack.leaf.set(&[Reply {
                status: StatusCode::SERVICE_UNAVAILABLE,
                ..Reply::default()
            }]);
            let next = stack
                .service
                .clone()
                .oneshot(optional(Method::GET, Options::new()));
            next.await.unwrap();
            // The budget is one retry a second: the dropped call used it only if it sent a retry.
            let retried = stack.leaf.sent() - sent - 1;
            assert_eq!(retried, u32::from(launched < 2), "{told}");
            stack.assert_silent(&told).await;
            if is_over {
                break;
            }
        }
    }
}
