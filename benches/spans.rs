//! What spans cost: a site at which nobody listens, and the spans of a call on a pooled connection that go
//! to an OpenTelemetry SDK in batch mode, beside the single span of reqwest-tracing.
//!
//! The pooled calls go over a socket, whose time is in every line; what counts is the difference between
//! the lines of a pair, which is printed at the end: the best of each, in nanoseconds. The exporter behind
//! the batches drops what it gets.

mod driver;

use std::hint::black_box;
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
use sevenhops::testing::{Answer, Authority, FaultServer};
use sevenhops::{Client, StandardLayer};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use tower::Layer;
use tracing::field::Empty;
use tracing::info_span;
use tracing_subscriber::layer::SubscriberExt;

use crate::driver::{Clock, DEADLINE, Leaf, Ruler, Table};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(3))
        .sample_size(40)
        .configure_from_args();
    criterion.bench_function("spans/site, nobody listens", |bencher| bencher.iter(site));
    let stage = Stage::new();
    let silent = stage.measure(&mut criterion, "nobody listens");
    let sdk = listen();
    let heard = stage.measure(&mut criterion, "SDK");
    criterion.final_summary();
    for (before, after) in silent.iter().zip(&heard) {
        let beyond = after.1 - before.1;
        println!("{}: {beyond:.0} ns beyond the call", before.0);
    }
    sdk.shutdown().expect("it is not shut down yet");
}

/// A span with as many fields as that of an attempt.
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

/// What is measured, with and without somebody who listens.
struct Stage {
    here: Runtime,
    url: String,
    ours: Client,
    theirs: ClientWithMiddleware,
    _server: (FaultServer, Runtime),
}

/// The best of each case, in nanoseconds a call.
type Best = Vec<(&'static str, f64)>;

impl Stage {
    fn new() -> Self {
        let there = Runtime::new().expect("a runtime");
        let server = there
            .block_on(FaultServer::builder().start())
            .expect("a port of 127.0.0.1 is free");
        server.default_reply(Answer::json("{}"));
        let tls = Authority::new().expect("an authority").client_config();
        let ours = Client::builder(DEADLINE)
            .tls(tls.clone())
            .resolver(sevenhops::dns::Static::new());
        let plain = reqwest::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(tls)
            .build()
            .expect("a client");
        let here = Builder::new_current_thread().enable_all().build();
        Self {
            here: here.expect("a runtime"),
            url: server.url("/v1/charges"),
            ours: ours.build().expect("a client"),
            theirs: reqwest_middleware::ClientBuilder::new(plain)
                .with(reqwest_tracing::TracingMiddleware::default())
                .build(),
            _server: (server, there),
        }
    }

    fn measure(&self, criterion: &mut Criterion, who: &str) -> Best {
        in_memory(&mut Table::new(), who);
        let mut clock = Clock::new(criterion, "spans");
        in_memory(&mut clock, who);
        let in_memory = clock.best.first().map_or(f64::NAN, |(_, nanos)| *nanos);
        drop(clock);
        let ours = self.time(criterion, &format!("pooled call, {who}"), async || {
            let response = self.ours.get(&self.url).send().await;
            let body = response.expect("an answer").bytes().await;
            body.expect("a body").len()
        });
        let theirs = self.time(criterion, &format!("reqwest-tracing, {who}"), async || {
            let response = self.theirs.get(&self.url).send().await;
            let body = response.expect("an answer").bytes().await;
            body.expect("a body").len()
        });
        let empty = self.time(criterion, &format!("5 empty spans, {who}"), async || {
            five_empty_spans();
            0
        });
        vec![
            (
                "5 empty spans, which is what the SDK takes for itself",
                empty,
            ),
            ("4 spans of a call in memory", in_memory),
            ("5 spans of a pooled call", ours),
            ("1 span of reqwest-tracing", theirs),
        ]
    }

    fn time(&self, criterion: &mut Criterion, name: &str, call: impl AsyncFn() -> usize) -> f64 {
        let mut best = f64::INFINITY;
        criterion.bench_function(&format!("spans/{name}"), |bencher| {
            bencher.iter_custom(|times| {
                let took = self.here.block_on(async {
                    let start = Instant::now();
                    for _ in 0..times {
                        black_box(call().await);
                    }
                    start.elapsed()
                });
                best = best.min(took.as_secs_f64() * 1e9 / times as f64);
                took
            });
        });
        best
    }
}

/// As a pooled call has them, without a word in them.
fn five_empty_spans() {
    let call = info_span!("call").entered();
    let attempt = info_span!(parent: &*call, "attempt").entered();
    for _ in 0..3 {
        drop(info_span!(parent: &*attempt, "hop"));
    }
    drop(attempt);
}

/// Four spans: call, attempt, wait, receive.
fn in_memory(ruler: &mut impl Ruler, who: &str) {
    let standard = StandardLayer::new(DEADLINE).expect("ten seconds are a deadline");
    let mut ask = Request::new(Full::new(Bytes::from_static(b"amount=100")));
    *ask.uri_mut() = http::Uri::from_static("https://api.test/v1/charges");
    let leaf = Leaf { waits: false };
    ruler.measure(&format!("in memory, {who}"), &ask, standard.layer(leaf));
}

/// An SDK in batch mode that throws away what it exports hears of every span from now on.
fn listen() -> SdkTracerProvider {
    let batches = BatchConfigBuilder::default().with_max_queue_size(1 << 16);
    let processor = BatchSpanProcessor::builder(Nowhere)
        .with_batch_config(batches.build())
        .build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        .build();
    // What an application that counts its microseconds would leave out.
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("bench"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    let ours = tracing_subscriber::filter::LevelFilter::INFO;
    let subscriber = tracing_subscriber::registry().with(ours).with(layer);
    tracing::subscriber::set_global_default(subscriber).expect("nobody listens yet");
    provider
}

#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}
