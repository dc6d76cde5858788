//! OpenTelemetry (feature `otel`): metrics, W3C propagation, links, spans without `tracing`. It uses the API and the
//! providers that the application installed, so it works with any SDK.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use sevenhops::Client;
//! use sevenhops::telemetry::otel::{Metrics, TraceContext};
//!
//! # fn f() -> Result<(), sevenhops::ConfigError> {
//! let client = Client::builder(Duration::from_secs(10))
//!     .trace_propagator(TraceContext) // traceparent, tracestate, baggage
//!     .metrics(&Metrics::global()) // after the application has installed its meter provider
//!     .build()?;
//! # drop(client); Ok(()) }
//! ```
//!
//! Spans need neither: `tracing_opentelemetry::layer()` in the application's subscriber exports them. If the overhead
//! of `tracing` matters, [`Spans`] creates them directly with the OpenTelemetry API.

mod attributes;
mod context;
mod direct;

pub use self::context::TraceContext;
pub use self::direct::Spans;
pub use crate::metrics::Metrics;

pub(crate) use self::attributes::OtelAttributes;
pub(crate) use self::context::extract;
pub(crate) use self::direct::{Attached, Direct};
