//! The entry of a failure on the page of errors: what happened, what it proves, and what to do now.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use super::{Effect, Hop, Kind};

/// The catalog's entry for a failure: what happened, what it proves, and what to do now.
///
/// [`Error::explain`](crate::Error::explain) and [`Timeline::explain`](crate::Timeline::explain) return it. The page
/// [`errors`](crate::errors) lists all entries. `Display` writes four lines, for a log or a terminal.
///
/// An entry is the same for all calls, and holds no text of a request or a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    entry: &'static Entry,
    of_call: Effect,
}

/// An entry of the page.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    meaning: Cow<'static, str>,
    effect: Cow<'static, str>,
    action: Cow<'static, str>,
}

impl Explanation {
    /// Returns the entry of a failure at a hop.
    pub(crate) fn of_failure(hop: Hop, kind: Kind, of_call: Effect) -> Self {
        Self::find(hop.as_str(), kind, of_call)
    }

    /// Returns the entry of a rejection by a policy.
    pub(crate) fn of_rejection(kind: Kind, of_call: Effect) -> Self {
        Self::find("rejected", kind, of_call)
    }

    /// Returns the entry of a failure that has no hop, and that is not a rejection.
    pub(crate) fn without_hop(is_operation: bool, kind: Kind, of_call: Effect) -> Self {
        // The error of an operation inside a request has no hop either. Only an effect of none fits a service that was
        // not ready.
        match !is_operation && kind == Kind::Other && of_call.is_none() {
            true => Self::find("not ready", kind, of_call),
            false => Self::of_operation(kind, of_call),
        }
    }

    /// Returns the entry of an operation's failure without a hop.
    pub(crate) fn of_operation(kind: Kind, of_call: Effect) -> Self {
        Self::find("operation", kind, of_call)
    }

    /// Returns the entry with this heading. A kind without an entry has that of `other`.
    fn find(place: &str, kind: Kind, of_call: Effect) -> Self {
        let entry = |kind: Kind| ENTRIES.get(&*format!("{place}: {kind}"));
        let entry = entry(kind).or_else(|| entry(Kind::Other));
        Self {
            entry: entry.unwrap_or(&UNKNOWN),
            of_call,
        }
    }

    /// Returns what happened, in one or two sentences.
    #[must_use]
    pub fn meaning(&self) -> &'static str {
        &self.entry.meaning
    }

    /// Returns what the failure proves about the effect of its attempt, and why.
    #[must_use]
    pub fn effect(&self) -> &'static str {
        &self.entry.effect
    }

    /// Returns the effect of the whole call: it counts all attempts.
    #[must_use]
    pub const fn effect_of_call(&self) -> Effect {
        self.of_call
    }

    /// Returns what to do now.
    #[must_use]
    pub fn action(&self) -> &'static str {
        &self.entry.action
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Meaning: {}", self.meaning())?;
        writeln!(f, "Effect of the attempt: {}", self.effect())?;
        writeln!(f, "Effect of the call: {}", self.effect_of_call())?;
        write!(f, "Action: {}", self.action())
    }
}

/// The entries of the page, by their headings.
static ENTRIES: LazyLock<HashMap<&str, Entry>> = LazyLock::new(|| {
    let sections = include_str!("../../docs/errors.md").split("\n### ");
    sections.skip(1).filter_map(parse).collect()
});

/// Reads one entry of the page: its heading, its meaning, and two items.
fn parse(section: &str) -> Option<(&str, Entry)> {
    let (heading, text) = section.split_once('\n')?;
    let words: Vec<_> = text.split_whitespace().collect();
    let text = words.join(" ");
    let text = text.split(" ## ").next()?;
    let (meaning, text) = text.split_once(" - Effect: ")?;
    let (effect, action) = text.split_once(" - Action: ")?;
    let entry = Entry {
        meaning: meaning.to_owned().into(),
        effect: effect.to_owned().into(),
        action: action.to_owned().into(),
    };
    Some((heading.trim_end(), entry))
}

/// The entry of a hop without an entry for `other`.
static UNKNOWN: Entry = Entry {
    meaning: Cow::Borrowed("The call failed in a way that the catalog does not describe."),
    effect: Cow::Borrowed("possible. The effect of the call says more."),
    action: Cow::Borrowed("Read the chain of causes."),
};

#[cfg(test)]
#[path = "explanation_tests.rs"]
mod tests;
