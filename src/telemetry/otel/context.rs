use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::Injector;
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, global};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::telemetry::{Link, Propagator};

/// Lets the trace go along as the application's global propagator writes it: install
/// `TraceContextPropagator` and `BaggagePropagator` for W3C's `traceparent`, `tracestate` and `baggage`.
///
/// The context is that of the attempt's span, as `tracing-opentelemetry` has it; where no span is listened
/// to, it is the current one, so that a caller's trace is passed on all the same.
///
/// An attempt over a connection that another one set up is linked to the span of that set-up.
#[expect(clippy::exhaustive_structs, reason = "it has nothing to be told")]
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

struct Headers<'h>(&'h mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, name: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
