//! The events of policies in a timeline: waits, redirects, and why a call was not retried.

use std::fmt;
use std::time::Duration;

use http::{Method, StatusCode};

use super::{Effect, Fault, NoHedgeReason, Outcome, Policy};

/// An event between two attempts of a call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TimelineEvent {
    /// The number of attempts made before it.
    pub attempts: u32,
    /// The time since the beginning of the call.
    pub at: Duration,
    /// The event.
    pub kind: TimelineEventKind,
}

/// An event between two attempts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TimelineEventKind {
    /// The call waited before the next attempt.
    Waited {
        /// The length of the wait.
        wait: Duration,
        /// Whether the server requested it.
        hinted: bool,
    },
    /// The response redirected the call to another URL.
    Redirected {
        /// The status of the response.
        status: StatusCode,
        /// The URL, without parts that may be secret.
        url: String,
    },
    /// The next attempt goes to another endpoint of the call's logical name.
    FailedOver {
        /// The URL, without parts that may be secret.
        url: String,
    },
    /// The server declares that it replayed an earlier response to this idempotency key.
    Replayed,
    /// The call is a retry by the caller: an earlier try of the same request passed through this stack.
    CallerRetry {
        /// The number of the try, counted from 1.
        number: u32,
    },
    /// The call waited for a policy, until it was sent or rejected.
    Queued {
        /// The concurrency limit or the rate limit.
        policy: Policy,
        /// The length of the wait.
        wait: Duration,
    },
    /// The store of the rate limit is away. The slot is one of this process' share.
    LocalShare,
    /// A policy rejected the call.
    Rejected(Policy),
    /// The next attempt is a hedge: it began while the attempts before it were in flight.
    Hedged {
        /// How long the attempt before it had taken.
        after: Duration,
    },
    /// A hedge was due, and was not sent.
    NotHedged(NoHedgeReason),
    /// The last good response stood in for the failure of the call.
    Stale {
        /// The age of the response.
        age: Duration,
        /// The failure. `None` if the server was not asked: the response was served at once.
        instead_of: Option<Outcome>,
    },
    /// The response of a fallback stood in for the failure of the call.
    Fallback {
        /// The failure.
        instead_of: Outcome,
    },
    /// A fault was injected into the latest attempt.
    Chaos {
        /// The fault.
        fault: Fault,
        /// The delay of a delayed response.
        delay: Option<Duration>,
    },
}

impl fmt::Display for TimelineEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waited {
                wait,
                hinted: false,
            } => write!(f, "waited {}", short(*wait)),
            Self::Waited { wait, hinted: true } => {
                write!(f, "waited {}, as the server asked", short(*wait))
            }
            Self::Redirected { status, url } => {
                write!(f, "status {}, redirected to {url}", status.as_u16())
            }
            Self::FailedOver { url } => write!(f, "failed over to {url}"),
            Self::Replayed => f.write_str("response replayed from the idempotency key"),
            Self::CallerRetry { number } => write!(f, "try {number} of the caller"),
            Self::Queued { policy, wait } => {
                let wait = short(*wait);
                match policy {
                    Policy::Concurrency => write!(f, "waited {wait} for a permit"),
                    other => write!(f, "waited {wait} for the {other}"),
                }
            }
            Self::LocalShare => {
                f.write_str("local share of the rate limit, because its store is away")
            }
            Self::Rejected(policy) => write!(f, "rejected by the {policy}"),
            Self::Hedged { after } => write!(f, "hedged after {}", short(*after)),
            Self::NotHedged(reason) => write!(f, "not hedged: {reason}"),
            Self::Stale { age, instead_of } => {
                write!(f, "stale response, {} old", short(*age))?;
                instead_of.map_or(Ok(()), |failed| {
                    write!(f, ", in place of: {}", FailureText(failed))
                })
            }
            Self::Fallback { instead_of } => {
                write!(f, "fallback, in place of: {}", FailureText(*instead_of))
            }
            Self::Chaos { fault, delay } => {
                write!(f, "chaos: {fault}")?;
                delay.map_or(Ok(()), |delay| write!(f, " by {}", short(delay)))?;
                f.write_str(", on purpose")
            }
        }
    }
}

/// Shows where a call failed, why, and with which effect.
struct FailureText(Outcome);

impl fmt::Display for FailureText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome::Failed {
            hop, kind, effect, ..
        } = self.0
        else {
            return f.write_str("no failure");
        };
        if let Some(hop) = hop {
            write!(f, "{hop}, ")?;
        }
        write!(f, "{kind}, effect {effect}")
    }
}

