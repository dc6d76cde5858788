use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, global};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::telemetry::{Link, Propagator};

/// Writes the trace into the headers with the application's global propagator. Install `TraceContextPropagator` and
/// `BaggagePropagator` for W3C's `traceparent`, `tracestate` and `baggage`.
///
/// It uses the context of the attempt's span, as `tracing-opentelemetry` keeps it. If that span is disabled, it uses
/// the current context, so that the caller's trace is still passed on.
///
/// An attempt on a connection that another attempt set up is linked to the span of that setup.
#[expect(clippy::exhaustive_structs, reason = "it has no options")]
#[derive(Clone, Copy, Debug)]
pub struct TraceContext;

impl Propagator for TraceContext {
    fn inject(&self, span: &Span, headers: &mut HeaderMap) {
        let of_span = span.context();
        let context = if of_span.span().span_context().is_valid() {
            of_span
        } else {
            Context::current()
        };
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&context, &mut Headers(headers));
        });
    }

    fn link(&self, span: &Span) -> Option<Link> {
        Link::of_tracing(span)
    }
}

/// Reads the trace of an incoming request with the application's global propagator.
pub(crate) fn extract(headers: &HeaderMap) -> Context {
    global::get_text_map_propagator(|propagator| propagator.extract(&Arrived(headers)))
}

struct Arrived<'h>(&'h HeaderMap);

impl Extractor for Arrived<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Headers<'h>(&'h mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, name: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
