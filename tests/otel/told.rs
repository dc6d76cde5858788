//! What the SDK was told of spans, from one test's thread.
#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "no test needs all of it"
)]

use opentelemetry::trace::{SpanId, TracerProvider};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

/// An SDK that keeps what it is told.
pub(crate) struct Told {
    exporter: InMemorySpanExporter,
    provider: SdkTracerProvider,
    _listening: DefaultGuard,
}

impl Told {
    pub(crate) fn listen() -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("test"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        let subscriber = tracing_subscriber::registry().with(layer);
        Self {
            exporter,
            provider,
            _listening: crate::listen::listen(subscriber),
        }
    }

    /// The spans that are over, in the order in which they ended.
    pub(crate) fn spans(&self) -> Vec<SpanData> {
        self.provider.force_flush().unwrap();
        self.exporter.get_finished_spans().unwrap()
    }

    /// The spans by name.
    pub(crate) fn named(&self, name: &str) -> Vec<SpanData> {
        let mut spans = self.spans();
        spans.retain(|span| span.name == name);
        spans
    }

    /// The only span of that name.
    pub(crate) fn only(&self, name: &str) -> SpanData {
        let mut spans = self.named(name);
        assert_eq!(spans.len(), 1, "{name}");
        spans.remove(0)
    }

    /// The tree: each span below the one that it is part of, in the order in which they began.
    pub(crate) fn tree(&self) -> Vec<String> {
        let mut spans = self.spans();
        spans.sort_by_key(|span| span.start_time);
        assert_within_their_parents(&spans);
        let mut drawn = Vec::new();
        draw(&spans, SpanId::INVALID, 0, &mut drawn);
        assert_eq!(drawn.len(), spans.len(), "no span is lost");
        drawn
    }
}

/// No span begins before the one that it is part of, or ends after it, by the times that are exported; and
/// none says a thing twice.
fn assert_within_their_parents(spans: &[SpanData]) {
    for span in spans {
        let mut keys: Vec<_> = span
            .attributes
            .iter()
            .map(|pair| pair.key.as_str())
            .collect();
        keys.sort_unstable();
        assert!(
            keys.windows(2).all(|two| two[0] != two[1]),
            "{}: {keys:?}",
            span.name
        );
        let is_parent = |other: &&SpanData| other.span_context.span_id() == span.parent_span_id;
        if let Some(parent) = spans.iter().find(is_parent) {
            let within = parent.start_time <= span.start_time && span.end_time <= parent.end_time;
            assert!(within, "{} in {}", span.name, parent.name);
        }
    }
}

fn draw(spans: &[SpanData], parent: SpanId, depth: usize, drawn: &mut Vec<String>) {
    for span in spans.iter().filter(|span| span.parent_span_id == parent) {
        let failed = text(span, "error.type").map_or(String::new(), |word| format!(" ✗ {word}"));
        drawn.push(format!("{}{}{failed}", "  ".repeat(depth), span.name));
        draw(spans, span.span_context.span_id(), depth + 1, drawn);
    }
}

pub(crate) fn attribute<'s>(span: &'s SpanData, key: &str) -> Option<&'s Value> {
    value(&span.attributes, key)
}

pub(crate) fn value<'v>(values: &'v [KeyValue], key: &str) -> Option<&'v Value> {
    let pair = values.iter().find(|pair| pair.key.as_str() == key)?;
    Some(&pair.value)
}

pub(crate) fn text(span: &SpanData, key: &str) -> Option<String> {
    attribute(span, key).map(|value| value.as_str().into_owned())
}
