//! One of the processes. It serves each request by a request to the next one.

use std::convert::Infallible;
use std::error::Error;
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry::propagation::Extractor;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, global};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use sevenhops::hop::Har;
use sevenhops::telemetry::otel::TraceContext;
use sevenhops::testing::{ScriptedDns, TestCa};
use sevenhops::{Client, Timeline};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tracing::{Instrument, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The command line of a process.
pub(crate) struct Orders {
    /// The name of the service in its spans.
    pub(crate) name: String,
    /// The origin that it asks.
    pub(crate) next: String,
    /// The receiver of its traces.
    pub(crate) export: String,
}

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

impl Orders {
    /// Reads a command line as [`spawn::start`](crate::spawn::start) writes it. Returns `None` for any other.
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        if arguments.next().as_deref() != Some(PROCESS) {
            return Ok(None);
        }
        let mut value = || arguments.next().ok_or("a process is told three things");
        Ok(Some(Self {
            name: value()?,
            next: value()?,
            export: value()?,
        }))
    }
}

/// Returns the URL of the next request, for the path of the received one.
pub(crate) type Next = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Returns the same path at another origin.
pub(crate) fn along(origin: String) -> Next {
    Arc::new(move |path| format!("{origin}{path}"))
}

/// Runs a process: it asks for these paths, one after another, with this deadline for each. Without a path it serves
/// until the other end of its input is closed. `prepare` sets its network up. The last line that it prints is the HAR
/// of its calls.
pub(crate) fn run(
    orders: &Orders,
    (asks, patience): (&[&str], Duration),
    prepare: impl AsyncFnOnce(&ScriptedDns, &TestCa) -> Outcome<Next>,
) -> Outcome<()> {
    let provider = trace(orders)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let calls = Arc::<Mutex<Vec<Timeline>>>::default();
    let keep = Arc::clone(&calls);
    let done = runtime.block_on(async {
        let (dns, authority) = (ScriptedDns::start().await?, TestCa::new()?);
        let next = prepare(&dns, &authority).await?;
        let client = Client::builder(patience)
            .transport(|transport| {
                transport
                    .resolver(dns.resolver())
                    .tls(authority.client_config())
            })
            .trace_propagator(TraceContext)
            .on_complete(move |timeline| {
                keep.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(timeline.clone())
            })
            .build()?;
        if asks.is_empty() {
            return serve(client, next).await;
        }
        for path in asks {
            ask(&client, &next(path)).await;
        }
        Ok(())
    });
    let calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
    println!("{}", calls.iter().collect::<Har>());
    // Every span is exported before the process ends.
    provider.shutdown()?;
    done
}

/// Makes the call. Its result is in its timeline.
async fn ask(client: &Client, url: &str) -> StatusCode {
    match client
        .get(url)
        .options(|options| options.retry(false))
        .fetch_bytes()
        .await
    {
        Ok(_) => StatusCode::OK,
        Err(error) => {
            eprintln!("    {error}");
            StatusCode::BAD_GATEWAY
        }
    }
}

async fn serve(client: Client, next: Next) -> Outcome<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    // The parent of this process waits for the port.
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    let accept = async {
        while let Ok((stream, _)) = listener.accept().await {
            let (client, next) = (client.clone(), Arc::clone(&next));
            let service =
                service_fn(move |request| answer(client.clone(), Arc::clone(&next), request));
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    };
    let mut input = tokio::io::stdin();
    let mut nothing = [0; 1];
    tokio::select! {
        () = accept => {}
        _ = input.read(&mut nothing) => {}
    }
    Ok(())
}

async fn answer(
    client: Client,
    next: Next,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let span = info_span!(
        target: "traced",
        "serve",
        otel.kind = "server",
        "error.type" = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
    );
    let caller = global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &Headers(request.headers()))
    });
    // It fails only without an exporter: then there is no parent to attach to.
    let _ = span.set_parent(caller);
    let url = next(request.uri().path());
    let status = ask(&client, &url).instrument(span.clone()).await;
    if status.is_server_error() {
        span.record("error.type", status.as_str());
        span.record("otel.status_code", "ERROR");
    }
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}

fn trace(orders: &Orders) -> Outcome<SdkTracerProvider> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(plain()?)
        .with_endpoint(&orders.export)
        .build()?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(
            Resource::builder()
                .with_service_name(orders.name.clone())
                .build(),
        )
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("traced"))
        .with_filter(
            Targets::new()
                .with_target("sevenhops", tracing::Level::INFO)
                .with_target("traced", tracing::Level::INFO),
        );
    tracing_subscriber::registry().with(layer).try_init()?;
    Ok(provider)
}

/// The exporter's own client. It uses plain HTTP here, never TLS.
fn plain() -> Outcome<reqwest::blocking::Client> {
    let tls = TestCa::new()?.client_config();
    let builder = reqwest::blocking::Client::builder().no_proxy();
    Ok(builder.tls_backend_preconfigured(tls).build()?)
}

/// The argument by which a process knows that it is a part of the demo.
pub(crate) const PROCESS: &str = "--process";

struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
