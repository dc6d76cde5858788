//! Checks the table of the options.

use super::Options;

/// One row of the table in the documentation of [`Options`].
struct Row {
    field: &'static str,
    option: &'static str,
    class: &'static str,
    below: &'static str,
    operation: &'static str,
}

const fn row(
    (field, option): (&'static str, &'static str),
    class: &'static str,
    (below, operation): (&'static str, &'static str),
) -> Row {
    Row {
        field,
        option,
        class,
        below,
        operation,
    }
}

const EITHER: (&str, &str) = (
    "false if one of them says so",
    "false if one of them says so",
);
const NOT: &str = "not passed on";

#[rustfmt::skip]
const TABLE: [Row; 20] = [
    row(("deadline", "deadline"), "restraint", ("the earlier instant", "the earlier instant")),
    row(("inherited", "inherit"), "restraint", ("the earlier instant; no retry where a caller retries", "the same")),
    row(("attempts", "attempts"), "restraint", ("the fewer", "the fewer")),
    row(("no_retry", "retry"), "restraint if false", EITHER),
    row(("no_redirects", "follow_redirects"), "restraint if false", EITHER),
    row(("no_key", "generate_key"), "restraint if false", EITHER),
    row(("statuses", "retry_statuses"), "restraint", ("the statuses in both lists", NOT)),
    row(("honors_idempotency_keys", "honors_idempotency_keys"), "restraint if false", ("false if one of them says so", "false if one of them says so")),
    row(("honors_idempotency_keys", "honors_idempotency_keys"), "permission if true", ("for the same method and URI", NOT)),
    row(("consistency", "consistency"), "restraint if `Refuse`", ("`Refuse` if one of them says so", "`Refuse` if one of them says so")),
    row(("consistency", "consistency"), "permission if `StaleFor`", ("for the same method and URI, the shorter", NOT)),
    row(("idempotent", "idempotent"), "permission", ("for the same method and URI", NOT)),
    row(("streaming", "streaming"), "permission", ("for the same method and URI", NOT)),
    row(("key", "idempotency_key"), "demand", ("on the request wherever it is missing", NOT)),
    row(("whole_body", "whole_body"), "demand", ("once, in the innermost attempt", NOT)),
    row(("whole_body", "whole_body"), "restraint: its bound", ("the smaller", "the smaller")),
    row(("affinity", "affinity"), "demand", ("in each one that has none of its own", NOT)),
    row(("route", "route"), "choice", ("for the same method and URI", NOT)),
    row(("priority", "priority"), "choice", ("for the same method and URI", NOT)),
    row(("headers", "keep_headers"), "label", (NOT, NOT)),
];

/// Lists the names of all fields. A new field does not compile here until it is named.
macro_rules! fields {
    ($($(#[$cfg:meta])? $field:ident),* $(,)?) => {{
        let Options { $($(#[$cfg])? $field: _),* } = Options::new();
        [$($(#[$cfg])? stringify!($field)),*]
    }};
}

#[test]
fn every_option_has_a_row_that_says_how_it_is_inherited() {
    let fields = fields!(
        deadline,
        streaming,
        whole_body,
        route,
        priority,
        idempotent,
        no_retry,
        attempts,
        statuses,
        no_redirects,
        key,
        no_key,
        honors_idempotency_keys,
        consistency,
        affinity,
        inherited,
        invalid,
        #[cfg(feature = "har")]
        headers,
    );
    // `invalid` names the first option that is out of range.
    for field in fields.into_iter().filter(|field| *field != "invalid") {
        let has_row = TABLE.iter().any(|row| row.field == field);
        assert!(has_row, "Options::{field} has no row");
    }
}

#[test]
fn documentation_shows_the_table() {
    let source = include_str!("mod.rs");
    let shown: Vec<_> = source
        .lines()
        .filter(|line| line.starts_with("/// | `"))
        .collect();
    let rows = TABLE.iter().map(|row| {
        let Row {
            option,
            class,
            below,
            operation,
            ..
        } = row;
        assert!(source.contains(&format!("pub fn {option}(")), "{option}");
        format!("/// | `{option}` | {class} | {below} | {operation} |")
    });
    assert_eq!(shown, rows.collect::<Vec<_>>());
}
