//! Decides whether and when a call is hedged: pure.
//!
//! | fact | hedged |
//! |---|---|
//! | retries are off, for another destination, or the caller's | no |
//! | the method is not safe, the caller does not call the request idempotent, and no honored key is on it | no |
//! | the server will have forgotten the key before the deadline | no |
//! | the body cannot be sent again | no |
//! | the attempts are spent, counting those in flight | no |
//! | the destination asks for fewer requests, or its circuit is half-open | no |
//! | the call's session stays on one address, and the same one is not allowed | no |
//! | no other address is known, and the same one is not allowed | no |
//!
//! The first row that applies gives the reason that is recorded. Then the hedge is paid for: one token of the share of
//! the calls, and one of the budget. Idempotent is not enough: two copies of a PUT may
//! pass each other, and the older one may win over a later write.

use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use crate::clock;
use crate::hop::NoHedgeReason;

/// The facts about a call when a hedge is due.
#[derive(Clone, Debug)]
pub(crate) struct HedgeFacts<'a> {
    /// Why this driver sends nothing again; `None` if it may.
    pub(crate) off: Option<NoHedgeReason>,
    pub(crate) method: &'a Method,
    /// Whether the caller says that the request is idempotent.
    pub(crate) is_declared_idempotent: bool,
    /// Whether the request carries a key, and whether the server honors it.
    pub(crate) keyed: bool,
    pub(crate) vouched: bool,
    /// How long the server will remember the key, if that is known.
    pub(crate) key_left: Option<Duration>,
    pub(crate) time_left: Duration,
    pub(crate) is_replayable: bool,
    /// The attempts that ended or are in flight, and how many may be sent.
    pub(crate) sent: u32,
    pub(crate) most: u32,
    pub(crate) is_throttled: bool,
    pub(crate) is_half_open: bool,
    /// Whether the calls of a session stay on one address.
    pub(crate) has_session: bool,
    pub(crate) addresses: OtherAddress,
    pub(crate) same_address: bool,
}

/// The addresses of the destination that no attempt in flight uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OtherAddress {
    /// The inner service does not report addresses.
    Unknown,
    /// There is another address.
    Another,
    /// There is none.
    NoOther,
}

/// Decides whether a hedge that is due may be sent, as far as that costs nothing.
pub(crate) fn decide(facts: &HedgeFacts<'_>) -> Result<(), NoHedgeReason> {
    if let Some(off) = &facts.off {
        return Err(off.clone());
    }
    facts.is_harmless()?;
    if !facts.is_replayable {
        return Err(NoHedgeReason::NotReplayable);
    }
    if facts.sent >= facts.most {
        return Err(NoHedgeReason::AttemptsSpent { sent: facts.sent });
    }
    if facts.is_throttled {
        return Err(NoHedgeReason::Throttled);
    }
    if facts.is_half_open {
        return Err(NoHedgeReason::HalfOpen);
    }
    if facts.same_address {
        return Ok(());
    }
    if facts.has_session {
        return Err(NoHedgeReason::Session);
    }
    if facts.addresses == OtherAddress::NoOther {
        return Err(NoHedgeReason::OneAddress);
    }
    Ok(())
}

impl HedgeFacts<'_> {
    /// Checks that a second copy of the request changes nothing.
    fn is_harmless(&self) -> Result<(), NoHedgeReason> {
        if self.method.is_safe() || self.is_declared_idempotent {
            return Ok(());
        }
        if !self.vouched {
            return Err(NoHedgeReason::Unsafe {
                method: self.method.clone(),
                keyed: self.keyed,
            });
        }
        match self.key_left {
            Some(left) if left <= self.time_left => Err(NoHedgeReason::KeyExpires { left }),
            _ => Ok(()),
        }
    }
}

/// The latest attempt in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LatestAttempt {
    pub(crate) started: Instant,
    /// Whether the inner service reports its stages.
    pub(crate) is_tracked: bool,
    /// When a connection took the request.
    pub(crate) taken: Option<Instant>,
}

/// When a hedge is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    At(Instant),
    /// The attempt waits for a connection. The transport itself tries another address then, so the question is asked
    /// again at this instant, at the latest.
    AskAgain(Instant),
}

impl LatestAttempt {
    /// Returns when the server began to have the request, as far as that is known.
    pub(crate) fn began(&self) -> Option<Instant> {
        match self.is_tracked {
            true => self.taken,
            false => Some(self.started),
        }
    }
}

