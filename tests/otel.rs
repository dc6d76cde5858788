//! What arrives at an OpenTelemetry SDK: spans, links, contexts, metrics.

#[cfg(test)]
#[path = "listen/mod.rs"]
mod listen;
#[cfg(test)]
#[path = "mock/mod.rs"]
mod mock;
#[cfg(test)]
#[path = "net/mod.rs"]
mod net;

#[cfg(test)]
#[path = "otel/context.rs"]
mod context;
#[cfg(test)]
#[path = "otel/metrics.rs"]
mod metrics;
#[cfg(test)]
#[path = "otel/otlp.rs"]
mod otlp;
#[cfg(test)]
#[path = "otel/propagation.rs"]
mod propagation;
#[cfg(test)]
#[path = "../examples/traced/receiver.rs"]
mod receiver;
#[cfg(test)]
#[path = "otel/spans.rs"]
mod spans;
#[cfg(test)]
#[path = "otel/told.rs"]
mod told;
#[cfg(test)]
#[path = "../examples/traced/tree.rs"]
mod tree;
