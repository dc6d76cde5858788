//! Decides whether a request that is about to be sent carries what its options demand. Pure.

use std::fmt;
use std::time::Duration;

use super::Options;
use crate::affinity::Affinity;
use crate::config_error::ConfigError;
use crate::consistency::Consistency;
use crate::timeout::DEADLINES;

/// The state of a request just before it is sent, at the attempt or at the transport.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wire {
    /// `None` if no idempotency layer handled the request, else whether the request carries the key.
    pub(crate) key: Option<bool>,
    /// Whether a redirect led to another method or origin, where the key is not sent.
    pub(crate) is_led_away: bool,
    /// Whether a layer of this crate enforces the deadline.
    pub(crate) is_call: bool,
    /// Whether a layer of this crate receives the whole body, if the options demand that.
    pub(crate) is_attempt: bool,
    /// Whether a layer of this crate stores responses.
    pub(crate) keeps_responses: bool,
}

/// A demand that no layer has carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmet {
    Deadline,
    /// The deadline is out of range.
    InvalidDeadline(Duration),
    /// The number of attempts is out of range.
    InvalidAttempts(u32),
    Key,
    LostKey,
    OtherKey,
    WholeBody,
    Stale,
    /// The key of a session is empty.
    EmptyAffinity,
    /// The service below does not choose its addresses by the session.
    Affinity,
    /// A proxy chooses the address.
    ProxiedAffinity,
    /// The options were added below the layer that reads them.
    Late,
}

impl Options {
    /// Returns an option that no stack can carry out.
    pub(crate) fn invalid(&self) -> Option<Unmet> {
        let names_no_session = self.affinity.is_some_and(Affinity::is_empty);
        self.invalid
            .or_else(|| names_no_session.then_some(Unmet::EmptyAffinity))
    }

    /// Returns the demand that no layer has carried out when the request is about to be sent.
    pub(crate) fn unmet(&self, wire: &Wire) -> Option<Unmet> {
        if let Some(invalid) = self.invalid() {
            return Some(invalid);
        }
        if self.inherited.keys_differ {
            return Some(Unmet::OtherKey);
        }
        if self.key.is_some() && !wire.is_led_away {
            match wire.key {
                Some(true) => {}
                Some(false) => return Some(Unmet::LostKey),
                None => return Some(Unmet::Key),
            }
        }
        if self.whole_body.is_some() && !wire.is_attempt {
            return Some(Unmet::WholeBody);
        }
        let window = self.consistency.and_then(Consistency::window);
        if window.is_some() && !wire.keeps_responses {
            return Some(Unmet::Stale);
        }
        let ends = self.deadline.is_some() || self.inherited.deadline.is_some();
        (ends && !wire.is_call).then_some(Unmet::Deadline)
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidDeadline(deadline) => {
                let refused = ConfigError::invalid("Options::deadline", deadline, DEADLINES);
                return refused.fmt(f);
            }
            Self::InvalidAttempts(attempts) => {
                let refused = ConfigError::invalid("Options::attempts", attempts, "1..=255");
                return refused.fmt(f);
            }
            Self::Deadline => "Options::deadline needs a DeadlineLayer in the stack",
            Self::Key => {
                "Options::idempotency_key needs an IdempotencyLayer in the stack, above the AttemptLayer"
            }
            Self::LostKey => {
                "the key of Options::idempotency_key was removed below the IdempotencyLayer"
            }
            Self::OtherKey => {
                "Options::idempotency_key was given two different keys in two stacks: give it once"
            }
            Self::WholeBody => "Options::whole_body needs an AttemptLayer in the stack",
            Self::Stale => {
                "Options::consistency needs a StaleLayer in the stack, or a client with a store"
            }
            Self::EmptyAffinity => "Options::affinity needs a key that names a session: it is empty",
            Self::Affinity => {
                "Options::affinity needs a Transport below: no other service keeps a session on one address"
            }
            Self::ProxiedAffinity => {
                "Options::affinity needs a connection without a proxy: a proxy chooses the address itself"
            }
            Self::Late => {
                "Options were added below the layer that begins the call: add them above it"
            }
        })
    }
}

impl std::error::Error for Unmet {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::idempotency::IdempotencyKey;

    /// Returns a wire without the key, one without a store, and one without the attempt policy.
    fn variants(all: Wire) -> (Wire, Wire, Wire) {
        let (mut lost, mut storeless, mut partial) = (all, all, all);
        lost.key = Some(false);
        storeless.keeps_responses = false;
        partial.is_attempt = false;
        (lost, storeless, partial)
    }

    #[test]
    fn open_demand_is_named_at_the_wire() {
        let all = Wire {
            key: Some(true),
            is_led_away: false,
            is_call: true,
            is_attempt: true,
            keeps_responses: true,
        };
        let keyed = Options::new().idempotency_key(IdempotencyKey::new("k").unwrap());
        let whole = Options::new().whole_body(9);
        let ends = Options::new().deadline(Duration::from_secs(1));
        let minute = Duration::from_secs(60);
        let stale = Options::new().consistency(Consistency::StaleFor(minute));
        let refuse = Options::new().consistency(Consistency::Refuse);
        let (lost, storeless, partial) = variants(all);
        let mut two = keyed.clone();
        two.inherited.keys_differ = true;
        for (options, wire, unmet) in [
            (
                &Options::new().deadline(Duration::from_millis(9)),
                all,
                Some(Unmet::InvalidDeadline(Duration::from_millis(9))),
            ),
            (
                &Options::new().attempts(0),
                all,
                Some(Unmet::InvalidAttempts(0)),
            ),
            (
                &Options::new().attempts(256),
                all,
                Some(Unmet::InvalidAttempts(256)),
            ),
            (&keyed, all, None),
            (&keyed, Wire { key: None, ..all }, Some(Unmet::Key)),
            (&keyed, lost, Some(Unmet::LostKey)),
            (
                &keyed,
                Wire {
                    key: Some(false),
                    is_led_away: true,
                    ..all
                },
                None,
            ),
            (&two, all, Some(Unmet::OtherKey)),
            (&whole, all, None),
            (&whole, partial, Some(Unmet::WholeBody)),
            (&stale, all, None),
            (&stale, storeless, Some(Unmet::Stale)),
            (&refuse, storeless, None),
            (&ends, all, None),
            (&ends, Wire::default(), Some(Unmet::Deadline)),
            (&Options::new(), Wire::default(), None),
            (&Options::new().affinity("a"), Wire::default(), None),
            (
                &Options::new().affinity(""),
                all,
                Some(Unmet::EmptyAffinity),
            ),
        ] {
            assert_eq!(options.unmet(&wire), unmet, "{options:?} {wire:?}");
        }
    }

    #[test]
    fn refusal_says_what_to_do_and_that_nothing_was_sent() {
        let error = crate::error::Error::from(Unmet::WholeBody);
        assert_eq!(
            error.to_string(),
            "call failed at encode: invalid request (Options::whole_body needs an AttemptLayer in the \
             stack); no effect"
        );
    }
}
