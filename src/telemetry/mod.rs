//! Spans, events, metrics and trace propagation, with the names of OpenTelemetry.
//!
#![doc = include_str!("../../docs/telemetry.md")]

mod attempt;
mod events;
mod macros;
pub(crate) mod names;
#[cfg(feature = "otel")]
pub mod otel;
mod propagator;
mod span;
mod spans;
mod stage;
mod thread;
pub(crate) mod values;

pub use self::names::{EVENTS, EventName, METRICS, MetricName, SPANS, SpanName};
pub(crate) use self::propagator::ContainedPropagator;
pub use self::propagator::{Link, Propagator};

pub(crate) use self::attempt::AttemptSpans;
pub(crate) use self::events::{circuit, note, rate_limit_store};
pub(crate) use self::span::{Entered, Maker, Span};
pub(crate) use self::spans::{EventSpan, Subject, call_span, end_call, operation_span};
#[cfg(feature = "client")]
pub(crate) use self::spans::{decode_span, encode_span, invalid, mark};

#[cfg(test)]
mod doc_tests;
