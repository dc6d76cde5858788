use std::fmt;

/// How important a request is, where not all requests can be sent.
///
/// A [`ConcurrencyLayer`](crate::ConcurrencyLayer) serves its queue by priority, and sheds the least important
/// requests first.
///
/// # Example
///
/// ```
/// use sevenhops::{Options, Priority};
///
/// let mut request = http::Request::get("https://api.test/v1/health").body(())?;
/// request.extensions_mut().insert(Options::new().priority(Priority::Critical));
/// # Ok::<(), http::Error>(())
/// ```
#[expect(
    clippy::exhaustive_enums,
    reason = "a `match` on it is a complete list of the queue's lines"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// It can be made later, or not at all: a prefetch, a report.
    Low,
    /// The default.
    #[default]
    Normal,
    /// A user waits for it, or money depends on it. It is shed last.
    Critical,
}

impl Priority {
    /// All priorities, from the least to the most important.
    pub(crate) const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::Critical];

    /// Returns its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
