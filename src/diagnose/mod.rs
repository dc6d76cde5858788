//! From what is known of an attempt to the one answer: hop, kind, effect.

#[cfg(any(feature = "hyper", feature = "reqwest"))]
mod connectors;
mod edge;
mod evidence;
mod foreign;

use std::error::Error as StdError;

use self::evidence::{Evidence, evidence};
use crate::hop::{Diagnosis, Effect, Hop, Kind, Stage};
use crate::limit::Waited;
use crate::record::{Tracker, effect_of};

pub(crate) use self::edge::{Edge, Failure, View};
#[cfg(feature = "reqwest")]
pub(crate) use self::evidence::is_unprocessed;

impl Diagnosis {
    /// A limit ran out. What is open says where; the effect is settled by whether the request was
    /// taken, and by a head that was there already.
    pub(crate) fn expired(tracker: Option<&Tracker>, which: Waited) -> Self {
        let stage = tracker.and_then(Tracker::open);
        let hop = match (which, stage) {
            (Waited::Dns, _) => Some(Hop::Dns),
            (Waited::Connect, _) => Some(Hop::Connect),
            (Waited::Tls, _) => Some(Hop::Tls),
            (Waited::Send, _) => Some(Hop::Send),
            (_, Some(stage)) => Some(hop_of(stage)),
            // An attempt that has begun and entered nothing waits for a connection to take it.
            (_, None) => tracker.map(|_| Hop::Send),
        };
        let is_queued = tracker.is_some_and(|tracker| tracker.facts(|facts| facts.is_queued));
        Self {
            hop,
            kind: match is_queued {
                true => Kind::ConnectionLimit,
                false => Kind::Timeout,
            },
            // A service that is not ours may have sent it.
            effect: tracker.map_or(Effect::Possible, effect_of),
            expired: Some(which),
            status: None,
        }
    }

    /// An operation's time was over. It has a hop only if a client of ours reported a set-up that was not
    /// left.
    pub(crate) fn operation_expired(tracker: &Tracker, which: Waited) -> Self {
        Self {
            hop: set_up(tracker).map(hop_of),
            ..Self::out_of_time(which)
        }
    }
}

