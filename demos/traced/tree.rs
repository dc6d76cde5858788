//! Builds a tree for each trace from decoded OTLP requests, and finds the hop at which it broke. It uses only the
//! parent and `error.type`.

use std::collections::{HashMap, HashSet};
use std::fmt;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

/// A span, as the tree needs it.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) name: String,
    id: Vec<u8>,
    parent: Vec<u8>,
    start: u64,
    took_nanos: u64,
    pub(crate) error_type: Option<String>,
    pub(crate) hop: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) asked: Option<String>,
}

/// All spans of one trace.
pub(crate) struct Tree {
    spans: Vec<Span>,
}

impl Tree {
    /// Returns all traces, in the order in which they began.
    pub(crate) fn read(received: &[ExportTraceServiceRequest]) -> Vec<Self> {
        let mut traces: HashMap<&[u8], Vec<Span>> = HashMap::new();
        for resource in received.iter().flat_map(|one| &one.resource_spans) {
            let about = resource.resource.as_ref();
            let about = about.map_or(&[][..], |about| &about.attributes);
            let service = text(about, "service.name").unwrap_or_default();
            for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
                traces.entry(&span.trace_id).or_default().push(Span {
                    service: service.clone(),
                    name: span.name.clone(),
                    id: span.span_id.clone(),
                    parent: span.parent_span_id.clone(),
                    start: span.start_time_unix_nano,
                    took_nanos: span
                        .end_time_unix_nano
                        .saturating_sub(span.start_time_unix_nano),
                    error_type: text(&span.attributes, "error.type"),
                    hop: text(&span.attributes, "sevenhops.hop"),
                    kind: text(&span.attributes, "sevenhops.kind"),
                    asked: text(&span.attributes, "dns.question.name"),
                });
            }
        }
        let mut trees: Vec<_> = traces.into_values().map(Self::new).collect();
        trees.sort_by_key(|tree| tree.spans.first().map(|span| span.start));
        trees
    }

    fn new(mut spans: Vec<Span>) -> Self {
        spans.sort_by_key(|span| span.start);
        Self { spans }
    }

    /// Returns the root span, if there is one and all others are below it.
    pub(crate) fn root(&self) -> Option<&Span> {
        let ids: HashSet<_> = self.spans.iter().map(|span| &span.id).collect();
        let mut roots = self.spans.iter().filter(|span| !ids.contains(&span.parent));
        let root = roots.next()?;
        roots.next().is_none().then_some(root)
    }

    /// Returns the deepest failing span below failing spans. There the innermost call broke.
    pub(crate) fn cause(&self) -> Option<&Span> {
        let root = self.root()?;
        root.error_type.as_ref()?;
        Some(self.deepest(root, 0).1)
    }

    fn deepest<'s>(&'s self, span: &'s Span, depth: usize) -> (usize, &'s Span) {
        let below = self.below(span, depth);
        let failing = below.filter(|below| below.error_type.is_some());
        failing
            .map(|below| self.deepest(below, depth + 1))
            .max_by_key(|(depth, _)| *depth)
            .unwrap_or((depth, span))
    }

    /// Returns the children of a span. No tree is deeper than its number of spans.
    fn below(&self, span: &Span, depth: usize) -> impl Iterator<Item = &Span> {
        let below = self.spans.iter().filter(move |_| depth < self.spans.len());
        below.filter(|below| below.parent == span.id)
    }

    fn draw(&self, f: &mut fmt::Formatter<'_>, span: &Span, depth: usize) -> fmt::Result {
        let indent = "  ".repeat(depth);
        let label = format!("{indent}{} {}", span.service, span.name);
        let millis = span.took_nanos / 1_000;
        write!(
            f,
            "{label:<44}{:>6}.{:03} ms",
            millis / 1_000,
            millis % 1_000
        )?;
        if let Some(error_type) = &span.error_type {
            write!(f, "  ✗ {error_type}")?;
        }
        writeln!(f)?;
        for below in self.below(span, depth) {
            self.draw(f, below, depth + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.root() {
            Some(root) => self.draw(f, root, 0),
            None => writeln!(f, "{} spans that are not one tree", self.spans.len()),
        }
    }
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let pair = attributes.iter().find(|pair| pair.key == key)?;
    match &pair.value {
        Some(AnyValue {
            value: Some(Value::StringValue(text)),
        }) => Some(text.clone()),
        _ => None,
    }
}
