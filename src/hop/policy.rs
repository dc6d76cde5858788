//! Local policies that stand before the hops.

use std::fmt;

/// A policy: a local policy that can refuse a call before anything is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// The call's deadline had passed before the attempt began.
    Deadline,
    /// The idempotency key is no longer good for a request.
    Idempotency,
    /// The answer leads where the call does not go.
    Redirect,
    /// The destination has failed too often of late.
    Breaker,
}

impl Policy {
    /// The word for it, as in spans and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Idempotency => "idempotency",
            Self::Redirect => "redirect",
            Self::Breaker => "breaker",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deadline => "deadline",
            Self::Idempotency => "idempotency policy",
            Self::Redirect => "redirect policy",
            Self::Breaker => "breaker",
        })
    }
}
