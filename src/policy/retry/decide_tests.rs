use http::StatusCode;

use super::*;
use crate::hop::Keyed;

#[path = "decide_bounds_tests.rs"]
mod by_bounds;
#[path = "decide_effect_tests.rs"]
mod by_effect;

const WAIT: Duration = Duration::from_millis(100);

fn failed<'a>(method: &'a Method, diagnosis: Diagnosis) -> FailedAttempt<'a> {
    FailedAttempt {
        method: Some(method),
        idempotent: method.is_idempotent(),
        diagnosis,
        before: Effect::None,
        keyed: false,
        vouched: false,
        key_left: None,
        replayable: true,
        whole_body: false,
        listed: false,
        should_retry: None,
        class: None,
        is_throttled: false,
    }
}

fn by_status<'a>(method: &'a Method, code: u16, listed: bool) -> FailedAttempt<'a> {
    let status = StatusCode::from_u16(code).unwrap();
    let diagnosis = Diagnosis::status(status, &http::HeaderMap::new(), Keyed::No).unwrap();
    FailedAttempt {
        listed,
        ..failed(method, diagnosis)
    }
}

fn plenty() -> Remaining {
    Remaining {
        off: None,
        sent: 1,
        unsent: 0,
        most_unsent: 10,
        most: 3,
        time: Duration::from_secs(10),
    }
}

fn repeated(failed: &FailedAttempt<'_>) -> Result<Duration, NoRetryReason> {
    decide(failed, &plenty(), Ok(WAIT), || true)
}

fn lost(effect: Effect) -> Diagnosis {
    Diagnosis::new(Hop::Server, Kind::Closed, effect)
}

#[test]
fn effect_none_may_be_repeated_for_any_method() {
    for method in [Method::POST, Method::PATCH, Method::GET, Method::PUT] {
        let refused = Diagnosis::new(Hop::Connect, Kind::Refused, Effect::None);
        assert_eq!(repeated(&failed(&method, refused)), Ok(WAIT), "{method}");
    }
}

#[test]
fn effect_possible_may_be_repeated_for_idempotent_methods_only() {
    use Method as M;
    for method in [M::GET, M::HEAD, M::OPTIONS, M::TRACE, M::PUT, M::DELETE] {
        let failed = failed(&method, lost(Effect::Possible));
        assert_eq!(repeated(&failed), Ok(WAIT), "{method}");
    }
    for method in [M::POST, M::PATCH] {
        let failed = failed(&method, lost(Effect::Possible));
        let reason = NoRetryReason::NotIdempotent {
            method: Some(method.clone()),
            effect: Effect::Possible,
            keyed: false,
        };
        assert_eq!(repeated(&failed), Err(reason), "{method}");
    }
}

#[test]
fn key_that_is_honored_permits_and_one_that_was_made_up_does_not() {
    let mut failed = failed(&Method::POST, lost(Effect::Possible));
    failed.keyed = true;
    assert_eq!(
        repeated(&failed).unwrap_err().to_string(),
        "POST, effect possible, and the destination is not known to honor idempotency keys"
    );
    failed.vouched = true;
    assert_eq!(repeated(&failed), Ok(WAIT));
}

#[test]
fn effect_done_is_repeated_only_to_receive_a_body_that_broke_off() {
    let broke_off = Diagnosis::new(Hop::Receive, Kind::Incomplete, Effect::Done);
    let mut get = failed(&Method::GET, broke_off);
    assert_eq!(repeated(&get), Err(NoRetryReason::Permanent));
    get.whole_body = true;
    assert_eq!(repeated(&get), Ok(WAIT));
    let mut post = failed(&Method::POST, broke_off);
    post.whole_body = true;
    assert!(matches!(
        repeated(&post),
        Err(NoRetryReason::NotIdempotent { .. })
    ));
    post.vouched = true;
    assert_eq!(repeated(&post), Ok(WAIT));
    let malformed = Diagnosis::new(Hop::Decode, Kind::Malformed, Effect::Done);
    get.diagnosis = malformed;
    assert_eq!(repeated(&get), Err(NoRetryReason::Permanent));
}

