//! Imports go down only: each module of `src/` is in a line of the table below, and imports from lines below its own.
//! Test code may import from anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules, from the top to the bottom.
const LINES: &[&[&str]] = &[
    &["fuzzing"],
    &["sdk", "client", "server", "testing"],
    &["layer", "presets", "config", "redis"],
    &["driver"],
    &["policy", "transport"],
    &["body", "chaos", "metrics", "recorder"],
    &["diagnose"],
    &["error"],
    &["timeline"],
    &["call", "options", "propagation"],
    &["record"],
    &["telemetry"],
    &["coding", "dns", "registry", "replay"],
    &["hop", "roots"],
    &["timeout"],
    &["config_error", "consistency", "idempotency_key"],
    &["callback", "chain", "serde_forms"],
    &[
        "affinity",
        "box_error",
        "clock",
        "destination",
        "getters",
        "hop_by_hop",
        "retry_after",
        "luck",
        "redact",
    ],
];

/// Imports from the same line.
const SIBLINGS: &[Arrow<'_>] = &[
    ("call", "options"),
    ("options", "propagation"),
    ("sdk", "client"),
    ("layer", "config"),
    ("testing", "sdk"),
];

/// Public paths of names that are defined above: only `pub use` leads there.
const ADDRESSES: &[Arrow<'_>] = &[("hop", "timeline"), ("telemetry", "metrics")];

/// The files that name a variant of `Effect`: only they decide whether a request may have had an effect.
const EFFECT_PLACES: [&str; 10] = [
    "call/effect.rs",
    "diagnose/foreign.rs",
    "diagnose/mod.rs",
    "driver/body.rs",
    "driver/judge.rs",
    "hop/diagnosis.rs",
    "hop/status.rs",
    "policy/retry/decide.rs",
    "record/effect.rs",
    "sdk/operation/error.rs",
];

/// The importing module, and the module that it imports from.
type Arrow<'m> = (&'m str, &'m str);

#[test]
fn every_module_is_in_one_line_of_the_table() {
    let listed: Vec<_> = LINES.concat();
    let modules: BTreeSet<_> = sources().into_iter().map(|source| source.module).collect();
    let mut places: BTreeSet<_> = listed.iter().map(|module| (*module).to_owned()).collect();
    places.insert("lib".to_owned());
    assert_eq!(modules, places);
    assert_eq!(listed.len() + 1, places.len(), "a module stands twice");
}

#[test]
fn imports_go_down_only() {
    let allowed = |arrow: &Arrow<'_>| is_down(*arrow) || SIBLINGS.contains(arrow);
    let found = arrows();
    for ((from, to), file) in &found {
        assert!(allowed(&(from, to)), "{from} imports {to}: {file}");
    }
    for (from, to) in SIBLINGS {
        let arrow = ((*from).to_owned(), (*to).to_owned());
        assert!(found.contains_key(&arrow), "no longer needed: {arrow:?}");
    }
}

#[test]
fn effect_is_decided_in_few_places() {
    let variants = ["None", "Declined", "Possible", "Done"].map(|name| format!("Effect::{name}"));
    let is_place = |source: &Source| variants.iter().any(|name| source.text.contains(name));
    let sources = sources();
    let found = sources.iter().filter(|source| is_place(source));
    let found: BTreeSet<_> = found.map(|source| source.file.as_str()).collect();
    // New code calls one of these files, or moves there.
    assert_eq!(found, BTreeSet::from(EFFECT_PLACES));
}

fn is_down((from, to): Arrow<'_>) -> bool {
    let line = |module| LINES.iter().position(|line| line.contains(&module));
    // A name at the crate's root is in no line: it may come from anywhere.
    matches!((line(from), line(to)), (Some(from), Some(to)) if from < to)
}

fn is_module(name: &str) -> bool {
    LINES.iter().any(|line| line.contains(&name))
}

/// Returns each arrow between two modules, with a file that it starts from.
fn arrows() -> BTreeMap<(String, String), String> {
    let sources = sources();
    let addresses: Vec<_> = sources.iter().flat_map(Source::addresses).collect();
    let mut arrows = BTreeMap::new();
    for source in sources.iter().filter(|source| source.module != "lib") {
        for path in source.paths() {
            let is_address = |(at, name, _): &&(String, String, String)| {
                *at == path.names[0] && path.names[1..].contains(name)
            };
            let behind = addresses.iter().find(is_address);
            let to = behind.map_or(&path.names[0], |(_, _, home)| home);
            let is_own = path.is_public && ADDRESSES.contains(&(&source.module, to));
            if *to != source.module && !is_own {
                let arrow = (source.module.clone(), to.clone());
                arrows.entry(arrow).or_insert_with(|| source.file.clone());
            }
        }
        // A public path is for other modules: its own module does not use the name.
        let public = source.addresses();
        for (at, name, home) in addresses.iter().filter(|(at, ..)| *at == source.module) {
            let exported = public.iter().filter(|(_, own, _)| own == name).count();
            if source.mentions(name) > exported {
                let arrow = (at.clone(), home.clone());
                arrows.entry(arrow).or_insert_with(|| source.file.clone());
            }
        }
    }
    arrows
}

/// A file of the crate, without comments and test code.
struct Source {
    file: String,
    /// Its module at the crate's root.
    module: String,
    /// Its depth in modules.
    depth: usize,
    text: String,
}

/// A path from the crate's root.
struct Names {
    names: Vec<String>,
    /// Whether it is in a `pub use`.
    is_public: bool,
}

impl Source {
    fn read(root: &Path, file: &Path) -> Option<Self> {
        let relative = file.strip_prefix(root).ok()?.with_extension("");
        let mut names: Vec<_> = relative
            .iter()
            .map(|name| name.to_str())
            .collect::<Option<_>>()?;
        let is_test = |name: &&str| *name == "tests" || name.ends_with("_tests");
        if names.iter().any(is_test) {
            return None;
        }
        names.pop_if(|name| *name == "mod");
        let text = fs::read_to_string(file).ok()?;
        Some(Self {
            file: file.strip_prefix(root).ok()?.display().to_string(),
            module: names[0].to_owned(),
            depth: names.len(),
            text: without_tests(&without_comments(&text)),
        })
    }

    /// Returns every path that begins at the crate's root.
    fn paths(&self) -> Vec<Names> {
        let to_root = "super::".repeat(self.depth);
        let mut paths = Vec::new();
        for start in ["crate::", to_root.as_str()] {
            for (at, _) in self.text.match_indices(start) {
                let before = &self.text[..at];
                if before.ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c)) {
                    continue;
                }
                let line = before.rsplit('\n').next().unwrap_or_default();
                let is_public = line.trim() == "pub use";
                // An exported macro names public items. A module inside a file names the items around it.
                let is_sure = start == "crate::" && !before.ends_with('$');
                let mut rest = &self.text[at + start.len()..];
                let mut all = expand(&mut rest);
                all.retain(|names| is_sure || is_module(&names[0]));
                paths.extend(all.into_iter().map(|names| Names { names, is_public }));
            }
        }
        paths
    }

    fn mentions(&self, name: &str) -> usize {
        let words = self.text.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.filter(|word| *word == name).count()
    }

    /// Returns names that are public here and defined above: this module, the name, and its home.
    fn addresses(&self) -> Vec<(String, String, String)> {
        let all = self.paths().into_iter().filter(|path| path.is_public);
        let own = all.filter(|path| ADDRESSES.contains(&(&self.module, &path.names[0])));
        own.map(|path| {
            (
                self.module.clone(),
                path.names[1].clone(),
                path.names[0].clone(),
            )
        })
        .collect()
    }
}

