//! Why a slow call was not hedged.

use std::fmt;
use std::time::Duration;

use http::Method;

use super::Policy;
use super::event::short;

/// Why a slow call was not hedged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoHedgeReason {
    /// Two copies of the request could have an effect twice.
    Unsafe {
        /// The request's method.
        method: Method,
        /// Whether the request carried an idempotency key that the server is not known to honor.
        keyed: bool,
    },
    /// The server will have forgotten the idempotency key before the deadline.
    KeyExpires {
        /// The time for which the server still remembers the key.
        left: Duration,
    },
    /// The body cannot be sent again.
    NotReplayable,
    /// The maximum number of attempts was reached.
    AttemptsSpent {
        /// The number of attempts that were sent.
        sent: u32,
    },
    /// The destination asks for fewer requests.
    Throttled,
    /// The circuit of the destination is half-open.
    HalfOpen,
    /// The session of the call stays on one address.
    Session,
    /// No other address of the destination is known.
    OneAddress,
    /// So many calls were hedged that 5 % is reached.
    ShareSpent,
    /// The retry budget of the destination is empty.
    BudgetEmpty,
    /// The service below was not ready for another attempt.
    Unready,
    /// A policy rejected the hedge.
    Rejected(Policy),
    /// Retries are switched off for this request.
    SwitchedOff,
    /// The retries are configured for other destinations.
    OtherDestination,
    /// A stack around this one retries or hedges.
    ByCaller,
}

impl NoHedgeReason {
    /// Returns the reason as one word, as in metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unsafe { .. } => "not_idempotent",
            Self::KeyExpires { .. } => "key_expiring",
            Self::NotReplayable => "body_not_replayable",
            Self::AttemptsSpent { .. } => "attempts_exhausted",
            Self::Throttled => "throttled",
            Self::HalfOpen => "half_open",
            Self::Session => "session",
            Self::OneAddress => "one_address",
            Self::ShareSpent => "share_spent",
            Self::BudgetEmpty => "budget_exhausted",
            Self::Unready => "service_not_ready",
            Self::Rejected(_) => "rejected",
            Self::SwitchedOff => "disabled",
            Self::OtherDestination => "other_destination",
            Self::ByCaller => "by_caller",
        }
    }
}

impl fmt::Display for NoHedgeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsafe { method, keyed } => {
                let why = match keyed {
                    true => ", and the destination is not known to honor idempotency keys",
                    false => " without an idempotency key",
                };
                write!(f, "{method}{why}")
            }
            Self::KeyExpires { left } => write!(
                f,
                "the server remembers the idempotency key for {} more",
                short(*left)
            ),
            Self::NotReplayable => f.write_str("the body cannot be sent again"),
            Self::AttemptsSpent { sent: 1 } => f.write_str("the only attempt is spent"),
            Self::AttemptsSpent { sent } => write!(f, "all {sent} attempts are spent"),
            Self::Throttled => f.write_str("the destination asks for fewer requests"),
            Self::HalfOpen => f.write_str("the circuit is half-open"),
            Self::Session => f.write_str("the session of the call stays on one address"),
            Self::OneAddress => f.write_str("no other address is known"),
            Self::ShareSpent => f.write_str("5 % of the calls were hedged already"),
            Self::BudgetEmpty => f.write_str("the retry budget of the destination is empty"),
            Self::Unready => f.write_str("the service below was not ready"),
            Self::Rejected(policy) => write!(f, "rejected by the {policy}"),
            Self::SwitchedOff => f.write_str("retries are switched off"),
            Self::OtherDestination => {
                f.write_str("retries are configured for other destinations only")
            }
            Self::ByCaller => f.write_str("the caller retries or hedges"),
        }
    }
}
