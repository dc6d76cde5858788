//! Tests which failures of an operation are retried.

use std::time::Duration;

use sevenhops::{
    Effect, IdempotencyKey, Kind, Operation, OperationConfig, OperationError, Policy,
    hop::{NoRetryReason, TimelineEventKind},
    policy::retry::Budget,
};

use std::sync::Mutex;
use std::time::SystemTime;
use tokio::time::Instant;

use super::work::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn no_retry_reason(keyed: bool) -> Option<NoRetryReason> {
    Some(NoRetryReason::NotIdempotent {
        method: None,
        effect: Effect::Possible,
        keyed,
    })
}

#[tokio::test(start_paused = true)]
async fn unsent_work_is_retried_with_waits_in_between() {
    let work = Work::new([Step::Unsent, Step::Unsent]);
    assert_eq!(work.by(&operation()).await.unwrap(), 7);
    assert_eq!(work.waits(), [MS(100), MS(200)]);
}

#[tokio::test(start_paused = true)]
async fn unknown_outcome_is_not_retried() {
    let work = Work::new([Step::Maybe]);
    let error = work.by(&operation()).await.unwrap_err();
    assert_eq!((work.count(), error.effect()), (1, Effect::Possible));
    assert_eq!(error.no_retry_reason(), no_retry_reason(false));
}

#[tokio::test(start_paused = true)]
async fn plain_error_is_an_unknown_outcome() {
    let work = Work::new([Step::Plain]);
    let error = work.by(&operation()).await.unwrap_err();
    assert_eq!((work.count(), error.effect()), (1, Effect::Possible));
    assert_eq!(error.kind(), Kind::Reset);
}

#[tokio::test(start_paused = true)]
async fn timeout_is_an_unknown_outcome() {
    let work = Work::new([Step::Hang]);
    let begun = Instant::now();
    let error = work.by(&operation()).await.unwrap_err();
    assert_eq!((work.count(), error.effect()), (1, Effect::Possible));
    assert_eq!(error.no_retry_reason(), no_retry_reason(false));
    assert_eq!(begun.elapsed(), SECS(10), "none may follow");
}

#[tokio::test(start_paused = true)]
async fn idempotent_operation_is_retried_after_an_unknown_outcome_and_a_timeout() {
    let work = Work::new([Step::Hang, Step::Maybe]);
    assert_eq!(work.by(&operation().idempotent(true)).await.unwrap(), 7);
    assert_eq!(work.waits(), [SECS(5) + MS(100), MS(200)]);
}

#[tokio::test(start_paused = true)]
async fn permanent_failure_is_not_retried_even_if_it_is_safe() {
    let work = Work::new([Step::Fail(
        OperationError::not_sent("syntax error").permanent(),
    )]);
    let error = work.by(&operation().idempotent(true)).await.unwrap_err();
    assert_eq!((work.count(), error.effect()), (1, Effect::None));
    assert_eq!(error.no_retry_reason(), Some(NoRetryReason::Permanent));
}

#[tokio::test(start_paused = true)]
async fn completed_work_is_not_retried() {
    let work = Work::new([Step::Fail(OperationError::completed("no such column"))]);
    let error = work.by(&operation().idempotent(true)).await.unwrap_err();
    assert_eq!((work.count(), error.effect()), (1, Effect::Done));
}

#[tokio::test(start_paused = true)]
async fn generated_key_permits_no_retry_if_the_server_may_ignore_it() {
    let work = Work::new([Step::Maybe]);
    let error = work.keyed(&operation()).await.unwrap_err();
    assert_eq!(work.count(), 1);
    assert_eq!(error.no_retry_reason(), no_retry_reason(true));
}

