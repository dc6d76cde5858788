//! Stacks over a service in memory: ours, tower-resilience's and seatbelt's.

use std::future::poll_fn;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use layered::{Service, Stack};
use seatbelt::breaker::{Breaker, BreakerLayer};
use seatbelt::hedging::{Hedging, HedgingLayer};
use seatbelt::retry::{Retry, RetryLayer};
use seatbelt::timeout::{Timeout, TimeoutLayer};
use seatbelt::{RecoveryInfo, ResilienceContext};
use sevenhops::StandardLayer;
use tick::Clock;
use tokio::task::unconstrained;
use tokio::time::Instant;
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::driver::{Answer, Ask, DEADLINE, Leaf, calls, eager, runtime};
use crate::rival::tower_resilience_stack;

/// The first is the one that the others are compared with.
pub(crate) const STACKS: [&str; 6] = [
    "tower-resilience",
    "seatbelt",
    "seatbelt with a hedge",
    "seatbelt as tower layers",
    "StandardLayer::over",
    "StandardLayer",
];

/// Makes this number of calls in a row through the stack with this name, on one thread.
pub(crate) fn make_calls(stack: &str, waits: bool, times: u64) {
    let mut ask = Request::new(Full::new(Bytes::from_static(b"amount=100")));
    *ask.uri_mut() = http::Uri::from_static("https://api.test/v1/charges");
    let leaf = Leaf { waits };
    let standard = StandardLayer::new(DEADLINE).expect("ten seconds are a deadline");
    let made = async {
        let layers = Layers::new();
        let (total, retry, hedge) = (layers.total, layers.retry, layers.hedge);
        let (breaker, attempt) = (layers.breaker, layers.attempt);
        match stack {
            "bare leaf" => calls(&mut { leaf }, &ask, times).await,
            "bare leaf, layered" => layered_calls(&leaf, &ask, times).await,
            "tower-resilience" => calls(&mut tower_resilience_stack(leaf), &ask, times).await,
            "seatbelt" => {
                let stack = (total, retry, breaker, attempt, leaf).into_service();
                layered_calls(&stack, &ask, times).await
            }
            "seatbelt with a hedge" => {
                let stack = (retry, hedge, breaker, attempt, Waking(leaf)).into_service();
                layered_calls(&stack, &ask, times).await
            }
            "seatbelt as tower layers" => {
                let stack = ServiceBuilder::new().layer(total).layer(retry);
                let leaf = leaf.map_err(|never| match never {});
                let mut stack = stack.layer(breaker).layer(attempt).service(leaf);
                calls(&mut stack, &ask, times).await
            }
            "StandardLayer::over" => calls(&mut standard.over(leaf), &ask, times).await,
            "StandardLayer" => calls(&mut standard.layer(leaf), &ask, times).await,
            _ => panic!("there is no stack {stack}"),
        }
    };
    runtime().block_on(made);
}

/// The layers of seatbelt, with the limits of the other stacks.
struct Layers {
    total: TimeoutLayer<Ask, Outcome>,
    retry: RetryLayer<Ask, Outcome>,
    hedge: HedgingLayer<Ask, Outcome>,
    breaker: BreakerLayer<Ask, Outcome>,
    attempt: TimeoutLayer<Ask, Outcome>,
}

impl Layers {
    fn new() -> Self {
        let context = ResilienceContext::new(Clock::new_tokio());
        let timeout = |name, limit| {
            let layer = Timeout::layer(name, &context).timeout(limit);
            layer.timeout_error(|_| Failed)
        };
        Self {
            total: timeout("total", DEADLINE),
            retry: Retry::layer("retry", &context)
                .clone_input()
                .recovery_with(|outcome, _| recovery(outcome))
                .max_retry_attempts(2)
                .base_delay(Duration::from_millis(100)),
            hedge: Hedging::layer("hedge", &context)
                .clone_input()
                .recovery_with(|outcome, _| recovery(outcome)),
            breaker: Breaker::layer("breaker", &context)
                .recovery_with(|outcome, _| recovery(outcome))
                .rejected_input_error(|_, _| Failed),
            attempt: timeout("attempt", DEADLINE / 2),
        }
    }
}

/// Returns what fetch takes for transient, without its look at `Retry-After`.
fn recovery(outcome: &Outcome) -> RecoveryInfo {
    match outcome.as_ref().map(Response::status) {
        Ok(status) if status.is_server_error() => RecoveryInfo::retry(),
        Ok(StatusCode::TOO_MANY_REQUESTS) | Err(Failed) => RecoveryInfo::retry(),
        Ok(_) => RecoveryInfo::never(),
    }
}

pub(crate) type Outcome = Result<Answer, Failed>;

/// A timeout, or the rejection by the breaker.
#[derive(Debug)]
pub(crate) struct Failed;

impl Service<Ask> for Leaf {
    type Out = Outcome;

    fn execute(&self, request: Ask) -> impl Future<Output = Outcome> {
        let mut responding = tower::Service::call(&mut { *self }, request);
        poll_fn(move |cx| {
            let polled = Pin::new(&mut responding).poll(cx);
            polled.map_err(|never| match never {})
        })
    }
}

/// A leaf that wakes the caller. A hedge polls only those of its attempts that were woken.
struct Waking(Leaf);

impl Service<Ask> for Waking {
    type Out = Outcome;

    fn execute(&self, request: Ask) -> impl Future<Output = Outcome> {
        let mut responding = self.0.execute(request);
        poll_fn(move |cx| {
            let polled = Pin::new(&mut responding).poll(cx);
            if polled.is_pending() {
                cx.waker().wake_by_ref();
            }
            polled
        })
    }
}

/// Does for seatbelt's own trait what `calls` does for tower's.
async fn layered_calls(
    stack: &impl Service<Ask, Out = Outcome>,
    request: &Ask,
    times: u64,
) -> Duration {
    unconstrained(async {
        let start = Instant::now();
        for _ in 0..times {
            let mut responding = pin!(stack.execute(black_box(request).clone()));
            let outcome = poll_fn(|cx| eager(responding.as_mut(), cx)).await;
            let mut body = pin!(outcome.expect("the leaf always answers").into_body());
            while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                black_box(frame.expect("the body does not break off").is_data());
            }
        }
        start.elapsed()
    })
    .await
}