/// Why a failed call was not retried.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NoRetryReason {
    /// It would fail again: for example a certificate, a name that does not exist, a rejected request.
    Permanent,
    /// It may have had an effect, and a retry could cause the effect twice.
    NotIdempotent {
        /// The request's method; `None` for an operation.
        method: Option<Method>,
        /// The effect so far.
        effect: Effect,
        /// Whether the request carried an idempotency key that the server is not known to honor.
        keyed: bool,
    },
    /// The server will have forgotten the idempotency key by the next attempt.
    KeyExpiring {
        /// The time for which the server still remembers the key.
        left: Duration,
    },
    /// The service below was not ready for another attempt.
    ServiceNotReady,
    /// The body cannot be sent again, and the connection had taken it.
    BodyNotReplayable,
    /// The maximum number of attempts was reached.
    AttemptsExhausted {
        /// The number of attempts made.
        made: u32,
    },
    /// The retry budget of the destination is empty.
    BudgetExhausted,
    /// The next wait does not fit into the time left.
    DeadlineTooClose {
        /// The next wait.
        wait: Duration,
        /// The rest of the deadline.
        left: Duration,
    },
    /// The server asks for a longer wait than the config allows.
    HintTooLong {
        /// The wait that the server asks for.
        hint: Duration,
        /// The longest hint that the config allows.
        most: Duration,
    },
    /// The server asked the client not to retry.
    ServerOptOut,
    /// Retries are switched off for this request.
    Disabled,
    /// The retries are configured for other destinations.
    OtherDestination,
    /// A stack around this one retries.
    RetriedUpstream,
    /// A policy rejected the retry.
    Rejected(Policy),
}

impl NoRetryReason {
    /// Returns the reason as one word, as in metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::NotIdempotent { .. } => "not_idempotent",
            Self::KeyExpiring { .. } => "key_expiring",
            Self::ServiceNotReady => "service_not_ready",
            Self::BodyNotReplayable => "body_not_replayable",
            Self::AttemptsExhausted { .. } => "attempts_exhausted",
            Self::BudgetExhausted => "budget_exhausted",
            Self::DeadlineTooClose { .. } => "deadline_too_close",
            Self::HintTooLong { .. } => "hint_too_long",
            Self::ServerOptOut => "server_opt_out",
            Self::Disabled => "disabled",
            Self::OtherDestination => "other_destination",
            Self::RetriedUpstream => "retried_upstream",
            Self::Rejected(_) => "rejected",
        }
    }
}

impl fmt::Display for NoRetryReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permanent => f.write_str("permanent failure"),
            Self::NotIdempotent {
                method,
                effect,
                keyed,
            } => {
                match method {
                    Some(method) => write!(f, "{method}, effect {effect}, and ")?,
                    None => write!(f, "effect {effect}, not marked as idempotent, and ")?,
                }
                f.write_str(if *keyed {
                    "the destination is not known to honor idempotency keys"
                } else {
                    "no idempotency key"
                })
            }
            Self::KeyExpiring { left } => write!(
                f,
                "the server remembers the idempotency key for {} more",
                short(*left)
            ),
            Self::ServiceNotReady => f.write_str("the service below was not ready"),
            Self::BodyNotReplayable => f.write_str("the body was taken and cannot be sent again"),
            Self::AttemptsExhausted { made: 1 } => f.write_str("the only attempt is spent"),
            Self::AttemptsExhausted { made } => write!(f, "all {made} attempts are spent"),
            Self::BudgetExhausted => f.write_str("the retry budget of the destination is empty"),
            Self::DeadlineTooClose { wait, left } => write!(
                f,
                "the next wait of {} does not fit into the {} left",
                short(*wait),
                short(*left)
            ),
            Self::HintTooLong { hint, most } => write!(
                f,
                "the server asks to retry after {}, and the call waits for {} at most",
                short(*hint),
                short(*most)
            ),
            Self::ServerOptOut => f.write_str("the server asks not to retry"),
            Self::Disabled => f.write_str("retries are switched off"),
            Self::OtherDestination => {
                f.write_str("retries are configured for other destinations only")
            }
            Self::RetriedUpstream => f.write_str("the caller retries"),
            Self::Rejected(policy) => write!(f, "rejected by the {policy}"),
        }
    }
}

/// Formats a duration in a readable unit.
pub(crate) fn short(duration: Duration) -> String {
    match duration.as_micros() {
        micros @ 0..1_000 => format!("{micros} µs"),
        micros @ 1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        micros => format!(
            "{}.{:02} s",
            micros / 1_000_000,
            micros % 1_000_000 / 10_000
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_the_unit_that_fits() {
        for (micros, shown) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1_000, "1.0 ms"),
            (43_190, "43.1 ms"),
            (2_345_678, "2.34 s"),
        ] {
            assert_eq!(short(Duration::from_micros(micros)), shown);
        }
    }

    #[test]
    fn reason_is_a_sentence_that_names_method_and_effect() {
        let reason = NoRetryReason::NotIdempotent {
            method: Some(Method::POST),
            effect: Effect::Possible,
            keyed: true,
        };
        assert_eq!(
            reason.to_string(),
            "POST, effect possible, and the destination is not known to honor idempotency keys"
        );
        let reason = NoRetryReason::NotIdempotent {
            method: None,
            effect: Effect::Possible,
            keyed: false,
        };
        assert_eq!(
            reason.to_string(),
            "effect possible, not marked as idempotent, and no idempotency key"
        );
    }
}
