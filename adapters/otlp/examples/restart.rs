//! Exports a span to a collector that loses the first response.
//!
//! ```text
//! cargo run -p sevenhops-otlp --example restart
//! ```

use std::error::Error;
use std::time::Duration;

use http::StatusCode;
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::trace::SdkTracerProvider;
use sevenhops::Client;
use sevenhops::testing::{CannedResponse, FaultServer, Reply};
use sevenhops_otlp::OtlpHttpClient;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let collector = FaultServer::start().await?;
    collector.on_request([Reply::CloseAfterRequest]);
    collector.default_reply(CannedResponse::new(StatusCode::OK));
    let client =
        Client::builder(Duration::from_secs(10)).on_complete(|timeline| println!("{timeline}"));
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(collector.url("/v1/traces"))
        .with_http_client(OtlpHttpClient::over(client.build()?)?)
        .with_retry_policy(RetryPolicy::disabled())
        .build()?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .build();
    provider.tracer("example").start("work").end();
    tokio::task::spawn_blocking(move || provider.force_flush()).await??;
    assert_eq!(collector.requests_seen(), 2);
    println!("exported, after 2 requests");
    Ok(())
}
