//! The page of errors and the catalog in code have the same entries.

use super::*;
use crate::hop::failure_catalog;

const PAGE: &str = include_str!("../../../docs/errors.md");

/// Returns the headings of the page's entries.
fn headings() -> Vec<&'static str> {
    let headings = PAGE.lines().filter_map(|line| line.strip_prefix("### "));
    headings.collect()
}

/// Returns the text of an entry in one line.
fn entry(heading: &str) -> String {
    let entry = PAGE.split(&format!("\n### {heading}\n\n")).nth(1);
    let entry = entry.unwrap_or_else(|| panic!("no entry: {heading}"));
    let entry = entry.split("\n#").next().unwrap_or(entry);
    entry.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns each heading that the page must have, in order, with its explanation.
fn catalog() -> Vec<(String, Explanation)> {
    let of_call = Effect::unsent();
    let failures = failure_catalog().iter().map(|name| {
        let explanation = Explanation::of_failure(name.hop, name.kind, of_call);
        (format!("{}: {}", name.hop, name.kind), explanation)
    });
    let kinds = |table: &'static [Text]| table.iter().flat_map(|text| text.kinds);
    let rejections = kinds(REJECTIONS).map(|kind| {
        let explanation = Explanation::of_rejection(*kind, of_call);
        (format!("rejected: {kind}"), explanation)
    });
    let operations = kinds(OPERATIONS).map(|kind| {
        let explanation = Explanation::of_operation(*kind, of_call);
        (format!("operation: {kind}"), explanation)
    });
    let others = [
        (
            "operation: any other kind".to_owned(),
            Explanation::without_hop(true, Kind::Other, of_call),
        ),
        (
            "not ready: other".to_owned(),
            Explanation::without_hop(false, Kind::Other, of_call),
        ),
    ];
    let listed = failures.chain(rejections).chain(operations);
    listed.chain(others).collect()
}

#[test]
fn page_has_one_entry_for_each_failure_in_the_order_of_the_catalog() {
    let catalog = catalog();
    let expected: Vec<_> = catalog
        .iter()
        .map(|(heading, _)| heading.as_str())
        .collect();
    assert_eq!(headings(), expected);
}

#[test]
fn page_and_explanation_have_the_same_words() {
    for (heading, explanation) in catalog() {
        let expected = format!(
            "{} - Effect: {} - Action: {}",
            explanation.meaning(),
            explanation.effect(),
            explanation.action()
        );
        assert_eq!(entry(&heading), expected, "{heading}");
    }
}

#[test]
fn no_failure_of_the_catalog_is_unknown_and_no_text_is_unused() {
    let catalog = catalog();
    for (heading, explanation) in &catalog {
        assert_ne!(explanation.text, UNKNOWN, "{heading}");
    }
    for text in HOPS {
        let described = text.hops.len() * text.kinds.len();
        let listed = catalog.iter().filter(|(_, found)| found.text == *text);
        assert_eq!(listed.count(), described, "{text:?}");
    }
}

#[test]
fn every_rejection_has_a_text() {
    for kind in [
        Kind::CircuitOpen,
        Kind::ClientThrottled,
        Kind::ConcurrencyLimit,
        Kind::RateLimit,
        Kind::KeyExpired,
        Kind::RedirectLoop,
        Kind::TooManyRedirects,
        Kind::RedirectRefused,
        Kind::Timeout,
    ] {
        assert_ne!(among(REJECTIONS, kind), None, "{kind}");
    }
}

#[test]
fn operation_has_the_text_of_its_work_for_every_kind_but_timeout() {
    let text = |kind| Explanation::without_hop(true, kind, Effect::None).text;
    for kind in [
        Kind::Refused,
        Kind::Reset,
        Kind::Unacknowledged,
        Kind::Other,
    ] {
        assert_eq!(text(kind), WORK, "{kind}");
    }
    assert_eq!(Some(text(Kind::Timeout)), among(OPERATIONS, Kind::Timeout));
}

#[test]
fn failure_of_a_request_without_a_hop_is_an_operations_unless_its_effect_is_none() {
    let text = |effect| Explanation::without_hop(false, Kind::Other, effect).text;
    assert_eq!(text(Effect::None), UNREADY);
    assert_eq!(text(Effect::Possible), WORK);
}

#[test]
fn explanation_is_written_as_four_lines() {
    let explanation =
        Explanation::of_failure(Hop::Connect, Kind::Refused, Effect::unsent().unproved());
    assert_eq!(
        explanation.to_string(),
        "Meaning: The host answered that no process listens on the port.\n\
         Effect of the attempt: none. No byte of the request was written.\n\
         Effect of the call: possible\n\
         Action: Check that the service runs and listens on this address and port. During a \
         deployment, this failure is transient."
    );
}