/// Reads `a::b`, `a::{b, c::d}` or `{a, b}` as separate paths.
fn expand(rest: &mut &str) -> Vec<Vec<String>> {
    if let Some(group) = rest.strip_prefix('{') {
        *rest = group;
        let mut all = Vec::new();
        loop {
            *rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if rest.is_empty() || rest.starts_with('}') {
                *rest = rest.get(1..).unwrap_or_default();
                return all;
            }
            all.extend(expand(rest));
            // The name may be imported `as` another one.
            let end = rest.find([',', '}']).unwrap_or(rest.len());
            *rest = &rest[end..];
        }
    }
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '*';
    let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
    let name = rest[..end].to_owned();
    *rest = &rest[end..];
    let Some(more) = rest.strip_prefix("::") else {
        return vec![vec![name]];
    };
    *rest = more;
    let tails = expand(rest).into_iter();
    tails
        .map(|tail| std::iter::once(name.clone()).chain(tail).collect())
        .collect()
}

fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next());
    lines.flatten().flat_map(|line| [line, "\n"]).collect()
}

/// Removes each `mod` with a body that exists in tests only. It ends at a brace in the first column.
fn without_tests(text: &str) -> String {
    let is_for_tests =
        |line: &str| line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test,");
    let mut kept = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_body = |next: &&str| next.starts_with("mod ") && next.ends_with('{');
        if is_for_tests(line) {
            // More conditions may follow.
            while lines.next_if(|next| next.starts_with("#[")).is_some() {}
        }
        if is_for_tests(line) && lines.peek().is_some_and(is_body) {
            let _ = lines.by_ref().find(|line| *line == "}");
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    find(&root, &mut files);
    let sources = files.iter().filter_map(|file| Source::read(&root, file));
    sources.collect()
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
