mod policies;
mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use http::StatusCode;
use opentelemetry::{KeyValue, Value, global};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use sevenhops::telemetry::METRICS;
use sevenhops::telemetry::otel::Metrics;
use sevenhops::testing::{CannedResponse, DnsScript, FaultServer, Gate, Reply};
use sevenhops::{Client, StandardLayer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tower::{Layer as _, ServiceExt};

use crate::mock::{Mock, Step, status};
use crate::net::{Net, url};

/// Returns the SDK of the process. Each test finds its own series by the port of its server.
pub(crate) fn sdk() -> &'static (SdkMeterProvider, InMemoryMetricExporter, Metrics) {
    static SDK: OnceLock<(SdkMeterProvider, InMemoryMetricExporter, Metrics)> = OnceLock::new();
    SDK.get_or_init(|| {
        let exporter = InMemoryMetricExporter::default();
        let scraped = opentelemetry_prometheus::exporter().with_registry(REGISTRY.clone());
        let provider = SdkMeterProvider::builder()
            .with_periodic_exporter(exporter.clone())
            .with_reader(scraped.build().unwrap())
            .build();
        global::set_meter_provider(provider.clone());
        (provider, exporter, Metrics::global())
    })
}

/// The metrics of the process, as Prometheus scrapes them.
pub(crate) static REGISTRY: LazyLock<prometheus::Registry> = LazyLock::new(Default::default);

pub(crate) type Series = BTreeMap<String, String>;

/// Returns the current series of all metrics: the value of a counter or gauge, the count of a histogram.
pub(crate) fn collected() -> Vec<(String, Series, u64)> {
    let (provider, exporter, _) = sdk();
    provider.force_flush().unwrap();
    let last = exporter.get_finished_metrics().unwrap().pop();
    last.as_ref().map_or_else(Vec::new, read)
}

fn read(collected: &ResourceMetrics) -> Vec<(String, Series, u64)> {
    let metrics = collected.scope_metrics().flat_map(|scope| scope.metrics());
    metrics
        .flat_map(|metric| {
            let series = match metric.data() {
                AggregatedMetrics::F64(data) => points(data, |value| value as u64),
                AggregatedMetrics::U64(data) => points(data, |value| value),
                AggregatedMetrics::I64(data) => points(data, |value| value as u64),
            };
            let name = metric.name().to_owned();
            series
                .into_iter()
                .map(move |(series, value)| (name.clone(), series, value))
        })
        .collect()
}

fn points<T: Copy>(data: &MetricData<T>, value: impl Fn(T) -> u64) -> Vec<(Series, u64)> {
    match data {
        MetricData::Gauge(gauge) => gauge
            .data_points()
            .map(|point| (series(point.attributes()), value(point.value())))
            .collect(),
        MetricData::Sum(sum) => sum
            .data_points()
            .map(|point| (series(point.attributes()), value(point.value())))
            .collect(),
        MetricData::Histogram(histogram) => histogram
            .data_points()
            .map(|point| (series(point.attributes()), point.count()))
            .collect(),
        MetricData::ExponentialHistogram(_) => panic!("we have none"),
    }
}

fn series<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> Series {
    let text = |value: &Value| value.as_str().into_owned();
    attributes
        .map(|pair| (pair.key.to_string(), text(&pair.value)))
        .collect()
}

/// Returns the sum of a metric over the series with all of these attributes.
pub(crate) fn sum(metric: &str, saying: &[(&str, &str)]) -> u64 {
    let says = |series: &Series| {
        let mut saying = saying.iter();
        saying.all(|(key, value)| series.get(*key).is_some_and(|said| said == value))
    };
    let collected = collected().into_iter();
    let found = collected.filter(|(name, series, _)| name == metric && says(series));
    found.map(|(_, _, value)| value).sum()
}

pub(crate) fn client(net: &Net) -> Client {
    net.builder().metrics(&sdk().2).build().unwrap()
}

pub(crate) fn port(server: &FaultServer) -> String {
    server.addr().port().to_string()
}

