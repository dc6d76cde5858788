//! Measures the cost of spans: of a site without a subscriber, and of a call whose spans go to an OpenTelemetry SDK
//! in batch mode. For comparison it measures the SDK's empty spans and the single span of reqwest-tracing.
//!
//! Calls in memory are timed while the exporter's thread rests: it drops its spans between the measurements. Calls on
//! a pooled connection use a socket, and its time is many times that of the spans. So calls with and without a
//! subscriber take turns. There the benchmark measures the time that the caller's thread has a processor. It prints
//! the median of the differences, and the quartiles.

#[path = "driver/clock.rs"]
mod clock;
mod driver;

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use criterion::Criterion;
use http::Request;
use http_body_util::Full;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter,
};
use reqwest_middleware::ClientWithMiddleware;
use sevenhops::telemetry::otel::Spans;
use sevenhops::testing::{CannedResponse, FaultServer, TestCa};
use sevenhops::{Client, StandardLayer};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use tower::Layer;
use tracing::dispatcher::with_default;
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, info_span};
use tracing_subscriber::layer::SubscriberExt;

use crate::clock::{Clock, with_rests};
use crate::driver::{DEADLINE, Leaf, Ruler};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(3))
        .sample_size(40)
        .configure_from_args();
    criterion.bench_function("spans/site, no subscriber", |bencher| bencher.iter(site));
    let sdk = Sdk::new();
    let silent = alone(&mut criterion, "no subscriber", &|| {});
    let heard = with_default(&sdk.ear, || alone(&mut criterion, "SDK", &|| sdk.flush()));
    criterion.final_summary();
    let direct = direct(&mut criterion, &sdk);
    for ((name, silent), (_, heard)) in silent.iter().zip(&heard) {
        println!("{name}: {:.0} ns beyond the call", heard - silent);
    }
    println!(
        "4 spans directly in OpenTelemetry: {:.0} ns beyond the call",
        direct - silent[1].1
    );
    let stage = Stage::new();
    let heard = |call: &dyn Fn() -> f64| with_default(&sdk.ear, call);
    let (plain, ours, theirs) = (stage.plain(), stage.ours(&stage.ours), stage.theirs());
    let (plain, ours) = (|| stage.turn(&plain), || stage.turn(&ours));
    let (direct, theirs) = (stage.ours(&stage.direct), || stage.turn(&theirs));
    take_turns(
        "5 empty spans around a call of reqwest's",
        &sdk,
        &plain,
        &|| heard(&plain),
    );
    take_turns("5 spans of a pooled call", &sdk, &ours, &|| heard(&ours));
    let direct = || stage.turn(&direct);
    take_turns(
        "5 spans of a pooled call, directly in OpenTelemetry",
        &sdk,
        &ours,
        &direct,
    );
    take_turns("1 span of reqwest-tracing", &sdk, &theirs, &|| {
        heard(&theirs)
    });
}

/// Creates a span with as many fields as that of an attempt.
fn site() {
    let span = info_span!(
        "attempt",
        otel.name = Empty,
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = "GET",
        http.request.method_original = Empty,
        http.request.resend_count = Empty,
        http.request.body.size = Empty,
        http.response.status_code = Empty,
        http.response.body.size = Empty,
        server.address = "api.test",
        server.port = 443,
        url.full = Empty,
        url.scheme = "https",
        url.template = Empty,
        network.peer.address = Empty,
        network.peer.port = Empty,
        network.protocol.version = Empty,
        sevenhops.hop = Empty,
        sevenhops.kind = Empty,
        sevenhops.effect = Empty,
        "error.type" = Empty,
    );
    let _entered = span.enter();
}

/// Returns the best time of each case in memory, in nanoseconds a call.
fn alone(criterion: &mut Criterion, who: &str, flush: &dyn Fn()) -> Vec<(&'static str, f64)> {
    let mut clock = Clock::new(criterion, "spans");
    clock.rest = (BETWEEN_RESTS, flush);
    in_memory(&mut clock, who, standard());
    let in_memory = clock.best.first().map_or(f64::NAN, |(_, nanos)| *nanos);
    drop(clock);
    let mut empty = f64::INFINITY;
    criterion.bench_function(&format!("spans/5 empty spans, {who}"), |bencher| {
        bencher.iter_custom(|times| {
            let took = with_rests(times, (BETWEEN_RESTS, flush), |times| {
                let start = Instant::now();
                (0..times).for_each(|_| five_empty_spans());
                start.elapsed()
            });
            empty = empty.min(nanos(took, times));
            took
        });
    });
    vec![
        (
            "5 empty spans, which is what the SDK takes for itself",
            empty,
        ),
        ("4 spans of a call in memory", in_memory),
    ]
}

/// Returns the best time of a call in memory whose spans are created directly with OpenTelemetry.
fn direct(criterion: &mut Criterion, sdk: &Sdk) -> f64 {
    let standard = || standard().spans(&Spans::global());
    let flush = || sdk.flush();
    let mut clock = Clock::new(criterion, "spans");
    clock.rest = (BETWEEN_RESTS, &flush);
    in_memory(&mut clock, "direct", standard());
    clock.best.first().map_or(f64::NAN, |(_, nanos)| *nanos)
}

fn standard() -> StandardLayer {
    StandardLayer::new(DEADLINE).expect("ten seconds are a deadline")
}

/// Measures a call with four spans: call, attempt, wait, receive.
fn in_memory(ruler: &mut impl Ruler, who: &str, standard: StandardLayer) {
    let mut ask = Request::new(Full::new(Bytes::from_static(b"amount=100")));
    *ask.uri_mut() = http::Uri::from_static("https://api.test/v1/charges");
    let leaf = Leaf { waits: false };
    ruler.measure(&format!("in memory, {who}"), &ask, standard.layer(leaf));
}