#[test]
fn unkeyed_post_is_repeated_on_425_and_429_only() {
    for code in [408, 425, 429, 500, 502, 503, 504] {
        let post = repeated(&by_status(&Method::POST, code, true)).is_ok();
        assert_eq!(post, matches!(code, 425 | 429), "{code}");
        assert_eq!(
            repeated(&by_status(&Method::GET, code, true)),
            Ok(WAIT),
            "{code}"
        );
    }
    for code in [400, 401, 403, 404, 409, 413, 422, 501, 505] {
        let get = repeated(&by_status(&Method::GET, code, false));
        assert_eq!(get, Err(NoRetryReason::Permanent), "{code}");
    }
}

#[test]
fn conflict_is_repeated_only_as_still_in_progress() {
    let headers = http::HeaderMap::new();
    for (keyed, expected) in [
        (Keyed::No, Err(NoRetryReason::Permanent)),
        (Keyed::Made, Ok(WAIT)),
        (Keyed::Given, Ok(WAIT)),
    ] {
        let diagnosis = Diagnosis::status(StatusCode::CONFLICT, &headers, keyed).unwrap();
        let mut conflict = failed(&Method::POST, diagnosis);
        (conflict.keyed, conflict.vouched) = (true, keyed != Keyed::No);
        assert_eq!(repeated(&conflict), expected, "{keyed:?}");
    }
}

#[test]
fn time_that_is_over_is_the_reason_also_where_the_attempts_are_spent() {
    let get = failed(&Method::GET, lost(Effect::Possible));
    let left = Remaining {
        sent: 3,
        time: Duration::ZERO,
        ..plenty()
    };
    let reason = decide(&get, &left, Ok(WAIT), || true);
    assert!(matches!(
        reason,
        Err(NoRetryReason::DeadlineTooClose { .. })
    ));
}

#[test]
fn what_lasts_is_never_repeated() {
    use Hop::{Connect, Decode, Dns, Encode, Server, Tls};
    for (hop, kind) in [
        (Encode, Kind::InvalidRequest),
        (Dns, Kind::NotFound),
        (Dns, Kind::NoRecords),
        (Dns, Kind::Filtered),
        (Connect, Kind::ProxyUnauthorized),
        (Connect, Kind::ProxyDenied),
        (Connect, Kind::CertificateExpired),
        (Tls, Kind::ProtocolError),
        (Tls, Kind::CertificateExpired),
        (Tls, Kind::CertificateWrongName),
        (Tls, Kind::CertificateUnknownIssuer),
        (Tls, Kind::Alert),
        (Server, Kind::ProtocolError),
        (Decode, Kind::Malformed),
    ] {
        let diagnosis = Diagnosis::new(hop, kind, Effect::None);
        let reason = repeated(&failed(&Method::GET, diagnosis));
        assert_eq!(reason, Err(NoRetryReason::Permanent), "{hop} {kind}");
    }
}

#[test]
fn what_passes_is_repeated() {
    use Hop::{Connect, Dns, Send, Server, Tls};
    for (hop, kind) in [
        (Dns, Kind::ServerFailure),
        (Dns, Kind::Timeout),
        (Connect, Kind::Refused),
        (Connect, Kind::Timeout),
        (Connect, Kind::ProxyRefused),
        (Tls, Kind::Timeout),
        (Send, Kind::Closed),
        (Send, Kind::Timeout),
        (Server, Kind::Unprocessed),
    ] {
        let diagnosis = Diagnosis::new(hop, kind, Effect::None);
        let repeat = repeated(&failed(&Method::POST, diagnosis));
        assert_eq!(repeat, Ok(WAIT), "{hop} {kind}");
    }
}

#[test]
fn server_may_say_yes_or_no_but_not_make_it_safe() {
    let mut rejected = by_status(&Method::POST, 400, false);
    rejected.should_retry = Some(true);
    assert_eq!(repeated(&rejected), Ok(WAIT));
    let mut down = by_status(&Method::GET, 503, true);
    down.should_retry = Some(false);
    assert_eq!(repeated(&down), Err(NoRetryReason::ServerOptOut));
    let mut down = by_status(&Method::POST, 503, true);
    down.should_retry = Some(true);
    assert!(matches!(
        repeated(&down),
        Err(NoRetryReason::NotIdempotent { .. })
    ));
}

