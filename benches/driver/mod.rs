//! How a case is measured: calls in a row over a leaf in memory.
//!
//! The driver polls again without being woken, so no line contains the runtime.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tokio::runtime::{Builder, Runtime};
use tokio::task::unconstrained;
use tokio::time::Instant;
use tower::Service;

pub(crate) type Ask = Request<Full<Bytes>>;
pub(crate) type Answer = Response<Full<Bytes>>;

/// Something that is found out about every case.
pub(crate) trait Ruler {
    /// Measures calls with this request.
    fn measure<S, R>(&mut self, name: &str, request: &Ask, service: S)
    where
        S: Service<Ask, Response = Response<R>, Error: Debug>,
        R: Body<Error: Debug>;
}

/// Measures time.
pub(crate) struct Clock<'a> {
    runtime: Runtime,
    group: BenchmarkGroup<'a, WallTime>,
    /// The best that was seen of each case, in nanoseconds a call.
    pub(crate) best: Vec<(String, f64)>,
    /// What is done after so many calls, and not timed.
    pub(crate) rest: (u64, &'a dyn Fn()),
}

impl<'a> Clock<'a> {
    pub(crate) fn new(criterion: &'a mut Criterion, group: &str) -> Self {
        Self {
            runtime: runtime(),
            group: criterion.benchmark_group(group),
            best: Vec::new(),
            rest: (u64::MAX, &|| {}),
        }
    }
}

impl Ruler for Clock<'_> {
    fn measure<S, R>(&mut self, name: &str, request: &Ask, mut service: S)
    where
        S: Service<Ask, Response = Response<R>, Error: Debug>,
        R: Body<Error: Debug>,
    {
        let mut best = f64::INFINITY;
        self.group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let took = with_rests(times, self.rest, |times| {
                    self.runtime.block_on(calls(&mut service, request, times))
                });
                best = best.min(took.as_secs_f64() * 1e9 / times as f64);
                took
            });
        });
        if best.is_finite() {
            self.best.push((name.into(), best));
        }
    }
}

/// How long so many calls take, without the rests.
pub(crate) fn with_rests(
    times: u64,
    (after, rest): (u64, &dyn Fn()),
    mut run: impl FnMut(u64) -> Duration,
) -> Duration {
    let (mut left, mut took) = (times, Duration::ZERO);
    while left > 0 {
        let now = left.min(after);
        took += run(now);
        rest();
        left -= now;
    }
    took
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without sockets needs nothing")
}

/// Calls so many times in a row; how long it took, without entering the runtime.
pub(crate) async fn calls<S, R>(service: &mut S, request: &Ask, times: u64) -> Duration
where
    S: Service<Ask, Response = Response<R>, Error: Debug>,
    R: Body<Error: Debug>,
{
    unconstrained(async {
        let start = Instant::now();
        for _ in 0..times {
            one_call(service, black_box(request).clone()).await;
        }
        start.elapsed()
    })
    .await
}

async fn one_call<S, R>(service: &mut S, request: Ask)
where
    S: Service<Ask, Response = Response<R>, Error: Debug>,
    R: Body<Error: Debug>,
{
    let ready = poll_fn(|cx| service.poll_ready(cx)).await;
    ready.expect("the leaf is always ready");
    // Pinned where it is made: how often a caller moves a future is not the stack's.
    let mut answering = pin!(service.call(request));
    let response = poll_fn(|cx| eager(answering.as_mut(), cx)).await;
    let response = response.expect("the leaf always answers");
    let mut body = pin!(response.into_body());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.expect("the leaf's body does not break off");
        black_box(frame.is_data());
    }
}

/// Polls again instead of waiting to be woken.
fn eager<F: Future>(mut future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
    }
}

/// The service below everything.
#[derive(Clone, Copy)]
pub(crate) struct Leaf {
    /// Whether it answers at the second poll, or at once.
    pub(crate) waits: bool,
}

impl Service<Ask> for Leaf {
    type Response = Answer;
    type Error = Infallible;
    type Future = LeafFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Ask) -> LeafFuture {
        LeafFuture {
            waits: self.waits,
            _request: request,
        }
    }
}

pub(crate) struct LeafFuture {
    waits: bool,
    _request: Ask,
}

impl Future for LeafFuture {
    type Output = Result<Answer, Infallible>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::take(&mut self.waits) {
            return Poll::Pending;
        }
        let body = Full::new(Bytes::from_static(b"{\"paid\":true}"));
        Poll::Ready(Ok(Response::new(body)))
    }
}

/// Of a call.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
