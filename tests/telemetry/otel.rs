//! Tests the data that an OpenTelemetry SDK receives: spans, links, contexts, metrics.
#![cfg_attr(
    test,
    expect(clippy::duplicate_mod, reason = "the same tests, by two ways")
)]

#[cfg(test)]
mod gauges;
#[cfg(test)]
pub(crate) mod metrics;

/// Spans through `tracing` and its OpenTelemetry layer.
#[cfg(test)]
#[path = "otel"]
pub(crate) mod by_tracing {
    pub(crate) const DIRECT: bool = false;
    pub(crate) mod collected;
    mod context;
    mod edges;
    mod operations;
    mod propagation;
    mod spans;
}

/// The same spans, created directly with the OpenTelemetry API.
#[cfg(test)]
#[path = "otel"]
mod direct {
    pub(crate) const DIRECT: bool = true;
    mod collected;
    mod context;
    mod edges;
    mod operations;
    mod propagation;
    mod spans;
    mod without_tracing;
}