/// Creates the spans of a pooled call, without any attributes.
fn five_empty_spans() {
    let call = info_span!("call").entered();
    let attempt = info_span!(parent: &*call, "attempt").entered();
    for _ in 0..3 {
        drop(info_span!(parent: &*attempt, "hop"));
    }
    drop(attempt);
}

/// A server, and its clients.
struct Stage {
    here: Runtime,
    url: String,
    ours: Client,
    /// A client whose spans are created without `tracing`.
    direct: Client,
    plain: reqwest::Client,
    theirs: ClientWithMiddleware,
    _server: (FaultServer, Runtime),
}

impl Stage {
    fn new() -> Self {
        let there = Runtime::new().expect("a runtime");
        let server = there
            .block_on(FaultServer::builder().start())
            .expect("a port of 127.0.0.1 is free");
        server.default_reply(CannedResponse::json("{}"));
        let tls = TestCa::new().expect("an authority").client_config();
        let ours = || {
            let ours = Client::builder(DEADLINE).transport(|transport| transport.tls(tls.clone()));
            ours.transport(|transport| transport.resolver(sevenhops::dns::StaticResolver::new()))
        };
        let plain = reqwest::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(tls.clone())
            .build()
            .expect("a client");
        let here = Builder::new_current_thread().enable_all().build();
        Self {
            here: here.expect("a runtime"),
            url: server.url("/v1/charges"),
            ours: ours().build().expect("a client"),
            direct: ours().spans(&Spans::global()).build().expect("a client"),
            theirs: reqwest_middleware::ClientBuilder::new(plain.clone())
                .with(reqwest_tracing::TracingMiddleware::default())
                .build(),
            plain,
            _server: (server, there),
        }
    }

    fn ours(&self, client: &Client) -> impl AsyncFn() -> usize {
        async || {
            let response = client.get(&self.url).send().await;
            let body = response.expect("a response").bytes().await;
            body.expect("a body").len()
        }
    }

    fn plain(&self) -> impl AsyncFn() -> usize {
        async || {
            let call = info_span!("call");
            let attempt = call.in_scope(|| info_span!("attempt"));
            drop(attempt.in_scope(|| info_span!("hop")));
            let hop = info_span!(parent: &attempt, "hop");
            let response = self.plain.get(&self.url).send().await;
            drop(hop);
            let _hop = info_span!(parent: &attempt, "hop");
            let body = response.expect("a response").bytes().await;
            body.expect("a body").len()
        }
    }

    fn theirs(&self) -> impl AsyncFn() -> usize {
        async || {
            let response = self.theirs.get(&self.url).send().await;
            let body = response.expect("a response").bytes().await;
            body.expect("a body").len()
        }
    }

    fn turn(&self, call: &impl AsyncFn() -> usize) -> f64 {
        let start = on_processor();
        self.here.block_on(async {
            for _ in 0..BETWEEN_RESTS {
                black_box(call().await);
            }
        });
        nanos(on_processor() - start, BETWEEN_RESTS)
    }
}

/// Prints the extra time of calls with a subscriber over calls without one.
fn take_turns(name: &str, sdk: &Sdk, silent: &dyn Fn() -> f64, heard: &dyn Fn() -> f64) {
    silent();
    let pairs = (0..PAIRS).map(|_| {
        let difference = silent() - heard();
        sdk.flush();
        -difference
    });
    let mut differences: Vec<f64> = pairs.collect();
    differences.sort_by(f64::total_cmp);
    let at = |part: usize| differences[differences.len() * part / 4] / 1e3;
    println!(
        "{name}: {:.1} µs beyond the call ({:.1} to {:.1})",
        at(2),
        at(1),
        at(3)
    );
}

/// Returns how long this thread has run so far, according to Linux. On other systems, returns how long it exists.
fn on_processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat");
    let ran = stat.as_deref().unwrap_or_default().split(' ').next();
    match ran.and_then(|nanos| nanos.parse().ok()) {
        Some(nanos) => Duration::from_nanos(nanos),
        None => BEGUN.elapsed(),
    }
}

static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

fn nanos(took: Duration, times: u64) -> f64 {
    took.as_secs_f64() * 1e9 / times as f64
}

/// An SDK in batch mode whose exporter discards all spans.
struct Sdk {
    ear: Dispatch,
    provider: SdkTracerProvider,
    /// The interest of all subscribers in a site is cached for all threads. A subscriber with another opinion
    /// disables that cache.
    _deaf: Dispatch,
}

impl Sdk {
    fn new() -> Self {
        let batches = BatchConfigBuilder::default();
        let processor = BatchSpanProcessor::builder(Nowhere)
            .with_batch_config(batches.build())
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .build();
        opentelemetry::global::set_tracer_provider(provider.clone());
        // Leaves out the options that an application would switch off to save time.
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("bench"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        let only = |level: LevelFilter| tracing_subscriber::registry().with(level);
        Self {
            ear: Dispatch::new(only(LevelFilter::INFO).with(layer)),
            provider,
            _deaf: Dispatch::new(only(LevelFilter::OFF)),
        }
    }

    /// Waits until the exporter's thread is idle.
    fn flush(&self) {
        self.provider.force_flush().expect("it is not shut down");
    }
}

#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

/// Fewer spans than one batch of the exporter.
const BETWEEN_RESTS: u64 = 100;
const PAIRS: usize = 300;