#[tokio::test]
async fn successful_call_is_counted_at_every_hop() {
    let net = Net::new().await;
    let identity = net.authority.issue(&["api.test"]).unwrap();
    let server = FaultServer::builder().tls(identity).start().await.unwrap();
    let client = client(&net);
    let get = client
        .get(url(&server, "https"))
        .options(|options| options.route("/v1/charges"));
    get.fetch_bytes().await.unwrap();
    let port = port(&server);
    let here = ("server.port", port.as_str());
    let whole = [
        here,
        ("server.address", "api.test"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("url.scheme", "https"),
        ("url.template", "/v1/charges"),
        ("network.protocol.version", "1.1"),
    ];
    assert_eq!(sum("http.client.request.duration", &whole), 1);
    assert_eq!(sum("sevenhops.call.duration", &[here]), 1);
    assert_eq!(sum("sevenhops.call.attempts", &[here]), 1);
    assert_eq!(sum("sevenhops.connection.setup.duration", &[here]), 1);
    for hop in ["dns", "connect", "tls", "send", "wait", "receive"] {
        let hop = [here, ("sevenhops.stage", hop)];
        assert_eq!(sum("sevenhops.hop.duration", &hop), 1, "{hop:?}");
    }
    assert!(sum("dns.lookup.duration", &[("dns.question.name", "api.test")]) >= 1);
    // words:allow term: a metric
    for none in ["sevenhops.call.retries", "sevenhops.call.effect_possible"] {
        assert_eq!(sum(none, &[here]), 0, "{none}");
    }
    let origin = format!("https://api.test:{port}");
    let here = ("sevenhops.destination", origin.as_str());
    assert_eq!(sum("sevenhops.budget.left", &[here]), 100);
}

#[tokio::test]
async fn abandoned_handshake_is_not_counted_as_a_setup() {
    let net = Net::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let call = client(&net)
        .get(format!("https://127.0.0.1:{port}/"))
        .send();
    let hello = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        stream
    };
    tokio::select! {
        _ = call => panic!("the server never responds"),
        _ = hello => {}
    }
    let here = ("server.port", port.as_str());
    assert_eq!(sum("sevenhops.call.duration", &[here]), 1);
    let connect = [here, ("sevenhops.stage", "connect")];
    assert_eq!(sum("sevenhops.hop.duration", &connect), 1);
    assert_eq!(sum("sevenhops.connection.setup.duration", &[here]), 0);
}

/// Two calls over the one connection that there may be: the second one waits for it.
#[tokio::test]
async fn wait_for_a_connection_is_counted_and_is_not_a_setup() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let gate = Gate::new();
    server.default_reply(CannedResponse::default().hold(&gate));
    let builder = net.builder().metrics(&sdk().2);
    let builder = builder.transport(|transport| transport.max_connections_per_destination(1));
    let client = builder.build().unwrap();
    let url = url(&server, "http");
    let held = async {
        server.wait_until(|stats| stats.requests == 1).await;
        gate.open();
    };
    let calls = (client.get(&url), client.get(&url));
    let (one, two, ()) = tokio::join!(calls.0.fetch_bytes(), calls.1.fetch_bytes(), held);
    one.unwrap();
    two.unwrap();
    let port = port(&server);
    let here = ("server.port", port.as_str());
    assert_eq!(sum("http.client.request.time_in_queue", &[here]), 1);
    assert_eq!(sum("sevenhops.connection.setup.duration", &[here]), 1);
    let connect = [here, ("sevenhops.stage", "connect")];
    assert_eq!(sum("sevenhops.hop.duration", &connect), 1);
}

#[tokio::test]
async fn failures_have_the_error_type_of_their_spans() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let busy = || Reply::from(CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE));
    server.on_request([
        busy(),
        CannedResponse::json("1").into(),
        Reply::CloseAfterRequest,
    ]);
    let (client, url) = (client(&net), url(&server, "http"));
    client
        .get(&url)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert!(client.post(&url).send().await.is_err());
    let port = port(&server);
    let here = ("server.port", port.as_str());
    let post = ("http.request.method", "POST");
    for (metric, also, count) in [
        ("http.client.request.duration", ("error.type", "503"), 1),
        ("sevenhops.call.retries", ("error.type", "503"), 1), // words:allow term: a metric
        ("sevenhops.call.duration", ("error.type", "503"), 0),
        ("sevenhops.call.duration", ("sevenhops.hop", "server"), 1),
        ("sevenhops.call.effect_possible", post, 1),
        (
            "sevenhops.call.not_retried",
            ("sevenhops.no_retry_reason", "not_idempotent"),
            1,
        ),
        ("sevenhops.hop.duration", ("sevenhops.kind", "closed"), 1),
    ] {
        assert_eq!(sum(metric, &[here, also]), count, "{metric} {also:?}");
    }
    let repeats = sum("sevenhops.call.retries", &[here]); // words:allow term: a metric
    assert_eq!(repeats, 1, "the last failure was not retried");
}

