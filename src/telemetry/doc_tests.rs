//! Checks the tables in the docs against those in the code.

use super::{EVENTS, METRICS, SPANS};
use crate::hop::failure_catalog;

const DOC: &str = include_str!("../../docs/telemetry.md");

/// Returns the rows below a heading, without the header row.
fn table(heading: &str) -> Vec<&'static str> {
    let section = DOC.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    rows.skip(1).collect()
}

fn fields(fields: &[&str]) -> String {
    let own = fields.strip_suffix(FAILURE);
    let mut shown: Vec<_> = own
        .unwrap_or(fields)
        .iter()
        .map(|field| format!("`{field}`"))
        .collect();
    if own.is_some() {
        shown.push("*failure*".to_owned());
    }
    if shown.is_empty() {
        shown.push("–".to_owned());
    }
    shown.join(", ")
}

const FAILURE: &[&str] = &[
    "sevenhops.hop",
    "sevenhops.kind",
    "sevenhops.effect",
    "error.type",
    "otel.status_code",
];

#[test]
fn spans_are_printed_as_they_are() {
    let rows = SPANS.iter().map(|span| {
        let parent = span.parent.unwrap_or("the caller's");
        format!("| `{}` | {parent} | {} |", span.name, fields(span.fields))
    });
    assert_eq!(table("Spans"), rows.collect::<Vec<_>>());
}

#[test]
fn events_are_printed_as_they_are() {
    let rows = EVENTS
        .iter()
        .map(|event| format!("| `{}` | {} |", event.name, fields(event.fields)));
    assert_eq!(
        table("Events on the span of the call"),
        rows.collect::<Vec<_>>()
    );
}

#[test]
fn metrics_are_printed_as_they_are() {
    let rows = METRICS.iter().map(|metric| {
        format!(
            "| `{}` | {}, {} | {} | {} |",
            metric.name,
            metric.instrument,
            metric.unit,
            metric.description,
            fields(metric.attributes)
        )
    });
    assert_eq!(table("Metrics"), rows.collect::<Vec<_>>());
}

#[test]
fn names_of_failures_are_printed_as_they_are() {
    let rows = failure_catalog().iter().map(|name| {
        let span = name.span().unwrap_or("–");
        format!(
            "| {} | {} | `{}` | {span} |",
            name.hop, name.kind, name.error_type
        )
    });
    assert_eq!(table("Failures"), rows.collect::<Vec<_>>());
}
