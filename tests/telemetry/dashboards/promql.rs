//! Finds the names in an expression of PromQL.

use std::collections::BTreeSet;

/// The names in an expression.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Query {
    pub(super) metrics: BTreeSet<String>,
    /// The labels in selectors, each with its metric.
    pub(super) selected: Vec<(String, String)>,
    /// The labels of `by`, `on` and their like.
    pub(super) grouped: BTreeSet<String>,
}

/// Reads an expression without comments.
pub(super) fn read(expr: &str) -> Query {
    let mut query = Query::default();
    let (mut metric, mut list) = (String::new(), false);
    let (mut in_braces, mut rest) = (false, expr);
    while let Some(first) = rest.chars().next() {
        let word = word(rest);
        if word.is_empty() {
            rest = match first {
                '"' => after(&rest[1..], '"'),
                '[' => after(rest, ']'),
                _ => {
                    in_braces = (in_braces || first == '{') && first != '}';
                    list &= first != ')';
                    &rest[first.len_utf8()..]
                }
            };
            continue;
        }
        rest = &rest[word.len()..];
        let is_called = rest.trim_start().starts_with('(');
        if in_braces {
            query.selected.push((metric.clone(), word.to_owned()));
        } else if list {
            query.grouped.insert(word.to_owned());
        } else if LISTS.contains(&word) {
            list = is_called;
        } else if !is_called && !OPERATORS.contains(&word) && !word.starts_with(char::is_numeric) {
            metric = word.to_owned();
            query.metrics.insert(metric.clone());
        }
    }
    query
}

/// Returns the names that follow a mark in a text.
pub(super) fn names_in<'t>(text: &'t str, mark: &str) -> BTreeSet<&'t str> {
    let names = text.split(mark).skip(1).map(word);
    names.filter(|name| !name.is_empty()).collect()
}

fn word(text: &str) -> &str {
    let is_part = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | ':' | '.');
    let end = text.find(|char| !is_part(char)).unwrap_or(text.len());
    &text[..end]
}

fn after(text: &str, end: char) -> &str {
    text.split_once(end).map_or("", |(_, rest)| rest)
}

const LISTS: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];
const OPERATORS: [&str; 8] = ["or", "and", "unless", "offset", "bool", "sum", "min", "max"];

#[test]
fn names_are_found_by_their_places() {
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let found = read(
        r#"sum by (le, a) (rate(x_total{b=~"c|{d}",e="f"}[5m])) / on (a) group_left y:z > 0.05 or g offset 5m"#,
    );
    let selected = [("x_total", "b"), ("x_total", "e")];
    let expected = Query {
        metrics: text(&["x_total", "y:z", "g"]),
        selected: selected
            .map(|(metric, label)| (metric.to_owned(), label.to_owned()))
            .into(),
        grouped: text(&["le", "a"]),
    };
    assert_eq!(found, expected);
    assert_eq!(names_in("{{a}} at {{b}}", "{{"), BTreeSet::from(["a", "b"]));
}
