//! Tests of which requests are retried, by the greatest effect of the attempts.

use super::*;

#[test]
fn declined_is_retried_where_that_is_harmless_or_the_responder_asked_for_it() {
    type Ask = fn(&mut FailedAttempt<'_>);
    const HARMLESS: [Ask; 2] = [|f| f.idempotent = true, |f| f.vouched = true];
    const ASKED: [Ask; 2] = [
        |f| f.should_retry = Some(true),
        |f| (f.class, f.is_throttled) = (Some(Retryability::Transient), true),
    ];
    let refused = |failed: &FailedAttempt<'_>, effect| {
        let unsafe_to = NoRetryReason::NotIdempotent {
            method: Some(Method::POST),
            effect,
            keyed: false,
        };
        assert_eq!(repeated(failed), Err(unsafe_to));
    };
    for code in [400, 404, 410, 413, 422] {
        let post = by_status(&Method::POST, code, true);
        refused(&post, Effect::Declined);
        for ask in HARMLESS.into_iter().chain(ASKED) {
            let mut post = post.clone();
            ask(&mut post);
            assert_eq!(repeated(&post), Ok(WAIT), "{code}");
        }
    }
    // A transient failure does not mean that the server wants the request again.
    let mut transient = by_status(&Method::POST, 400, true);
    transient.class = Some(Retryability::Transient);
    refused(&transient, Effect::Declined);
    for code in [408, 409, 424, 499, 500, 503] {
        let mut post = by_status(&Method::POST, code, true);
        for ask in ASKED {
            ask(&mut post);
            refused(&post, Effect::Possible);
        }
        for ask in HARMLESS {
            let mut post = post.clone();
            ask(&mut post);
            assert_eq!(repeated(&post), Ok(WAIT), "{code}");
        }
    }
}

#[test]
fn early_data_status_is_retried_once() {
    let post = by_status(&Method::POST, 425, true);
    let sent = |sent| {
        let left = Remaining {
            sent,
            most: 5,
            ..plenty()
        };
        decide(&post, &left, Ok(WAIT), || true)
    };
    assert_eq!(sent(1), Ok(WAIT));
    assert!(matches!(sent(2), Err(NoRetryReason::NotIdempotent { .. })));
}

#[test]
fn greatest_effect_of_the_attempts_decides_who_may_retry() {
    use Effect::{Declined, Done, None, Possible};
    let refused = Diagnosis::new(Hop::Connect, Kind::Refused, None);
    let throttled = by_status(&Method::POST, 429, true).diagnosis;
    for (before, own, any_method) in [
        (None, refused, true),
        (None, throttled, true),
        (Declined, refused, true),
        (Declined, throttled, true),
        (Possible, refused, false),
        (Possible, throttled, false),
        (Done, refused, false),
        (Done, throttled, false),
    ] {
        let mut post = FailedAttempt {
            before,
            listed: true,
            ..failed(&Method::POST, own)
        };
        assert_eq!(repeated(&post).is_ok(), any_method, "{before} {own:?}");
        post.vouched = true;
        assert_eq!(repeated(&post), Ok(WAIT), "{before} {own:?}");
    }
}

#[test]
fn key_has_to_outlive_the_call_once_an_attempt_may_have_happened() {
    let refused = Diagnosis::new(Hop::Connect, Kind::Refused, Effect::None);
    let mut post = failed(&Method::POST, refused);
    let left = WAIT + Duration::from_nanos(1);
    (post.keyed, post.vouched, post.key_left) = (true, true, Some(left));
    assert_eq!(repeated(&post), Ok(WAIT));
    post.before = Effect::Possible;
    assert_eq!(repeated(&post), Err(NoRetryReason::KeyExpiring { left }));
}