/// Returns when a hedge is due. The delay counts from the moment when a connection took the request of the latest
/// attempt.
pub(crate) fn due(latest: &LatestAttempt, delay: Duration, now: Instant) -> Due {
    match latest.began() {
        Some(began) => Due::At(clock::after(began, delay)),
        None => Due::AskAgain(clock::after(now, delay)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECS: fn(u64) -> Duration = Duration::from_secs;

    fn get() -> HedgeFacts<'static> {
        HedgeFacts {
            off: None,
            method: &Method::GET,
            is_declared_idempotent: false,
            keyed: false,
            vouched: false,
            key_left: None,
            time_left: SECS(10),
            is_replayable: true,
            sent: 1,
            most: 3,
            is_throttled: false,
            is_half_open: false,
            has_session: false,
            addresses: OtherAddress::Another,
            same_address: false,
        }
    }

    fn post() -> HedgeFacts<'static> {
        HedgeFacts {
            method: &Method::POST,
            ..get()
        }
    }

    #[test]
    fn safe_methods_and_honored_keys_are_hedged() {
        let unsafe_ = |method: &Method, keyed| {
            let method = method.clone();
            Err(NoHedgeReason::Unsafe { method, keyed })
        };
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
            let method = &method;
            assert_eq!(decide(&HedgeFacts { method, ..get() }), Ok(()));
        }
        for method in [Method::POST, Method::PATCH, Method::PUT, Method::DELETE] {
            let facts = HedgeFacts {
                method: &method,
                ..get()
            };
            assert_eq!(decide(&facts), unsafe_(&method, false));
            let keyed = HedgeFacts {
                keyed: true,
                ..facts
            };
            assert_eq!(decide(&keyed), unsafe_(&method, true));
            let vouched = HedgeFacts {
                vouched: true,
                ..keyed
            };
            assert_eq!(decide(&vouched), Ok(()));
        }
        let read = HedgeFacts {
            is_declared_idempotent: true,
            ..post()
        };
        assert_eq!(decide(&read), Ok(()));
    }

    #[test]
    fn key_that_expires_before_the_deadline_is_no_permission() {
        let left = |seconds| HedgeFacts {
            keyed: true,
            vouched: true,
            key_left: Some(SECS(seconds)),
            ..post()
        };
        assert_eq!(decide(&left(11)), Ok(()));
        let expires = Err(NoHedgeReason::KeyExpires { left: SECS(10) });
        assert_eq!(decide(&left(10)), expires);
    }

    #[test]
    fn each_fact_has_its_reason_and_the_first_one_counts() {
        let off = Some(NoHedgeReason::SwitchedOff);
        let mut facts = HedgeFacts {
            off,
            is_replayable: false,
            sent: 3,
            is_throttled: true,
            is_half_open: true,
            has_session: true,
            addresses: OtherAddress::NoOther,
            ..post()
        };
        let mut reasons = Vec::new();
        let mends: [fn(&mut HedgeFacts<'_>); 8] = [
            |facts| facts.off = None,
            |facts| facts.vouched = true,
            |facts| facts.is_replayable = true,
            |facts| facts.sent = 2,
            |facts| facts.is_throttled = false,
            |facts| facts.is_half_open = false,
            |facts| facts.has_session = false,
            |facts| facts.same_address = true,
        ];
        for mend in mends {
            reasons.push(decide(&facts).unwrap_err().as_str());
            mend(&mut facts);
        }
        assert_eq!(decide(&facts), Ok(()));
        let expected = [
            "disabled",
            "not_idempotent",
            "body_not_replayable",
            "attempts_exhausted",
            "throttled",
            "half_open",
            "session",
            "one_address",
        ];
        assert_eq!(reasons, expected);
    }

    #[test]
    fn session_is_hedged_only_at_its_own_address() {
        let session = HedgeFacts {
            has_session: true,
            ..get()
        };
        assert_eq!(decide(&session), Err(NoHedgeReason::Session));
        let same = HedgeFacts {
            same_address: true,
            ..session
        };
        assert_eq!(decide(&same), Ok(()));
    }

    #[test]
    fn addresses_count_only_if_the_service_reports_them() {
        for (addresses, expected) in [
            (OtherAddress::Unknown, Ok(())),
            (OtherAddress::Another, Ok(())),
            (OtherAddress::NoOther, Err(NoHedgeReason::OneAddress)),
        ] {
            assert_eq!(decide(&HedgeFacts { addresses, ..get() }), expected);
        }
    }

    #[test]
    fn delay_counts_from_the_moment_when_a_connection_took_the_request() {
        let now = clock::now();
        let (started, taken) = (now, Some(now + SECS(3)));
        let attempt = |is_tracked, taken| LatestAttempt {
            started,
            is_tracked,
            taken,
        };
        let later = now + SECS(1);
        for (attempt, expected) in [
            (attempt(false, None), Due::At(now + SECS(2))),
            (attempt(true, None), Due::AskAgain(later + SECS(2))),
            (attempt(true, taken), Due::At(now + SECS(5))),
        ] {
            assert_eq!(due(&attempt, SECS(2), later), expected);
        }
    }
}
