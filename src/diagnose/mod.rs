//! Turns the facts about an attempt into one diagnosis: hop, kind, effect.

#[cfg(any(feature = "hyper-util", feature = "reqwest"))]
mod connectors;
mod edge;
mod evidence;
mod foreign;

use std::error::Error as StdError;

use self::evidence::{Evidence, evidence};
use crate::hop::{Diagnosis, Effect, Hop, Kind, Stage};
use crate::record::{Tracker, effect_of};
use crate::timeout::TimeoutKind;

pub(crate) use self::edge::{AttemptFailure, Edge, View};
#[cfg(feature = "reqwest")]
pub(crate) use self::evidence::is_unprocessed;

impl Diagnosis {
    /// Diagnoses an expired timeout. The open stage gives the hop. The effect depends on whether a connection took the
    /// request, and on the response head if one came.
    pub(crate) fn timeout_kind(tracker: Option<&Tracker>, which: TimeoutKind) -> Self {
        let stage = tracker.and_then(Tracker::open);
        let hop = match (which, stage) {
            (TimeoutKind::Dns, _) => Some(Hop::Dns),
            (TimeoutKind::Connect, _) => Some(Hop::Connect),
            (TimeoutKind::Tls, _) => Some(Hop::Tls),
            (TimeoutKind::Send, _) => Some(Hop::Send),
            (_, Some(stage)) => Some(hop_of(stage)),
            // The attempt has begun and entered no stage, so it waits for a connection to take it.
            (_, None) => tracker.map(|_| Hop::Send),
        };
        let is_queued = tracker.is_some_and(|tracker| tracker.facts(|facts| facts.is_queued));
        Self {
            hop,
            kind: match is_queued {
                true => Kind::ConnectionLimit,
                false => Kind::Timeout,
            },
            // A foreign service may have sent the request.
            effect: tracker.map_or(Effect::Possible, effect_of),
            timeout_kind: Some(which),
            status: None,
        }
    }

    /// Diagnoses an operation whose time is over. It has a hop only if a client of this crate reported a setup that did
    /// not finish.
    pub(crate) fn operation_expired(tracker: &Tracker, which: TimeoutKind) -> Self {
        Self {
            hop: setup(tracker).map(hop_of),
            ..Self::out_of_time(which)
        }
    }
}

/// Diagnoses an operation whose work failed with this effect. It has a hop only if a client of this crate reported a
/// setup that did not finish.
pub(crate) fn diagnose_operation(
    tracker: &Tracker,
    error: &(dyn StdError + 'static),
    effect: Effect,
) -> Diagnosis {
    let diagnosis = match setup(tracker) {
        Some(_) => diagnose(tracker, error),
        // No client of this crate saw the hop. The error may name it.
        None => {
            let told = Diagnosis::foreign(error);
            Diagnosis {
                hop: told.hop,
                kind: told.kind,
                ..Diagnosis::operation(effect, told.timeout_kind)
            }
        }
    };
    Diagnosis {
        effect,
        ..diagnosis
    }
}

fn setup(tracker: &Tracker) -> Option<Stage> {
    tracker.open().filter(|stage| is_set_up(Some(*stage)))
}

const fn is_set_up(stage: Option<Stage>) -> bool {
    matches!(stage, Some(Stage::Dns | Stage::Connect | Stage::Tls))
}

/// Diagnoses a failed attempt: the tracker's facts first, the error's chain second.
pub(crate) fn diagnose(tracker: &Tracker, error: &(dyn StdError + 'static)) -> Diagnosis {
    let evidence = evidence(error);
    if let Some(known) = evidence.known {
        return known;
    }
    let stage = tracker.open();
    // A connector without a tracker may still report that the setup failed.
    let unseen = matches!(stage, None | Some(Stage::Wait)) && !tracker.is_tracked();
    let setup = evidence.setup.filter(|_| unseen);
    let is_handshake = evidence.kind == Some(Kind::Alert) && ends_handshake(tracker, &evidence);
    let hop = match (is_handshake, stage) {
        // The TLS handshake with an https proxy belongs to the connect.
        (true, Some(Stage::Connect)) => Hop::Connect,
        (true, _) => Hop::Tls,
        (false, _) => {
            let told = evidence.hop.or(setup);
            told.unwrap_or_else(|| stage_hop(tracker, stage))
        }
    };
    let mut diagnosis = Diagnosis::new(hop, Kind::Other, effect_of(tracker));
    diagnosis.kind = kind_of(tracker, stage, &evidence);
    if (diagnosis.kind, stage) == (Kind::Unacknowledged, Some(Stage::Wait)) {
        // The service is not slow: nothing proves that the request arrived.
        diagnosis.hop = Some(Hop::Send);
    }
    diagnosis.timeout_kind = evidence.timeout_kind;
    let is_handed_back = evidence.unprocessed && is_before_head(tracker);
    if (is_handed_back || is_handshake) && !tracker.may_have_sent_another() {
        diagnosis.effect = Effect::None;
    }
    diagnosis
}

fn is_before_head(tracker: &Tracker) -> bool {
    tracker.status().is_none() && tracker.open() != Some(Stage::Receive)
}

/// Returns whether a TLS alert belongs to the handshake, so that the server did not read the request. There are two
/// cases. Either no connection took the request, or the alert refuses the client's certificate. In the second case, no
/// session ticket and no response may show that the server had accepted the certificate. In TLS 1.3 such an alert comes
/// after the client's first bytes. Every other alert fails the open stage.
fn ends_handshake(tracker: &Tracker, evidence: &Evidence) -> bool {
    let is_refusal = || evidence.refuses_certificate && awaits_verdict(tracker);
    let is_before = is_before_head(tracker) && tracker.is_tracked();
    is_before && (!tracker.is_taken() || is_refusal())
}

/// Returns whether the server may still refuse the client's certificate: on the attempt's own TLS 1.3 connection,
/// before the server sent a ticket. The TLS session with a proxy around that connection has alerts of its own.
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
        // A foreign service failed, and its error does not show the hop.
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

/// Returns the kind. FIN and RST race whenever the peer has unread data. Each stage therefore has one name for a broken
/// connection. It is reset while the request goes out, and closed before a connection took it and during the wait for
/// the response.
fn kind_of(tracker: &Tracker, stage: Option<Stage>, evidence: &Evidence) -> Kind {
    let kind = match evidence.kind {
        // After the handshake, a corrupt record breaks the connection.
        Some(Kind::ProtocolError) if evidence.garbled && !is_set_up(stage) => Kind::Reset,
        kind => kind.unwrap_or(Kind::Other),
    };
    if evidence.hop.is_some() {
        return kind; // it does not depend on the open stage
    }
    match (kind, stage) {
        (Kind::Unacknowledged, Some(Stage::Connect)) => Kind::Timeout,
        // The kernel reports its last received error as the reason. If the peer lost its power, that error is "host
        // unreachable".
        (Kind::Unreachable, Some(Stage::Tls | Stage::Send | Stage::Wait | Stage::Receive)) => {
            Kind::Unacknowledged
        }
        // The TLS handshake with an https proxy belongs to the connect.
        (Kind::Incomplete, Some(Stage::Connect)) => Kind::Closed,
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

#[cfg(test)]
#[path = "timeout_tests.rs"]
mod timeout_tests;
