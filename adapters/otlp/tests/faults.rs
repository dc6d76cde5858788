//! The real exporter over a collector on loopback that fails.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_http::HttpClient;
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SdkTracerProvider;
use sevenhops::hop::Outcome;
use sevenhops::testing::{CannedResponse, ClosedPort, FaultServer, Reply, TimelineRecorder};
use sevenhops::{Client, Effect};
use sevenhops_otlp::OtlpHttpClient;
use tokio::time::Instant;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// Exports one span from a thread without a runtime.
fn export(url: String, client: Client) -> OTelSdkResult {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(url)
        .with_http_client(OtlpHttpClient::over(client).unwrap())
        .with_retry_policy(RetryPolicy::disabled())
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .build();
    provider.tracer("test").start("work").end();
    provider.force_flush()
}

struct Collector {
    server: FaultServer,
    recorder: TimelineRecorder,
}

impl Collector {
    async fn start() -> Self {
        let server = FaultServer::start().await.unwrap();
        server.default_reply(
            CannedResponse::new(StatusCode::OK).header("content-type", "application/x-protobuf"),
        );
        let recorder = TimelineRecorder::new();
        Self { server, recorder }
    }

    async fn export(&self, deadline: Duration) -> OTelSdkResult {
        let client = Client::builder(deadline)
            .on_complete(self.recorder.listener())
            .build()
            .unwrap();
        let url = self.server.url("/v1/traces");
        tokio::task::spawn_blocking(move || export(url, client))
            .await
            .unwrap()
    }

    async fn effect(&self) -> Effect {
        self.recorder.wait_for(1).await[0].effect()
    }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_response_is_retried() {
    let collector = Collector::start().await;
    collector.server.on_request([Reply::CloseAfterRequest]);
    collector.export(secs(10)).await.unwrap();
    let seen = collector.server.requests();
    assert_eq!((seen.len(), seen[0].path()), (2, "/v1/traces"));
    assert_eq!(seen[0].body, seen[1].body);
    assert!(!seen[0].body.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_export_waits_for_the_hint() {
    let collector = Collector::start().await;
    let throttled = CannedResponse::new(StatusCode::TOO_MANY_REQUESTS).header("retry-after", "1");
    collector.server.on_request([throttled.into()]);
    let begun = Instant::now();
    collector.export(secs(10)).await.unwrap();
    assert!(begun.elapsed() >= secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn collector_that_stays_down_is_tried_by_the_stack_alone() {
    let collector = Collector::start().await;
    collector
        .server
        .default_reply(CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE));
    assert!(collector.export(secs(10)).await.is_err());
    assert_eq!(
        (collector.server.requests_seen(), collector.effect().await),
        (3, Effect::Possible)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_connection_has_no_effect() {
    let closed = ClosedPort::new().unwrap();
    let recorder = TimelineRecorder::new();
    let client = Client::builder(secs(1))
        .on_complete(recorder.listener())
        .build()
        .unwrap();
    let url = format!("http://{}/v1/traces", closed.addr());
    let exported = tokio::task::spawn_blocking(move || export(url, client))
        .await
        .unwrap();
    assert!(exported.is_err());
    assert_eq!(recorder.wait_for(1).await[0].effect(), Effect::None);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_body_is_retried_and_a_silent_collector_ends_at_the_deadline() {
    let collector = Collector::start().await;
    let sent = Bytes::from_static(b"{");
    collector
        .server
        .on_request([Reply::TruncateBody { declared: 90, sent }]);
    collector.export(secs(10)).await.unwrap();
    assert_eq!(collector.server.requests_seen(), 2);

    collector.server.default_reply(Reply::Silent);
    let begun = Instant::now();
    assert!(collector.export(Duration::from_millis(300)).await.is_err());
    assert!(begun.elapsed() < secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn export_that_is_dropped_is_given_up() {
    let collector = Collector::start().await;
    collector.server.default_reply(Reply::Silent);
    let client = Client::builder(secs(10)).on_complete(collector.recorder.listener());
    let client = OtlpHttpClient::over(client.build().unwrap()).unwrap();
    let request = Request::post(collector.server.url("/v1/traces"));
    tokio::select! {
        sent = client.send_bytes(request.body(Bytes::from_static(b"batch")).unwrap()) => panic!("{sent:?}"),
        _ = collector.server.wait_until(|stats| stats.requests == 1) => {}
    }
    let timelines = collector.recorder.wait_for(1).await;
    assert_eq!(timelines[0].outcome(), Some(Outcome::Cancelled));
    assert_eq!(timelines[0].effect(), Effect::Possible);
}

/// The names of spans: those of exports, and those of other threads.
type ByThread = [Vec<&'static str>; 2];

/// Records the names of spans.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<ByThread>>);

impl Names {
    fn take(&self) -> ByThread {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Names {
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        _: &tracing::Id,
        _: Context<'_, S>,
    ) {
        let is_other = std::thread::current().name() != Some("sevenhops-otlp");
        let names = &mut self.0.lock().unwrap()[usize::from(is_other)];
        names.push(attributes.metadata().name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn export_creates_no_spans() {
    let names = Names::default();
    // For all threads: the export has a thread of its own. The registry takes every level.
    let subscriber = tracing_subscriber::registry().with(names.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let collector = Collector::start().await;
    collector.server.on_request([Reply::CloseAfterRequest]);
    collector.export(secs(10)).await.unwrap();
    assert_eq!(collector.server.requests_seen(), 2);
    assert_eq!(names.take(), ByThread::default());

    // The control: the same client outside of an exporter has spans.
    let client = Client::builder(secs(10)).build().unwrap();
    client.get(collector.server.url("/")).send().await.unwrap();
    assert!(!names.take()[1].is_empty());

    // Over HTTP/2, the task of a connection has spans, too: those of the server are the control.
    let server = FaultServer::builder().http2().start().await.unwrap();
    let client = Client::builder(secs(10));
    let client = client.transport(|transport| transport.http2_prior_knowledge(true));
    let (url, client) = (server.url("/v1/traces"), client.build().unwrap());
    let exported = tokio::task::spawn_blocking(move || export(url, client));
    drop(exported.await.unwrap());
    assert_eq!(server.requests_seen(), 1);
    let [of_exports, of_the_server] = names.take();
    assert_eq!(of_exports, Vec::<&str>::new());
    assert!(!of_the_server.is_empty());
}
