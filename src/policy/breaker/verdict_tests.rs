use http::{HeaderMap, StatusCode};

use super::*;
use crate::hop::{Effect, Keyed, failure_catalog};

const JUDGE: Judge = Judge {
    slow: None,
    count_throttled_as_failure: false,
    observe_only: false,
    attempt: Duration::from_secs(5),
};

fn judge(hop: Hop, kind: Kind) -> Verdict {
    JUDGE.judge(Some(&Diagnosis::new(hop, kind, Effect::Possible)), None)
}

fn by_status(judge: Judge, status: u16) -> Verdict {
    let status = StatusCode::from_u16(status).unwrap();
    let diagnosis = Diagnosis::status(status, &HeaderMap::new(), Keyed::No);
    judge.judge(diagnosis.as_ref(), None)
}

fn is_failure(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Failure(_))
}

#[test]
fn failures_and_timeouts_from_connect_to_receive_count() {
    for hop in [
        Hop::Connect,
        Hop::Tls,
        Hop::Send,
        Hop::Gateway,
        Hop::Server,
        Hop::Receive,
    ] {
        assert!(is_failure(judge(hop, Kind::Timeout)), "{hop}");
        assert!(is_failure(judge(hop, Kind::Other)), "{hop}");
    }
}

#[test]
fn encode_decode_and_dns_do_not_count() {
    for row in failure_catalog() {
        if matches!(row.hop, Hop::Encode | Hop::Dns | Hop::Decode) {
            assert_eq!(judge(row.hop, row.kind), Verdict::Ignored, "{row:?}");
        }
    }
}

#[test]
fn every_failure_the_table_names_is_judged() {
    let ignored: Vec<_> = failure_catalog()
        .iter()
        .filter(|row| !matches!(row.hop, Hop::Encode | Hop::Dns | Hop::Decode))
        .filter(|row| !is_failure(judge(row.hop, row.kind)))
        .map(|row| (row.hop, row.kind, judge(row.hop, row.kind)))
        .collect();
    assert_eq!(
        ignored,
        [
            (Hop::Connect, Kind::ConnectionLimit, Verdict::Ignored),
            (Hop::Connect, Kind::ProxyDenied, Verdict::Ignored),
            (Hop::Connect, Kind::ProxyUnauthorized, Verdict::Ignored),
            (Hop::Connect, Kind::LocalResources, Verdict::Ignored),
            (Hop::Tls, Kind::LocalResources, Verdict::Ignored),
            (Hop::Send, Kind::RequestBody, Verdict::Ignored),
            (Hop::Send, Kind::LocalResources, Verdict::Ignored),
            (Hop::Send, Kind::LocalProtocol, Verdict::Ignored),
            (Hop::Gateway, Kind::ProxyUnauthorized, Verdict::Ignored),
            (Hop::Gateway, Kind::Throttled, Verdict::Throttled),
            (Hop::Gateway, Kind::Unauthorized, Verdict::Success),
            (Hop::Gateway, Kind::PreconditionFailed, Verdict::Success),
            (Hop::Gateway, Kind::PreconditionRequired, Verdict::Success),
            (Hop::Gateway, Kind::ClientError, Verdict::Success),
            (Hop::Server, Kind::Throttled, Verdict::Throttled),
            (Hop::Server, Kind::Unauthorized, Verdict::Success),
            (Hop::Server, Kind::PreconditionFailed, Verdict::Success),
            (Hop::Server, Kind::PreconditionRequired, Verdict::Success),
            (Hop::Server, Kind::ClientError, Verdict::Success),
            (Hop::Server, Kind::InProgress, Verdict::Success),
            (Hop::Server, Kind::KeyReused, Verdict::Success),
            (Hop::Server, Kind::LocalResources, Verdict::Ignored),
            (Hop::Server, Kind::LocalProtocol, Verdict::Ignored),
            (Hop::Receive, Kind::TooLarge, Verdict::Ignored),
            (Hop::Receive, Kind::LocalResources, Verdict::Ignored),
            (Hop::Receive, Kind::LocalProtocol, Verdict::Ignored),
        ]
    );
}

