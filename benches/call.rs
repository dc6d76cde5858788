//! What the stack itself costs: one call over a leaf in memory, from the request to the last byte
//! of the response body.
//!
//! First a table of allocations per call, then the time, for the same cases in the same order.
//! `bare leaf` is what every other line contains: the request's clone, the answer, its body.
//!
//! The leaf answers at once, or (`, waiting`) at the second poll: only there do guards need their
//! alarms, and every call over a network is one of those. The driver polls again without being
//! woken, so no line contains the runtime.
//!
//! How people get it wrong: the stacks do different things. The other crates' timeouts end at the
//! response head, ours at the last byte; the tower-resilience stack also retries and breaks
//! circuits, ours also keeps a timeline. The lines are prices, not a race.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use sevenhops::limit::Limits;
use sevenhops::{AttemptLayer, CallLayer, StandardLayer};
use tokio::runtime::{Builder, Runtime};
use tokio::task::unconstrained;
use tokio::time::Instant;
use tower::timeout::TimeoutLayer;
use tower::{Layer, Service, ServiceBuilder};
use tower_resilience::circuitbreaker::CircuitBreakerLayer;
use tower_resilience::retry::RetryLayer;
use tower_resilience::timelimiter::TimeLimiterLayer;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

type Ask = Request<Full<Bytes>>;
type Answer = Response<Full<Bytes>>;

fn main() {
    let mut table = Table::new();
    each_case(&mut table);

    // The allocator counts everything it is not told to leave out.
    allocation_counter::opt_out(|| {
        let mut criterion = Criterion::default()
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(2))
            .sample_size(40)
            .nresamples(20_000)
            .configure_from_args();
        time_each(&mut criterion);
        criterion.final_summary();
    });
}

fn time_each(criterion: &mut Criterion) {
    each_case(&mut Clock {
        runtime: runtime(),
        group: criterion.benchmark_group("call"),
    });
}

/// The cases, in the order they are reported.
fn each_case(ruler: &mut impl Ruler) {
    let limits = Limits::new(DEADLINE).expect("ten seconds are a deadline");
    let call = CallLayer::new(DEADLINE).expect("ten seconds are a deadline");
    let attempt = AttemptLayer::new(limits);
    let standard = StandardLayer::new(DEADLINE).expect("ten seconds are a deadline");
    let timeout = TimeoutLayer::new(DEADLINE);
    for leaf in [Leaf::AT_ONCE, Leaf::WAITING] {
        let name = |case: &str| format!("{case}{}", leaf.suffix());
        ruler.measure(&name("bare leaf"), leaf);
        ruler.measure(&name("CallLayer"), call.layer(leaf));
        ruler.measure(&name("AttemptLayer"), attempt.layer(leaf));
        ruler.measure(&name("StandardLayer"), standard.layer(leaf));
        tracing::subscriber::with_default(Listener::default(), || {
            ruler.measure(&name("StandardLayer, spans on"), standard.layer(leaf));
        });
        // Otherwise the span sites would go on asking who listens.
        tracing::callsite::rebuild_interest_cache();
        ruler.measure(&name("tower timeout"), timeout.layer(leaf));
        ruler.measure(&name("tower-resilience"), tower_resilience_stack(leaf));
    }
}

/// The order its own guide recommends: timeout, retry, breaker, timeout.
fn tower_resilience_stack(
    leaf: Leaf,
) -> impl Service<Ask, Response = Answer, Error: Debug, Future: Send> {
    let retry = RetryLayer::builder()
        .max_attempts(3)
        .exponential_backoff(Duration::from_millis(100))
        .build();
    let breaker = CircuitBreakerLayer::standard()
        .build()
        .expect("the preset is valid");
    let timeout = |limit| TimeLimiterLayer::builder().timeout_duration(limit).build();
    ServiceBuilder::new()
        .layer(timeout(DEADLINE))
        .layer(retry)
        .layer(breaker)
        .layer(timeout(DEADLINE / 2))
        .service(leaf)
}

/// Something that is found out about every case.
trait Ruler {
    fn measure<S, R>(&mut self, name: &str, service: S)
    where
        S: Service<Ask, Response = Response<R>, Error: Debug>,
        R: Body<Error: Debug>;
}

/// Counts allocations.
struct Table {
    runtime: Runtime,
}

impl Table {
    fn new() -> Self {
        println!("{:<34}{:>12}{:>12}", "per call", "allocations", "bytes");
        Self { runtime: runtime() }
    }
}

impl Ruler for Table {
    fn measure<S, R>(&mut self, name: &str, mut service: S)
    where
        S: Service<Ask, Response = Response<R>, Error: Debug>,
        R: Body<Error: Debug>,
    {
        // What is allocated once for all calls is not a call's.
        self.runtime.block_on(calls(&mut service, COUNTED));
        let counted = allocation_counter::measure(|| {
            self.runtime.block_on(calls(&mut service, COUNTED));
        });
        let per_call = |total: u64| total as f64 / COUNTED as f64;
        let allocations = per_call(counted.count_total);
        let bytes = per_call(counted.bytes_total);
        println!("{name:<34}{allocations:>12.2}{bytes:>12.0}");
    }
}

/// Measures time.
struct Clock<'a> {
    runtime: Runtime,
    group: BenchmarkGroup<'a, WallTime>,
}

impl Ruler for Clock<'_> {
    fn measure<S, R>(&mut self, name: &str, mut service: S)
    where
        S: Service<Ask, Response = Response<R>, Error: Debug>,
        R: Body<Error: Debug>,
    {
        self.group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| self.runtime.block_on(calls(&mut service, times)));
        });
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without sockets needs nothing")
}

/// Calls so many times in a row; how long it took, without entering the runtime.
async fn calls<S, R>(service: &mut S, times: u64) -> Duration
where
    S: Service<Ask, Response = Response<R>, Error: Debug>,
    R: Body<Error: Debug>,
{
    let mut template = Request::new(Full::new(Bytes::from_static(b"amount=100")));
    *template.uri_mut() = http::Uri::from_static("https://api.test/v1/charges");
    unconstrained(async {
        let start = Instant::now();
        for _ in 0..times {
            one_call(service, black_box(&template).clone()).await;
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
    let response = eager(service.call(request)).await;
    let response = response.expect("the leaf always answers");
    let mut body = pin!(response.into_body());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.expect("the leaf's body does not break off");
        black_box(frame.is_data());
    }
}

/// Polls again instead of waiting to be woken.
async fn eager<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
        }
    })
    .await
}

/// The service below everything.
#[derive(Clone, Copy)]
struct Leaf {
    waits: bool,
}

impl Leaf {
    const AT_ONCE: Self = Self { waits: false };
    const WAITING: Self = Self { waits: true };

    fn suffix(self) -> &'static str {
        if self.waits { ", waiting" } else { "" }
    }
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

struct LeafFuture {
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

/// Is interested in everything, and does nothing but count.
#[derive(Default)]
struct Listener {
    spans: AtomicU64,
    heard: AtomicU64,
}

impl Listener {
    fn hear(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1 + self.spans.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {
        self.hear();
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {
        self.hear();
    }

    fn event(&self, _: &Event<'_>) {
        self.hear();
    }

    fn enter(&self, _: &Id) {
        self.hear();
    }

    fn exit(&self, _: &Id) {
        self.hear();
    }
}

const DEADLINE: Duration = Duration::from_secs(10);
/// Enough that what happens once in a while shows up as a fraction.
const COUNTED: u64 = 1_000;
