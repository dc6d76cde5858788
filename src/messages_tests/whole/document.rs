//! Compares the sentences with the file.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use super::sources::Source;
use super::{Section, causes, configs, errors, events, of_modules, printed};

fn sections() -> Vec<Section> {
    let parts = [
        errors::sections(),
        events::sections(),
        causes::sections(),
        of_modules(),
        configs::sections(),
        printed::sections(),
    ];
    parts.concat()
}

fn document() -> String {
    let mut text = "# Sentences, by type\n".to_owned();
    for (heading, sentences) in sections() {
        write!(text, "\n## {heading}\n").unwrap();
        for sentence in sentences {
            writeln!(text, "{}", sentence.trim_end()).unwrap();
        }
    }
    text.push_str("\n# Texts, by source\n");
    for source in Source::all() {
        let texts = source.texts();
        if !texts.is_empty() {
            write!(text, "\n## {}\n{}\n", source.file, texts.join("\n")).unwrap();
        }
    }
    text
}

#[test]
fn every_sentence_is_that_of_the_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages.txt");
    let now = document();
    if std::env::var_os("UPDATE_MESSAGES").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let before = std::fs::read_to_string(&path).unwrap();
    let changed = difference(&before, &now);
    assert!(
        before == now,
        "the sentences differ from tests/messages.txt. Read them, then set UPDATE_MESSAGES=1:\n{changed}"
    );
}

#[test]
fn every_type_with_a_display_is_listed() {
    let types = Source::all().into_iter().flat_map(|source| source.types());
    let types: BTreeSet<_> = types.collect();
    let listed: BTreeSet<_> = sections()
        .into_iter()
        .flat_map(|(heading, _)| heading.split([' ', ','].as_slice()))
        .map(str::to_owned)
        .collect();
    let missing: Vec<_> = types.difference(&listed).collect();
    assert!(missing.is_empty(), "no heading names {missing:?}");
    assert!(types.len() > 60, "{types:?}");
}

/// Returns the lines that only one of two texts has.
fn difference(before: &str, now: &str) -> String {
    let only = |of: &str, other: &str, sign: char| {
        let other: BTreeSet<_> = other.lines().collect();
        let lines = of.lines().filter(|line| !other.contains(line));
        lines
            .map(|line| format!("{sign} {line}\n"))
            .collect::<String>()
    };
    only(before, now, '-') + &only(now, before, '+')
}

#[test]
fn difference_shows_the_lines_that_changed() {
    assert_eq!(difference("a\nb\n", "a\nc\n"), "- b\n+ c\n");
}
