//! The wiring: one meter provider with two readers. Copy this into your program.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry::global;
use opentelemetry_otlp::{MetricExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};
use sevenhops::testing::TestCa;
use tokio::net::TcpListener;

use super::Outcome;

/// The exporters of this process.
pub(crate) struct Exporters {
    pub(crate) provider: SdkMeterProvider,
    registry: Registry,
}

impl Exporters {
    /// Installs the meter provider of the process. Do this before `Metrics::global()`.
    pub(crate) fn install(otlp: &str) -> Outcome<Self> {
        let registry = Registry::new();
        let scraped = opentelemetry_prometheus::exporter().with_registry(registry.clone());
        // This demo uses plain HTTP. Your program needs no TLS config here if reqwest has a provider.
        let plain = reqwest::blocking::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(TestCa::new()?.client_config())
            .build()?;
        let pushed = MetricExporter::builder()
            .with_http()
            .with_http_client(plain)
            .with_endpoint(otlp)
            .build()?;
        let provider = SdkMeterProvider::builder()
            .with_resource(Resource::builder().with_service_name("exporters").build())
            .with_reader(scraped.build()?)
            .with_periodic_exporter(pushed)
            .build();
        global::set_meter_provider(provider.clone());
        Ok(Self { provider, registry })
    }

    /// Serves the page that Prometheus scrapes. Returns its address.
    pub(crate) async fn serve(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let (address, registry) = (listener.local_addr()?, self.registry.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let registry = registry.clone();
                let serve = service_fn(move |_: Request<Incoming>| {
                    let page = page(&registry);
                    async { Ok::<_, Infallible>(page) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), serve);
                tokio::spawn(connection);
            }
        });
        Ok(address)
    }
}

fn page(registry: &Registry) -> Response<Full<Bytes>> {
    let text = TextEncoder::new().encode_to_string(&registry.gather());
    let mut response = Response::new(Full::default());
    match text {
        Ok(text) => *response.body_mut() = Full::from(text),
        Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    let kind = http::HeaderValue::from_static(TEXT_FORMAT);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
