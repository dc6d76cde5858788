//! The metrics of a client twice: for Prometheus to scrape, and pushed over OTLP.
//!
//! ```text
//! cargo run -p sevenhops-demos --bin exporters
//! cargo run -p sevenhops-demos --bin exporters -- --otlp http://127.0.0.1:4318/v1/metrics --serve 127.0.0.1:9464
//! ```
//!
//! One call succeeds, and one loses its response. Without arguments, the program scrapes itself and receives its own
//! OTLP. It exits with a failure if either of the two does not count one lost response. With `--serve` it makes these calls once
//! a second until it is stopped, so that the dashboard of `dashboards/` has something to show.

mod wiring;

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use http::StatusCode;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use prost::Message;
use sevenhops::telemetry::otel::Metrics;
use sevenhops::testing::{CannedResponse, FaultServer, Reply};
use sevenhops::{Client, Effect};

use self::wiring::Exporters;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match arguments().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Arguments {
    otlp: Option<String>,
    serve: Option<SocketAddr>,
}

fn arguments() -> Outcome<Arguments> {
    let (mut read, mut given) = (Arguments::default(), std::env::args().skip(1));
    while let Some(argument) = given.next() {
        let value = given.next().ok_or("each argument needs a value")?;
        match argument.as_str() {
            "--otlp" => read.otlp = Some(value),
            "--serve" => read.serve = Some(value.parse()?),
            other => return Err(format!("unknown argument: {other}").into()),
        }
    }
    Ok(read)
}

/// The exporter of OTLP blocks its own thread, so it is created outside of the runtime.
fn run(arguments: Arguments) -> Outcome<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let collector = runtime.block_on(FaultServer::builder().start())?;
    collector.default_reply(CannedResponse::new(StatusCode::OK).body(""));
    let own = collector.url("/v1/metrics");
    let exporters = Exporters::install(arguments.otlp.as_deref().unwrap_or(&own))?;
    let done = runtime.block_on(call(&exporters, &arguments));
    // Pushes what was not pushed yet.
    exporters.provider.shutdown()?;
    done?;
    if arguments.otlp.is_some() || arguments.serve.is_some() {
        return Ok(());
    }
    let pushed: Result<Vec<_>, _> = collector
        .requests()
        .into_iter()
        .map(|request| ExportMetricsServiceRequest::decode(request.body))
        .collect();
    expect("OTLP", pushed_count(&pushed?))
}

/// Returns the number of lost responses in the last push that has it.
fn pushed_count(pushed: &[ExportMetricsServiceRequest]) -> Option<f64> {
    let scopes = pushed
        .iter()
        .flat_map(|push| &push.resource_metrics)
        .flat_map(|of_resource| &of_resource.scope_metrics);
    let metrics = scopes.flat_map(|scope| &scope.metrics);
    let mut lost = metrics.filter(|metric| metric.name == "sevenhops.call.effect_possible");
    let Data::Sum(sum) = lost.next_back()?.data.as_ref()? else {
        return None;
    };
    let counts = sum.data_points.iter().map(|point| match point.value {
        Some(Value::AsInt(count)) => count as f64,
        Some(Value::AsDouble(count)) => count,
        None => 0.0,
    });
    Some(counts.sum())
}

/// Makes the calls, and looks at the page that Prometheus would scrape.
async fn call(exporters: &Exporters, arguments: &Arguments) -> Outcome<()> {
    let server = FaultServer::builder().start().await?;
    let client = Client::builder(Duration::from_secs(5))
        .metrics(&Metrics::global())
        .build()?;
    let address = arguments.serve.unwrap_or(OWN);
    let scraped = exporters.serve(address).await?;
    println!("Prometheus may scrape http://{scraped}/metrics");
    loop {
        server.on_request([
            CannedResponse::new(StatusCode::OK).into(),
            Reply::ResetAfterRequest,
        ]);
        client.get(server.url("/charges")).fetch_bytes().await?;
        let lost = client.post(server.url("/charges")).body("amount=100");
        let Err(error) = lost.send().await else {
            return Err("the server resets this request".into());
        };
        if error.effect() != Effect::Possible {
            return Err(error.into());
        }
        if arguments.serve.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let page = Client::builder(Duration::from_secs(5)).build()?;
    let page = page
        .get(format!("http://{scraped}/metrics"))
        .fetch_bytes()
        .await?;
    let page = String::from_utf8_lossy(&page);
    let name = "sevenhops_call_effect_possible_total{";
    let line = page.lines().find(|line| line.starts_with(name));
    println!("{}", line.unwrap_or_default());
    let value = line.and_then(|line| line.rsplit(' ').next());
    expect("Prometheus", value.and_then(|value| value.parse().ok()))
}

fn expect(who: &str, lost: Option<f64>) -> Outcome<()> {
    match lost {
        Some(1.0) => {
            println!("{who} has 1 call whose effect is possible");
            Ok(())
        }
        other => {
            Err(format!("{who} should have 1 call whose effect is possible: {other:?}").into())
        }
    }
}

/// Any free port.
const OWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
