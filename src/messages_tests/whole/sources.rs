//! Reads the string literals with a space in the crate's sources: each is a part of a sentence.

use std::fs;
use std::path::{Path, PathBuf};

/// A source without comments, attributes and tests.
pub(super) struct Source {
    pub(super) file: String,
    text: String,
}

impl Source {
    /// Returns the sources of the crate, in the order of their paths.
    pub(super) fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        find(&root, &mut files);
        files.sort();
        let read = |path: PathBuf| Self {
            file: path.strip_prefix(&root).unwrap().display().to_string(),
            text: without_tests(&fs::read_to_string(&path).unwrap()),
        };
        files.into_iter().map(read).collect()
    }

    /// Returns the names of the types that implement `Display`.
    pub(super) fn types(&self) -> Vec<String> {
        let after = self.text.split("fmt::Display for ").skip(1);
        after
            .map(|rest| {
                let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap();
                rest[..end].to_owned()
            })
            .collect()
    }

    /// Returns the string literals with a space.
    pub(super) fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let mut start = 0;
        while let Some(next) = self.text[start..].find(['"', '/', '#', '\'']) {
            let (before, at) = self.text.split_at(start + next);
            let is_raw = before.ends_with('r') || before.ends_with("r#");
            let length = match at.as_bytes()[0] {
                b'/' if at.starts_with("//") => at.find('\n').unwrap_or(at.len()),
                b'#' if at.starts_with("#[") || at.starts_with("#![") => attribute(at),
                b'\'' => character(at),
                b'"' if is_raw => {
                    let end = if before.ends_with('#') { "\"#" } else { "\"" };
                    1 + at[1..].find(end).unwrap() + end.len()
                }
                b'"' => quoted(at),
                _ => 1,
            };
            if at.starts_with('"') {
                let text = at[1..length].trim_end_matches(['"', '#']);
                let text = joined(text);
                if text.trim().contains(' ') {
                    texts.push(text);
                }
            }
            start = before.len() + length;
        }
        texts
    }
}

/// Returns the text of a literal over several lines as one line.
fn joined(text: &str) -> String {
    let mut lines = text.split("\\\n").map(str::trim_start);
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |all, line| all + line)
}

/// Returns the length of a literal in quotes.
fn quoted(at: &str) -> usize {
    let mut is_escaped = false;
    for (index, c) in at.char_indices().skip(1) {
        match c {
            '"' if !is_escaped => return index + 1,
            _ => is_escaped = c == '\\' && !is_escaped,
        }
    }
    at.len()
}

/// Returns the length of a character, or of the quote of a lifetime.
fn character(at: &str) -> usize {
    let chars: Vec<_> = at.chars().take(4).collect();
    match chars.as_slice() {
        ['\'', '\\', _, '\''] => 4,
        ['\'', '\\', ..] => 2 + at[2..].find('\'').map_or(0, |end| end + 1),
        ['\'', c, '\'', ..] => 2 + c.len_utf8(),
        _ => 1,
    }
}

/// Returns the length of an attribute: its reasons are for readers of the sources.
fn attribute(at: &str) -> usize {
    let mut depth = 0;
    let mut index = 0;
    while index < at.len() {
        match at.as_bytes()[index] {
            b'[' => depth += 1,
            b']' if depth == 1 => return index + 1,
            b']' => depth -= 1,
            b'"' => index += quoted(&at[index..]) - 1,
            _ => {}
        }
        index += 1;
    }
    at.len()
}

/// Removes the modules that exist in tests only.
fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test,") {
            let mut item = lines.by_ref().skip_while(|line| line.starts_with("#["));
            if item.next().is_some_and(|line| line.ends_with('{')) {
                let _ = lines.by_ref().find(|line| *line == "}");
            }
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name == "tests" || name.ends_with("_tests") {
            continue;
        } else if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn literals_are_found_between_everything_else() {
    let text = concat!(
        "// \"a comment\"\n#[expect(x, reason = \"a reason [\")]\nlet x: &'a str = \"a b\\\"\\\n     c\";\n",
        "let y = '\"'; let z = r#\"d \"e\"\"#; let w = \"word\";\n#[cfg(test)]\nmod tests {\n  \"in tests\"\n}\n",
    );
    let source = Source {
        file: String::new(),
        text: without_tests(text),
    };
    assert_eq!(source.texts(), ["a b\\\"c", "d \"e"]);
}
