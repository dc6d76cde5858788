//! Tests of the bounds of attempts and hints, and of failures that are not in the table.

use super::*;

#[test]
fn sent_and_unsent_attempts_are_counted_apart() {
    let refused = Diagnosis::new(Hop::Connect, Kind::Refused, Effect::None);
    let unsent = failed(&Method::POST, refused);
    let lost = failed(&Method::GET, lost(Effect::Possible));
    let left = |sent, unsent| Remaining {
        sent,
        unsent,
        ..plenty()
    };
    let spent = |made| Err(NoRetryReason::AttemptsExhausted { made });
    for (failed, left, expected) in [
        (&unsent, left(0, 9), Ok(WAIT)),
        (&unsent, left(0, 10), spent(10)),
        (&unsent, left(2, 9), Ok(WAIT)),
        (&lost, left(2, 9), Ok(WAIT)),
        (&lost, left(3, 2), spent(5)),
        // One attempt may be sent, and none was.
        (
            &unsent,
            Remaining {
                most: 1,
                ..left(0, 1)
            },
            Ok(WAIT),
        ),
        (
            &lost,
            Remaining {
                most: 1,
                ..left(1, 0)
            },
            spent(1),
        ),
        (
            &unsent,
            Remaining {
                most_unsent: 1,
                ..left(0, 1)
            },
            spent(1),
        ),
    ] {
        assert_eq!(
            decide(failed, &left, Ok(WAIT), || true),
            expected,
            "{left:?}"
        );
    }
}

#[test]
fn failure_that_no_table_knows_is_transient_unless_a_policy_rejected_the_request() {
    for (hop, kind, expected) in [
        (None, Kind::Other, Ok(WAIT)),
        (None, Kind::Timeout, Ok(WAIT)),
        (None, Kind::LocalResources, Ok(WAIT)),
        (Some(Hop::Server), Kind::Other, Ok(WAIT)),
        (Some(Hop::Tls), Kind::Other, Ok(WAIT)),
        (None, Kind::CircuitOpen, Err(NoRetryReason::Permanent)),
        (None, Kind::KeyExpired, Err(NoRetryReason::Permanent)),
        (None, Kind::RedirectLoop, Err(NoRetryReason::Permanent)),
    ] {
        let unknown = Diagnosis {
            hop,
            ..Diagnosis::new(Hop::Server, kind, Effect::Possible)
        };
        let retried = repeated(&failed(&Method::GET, unknown));
        assert_eq!(retried, expected, "{hop:?} {kind}");
    }
}

#[test]
fn hint_that_the_call_does_not_wait_for_ends_it_whatever_is_left() {
    let too_long = NoRetryReason::HintTooLong {
        hint: Duration::from_secs(9),
        most: Duration::from_secs(5),
    };
    let get = by_status(&Method::GET, 429, true);
    let decided = decide(&get, &plenty(), Err(too_long.clone()), || unreachable!());
    assert_eq!(decided, Err(too_long.clone()));
    let spent = Remaining {
        sent: 3,
        ..plenty()
    };
    let decided = decide(&get, &spent, Err(too_long), || unreachable!());
    assert_eq!(decided, Err(NoRetryReason::AttemptsExhausted { made: 3 }));
}
