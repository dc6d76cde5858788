//! The page of errors has one entry for each failure, with its effect.

use super::{FailureSpec, Hop, Kind, failure_catalog};

const PAGE: &str = include_str!("../../docs/errors.md");

/// Returns the text of an entry, below its heading.
fn entry(heading: &str) -> &'static str {
    let entry = PAGE.split(&format!("\n### {heading}\n\n")).nth(1);
    let entry = entry.unwrap_or_else(|| panic!("no entry: {heading}"));
    entry.split("\n#").next().unwrap_or(entry)
}

fn heading(name: &FailureSpec) -> String {
    format!("{}: {}", name.hop, name.kind)
}

/// Returns the beginning of the page's line on the effect.
fn effect(name: &FailureSpec) -> &'static str {
    match (name.hop, name.kind) {
        (Hop::Encode | Hop::Dns | Hop::Connect | Hop::Tls, _) | (_, Kind::Unprocessed) => "none. ",
        (Hop::Send, _) => "possible if a connection took the request, else none. ",
        (Hop::Receive | Hop::Decode, _) => "done after a 2xx. ",
        (_, Kind::RedirectRefused) => "declined after 307 and 308, else possible.",
        (_, Kind::ClientError) => "declined after most statuses, possible after ",
        (
            _,
            Kind::Throttled
            | Kind::Unauthorized
            | Kind::ProxyUnauthorized
            | Kind::PreconditionFailed
            | Kind::PreconditionRequired
            | Kind::KeyReused,
        ) => "declined. ",
        (Hop::Gateway | Hop::Server, _) => "possible. ",
    }
}

#[test]
fn every_failure_has_one_entry_in_the_order_of_the_catalog() {
    let entries = PAGE.lines().filter_map(|line| line.strip_prefix("### "));
    let of_hops = entries.filter(|entry| !entry.starts_with("rejected: "));
    let expected: Vec<_> = failure_catalog().iter().map(heading).collect();
    assert_eq!(of_hops.collect::<Vec<_>>(), expected);
}

#[test]
fn every_entry_has_the_effect_and_an_action() {
    for name in failure_catalog() {
        let entry = entry(&heading(name));
        let expected = format!("\n- Effect: {}", effect(name));
        assert!(entry.contains(&expected), "{name:?}: {entry}");
        assert!(entry.contains("\n- Action: "), "{name:?}: {entry}");
    }
}

#[test]
fn every_rejection_has_an_entry() {
    for kind in [
        Kind::CircuitOpen,
        Kind::ClientThrottled,
        Kind::ConcurrencyLimit,
        Kind::RateLimit,
        Kind::KeyExpired,
        Kind::RedirectLoop,
        Kind::TooManyRedirects,
        Kind::Timeout,
    ] {
        let entry = entry(&format!("rejected: {kind}"));
        let effect = match kind {
            Kind::KeyExpired => "\n- Effect: possible. ",
            _ => "\n- Effect: none",
        };
        assert!(entry.contains(effect), "{kind}: {entry}");
        assert!(entry.contains("\n- Action: "), "{kind}: {entry}");
    }
}