#[test]
fn timeout_counts_if_the_attempt_had_the_configured_time() {
    use crate::timeout::TimeoutKind;
    const MS: fn(u64) -> Duration = Duration::from_millis;
    let deadline = Some(TimeoutKind::Deadline);
    let attempt = Some(TimeoutKind::Attempt);
    let connect = Some(TimeoutKind::Connect);
    // The hop, the timeout that ran out, and the time that the attempt had. Then the attempt timeout of its own layer,
    // whether the hop's timeout was set, and whether the timeout counts.
    for (hop, timeout_kind, time, own, is_explicit, counts) in [
        (Hop::Server, attempt, 5_000, None, false, true),
        (Hop::Server, deadline, 10_000, None, false, true),
        (Hop::Server, deadline, 10, None, false, false),
        (Hop::Connect, deadline, 10, None, false, false),
        (Hop::Tls, deadline, 10, None, false, false),
        (Hop::Send, deadline, 10, None, false, false),
        (Hop::Receive, deadline, 10, None, false, false),
        // Almost the full time, as when the attempt timeout is the deadline.
        (Hop::Server, deadline, 4_951, None, false, true),
        (Hop::Server, deadline, 4_949, None, false, false),
        // A derived timeout of a hop follows that of the attempt.
        (Hop::Connect, connect, 500, None, false, false),
        (Hop::Connect, connect, 5_000, None, false, true),
        // An explicit one does not.
        (Hop::Connect, connect, 500, None, true, true),
        // The attempt's own layer may have a shorter timeout by its own config.
        (Hop::Server, attempt, 2_000, Some(2_000), false, true),
        (Hop::Server, attempt, 1_000, Some(2_000), false, false),
        (Hop::Server, attempt, 5_000, Some(9_000), false, true),
        // A timer outside of this crate ran out within the same time.
        (Hop::Server, None, 10, None, false, false),
        (Hop::Server, None, 5_000, None, false, true),
    ] {
        let failed = Diagnosis {
            timeout_kind,
            ..Diagnosis::new(hop, Kind::Timeout, Effect::Possible)
        };
        let allotted = Allotted {
            time: MS(time),
            configured: own.map(MS),
            is_explicit,
        };
        let judged = JUDGE.judge(Some(&failed), None);
        let judged = JUDGE.by_allotted(judged, &failed, || allotted);
        assert_eq!(
            is_failure(judged),
            counts,
            "{hop} {timeout_kind:?} {allotted:?}"
        );
        assert!(counts || judged == Verdict::Ignored);
    }
}

#[test]
fn what_is_not_a_timeout_of_the_caller_counts_however_short_the_attempt_was() {
    let short = Allotted {
        time: Duration::from_millis(10),
        configured: None,
        is_explicit: false,
    };
    let reset = Diagnosis::new(Hop::Server, Kind::Reset, Effect::Possible);
    let status = StatusCode::GATEWAY_TIMEOUT;
    let gateway = Diagnosis::status(status, &HeaderMap::new(), Keyed::No).unwrap();
    assert_eq!(gateway.kind, Kind::Timeout);
    for failed in [reset, gateway] {
        let judged = JUDGE.judge(Some(&failed), None);
        assert!(is_failure(JUDGE.by_allotted(judged, &failed, || short)));
    }
    let success = JUDGE.by_allotted(Verdict::Success, &reset, || short);
    assert_eq!(success, Verdict::Success);
}

#[test]
fn refusal_by_another_guard_does_not_count() {
    let mut refused = Diagnosis::new(Hop::Server, Kind::Timeout, Effect::None);
    refused.hop = None;
    assert_eq!(JUDGE.judge(Some(&refused), None), Verdict::Ignored);
}

#[test]
fn operation_counts_by_its_class_where_nobody_saw_a_hop() {
    let judge = |diagnosis: Diagnosis, class| JUDGE.judge_operation(&diagnosis, class, None);
    let failed = Diagnosis::operation(Effect::Possible, None);
    assert!(is_failure(judge(failed, Retryability::Transient)));
    assert_eq!(judge(failed, Retryability::Permanent), Verdict::Success);
    let refused = Diagnosis::refusal(Kind::CircuitOpen);
    assert_eq!(judge(refused, Retryability::Transient), Verdict::Ignored);
    let unnamed = Diagnosis::new(Hop::Dns, Kind::NotFound, Effect::None);
    assert_eq!(judge(unnamed, Retryability::Transient), Verdict::Ignored);
}

