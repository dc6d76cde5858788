//! Checks what the record proves after a transport failed, was dropped, or took nothing.

use http::StatusCode;

use super::tests::{ends, here, tracker};
use super::*;
use crate::hop::{Effect, Hop, Keyed};
use crate::record::effect_of;
use crate::timeout::TimeoutKind;

#[test]
fn transport_that_is_dropped_proves_nothing_for_what_comes_after_it() {
    let tracker = tracker();
    tracker.begin();
    tracker.connecting(here());
    tracker.abandon();
    assert_eq!(
        effect_of(&tracker),
        Effect::None,
        "the service has not continued"
    );
    tracker.waiting(clock::now());
    assert_eq!(effect_of(&tracker), Effect::Possible);
    let left = (Stage::Connect, Some(End::Abandoned));
    assert_eq!(ends(&tracker), [left, (Stage::Wait, None)]);
}

#[test]
fn response_of_another_client_does_not_undo_what_was_taken_before() {
    let tracker = tracker();
    tracker.begin();
    tracker.queued();
    assert!(tracker.take());
    tracker.hand_back(Kind::Closed);
    let headers = http::HeaderMap::new();
    let not_found = Diagnosis::status(StatusCode::NOT_FOUND, &headers, Keyed::No);
    assert_eq!(
        not_found.map(|judged| judged.effect),
        Some(Effect::Declined)
    );
    tracker.head(StatusCode::NOT_FOUND, not_found, clock::now());
    assert_eq!(effect_of(&tracker), Effect::Possible);
}

#[test]
fn failed_stage_is_reported_as_failed_whatever_comes_next() {
    let next: [fn(&Tracker); 3] = [
        Tracker::begin,
        |tracker| tracker.waiting(clock::now()),
        |tracker| tracker.head(StatusCode::OK, None, clock::now()),
    ];
    for goes_on in next {
        let tracker = tracker();
        tracker.begin();
        tracker.enter(Stage::Dns);
        tracker.hand_back(Kind::NotFound);
        goes_on(&tracker);
        let failed = (Stage::Dns, Some(End::Failed(Kind::NotFound)));
        assert_eq!(ends(&tracker)[0], failed);
        assert_ne!(tracker.open(), Some(Stage::Dns));
    }
}

#[test]
fn send_that_expired_is_named_send_even_if_the_last_byte_went_out_meanwhile() {
    let tracker = tracker();
    tracker.begin();
    tracker.queued();
    tracker.take();
    tracker.sent_all();
    let expired = Diagnosis::timeout_kind(Some(&tracker), TimeoutKind::Send);
    assert_eq!(expired.hop, Some(Hop::Send));
}

#[test]
fn proof_of_one_transport_does_not_undo_what_another_has_sent() {
    let tracker = tracker();
    tracker.begin();
    tracker.pooled();
    assert!(tracker.take());
    // A service above the transport has its response, and sends another request in the same attempt.
    tracker.begin();
    tracker.pooled();
    assert!(tracker.take());
    tracker.untake();
    assert!(tracker.is_taken(), "the first one went out");
}

#[test]
fn transport_that_begins_after_another_has_sent_cannot_prove_the_whole_attempt() {
    type Sends = fn(&Tracker);
    let takes: Sends = |tracker| {
        tracker.begin();
        tracker.pooled();
        assert!(tracker.take());
    };
    let fails: Sends = |tracker| {
        tracker.begin();
        tracker.connecting(here());
        tracker.hand_back(Kind::Refused);
    };
    let has_failed: Sends = |tracker| {
        tracker.begin();
        tracker.pooled();
        assert!(tracker.take());
        tracker.hand_back(Kind::Closed);
        // The service pauses before it continues.
        tracker.waiting(clock::now());
    };
    let begins_beside: Sends = |tracker| {
        tracker.begin();
        tracker.pooled();
    };
    let cases: [(&[Sends], bool); 6] = [
        (&[takes], false),
        (&[fails], false),
        (&[fails, fails], false),
        (&[takes, takes], true),
        (&[has_failed, takes], true),
        (&[begins_beside, takes], true),
    ];
    for (at, (steps, expected)) in cases.into_iter().enumerate() {
        let tracker = tracker();
        steps.iter().for_each(|step| step(&tracker));
        assert_eq!(tracker.may_have_sent_another(), expected, "case {at}");
    }
}

#[test]
fn request_that_was_not_sent_is_sent_as_if_it_had_never_been_taken() {
    let tracker = tracker();
    tracker.begin();
    tracker.pooled();
    assert!(tracker.take());
    tracker.sent_all();
    assert_eq!(tracker.open(), Some(Stage::Wait));
    tracker.untake();
    assert!(!tracker.is_taken());
    tracker.wait_for_connection();
    assert_eq!(tracker.open(), Some(Stage::Connect));
    tracker.pooled();
    assert_eq!(tracker.open(), Some(Stage::Send));
    assert!(tracker.take());
    tracker.sent_all();
    assert_eq!(tracker.open(), Some(Stage::Wait));
}
