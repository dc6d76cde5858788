//! Collects the spans that the SDK received from one test's thread.
#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "no test needs all of it"
)]

use std::cell::{Cell, RefCell};
use std::sync::LazyLock;
use std::time::Duration;

use opentelemetry::trace::{SpanId, TracerProvider, get_active_span};
use opentelemetry::{Context, KeyValue, Value, global};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use sevenhops::telemetry::otel::Spans;
use sevenhops::{Client, ClientBuilder, DeadlineLayer, Operation, StandardLayer};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

use crate::net::Net;

/// An SDK that keeps the spans that it receives.
pub(crate) struct Told {
    _listening: DefaultGuard,
}

/// Keeps the spans that end on a thread with that thread, which belongs to one test.
#[derive(Debug)]
struct Keeper;

thread_local! {
    /// Whether the end of a span adds an event to the current one.
    pub(crate) static TOUCHES: Cell<bool> = const { Cell::new(false) };
    static KEPT: RefCell<Vec<SpanData>> = const { RefCell::new(Vec::new()) };
}

impl SpanProcessor for Keeper {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if TOUCHES.get() {
            get_active_span(|current| current.add_event("another is over", Vec::new()));
        }
        KEPT.with_borrow_mut(|kept| kept.push(span));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

pub(crate) static PROVIDER: LazyLock<SdkTracerProvider> = LazyLock::new(|| {
    let provider = SdkTracerProvider::builder().with_span_processor(Keeper);
    let provider = provider.build();
    if super::DIRECT {
        global::set_tracer_provider(provider.clone());
    }
    provider
});

/// Builders of spans, configured for the tests of this module.
pub(crate) trait Heard: Sized {
    fn direct(self, spans: &Spans) -> Self;

    fn heard(self) -> Self {
        if !super::DIRECT {
            return self;
        }
        LazyLock::force(&PROVIDER);
        self.direct(&Spans::global())
    }
}

macro_rules! heard {
    ($($made:ty),+) => {
        $(impl Heard for $made {
            fn direct(self, spans: &Spans) -> Self {
                self.spans(spans)
            }
        })+
    };
}

heard!(DeadlineLayer, ClientBuilder, Operation, StandardLayer);

/// Returns a client whose spans are configured for this module's tests.
pub(crate) fn client(net: &Net) -> Client {
    net.builder().heard().build().unwrap()
}

/// Returns a standard stack with the same configuration.
pub(crate) fn standard() -> StandardLayer {
    StandardLayer::new(Duration::from_secs(10)).unwrap().heard()
}

impl Told {
    pub(crate) fn listen() -> Self {
        let layer = tracing_opentelemetry::layer()
            .with_tracer(PROVIDER.tracer("test"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        let subscriber = tracing_subscriber::registry().with(layer);
        KEPT.take();
        Self {
            _listening: crate::listen::listen(subscriber),
        }
    }

    /// Returns the finished spans, in the order in which they ended.
    pub(crate) fn spans(&self) -> Vec<SpanData> {
        KEPT.with_borrow(Clone::clone)
    }

    /// The spans by name.
    pub(crate) fn named(&self, name: &str) -> Vec<SpanData> {
        let mut spans = self.spans();
        spans.retain(|span| span.name == name);
        spans
    }

    /// Returns the only span of that name.
    pub(crate) fn only(&self, name: &str) -> SpanData {
        let mut spans = self.named(name);
        assert_eq!(spans.len(), 1, "{name}");
        spans.remove(0)
    }

    /// Returns the tree: each span below its parent, in the order in which they began.
    pub(crate) fn tree(&self) -> Vec<String> {
        let mut spans = self.spans();
        spans.sort_by_key(|span| span.start_time);
        assert_within_their_parents(&spans);
        let maker = if super::DIRECT { "sevenhops" } else { "test" };
        for span in &spans {
            assert_eq!(span.instrumentation_scope.name(), maker, "{}", span.name);
        }
        let mut drawn = Vec::new();
        draw(&spans, SpanId::INVALID, 0, &mut drawn);
        assert_eq!(drawn.len(), spans.len(), "no span is lost");
        drawn
    }
}

/// Checks that no span begins before its parent or ends after it, by the exported times, and that no span has an
/// attribute twice.
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
