//! The local policies before the hops.

use std::fmt;

/// A local policy that can reject a call before anything is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// The call's deadline had passed before the attempt began.
    Deadline,
    /// The idempotency key is not valid for this request any more.
    Idempotency,
    /// The response redirects the call to a URL that the call may not follow.
    Redirect,
    /// The destination rejected too many attempts recently.
    Throttle,
    /// The destination failed too often recently.
    Breaker,
    /// Too many attempts are in flight to the destination.
    Concurrency,
    /// Too many requests were sent to the destination.
    RateLimit,
}

impl Policy {
    /// Returns its name in spans and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Idempotency => "idempotency",
            Self::Redirect => "redirect",
            Self::Throttle => "throttle",
            Self::Breaker => "breaker",
            Self::Concurrency => "concurrency",
            Self::RateLimit => "rate_limit",
        }
    }
}

impl Policy {
    /// Returns whether the policy is above the wire: its rejection says that it sent nothing.
    pub(crate) const fn is_local(self) -> bool {
        match self {
            Self::Deadline
            | Self::Throttle
            | Self::Breaker
            | Self::Concurrency
            | Self::RateLimit => true,
            Self::Idempotency | Self::Redirect => false,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deadline => "deadline",
            Self::Idempotency => "idempotency policy",
            Self::Redirect => "redirect policy",
            Self::Throttle => "throttle",
            Self::Breaker => "breaker",
            Self::Concurrency => "concurrency limit",
            Self::RateLimit => "rate limit",
        })
    }
}
