//! Tests the record of an operation: the error, the timeline, the spans.

use std::io::{self, ErrorKind};
use std::sync::Mutex;

use sevenhops::{Blame, Effect, Kind, OperationError, hop::Outcome};

use super::work::*;

#[tokio::test(start_paused = true)]
async fn error_keeps_the_error_of_the_work_for_a_downcast() {
    let work = Work::new((0..9).map(|_| Step::Unsent));
    let operation = operation().name("count orders");
    let error = work.by(&operation).await.unwrap_err();
    assert_eq!(error.hop(), None);
    assert_eq!(
        (error.kind(), error.effect()),
        (Kind::Refused, Effect::None)
    );
    assert_eq!((error.status(), error.rejected_by()), (None, None));
    assert_eq!((error.attempts(), error.blame()), (3, Blame::Server));
    assert_eq!(error.error_type(), "_OTHER");
    let source = std::error::Error::source(&error).unwrap();
    let source = source.downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(
        error.to_string(),
        "count orders at postgres failed: refused; 3 attempts, no effect; \
         not retried: all 3 attempts are spent"
    );
}

#[tokio::test(start_paused = true)]
async fn timeline_shows_attempts_and_waits() {
    let work = Work::new([Step::Unsent, Step::Hang]);
    let error = work
        .by(&operation().name("insert order"))
        .await
        .unwrap_err();
    let timeline = error.timeline().unwrap();
    assert_eq!(
        (timeline.method(), timeline.url()),
        (None, "postgres".into())
    );
    let outcomes = timeline.attempts().into_iter().map(|attempt| {
        let Outcome::Failed { kind, effect, .. } = attempt.outcome() else {
            panic!("{:?}", attempt.outcome())
        };
        (kind, effect, attempt.start(), attempt.duration())
    });
    assert_eq!(
        outcomes.collect::<Vec<_>>(),
        [
            (Kind::Refused, Effect::None, MS(0), MS(0)),
            (Kind::Timeout, Effect::Possible, MS(100), MS(9_900)),
        ]
    );
    let bar = "█".repeat(34);
    assert_eq!(
        timeline.to_string(),
        format!(
            "insert order at postgres\n  \
             failed: timeout, effect possible after 10.00 s\n  \
             attempt 1 · failed: refused, effect none\n  \
             waited 100.0 ms\n  \
             attempt 2 · failed: timeout, effect possible\n    \
             wait    {bar:>34}    9.90 s ✗ timeout\n  \
             not retried: effect possible, not marked as idempotent, and no idempotency key"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn completed_run_is_reported_as_done() {
    let (outer, inner) = (operation(), operation().name("inner"));
    let run = outer.run(async |_| {
        Work::new([Step::Unsent]).by(&inner).await?;
        Err::<(), _>(OperationError::unknown(
            "so that there is a timeline to look at",
        ))
    });
    let error = run.await.unwrap_err();
    // The operation around the call retries, so the call did not.
    let refused = error.timeline().unwrap().attempts()[0].calls()[0].clone();
    assert!(matches!(refused.outcome(), Some(Outcome::Failed { .. })));
    let run = outer.run(async |_| {
        Work::new([]).by(&inner).await?;
        Err::<(), _>(OperationError::unknown(
            "so that there is a timeline to look at",
        ))
    });
    let error = run.await.unwrap_err();
    let done = error.timeline().unwrap().attempts()[0].calls()[0].clone();
    assert_eq!(done.outcome(), Some(Outcome::Done));
    assert_eq!(done.effect(), Effect::Done);
    assert!(done.to_string().contains("done after"));
}

#[tokio::test(start_paused = true)]
async fn no_output_contains_the_key() {
    let key = sevenhops::policy::idempotency::IdempotencyKey::new("canary-91c2").unwrap();
    let operation = operation()
        .idempotency_key(key)
        .honors_idempotency_keys(false);
    let work = Work::new([Step::Maybe]);
    let shown = Mutex::new(format!("{operation:?}"));
    let run = operation.run(async |attempt| {
        let _ = attempt.idempotency_key();
        shown.lock().unwrap().push_str(&format!("{attempt:?}"));
        work.once().await
    });
    let error = run.await.unwrap_err();
    let timeline = error.timeline().unwrap();
    let mut shown = shown.into_inner().unwrap();
    shown.push_str(&format!("{error}{error:?}{timeline}{timeline:?}"));
    assert!(!shown.contains("canary"), "{shown}");
}
