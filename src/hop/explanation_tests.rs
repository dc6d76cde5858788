//! The page of errors has an entry for each failure, in the order of the catalog.

use super::*;
use crate::hop::failure_catalog;

const PAGE: &str = include_str!("../../docs/errors.md");

/// The kinds of a rejection, in the order of the page.
const REJECTIONS: [Kind; 9] = [
    Kind::CircuitOpen,
    Kind::ClientThrottled,
    Kind::ConcurrencyLimit,
    Kind::RateLimit,
    Kind::KeyExpired,
    Kind::RedirectLoop,
    Kind::TooManyRedirects,
    Kind::RedirectRefused,
    Kind::Timeout,
];

#[test]
fn page_has_one_entry_for_each_failure_in_the_order_of_the_catalog() {
    let failures = failure_catalog().iter();
    let failures = failures.map(|row| format!("{}: {}", row.hop, row.kind));
    let rejections = REJECTIONS.map(|kind| format!("rejected: {kind}"));
    let others = ["operation: timeout", "operation: other", "not ready: other"];
    let others = others.map(str::to_owned);
    let expected: Vec<_> = failures.chain(rejections).chain(others).collect();
    let headings = PAGE.lines().filter_map(|line| line.strip_prefix("### "));
    assert_eq!(headings.collect::<Vec<_>>(), expected);
    for heading in &expected {
        assert!(ENTRIES.contains_key(&**heading), "{heading}");
    }
}

#[test]
fn each_part_of_an_entry_is_text_without_markdown() {
    for (heading, entry) in &*ENTRIES {
        for text in [&entry.meaning, &entry.effect, &entry.action] {
            assert!(text.ends_with('.'), "{heading}: {text}");
            assert!(!text.contains(['#', '\n']), "{heading}: {text}");
        }
    }
}

#[test]
fn kind_without_an_entry_has_the_entry_of_its_hops_other_failures() {
    let meaning = |hop, kind| Explanation::of_failure(hop, kind, Effect::Possible).meaning();
    assert_eq!(
        meaning(Hop::Connect, Kind::Malformed),
        "The connection failed for another reason."
    );
    assert_eq!(meaning(Hop::Decode, Kind::Refused), UNKNOWN.meaning);
}

#[test]
fn operation_has_the_text_of_its_work_for_every_kind_but_timeout() {
    let meaning = |kind| Explanation::without_hop(true, kind, Effect::None).meaning();
    for kind in [Kind::Refused, Kind::Reset, Kind::Unacknowledged] {
        assert_eq!(meaning(kind), meaning(Kind::Other), "{kind}");
    }
    assert_ne!(meaning(Kind::Timeout), meaning(Kind::Other));
}

#[test]
fn failure_of_a_request_without_a_hop_is_an_operations_unless_its_effect_is_none() {
    let entry = |effect| Explanation::without_hop(false, Kind::Other, effect).entry;
    assert_eq!(entry(Effect::None), &ENTRIES["not ready: other"]);
    assert_eq!(entry(Effect::Possible), &ENTRIES["operation: other"]);
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