#[test]
fn users_classifier_extends_the_table_but_not_what_is_safe() {
    let mut missing = by_status(&Method::GET, 404, false);
    missing.class = Some(Retryability::Transient);
    assert_eq!(repeated(&missing), Ok(WAIT));
    let mut down = by_status(&Method::GET, 503, true);
    down.class = Some(Retryability::Permanent);
    assert_eq!(repeated(&down), Err(NoRetryReason::Permanent));
    let mut lost = failed(&Method::POST, lost(Effect::Possible));
    (lost.class, lost.is_throttled) = (Some(Retryability::Transient), true);
    assert!(matches!(
        repeated(&lost),
        Err(NoRetryReason::NotIdempotent { .. })
    ));
}

#[test]
fn budget_is_asked_last_and_once() {
    let get = failed(&Method::GET, lost(Effect::Possible));
    let mut asked = 0;
    let reason = decide(&get, &plenty(), Ok(WAIT), || {
        asked += 1;
        false
    });
    assert_eq!((reason, asked), (Err(NoRetryReason::BudgetExhausted), 1));
    for left in [
        Remaining {
            sent: 3,
            ..plenty()
        },
        Remaining {
            time: WAIT,
            ..plenty()
        },
        Remaining {
            off: Some(NoRetryReason::RetriedUpstream),
            ..plenty()
        },
    ] {
        assert!(decide(&get, &left, Ok(WAIT), || unreachable!("budget is asked")).is_err());
    }
}

#[test]
fn wait_that_does_not_fit_into_the_time_left_is_not_begun() {
    let get = failed(&Method::GET, lost(Effect::Possible));
    let mut left = plenty();
    left.time = Duration::from_secs(2);
    let never = Duration::from_secs(u64::MAX);
    for wait in [left.time, never] {
        let reason = NoRetryReason::DeadlineTooClose {
            wait,
            left: left.time,
        };
        assert_eq!(decide(&get, &left, Ok(wait), || true), Err(reason));
    }
    let just = left.time - Duration::from_nanos(1);
    assert_eq!(decide(&get, &left, Ok(just), || true), Ok(just));
}

#[test]
fn body_that_cannot_be_sent_again_is_not() {
    let mut get = failed(&Method::PUT, lost(Effect::Possible));
    get.replayable = false;
    assert_eq!(repeated(&get), Err(NoRetryReason::BodyNotReplayable));
}

#[test]
fn key_is_not_sent_after_it_was_forgotten() {
    let refused = Diagnosis::new(Hop::Connect, Kind::Refused, Effect::None);
    let mut post = failed(&Method::POST, refused);
    (post.keyed, post.vouched) = (true, true);
    let just = WAIT + Duration::from_nanos(1);
    for (effect, left, repeat) in [
        (Effect::None, WAIT, false),
        (Effect::None, just, true),
        (Effect::Declined, WAIT, false),
        (Effect::Declined, just, true),
        (Effect::Possible, just, false),
        (Effect::Possible, plenty().time, false),
        (Effect::Possible, plenty().time + just, true),
    ] {
        post.diagnosis.effect = effect;
        post.key_left = Some(left);
        let expected = if repeat {
            Ok(WAIT)
        } else {
            Err(NoRetryReason::KeyExpiring { left })
        };
        assert_eq!(repeated(&post), expected, "{effect} {left:?}");
    }
}

#[test]
fn that_it_lasts_is_told_before_that_it_is_unsafe() {
    let post = by_status(&Method::POST, 501, false);
    assert_eq!(repeated(&post), Err(NoRetryReason::Permanent));
}

#[test]
fn what_is_done_is_not_repeated_for_anything_but_its_body() {
    let mut get = failed(
        &Method::GET,
        Diagnosis::new(Hop::Server, Kind::Closed, Effect::Done),
    );
    get.whole_body = true;
    assert_eq!(repeated(&get), Err(NoRetryReason::Permanent));
}