#[test]
fn statuses_4xx_are_the_destination_doing_its_part() {
    for status in [400, 401, 403, 404, 408, 409, 422, 425, 499] {
        assert_eq!(by_status(JUDGE, status), Verdict::Success, "{status}");
    }
    for status in [200, 204, 302, 304] {
        assert_eq!(by_status(JUDGE, status), Verdict::Success, "{status}");
    }
    for status in [500, 502, 503, 504, 599] {
        assert!(is_failure(by_status(JUDGE, status)), "{status}");
    }
}

#[test]
fn status_429_counts_only_where_that_is_wanted() {
    assert_eq!(by_status(JUDGE, 429), Verdict::Throttled);
    let counts = Judge {
        count_throttled_as_failure: true,
        ..JUDGE
    };
    assert!(is_failure(by_status(counts, 429)));
}

#[test]
fn answer_that_took_longer_than_the_limit_is_slow() {
    let slow = Judge {
        slow: Some(Duration::from_secs(1)),
        ..JUDGE
    };
    let after = |millis| slow.by_time(Verdict::Success, || Duration::from_millis(millis));
    assert_eq!(after(1_000), Verdict::Success);
    assert_eq!(after(1_001), Verdict::Slow);
    let ignored = slow.by_time(Verdict::Ignored, || Duration::from_secs(9));
    assert_eq!(ignored, Verdict::Ignored);
}

#[test]
fn unavailable_counts_by_its_hint() {
    let weight = |hint| {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let failed = Diagnosis::status(status, &HeaderMap::new(), Keyed::No);
        match JUDGE.judge(failed.as_ref(), hint) {
            Verdict::Failure(failed) => (failed.weight, failed.hint),
            other => panic!("{other:?}"),
        }
    };
    let hint = Some(Duration::from_secs(7));
    assert_eq!(weight(hint), (Weight::Never, hint));
    assert_eq!(weight(None), (Weight::IfDown, None));
}

#[test]
fn classifier_has_a_say_about_responses_and_not_about_failures_of_ours() {
    use FailureClass::{Ignore, Permanent, Success, Throttled, Transient};
    let status = |status: u16| {
        let status = StatusCode::from_u16(status).unwrap();
        Diagnosis::status(status, &HeaderMap::new(), Keyed::No).unwrap()
    };
    let refused = Diagnosis::new(Hop::Connect, Kind::Refused, Effect::None);
    let name = Diagnosis::new(Hop::Dns, Kind::ServerFailure, Effect::None);
    let local = Diagnosis::new(Hop::Connect, Kind::LocalResources, Effect::None);
    let by_class = |failed: &Diagnosis, class| {
        let verdict = JUDGE.judge(Some(failed), None);
        JUDGE.by_class(verdict, (failed, None), class)
    };
    for (failed, class, expected) in [
        (status(500), Some(Permanent), Some(Verdict::Success)),
        (status(500), Some(Success), Some(Verdict::Success)),
        (status(500), Some(Ignore), Some(Verdict::Ignored)),
        (status(500), Some(Throttled), Some(Verdict::Throttled)),
        (status(500), Some(Transient), None),
        (status(500), None, None),
        (status(404), Some(Transient), None),
        (status(429), Some(Transient), None),
        (status(429), None, Some(Verdict::Throttled)),
        (refused, Some(Permanent), None),
        (refused, Some(Ignore), Some(Verdict::Ignored)),
        (name, Some(Transient), Some(Verdict::Ignored)),
        (name, Some(Success), Some(Verdict::Ignored)),
        (local, Some(Transient), Some(Verdict::Ignored)),
    ] {
        let judged = by_class(&failed, class);
        match expected {
            Some(expected) => assert_eq!(judged, expected, "{failed:?} {class:?}"),
            None => assert!(is_failure(judged), "{failed:?} {class:?}"),
        }
    }
}

#[test]
fn failure_that_took_longer_than_the_limit_is_slow_too() {
    let slow = Judge {
        slow: Some(Duration::from_secs(1)),
        ..JUDGE
    };
    for (millis, expected) in [(1_000, false), (1_001, true)] {
        let reset = judge(Hop::Server, Kind::Reset);
        let judged = slow.by_time(reset, || Duration::from_millis(millis));
        let Verdict::Failure(failed) = judged else {
            panic!("{judged:?}");
        };
        assert_eq!(failed.is_slow, expected, "{millis}");
    }
}