/// The work of an operation failed, and this is known of the effect. It has a hop only if a client of ours
/// reported a set-up that was not left.
pub(crate) fn diagnose_operation(
    tracker: &Tracker,
    error: &(dyn StdError + 'static),
    effect: Effect,
) -> Diagnosis {
    let diagnosis = match set_up(tracker) {
        Some(_) => diagnose(tracker, error),
        // Nobody of ours has seen the hop; the error may name it.
        None => {
            let told = Diagnosis::foreign(error);
            Diagnosis {
                hop: told.hop,
                kind: told.kind,
                ..Diagnosis::operation(effect, told.expired)
            }
        }
    };
    Diagnosis {
        effect,
        ..diagnosis
    }
}

fn set_up(tracker: &Tracker) -> Option<Stage> {
    tracker.open().filter(|stage| is_set_up(Some(*stage)))
}

const fn is_set_up(stage: Option<Stage>) -> bool {
    matches!(stage, Some(Stage::Dns | Stage::Connect | Stage::Tls))
}

/// Tracker first, evidence second.
pub(crate) fn diagnose(tracker: &Tracker, error: &(dyn StdError + 'static)) -> Diagnosis {
    let evidence = evidence(error);
    if let Some(known) = evidence.known {
        return known;
    }
    let stage = tracker.open();
    // A connector that reports to no tracker may still say that it was the one.
    let unseen = matches!(stage, None | Some(Stage::Wait)) && !tracker.is_tracked();
    let set_up = evidence.set_up.filter(|_| unseen);
    let is_handshake = evidence.kind == Some(Kind::Alert) && ends_handshake(tracker, &evidence);
    let hop = match is_handshake {
        true => Hop::Tls,
        false => {
            let told = evidence.hop.or(set_up);
            told.unwrap_or_else(|| stage_hop(tracker, stage))
        }
    };
    let mut diagnosis = Diagnosis::new(hop, Kind::Other, effect_of(tracker));
    diagnosis.kind = kind_of(tracker, stage, &evidence);
    if (diagnosis.kind, stage) == (Kind::Unacknowledged, Some(Stage::Wait)) {
        // The service is not slow to answer: nothing says that the request has arrived.
        diagnosis.hop = Some(Hop::Send);
    }
    diagnosis.expired = evidence.expired;
    let is_handed_back = evidence.unprocessed && is_before_head(tracker);
    if is_handed_back || is_handshake {
        diagnosis.effect = Effect::None;
    }
    diagnosis
}

fn is_before_head(tracker: &Tracker) -> bool {
    tracker.status().is_none() && tracker.open() != Some(Stage::Receive)
}

/// Whether a TLS alert belongs to the handshake, so that nothing of the request was read: where no connection
/// took the request, or where the alert refuses the client's certificate (in TLS 1.3 that comes after the
/// client's first bytes) and nothing shows that the server had accepted it: no session ticket, no response.
/// Every other alert fails the stage that is open.
fn ends_handshake(tracker: &Tracker, evidence: &Evidence) -> bool {
    let is_refusal = || evidence.refuses_certificate && awaits_verdict(tracker);
    let is_before = is_before_head(tracker) && tracker.is_tracked();
    is_before && (!tracker.is_taken() || is_refusal())
}

/// Whether the server may still refuse the client's certificate: on the attempt's own connection of TLS 1.3,
/// before it sent a ticket. A proxy's TLS around that connection speaks for itself.
fn awaits_verdict(tracker: &Tracker) -> bool {
    tracker.is_own_connection()
        && tracker.facts(|facts| {
            let tickets = facts.tickets.as_ref();
            let by_https = facts
                .via
                .as_deref()
                .is_some_and(|via| via.starts_with("https"));
            facts.tls.is_some_and(|session| session.version == "1.3")
                && tickets.is_some_and(|tickets| !tickets.came())
                && !by_https
        })
}

fn stage_hop(tracker: &Tracker, stage: Option<Stage>) -> Hop {
    match stage {
        Some(stage) => hop_of(stage),
        None if tracker.is_tracked() => Hop::Send,
        // A service that is not ours, and nothing in its error tells where it was.
        None => Hop::Server,
    }
}

const fn hop_of(stage: Stage) -> Hop {
    match stage {
        Stage::Dns => Hop::Dns,
        Stage::Connect => Hop::Connect,
        Stage::Tls => Hop::Tls,
        Stage::Send => Hop::Send,
        Stage::Wait => Hop::Server,
        Stage::Receive => Hop::Receive,
    }
}

/// FIN and RST race wherever the peer has something unread, so a connection that breaks has one name
/// for each stage: closed while nothing was taken and while the answer is awaited, reset while the
/// request goes out.
fn kind_of(tracker: &Tracker, stage: Option<Stage>, evidence: &Evidence) -> Kind {
    let kind = match evidence.kind {
        // After the handshake the connection breaks by it.
        Some(Kind::Protocol) if evidence.garbled && !is_set_up(stage) => Kind::Reset,
        kind => kind.unwrap_or(Kind::Other),
    };
    match (kind, stage) {
        (Kind::Unacknowledged, Some(Stage::Connect)) => Kind::Timeout,
        // The kernel gives the last thing it heard as the reason: from a host that lost its power,
        // that it cannot be reached.
        (Kind::Unreachable, Some(Stage::Tls | Stage::Send | Stage::Wait | Stage::Receive)) => {
            Kind::Unacknowledged
        }
        (Kind::Reset | Kind::Incomplete, Some(Stage::Tls)) => Kind::Closed,
        (Kind::Reset, Some(Stage::Wait)) if !evidence.stream => Kind::Closed,
        (Kind::Incomplete, Some(Stage::Wait)) => Kind::Closed,
        (Kind::Incomplete | Kind::Reset, Some(Stage::Send) | None) if !tracker.is_taken() => {
            Kind::Closed
        }
        (Kind::Closed, Some(Stage::Send) | None) if !tracker.is_taken() => Kind::Closed,
        (Kind::Incomplete | Kind::Closed, Some(Stage::Send)) => Kind::Reset,
        (Kind::Closed | Kind::Unprocessed, Some(Stage::Receive)) => Kind::Incomplete,
        (kind, _) => kind,
    }
}

#[cfg(test)]
#[cfg(feature = "client")]
#[path = "diagnosis_tests.rs"]
mod tests;
