//! Tests the spans of a failed call over the wire: exported by the SDK's own exporter, decoded by a receiver of the test.
#![cfg(test)]

#[path = "../traced/receiver.rs"]
mod receiver;
#[path = "../traced/tree.rs"]
mod tree;

use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::trace::SdkTracerProvider;
use sevenhops::Client;
use sevenhops::testing::{DnsScript, ScriptedDns};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::layer::SubscriberExt;

use crate::receiver::Receiver;
use crate::tree::Tree;

/// Makes one call that fails at dns, and exports its telemetry.
async fn call() {
    let dns = ScriptedDns::start().await.unwrap();
    dns.set("gone.test", DnsScript::NxDomain);
    let client = Client::builder(Duration::from_secs(10))
        .transport(|transport| transport.resolver(dns.resolver()));
    let get = client.build().unwrap().get("http://gone.test/").send();
    get.await.unwrap_err();
}

#[test]
fn failing_hop_is_in_the_exported_bytes() {
    let there = Runtime::new().unwrap();
    let receiver = there.block_on(Receiver::start()).unwrap();
    let tls = sevenhops::testing::TestCa::new().unwrap().client_config();
    let plain = reqwest::blocking::Client::builder().no_proxy();
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(plain.tls_backend_preconfigured(tls).build().unwrap())
        .with_endpoint(receiver.url())
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let ours =
        tracing_subscriber::filter::Targets::new().with_target("sevenhops", tracing::Level::INFO);
    let subscriber = tracing_subscriber::registry().with(ours).with(layer);
    let here = Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(subscriber, || here.block_on(call()));
    provider.shutdown().unwrap();
    let trees = Tree::read(&receiver.received());
    assert_eq!(trees.len(), 1, "one call is one trace");
    let cause = trees[0].cause().unwrap();
    assert_eq!(cause.name, "dns");
    assert_eq!(cause.error_type.as_deref(), Some("dns_error"));
    assert_eq!(cause.hop.as_deref(), Some("dns"));
    assert_eq!(cause.kind.as_deref(), Some("not found"));
    assert_eq!(cause.asked.as_deref(), Some("gone.test"));
}
