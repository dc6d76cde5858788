//! What policies leave in a timeline: waits, redirects, and why a call was not repeated.

use std::fmt;
use std::time::Duration;

use http::{Method, StatusCode};

use super::{Effect, Mishap, Policy};

/// Something that happened between the attempts of a call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Note {
    /// How many attempts had been made by then.
    pub attempts: u32,
    /// When, from the beginning of the call.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What happened between two attempts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum What {
    /// The next attempt waits that long.
    Waited {
        /// How long.
        wait: Duration,
        /// Whether the server asked for it.
        asked: bool,
    },
    /// The answer led to another URL.
    Redirected {
        /// The status of the answer.
        status: StatusCode,
        /// The URL, without what may be secret.
        url: String,
    },
    /// The far side says that the answer is the one it gave to this idempotency key before.
    Replayed,
    /// The call is a retry of the caller's: an earlier try of the same request came through this stack.
    CallerRetry {
        /// Which try it is, counted from 1.
        number: u32,
    },
    /// A policy let nothing through.
    Refused(Policy),
    /// Something that was done on purpose befell the latest attempt.
    Chaos {
        /// What.
        mishap: Mishap,
        /// How long an answer that is late was kept back.
        late: Option<Duration>,
    },
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waited { wait, asked: false } => write!(f, "waited {}", short(*wait)),
            Self::Waited { wait, asked: true } => {
                write!(f, "waited {}, as the server asked", short(*wait))
            }
            Self::Redirected { status, url } => {
                write!(f, "status {}, redirected to {url}", status.as_u16())
            }
            Self::Replayed => f.write_str("answer replayed from the idempotency key"),
            Self::CallerRetry { number } => write!(f, "try {number} of the caller"),
            Self::Refused(policy) => write!(f, "refused by the {policy}"),
            Self::Chaos { mishap, late } => {
                write!(f, "chaos: {mishap}, on purpose")?;
                late.map_or(Ok(()), |late| write!(f, ", for {}", short(late)))
            }
        }
    }
}

/// Why a call was not repeated after a failure.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NotRepeated {
    /// It would fail again: a certificate, a name that does not exist, a request that is refused.
    Lasting,
    /// It may have happened, and sending it again could make it happen twice.
    Unsafe {
        /// The request's method; none for an operation.
        method: Option<Method>,
        /// Whether it happened.
        effect: Effect,
        /// Whether it carried an idempotency key (that nobody vouched for).
        keyed: bool,
    },
    /// The far side will have forgotten the idempotency key.
    KeyExpires {
        /// How long it remembers it.
        left: Duration,
    },
    /// The service below was not ready for another attempt.
    Unready,
    /// The body cannot be sent again, and the connection had taken it.
    NotReplayable,
    /// So many attempts are all there are.
    AttemptsSpent {
        /// How many were made.
        made: u32,
    },
    /// Too many calls to the destination are being repeated already.
    BudgetEmpty,
    /// The next wait does not fit into the time left.
    NoTime {
        /// The wait that would come next.
        wait: Duration,
        /// What was left of the deadline.
        left: Duration,
    },
    /// The server asks for a longer wait than the call waits for.
    HintTooLong {
        /// When to come back, by the server's word.
        hint: Duration,
        /// The longest hint that the call waits for.
        most: Duration,
    },
    /// The server asked not to be asked again.
    ServerSaysNo,
    /// Retries are switched off for this request.
    SwitchedOff,
    /// The retries are meant for other destinations.
    OtherDestination,
    /// A stack around this one repeats.
    CallerRepeats,
    /// A policy did not let the repeat through.
    Refused(Policy),
}

impl NotRepeated {
    /// The reason in a word, as in metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Lasting => "lasting",
            Self::Unsafe { .. } => "unsafe",
            Self::KeyExpires { .. } => "key_expires",
            Self::Unready => "unready",
            Self::NotReplayable => "not_replayable",
            Self::AttemptsSpent { .. } => "attempts_spent",
            Self::BudgetEmpty => "budget_empty",
            Self::NoTime { .. } => "no_time",
            Self::HintTooLong { .. } => "hint_too_long",
            Self::ServerSaysNo => "server_says_no",
            Self::SwitchedOff => "switched_off",
            Self::OtherDestination => "other_destination",
            Self::CallerRepeats => "caller_repeats",
            Self::Refused(_) => "refused",
        }
    }
}

impl fmt::Display for NotRepeated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lasting => f.write_str("it would fail again"),
            Self::Unsafe {
                method,
                effect,
                keyed,
            } => {
                match method {
                    Some(method) => write!(f, "{method}, effect {effect}, and ")?,
                    None => write!(f, "effect {effect}, not said to be idempotent, and ")?,
                }
                f.write_str(if *keyed {
                    "the destination is not known to honour idempotency keys"
                } else {
                    "no idempotency key"
                })
            }
            Self::KeyExpires { left } => write!(
                f,
                "the far side remembers the idempotency key for {} more",
                short(*left)
            ),
            Self::Unready => f.write_str("the service below was not ready"),
            Self::NotReplayable => f.write_str("the body was taken and cannot be sent again"),
            Self::AttemptsSpent { made } => write!(f, "all {made} attempts are spent"),
            Self::BudgetEmpty => f.write_str("the retry budget of the destination is empty"),
            Self::NoTime { wait, left } => write!(
                f,
                "the next wait of {} does not fit into the {} left",
                short(*wait),
                short(*left)
            ),
            Self::HintTooLong { hint, most } => write!(
                f,
                "the server asks to come back after {}, and the call waits for {} at most",
                short(*hint),
                short(*most)
            ),
            Self::ServerSaysNo => f.write_str("the server asks for no repeat"),
            Self::SwitchedOff => f.write_str("retries are switched off"),
            Self::OtherDestination => f.write_str("retries are meant for other destinations"),
            Self::CallerRepeats => f.write_str("the caller repeats"),
            Self::Refused(policy) => write!(f, "refused by the {policy}"),
        }
    }
}

/// A duration in the unit that fits, for people.
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
        let reason = NotRepeated::Unsafe {
            method: Some(Method::POST),
            effect: Effect::Possible,
            keyed: true,
        };
        assert_eq!(
            reason.to_string(),
            "POST, effect possible, and the destination is not known to honour idempotency keys"
        );
        let reason = NotRepeated::Unsafe {
            method: None,
            effect: Effect::Possible,
            keyed: false,
        };
        assert_eq!(
            reason.to_string(),
            "effect possible, not said to be idempotent, and no idempotency key"
        );
    }
}
