//! The entries of the tables.

/// A span and its possible fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpanName {
    /// Its name.
    pub name: &'static str,
    /// Its parent span, if that is a span of this crate.
    pub parent: Option<&'static str>,
    /// Its fields.
    pub fields: &'static [&'static str],
}

/// An event on the span of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventName {
    /// Its message.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [&'static str],
}

/// A metric (feature `otel`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricName {
    /// Its name.
    pub name: &'static str,
    /// Histogram, counter or gauge.
    pub instrument: &'static str,
    /// Its unit, in UCUM.
    pub unit: &'static str,
    /// The attributes of its series.
    pub attributes: &'static [&'static str],
    /// Its description.
    pub description: &'static str,
}

pub(super) const fn span(
    name: &'static str,
    parent: Option<&'static str>,
    fields: &'static [&'static str],
) -> SpanName {
    SpanName {
        name,
        parent,
        fields,
    }
}

pub(super) const fn event(name: &'static str, fields: &'static [&'static str]) -> EventName {
    EventName { name, fields }
}

pub(super) const fn metric(
    name: &'static str,
    (instrument, unit): (&'static str, &'static str),
    attributes: &'static [&'static str],
    description: &'static str,
) -> MetricName {
    MetricName {
        name,
        instrument,
        unit,
        attributes,
        description,
    }
}