#[tokio::test(start_paused = true)]
async fn generated_key_permits_a_retry_if_the_server_honors_it() {
    let work = Work::new([Step::Maybe, Step::Hang]);
    let operation = operation().honors_idempotency_keys(true);
    assert_eq!(work.keyed(&operation).await.unwrap(), 7);
    assert_eq!(work.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn callers_key_permits_a_retry_unless_the_server_ignores_it() {
    let operation = operation().idempotency_key(IdempotencyKey::new("order-4711").unwrap());
    let work = Work::new([Step::Maybe]);
    assert_eq!(work.keyed(&operation).await.unwrap(), 7);
    let work = Work::new([Step::Maybe]);
    let error = work.keyed(&operation.honors_idempotency_keys(false)).await;
    assert_eq!((work.count(), error.is_err()), (1, true));
}

#[tokio::test(start_paused = true)]
async fn key_that_the_attempt_did_not_read_permits_no_retry() {
    let brought = operation().idempotency_key(IdempotencyKey::new("order-4711").unwrap());
    for operation in [brought, operation().honors_idempotency_keys(true)] {
        let work = Work::new([Step::Maybe]);
        let error = work.by(&operation).await.unwrap_err();
        assert_eq!(work.count(), 1);
        assert_eq!(error.no_retry_reason(), no_retry_reason(false));
    }
    // A failure whose key was requested only by the attempt before is not retried either.
    let work = Work::new([Step::Maybe, Step::Maybe]);
    let operation = operation().honors_idempotency_keys(true);
    let run = operation.run(async |attempt| {
        if attempt.number() == 1 {
            let _ = attempt.idempotency_key();
        }
        work.once().await
    });
    assert!(run.await.is_err());
    assert_eq!(work.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn key_is_the_same_in_every_attempt_and_another_in_every_run() {
    let operation = operation().honors_idempotency_keys(true);
    let keys = Mutex::new(Vec::new());
    for _ in 0..2 {
        let work = Work::new([Step::Maybe, Step::Unsent]);
        let run = operation.run(async |attempt| {
            keys.lock().unwrap().push(attempt.idempotency_key().clone());
            work.once().await
        });
        run.await.unwrap();
    }
    let keys = keys.into_inner().unwrap();
    assert_eq!(keys.len(), 6);
    assert!(keys[..3].iter().all(|key| *key == keys[0]));
    assert_ne!(keys[0], keys[3]);
    assert_eq!(keys[0].as_str().as_bytes()[14], b'4', "UUID version 4");
    let given = IdempotencyKey::new("order-4711").unwrap();
    let operation = operation.idempotency_key(given.clone());
    let handed = operation.run(async |attempt| Ok(attempt.idempotency_key().clone()));
    assert_eq!(handed.await.unwrap(), given);
}

#[expect(clippy::disallowed_methods, reason = "a key's time is wall time")]
#[tokio::test(start_paused = true)]
async fn derived_key_has_to_be_valid_until_the_deadline() {
    for (left, attempts) in [(SECS(9), 1), (SECS(60), 2)] {
        let made_at = SystemTime::now() - DAY + left;
        let key = IdempotencyKey::derive("charge", "order-4711", made_at, DAY).unwrap();
        let work = Work::new([Step::Maybe]);
        let _ = work.keyed(&operation().idempotency_key(key)).await;
        assert_eq!(work.count(), attempts, "{left:?}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a key's time is wall time")]
#[tokio::test(start_paused = true)]
async fn expired_derived_key_is_rejected_before_the_work() {
    let key = IdempotencyKey::derive("charge", "order-4711", SystemTime::now() - DAY, DAY).unwrap();
    let work = Work::new([]);
    let error = work
        .keyed(&operation().idempotency_key(key))
        .await
        .unwrap_err();
    assert_eq!(work.count(), 0);
    assert_eq!(error.rejected_by(), Some(Policy::Idempotency));
    assert_eq!(error.kind(), Kind::KeyExpired);
    assert_eq!(error.effect(), Effect::Possible);
}

#[tokio::test(start_paused = true)]
async fn attempts_end_at_their_maximum() {
    let work = Work::new((0..9).map(|_| Step::Unsent));
    let error = work.by(&operation()).await.unwrap_err();
    assert_eq!((work.count(), error.attempts()), (3, 3));
    let reason = NoRetryReason::AttemptsExhausted { made: 3 };
    assert_eq!(error.no_retry_reason(), Some(reason));
}

#[tokio::test(start_paused = true)]
async fn wait_longer_than_the_deadline_is_not_begun() {
    let work = Work::new([Step::Fail(
        OperationError::not_sent("busy").retry_after(SECS(30)),
    )]);
    let begun = Instant::now();
    let error = work.by(&operation()).await.unwrap_err();
    assert_eq!((work.count(), begun.elapsed()), (1, SECS(0)));
    let too_long = NoRetryReason::HintTooLong {
        hint: SECS(30),
        most: SECS(5),
    };
    assert_eq!(error.no_retry_reason(), Some(too_long));
    assert_eq!(error.retry_after(), Some(SECS(30)));
}

#[tokio::test(start_paused = true)]
async fn retry_comes_no_earlier_than_retry_after() {
    let work = Work::new([Step::Fail(
        OperationError::not_sent("busy").retry_after(SECS(2)),
    )]);
    let operation = operation();
    assert_eq!(work.by(&operation).await.unwrap(), 7);
    let wait = work.waits()[0];
    assert!((SECS(2)..=MS(2_200)).contains(&wait), "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn retries_end_with_the_budget_that_clones_share() {
    let budget = Budget::new()
        .ratio(0.0)
        .min_retries_per_second(1)
        .window(SECS(1));
    let settings = OperationConfig::new(SECS(10)).retry(steady().budget(budget));
    let operation = Operation::from_config("postgres", settings).unwrap();
    let work = Work::new((0..9).map(|_| Step::Unsent));
    let first = work.by(&operation.clone()).await.unwrap_err();
    assert_eq!(first.attempts(), 2);
    let second = work.by(&operation.clone().name("other")).await;
    let second = second.unwrap_err();
    assert_eq!(second.attempts(), 1);
    assert_eq!(
        second.no_retry_reason(),
        Some(NoRetryReason::BudgetExhausted)
    );
    let elsewhere = work
        .by(&operation.destination("postgres-2"))
        .await
        .unwrap_err();
    assert_eq!(elsewhere.attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn effect_is_the_greatest_of_all_attempts() {
    let work = Work::new([Step::Maybe, Step::Unsent, Step::Unsent, Step::Unsent]);
    let error = work.by(&operation().idempotent(true)).await.unwrap_err();
    assert_eq!((work.count(), error.effect()), (4, Effect::Possible));
    assert_eq!(error.kind(), Kind::Refused);
}

#[tokio::test(start_paused = true)]
async fn retry_config_for_other_destinations_retries_nothing_here() {
    let only = steady().only_for("https://api.test".parse().unwrap());
    let operation = Operation::from_config("postgres", settings().retry(only)).unwrap();
    let work = Work::new([Step::Unsent]);
    let error = work.by(&operation).await.unwrap_err();
    let reason = NoRetryReason::OtherDestination;
    assert_eq!((work.count(), error.no_retry_reason()), (1, Some(reason)));
}

#[tokio::test(start_paused = true)]
async fn inner_operation_leaves_the_retries_to_the_outer_one() {
    let work = Work::new((0..99).map(|_| Step::Unsent));
    let (outer, inner) = (operation(), operation());
    let run = outer.run(async |_| work.by(&inner).await.map_err(OperationError::from_error));
    let error = run.await.unwrap_err();
    assert_eq!((work.count(), error.attempts()), (3, 3));
    let calls = error.timeline().unwrap().attempts()[0].calls().to_vec();
    assert_eq!(
        calls[0].no_retry_reason(),
        Some(NoRetryReason::RetriedUpstream)
    );
    let notes = error.timeline().unwrap().events();
    assert!(matches!(
        notes[0].kind,
        TimelineEventKind::Waited { hinted: false, .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn attempt_that_was_not_sent_need_not_have_read_the_key() {
    let operation = operation().honors_idempotency_keys(true);
    // The second attempt fails before it reads the key. The first one has read it.
    for (keyed, attempts) in [([true, false, true], 3), ([false, false, true], 1)] {
        let work = Work::new([Step::Maybe, Step::Unsent]);
        let run = operation.run(async |attempt| {
            if keyed[attempt.number() as usize - 1] {
                let _ = attempt.idempotency_key();
            }
            work.once().await
        });
        assert_eq!(run.await.is_ok(), attempts == 3);
        assert_eq!(work.count(), attempts);
    }
}

#[expect(clippy::disallowed_methods, reason = "a key's time is wall time")]
#[tokio::test(start_paused = true)]
async fn key_that_expires_before_a_retry_is_not_reported_as_without_effect() {
    let expires_at = SystemTime::now() + MS(100);
    let made_at = expires_at - DAY;
    let key = IdempotencyKey::derive("charge", "order-4711", made_at, DAY).unwrap();
    let operation = operation().idempotency_key(key);
    let run = operation.run(async |_| {
        // The wall clock of a test does not stand still.
        while SystemTime::now() <= expires_at {
            std::hint::spin_loop();
        }
        Err::<(), _>(OperationError::not_sent("busy"))
    });
    let error = run.await.unwrap_err();
    assert_eq!(error.kind(), Kind::KeyExpired);
    assert_eq!(
        (error.effect(), error.had_no_effect()),
        (Effect::Possible, false)
    );
}
