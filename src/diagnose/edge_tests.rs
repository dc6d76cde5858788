use std::io;

use super::*;
use crate::hop::Kind;

const ALL: [Effect; 4] = [
    Effect::None,
    Effect::Declined,
    Effect::Possible,
    Effect::Done,
];

#[test]
fn effect_at_the_edge_is_the_greatest_of_all() {
    for own in ALL {
        for log in ALL {
            assert_eq!(effect_at_edge(own, log, false), own.max(log));
        }
    }
}

#[test]
fn get_after_a_redirect_proves_nothing_about_the_post() {
    for (own, log, expected) in [
        (Effect::Done, Effect::Possible, Effect::Possible),
        (Effect::Done, Effect::None, Effect::Possible),
        (Effect::Done, Effect::Declined, Effect::Possible),
        (Effect::Declined, Effect::None, Effect::Declined),
        (Effect::Done, Effect::Done, Effect::Done),
        (Effect::Possible, Effect::None, Effect::Possible),
        (Effect::None, Effect::Possible, Effect::Possible),
        (Effect::None, Effect::None, Effect::None),
    ] {
        assert_eq!(effect_at_edge(own, log, true), expected, "{own} {log}");
    }
}

#[test]
fn foreign_error_alone_proves_nothing() {
    for kind in [
        io::ErrorKind::ConnectionRefused,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::TimedOut,
        io::ErrorKind::Other,
    ] {
        let failure = AttemptFailure::below(io::Error::from(kind).into(), View::default());
        assert_eq!(failure.diagnosis().effect, Effect::Possible, "{kind:?}");
    }
}

#[test]
fn own_error_is_a_proof_even_inside_a_foreign_error() {
    let refused = || Error::new(Diagnosis::new(Hop::Connect, Kind::Refused, Effect::None));
    let bare = AttemptFailure::below(refused().into(), View::default());
    let wrapped = AttemptFailure::below(io::Error::other(refused()).into(), View::default());
    for failure in [bare, wrapped] {
        let Diagnosis { hop, effect, .. } = failure.diagnosis();
        assert_eq!((hop, effect), (Some(Hop::Connect), Effect::None));
    }
}

#[test]
fn head_decides_the_effect_of_a_body_that_breaks_off() {
    let view = View {
        head: Some(Effect::Done),
        ..View::default()
    };
    let failure =
        AttemptFailure::below(io::Error::from(io::ErrorKind::ConnectionReset).into(), view);
    let Diagnosis { hop, effect, .. } = failure.diagnosis();
    assert_eq!((hop, effect), (Some(Hop::Receive), Effect::Done));
}
