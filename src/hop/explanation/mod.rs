//! The entry of a failure in the catalog of errors: what happened, what it proves, and what to do now.

mod texts;

use std::fmt;

use self::texts::{HOPS, OPERATIONS, REJECTIONS, UNKNOWN, UNREADY, WORK};
use super::{Effect, Hop, Kind};

/// The catalog's entry for a failure: what happened, what it proves, and what to do now.
///
/// [`Error::explain`](crate::Error::explain) and [`Timeline::explain`](crate::Timeline::explain) return it. The page
/// [`errors`](crate::errors) lists all entries. `Display` writes four lines, for a log or a terminal.
///
/// An entry is the same for all calls, and holds no text of a request or a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    text: Text,
    effect: &'static str,
    of_call: Effect,
}

/// The texts of the failures with one of these hops and one of these kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Text {
    hops: &'static [Hop],
    kinds: &'static [Kind],
    meaning: &'static str,
    action: &'static str,
}

impl Explanation {
    /// Returns the entry of a failure at a hop.
    pub(crate) fn of_failure(hop: Hop, kind: Kind, of_call: Effect) -> Self {
        let is_it = |text: &&Text| text.hops.contains(&hop) && text.kinds.contains(&kind);
        Self {
            text: HOPS.iter().find(is_it).copied().unwrap_or(UNKNOWN),
            effect: effect_of_attempt(hop, kind),
            of_call,
        }
    }

    /// Returns the entry of a rejection by a policy.
    pub(crate) fn of_rejection(kind: Kind, of_call: Effect) -> Self {
        Self {
            text: among(REJECTIONS, kind).unwrap_or(UNKNOWN),
            effect: match kind {
                Kind::KeyExpired => EARLIER_PROCESS,
                _ => NOT_SENT,
            },
            of_call,
        }
    }

    /// Returns the entry of a failure that has no hop, and that is not a rejection.
    pub(crate) fn without_hop(is_operation: bool, kind: Kind, of_call: Effect) -> Self {
        // The error of an operation inside a request has no hop either. Only an effect of none fits a service that was
        // not ready.
        match !is_operation && kind == Kind::Other && of_call.is_none() {
            true => Self::of_unready(of_call),
            false => Self::of_operation(kind, of_call),
        }
    }

    /// Returns the entry of an operation's failure without a hop.
    pub(crate) fn of_operation(kind: Kind, of_call: Effect) -> Self {
        Self {
            text: among(OPERATIONS, kind).unwrap_or(WORK),
            effect: UNSEEN,
            of_call,
        }
    }

    /// Returns the entry of an inner service that was not ready.
    fn of_unready(of_call: Effect) -> Self {
        Self {
            text: UNREADY,
            effect: UNREADY_EFFECT,
            of_call,
        }
    }

    /// Returns what happened, in one or two sentences.
    #[must_use]
    pub const fn meaning(&self) -> &'static str {
        self.text.meaning
    }

    /// Returns what the failure proves about the effect of its attempt, and why.
    #[must_use]
    pub const fn effect(&self) -> &'static str {
        self.effect
    }

    /// Returns the effect of the whole call: it counts all attempts.
    #[must_use]
    pub const fn effect_of_call(&self) -> Effect {
        self.of_call
    }

    /// Returns what to do now.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        self.text.action
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

fn among(table: &'static [Text], kind: Kind) -> Option<Text> {
    let found = table.iter().find(|text| text.kinds.contains(&kind));
    found.copied()
}

/// Returns what a failure proves about its attempt.
const fn effect_of_attempt(hop: Hop, kind: Kind) -> &'static str {
    match (hop, kind) {
        (Hop::Encode | Hop::Dns | Hop::Connect | Hop::Tls, _) => {
            "none. No byte of the request was written."
        }
        (_, Kind::Unprocessed) => "none. The protocol says that the request was not processed.",
        (Hop::Send, _) => {
            "possible if a connection took the request, else none. The error says which."
        }
        (Hop::Receive | Hop::Decode, _) => {
            "done after a 2xx. After another status, the status decides."
        }
        (_, Kind::RedirectRefused) => "declined after 307 and 308, else possible.",
        (_, Kind::ClientError) => {
            "declined after most statuses, possible after 408, 409, 424 and 499."
        }
        (
            _,
            Kind::Throttled
            | Kind::Unauthorized
            | Kind::ProxyUnauthorized
            | Kind::PreconditionFailed
            | Kind::PreconditionRequired
            | Kind::KeyReused,
        ) => {
            "declined. The sender of the response says that it did not do the work. This is not a proof."
        }
        (Hop::Gateway | Hop::Server, _) => {
            "possible. The service may have done the work, or may still do it."
        }
    }
}

const NOT_SENT: &str = "none. The rejected request was not sent. Earlier attempts and redirects may have had an effect.";
const EARLIER_PROCESS: &str =
    "possible. This request was not sent, but an earlier process may have sent it.";
const UNSEEN: &str = "possible, unless the error of the work says less. No client saw the request.";
const UNREADY_EFFECT: &str = "none. The request was not sent.";

#[cfg(test)]
mod tests;
