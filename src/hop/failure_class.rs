use super::names::Class;

/// The verdict of a classifier on a failed attempt, for the retry and for the breaker alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureClass {
    /// It may pass: it is retried where that is safe, and counts against the destination.
    Transient,
    /// It would come again: it is not retried. A response that says so does not count against the destination.
    Permanent,
    /// The server asks for fewer requests. It is retried like a 429, and breaks no circuit.
    Throttled,
    /// It is not a failure at all.
    Success,
    /// It says nothing about the destination; whether it is retried, the table decides.
    Ignore,
}

impl FailureClass {
    /// The class for a retry; `None` leaves that to the table.
    pub(crate) const fn for_retry(self) -> Option<Class> {
        match self {
            Self::Transient | Self::Throttled => Some(Class::Passing),
            Self::Permanent | Self::Success => Some(Class::Lasting),
            Self::Ignore => None,
        }
    }
}
