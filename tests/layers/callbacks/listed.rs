//! Checks the table in docs/callbacks.md against the sources: every function argument and every user-implemented trait
//! must be listed.

use std::collections::BTreeSet;
use std::path::Path;

const DOC: &str = include_str!("../../../docs/callbacks.md");

/// Functions that take the user's work, or that store no callback.
const NO_CALLBACKS: [&str; 1] = ["run"];

/// Traits that only this crate or services implement.
const NO_CALLBACK_TRAITS: [&str; 5] = ["BodyCloner", "HttpResponse", "IntoUrl", "Resend", "Sealed"];

fn sources(folder: &Path, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("testing") {
            // The callbacks of this module belong to a test: there, a panic is the purpose.
            continue;
        }
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

/// Returns the names of public functions whose signature takes a function.
fn takes_a_function(source: &str) -> impl Iterator<Item = &str> {
    let public = source.split("\n    pub ").skip(1);
    public.filter_map(|item| {
        let signature = item.split('{').next()?;
        let (_, named) = signature.split_once("fn ")?;
        let (name, rest) = named.split_once(['(', '<'])?;
        let arguments = rest.split("->").next().unwrap_or_default();
        let is_function = rest.contains("Fn(") || rest.contains("FnMut(");
        (is_function || arguments.contains(": fn(")).then_some(name)
    })
}

fn public_traits(source: &str) -> impl Iterator<Item = &str> {
    let traits = source.split("\npub trait ").skip(1);
    traits.filter_map(|item| item.split([':', '<', ' ']).next())
}

#[test]
fn every_callback_is_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    sources(&root, &mut all);
    let mut missing = BTreeSet::new();
    let mut found = 0;
    for source in &all {
        let functions = takes_a_function(source).filter(|name| !NO_CALLBACKS.contains(name));
        let traits = public_traits(source).filter(|name| !NO_CALLBACK_TRAITS.contains(name));
        let functions = functions.map(|name| (name, format!("::{name}`")));
        let traits = traits.map(|name| (name, format!("`{name}::")));
        for (name, written) in functions.chain(traits) {
            found += 1;
            if !DOC.contains(&written) {
                missing.insert(name);
            }
        }
    }
    assert_eq!(missing, BTreeSet::new());
    assert!(found >= 15, "the sources are read: {found}");
}
