use super::catalog::Retryability;

/// The verdict of a classifier on a failed attempt, for both the retry and the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureClass {
    /// The failure may pass. It is retried if that is safe, and it counts against the destination.
    Transient,
    /// A retry would fail again, so none is made. A response of this class does not count against the destination.
    Permanent,
    /// The server asks for fewer requests. It is retried like a 429 and does not open a circuit.
    Throttled,
    /// It is not a failure.
    Success,
    /// It does not count against the destination. The table decides whether it is retried.
    Ignore,
}

impl FailureClass {
    /// Returns the class for a retry; `None` leaves the decision to the table.
    pub(crate) const fn for_retry(self) -> Option<Retryability> {
        match self {
            Self::Transient | Self::Throttled => Some(Retryability::Transient),
            Self::Permanent | Self::Success => Some(Retryability::Permanent),
            Self::Ignore => None,
        }
    }
}