#[tokio::test]
async fn cancelled_call_differs_from_success_and_failure() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    let gate = Gate::new();
    server.on_request([
        CannedResponse::json("1").hold(&gate).into(),
        CannedResponse::json("1").into(),
        CannedResponse::json("1").hold_body(&gate).into(),
        CannedResponse::json("1").hold_body(&gate).into(),
    ]);
    let (client, url) = (client(&net), url(&server, "http"));
    let call = tokio::spawn(client.get(&url).fetch_bytes());
    server.wait_until(|stats| stats.requests == 1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    client.get(&url).fetch_bytes().await.unwrap();
    let port = port(&server);
    let here = ("server.port", port.as_str());
    let count = |outcome: &str| {
        let so = ("sevenhops.outcome", outcome);
        sum("sevenhops.call.duration", &[here, so])
    };
    assert_eq!(["cancelled", "responded", "failed"].map(count), [1, 1, 0]);
    // A caller that drops the response after its head was answered. A caller that drops it while it reads the body was
    // not.
    drop(client.get(&url).send().await.unwrap());
    assert_eq!(["cancelled", "responded", "failed"].map(count), [1, 2, 0]);
    let mut answer = client.get(&url).send().await.unwrap();
    let waited = tokio::time::timeout(Duration::ZERO, answer.chunk());
    assert!(waited.await.is_err(), "it is still to come");
    drop(answer);
    assert_eq!(["cancelled", "responded", "failed"].map(count), [2, 2, 0]);
    let received = [here, ("sevenhops.stage", "receive")];
    assert_eq!(sum("sevenhops.hop.duration", &received), 2);
}

#[tokio::test]
async fn stale_answer_is_counted() {
    let net = Net::new().await;
    let server = FaultServer::builder().start().await.unwrap();
    // The DNS answers expire at once.
    let resolver = net.dns.resolver_builder();
    let resolver = resolver
        .ttl_floor(Duration::ZERO)
        .ttl_ceiling(Duration::from_nanos(1));
    let builder = net
        .builder()
        .transport(|transport| transport.resolver(resolver.build().unwrap()));
    let client = builder.metrics(&sdk().2).build().unwrap();
    let url = url(&server, "http");
    client.get(&url).fetch_bytes().await.unwrap();
    net.dns.set("api.test", DnsScript::ServFail);
    client.get(&url).fetch_bytes().await.unwrap();
    let port = port(&server);
    assert_eq!(sum("sevenhops.dns.stale", &[("server.port", &port)]), 1);
}

#[tokio::test(start_paused = true)]
async fn every_emitted_metric_is_in_the_table_with_its_attributes() {
    let layer = StandardLayer::new(Duration::from_secs(10)).unwrap();
    let mock = Mock::new([Step::Hang, status(200)]);
    let service = layer.metrics(&sdk().2).layer(mock);
    let secret = "https://u:canary@table.test/canary?key=canary";
    let get = http::Request::get(secret).body(http_body_util::Full::default());
    service.oneshot(get.unwrap()).await.unwrap();
    let table: BTreeMap<_, _> = METRICS
        .iter()
        .map(|metric| (metric.name, metric.attributes))
        .collect();
    assert_eq!(table.len(), METRICS.len(), "each stands once");
    let mut names = BTreeSet::new();
    for (name, series, _) in collected() {
        let may = table[name.as_str()];
        for key in series.keys() {
            assert!(may.contains(&key.as_str()), "{name} {key}");
        }
        assert!(!format!("{series:?}").contains("canary"), "{series:?}");
        names.insert(name);
    }
    assert!(names.contains("sevenhops.call.retries")); // words:allow term: a metric
}

#[tokio::test]
async fn background_lookup_is_not_counted() {
    let net = Net::new().await;
    net.dns.set("gone.test", DnsScript::NxDomain);
    let client = client(&net);
    for _ in 0..3 {
        client
            .get("http://gone.test/")
            .fetch_bytes()
            .await
            .unwrap_err();
    }
    let here = ("dns.question.name", "gone.test");
    assert_eq!(sum("dns.lookup.duration", &[here]), 1);
    let calls = ("server.address", "gone.test");
    assert_eq!(sum("sevenhops.call.duration", &[calls]), 3);
}
