use std::borrow::Cow;

use opentelemetry::trace::{SpanBuilder, SpanKind, SpanRef, Status};
use opentelemetry::{KeyValue, StringValue, Value};
use tracing::field::Empty;

/// The kind and the attributes of a new span or an event.
pub(crate) struct OtelAttributes {
    kind: SpanKind,
    pub(super) attributes: Vec<KeyValue>,
}

/// The span of a successful call has at most this many attributes.
const ENOUGH: usize = 12;

// Inlined, so that the compiler resolves the keys.
impl OtelAttributes {
    /// Creates an empty value with room for this many attributes.
    #[inline]
    pub(crate) fn with_room(room: usize) -> Self {
        Self {
            kind: SpanKind::Internal,
            attributes: Vec::with_capacity(room.min(ENOUGH)),
        }
    }

    #[inline]
    #[must_use]
    pub(crate) fn say(mut self, key: &'static str, what: impl AttributeValue) -> Self {
        match (key, what.said()) {
            (_, None) => {}
            (KIND, Some(kind)) if kind.as_str() == "client" => self.kind = SpanKind::Client,
            (KIND, Some(_)) => {}
            (key, Some(value)) => self.attributes.push(KeyValue::new(key, value)),
        }
        self
    }

    pub(super) fn into_builder(self, name: Cow<'static, str>) -> SpanBuilder {
        SpanBuilder::from_name(name)
            .with_kind(self.kind)
            .with_attributes(self.attributes)
    }
}

/// Records more attributes on an open span.
pub(crate) struct OtelSpan<'s>(pub(super) SpanRef<'s>);

impl OtelSpan<'_> {
    #[inline]
    #[must_use]
    pub(crate) fn say(self, key: &'static str, what: impl AttributeValue) -> Self {
        match (key, what.said()) {
            (_, None) => {}
            (STATUS, Some(_)) => self.0.set_status(Status::error("")),
            (key, Some(value)) => self.0.set_attribute(KeyValue::new(key, value)),
        }
        self
    }
}

// The names that `tracing-opentelemetry` uses.
const KIND: &str = "otel.kind";
const STATUS: &str = "otel.status_code";

/// Converts a value of a span; `None` is not recorded.
pub(crate) trait AttributeValue {
    fn said(self) -> Option<Value>;
}

impl AttributeValue for Empty {
    fn said(self) -> Option<Value> {
        None
    }
}

impl<T: AttributeValue> AttributeValue for Option<T> {
    fn said(self) -> Option<Value> {
        self.and_then(T::said)
    }
}

impl AttributeValue for &'static str {
    fn said(self) -> Option<Value> {
        Some(StringValue::from(self).into())
    }
}

macro_rules! said {
    ($($kind:ty),+) => {
        $(impl AttributeValue for $kind {
            fn said(self) -> Option<Value> {
                Some(self.into())
            }
        })+
    };
}

said!(String, bool, i64, f64);
