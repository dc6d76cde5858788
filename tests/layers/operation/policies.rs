//! Tests deadline, breaker and cancellation.

use std::sync::Mutex;
use std::time::Duration;

use sevenhops::{CircuitBreakerConfig, RateLimitConfig, ThrottleConfig};
use sevenhops::{
    Destination, Effect, Kind, Operation, OperationAttempt, OperationError, Policy,
    hop::{NoRetryReason, Outcome, TimelineEventKind},
    policy::{
        breaker::{CircuitState, Recovery},
        retry,
    },
    timeout::TimeoutKind,
};

use std::task::{Context, Waker};
use tokio::time::Instant;

use super::work::*;

fn tripping(failures: u32) -> Operation {
    let breaker = CircuitBreakerConfig::new().consecutive_failures(failures);
    Operation::from_config("postgres", settings().circuit_breaker(breaker)).unwrap()
}

fn state(operation: &Operation) -> CircuitState {
    operation
        .breaker_handle()
        .state(&Destination::named("postgres"))
}

#[tokio::test(start_paused = true)]
async fn deadline_spans_all_attempts_and_the_waits_between() {
    let work = Work::new((0..9).map(|_| Step::Hang));
    let begun = Instant::now();
    let error = work.by(&operation().idempotent(true)).await.unwrap_err();
    // 5 s, half of the time left, and the rest.
    assert_eq!((work.count(), begun.elapsed()), (3, SECS(10)));
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Deadline));
    assert_eq!((error.kind(), error.hop()), (Kind::Timeout, None));
    assert_eq!(error.effect(), Effect::Possible);
}

#[tokio::test(start_paused = true)]
async fn attempt_ends_at_its_own_timeout_and_says_so() {
    let settings = settings().attempt(SECS(1));
    let operation = Operation::from_config("postgres", settings).unwrap();
    let work = Work::new([Step::Hang]);
    let begun = Instant::now();
    let error = work.by(&operation).await.unwrap_err();
    assert_eq!(begun.elapsed(), SECS(1));
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Attempt));
    let told = "operation at postgres failed: timeout, attempt timeout; 1 attempt, effect possible; \
                not retried: effect possible, not marked as idempotent, and no idempotency key";
    assert_eq!(error.to_string(), told);
    assert_eq!(error.error_type(), "timeout");
}

#[tokio::test(start_paused = true)]
async fn work_can_read_its_time_left() {
    let work = Work::new([Step::Unsent]);
    let left = Mutex::new(Vec::new());
    let operation = operation();
    let run = operation.run(async |attempt| {
        tokio::time::sleep(SECS(1)).await;
        let told = (attempt.number(), attempt.time_left());
        left.lock().unwrap().push(told);
        work.once().await
    });
    run.await.unwrap();
    assert_eq!(left.into_inner().unwrap(), [(1, SECS(9)), (2, MS(7_900))]);
}

#[tokio::test(start_paused = true)]
async fn breaker_opens_after_failures_and_rejects_immediately() {
    let operation = tripping(3);
    let work = Work::new((0..9).map(|_| Step::Unsent));
    work.by(&operation).await.unwrap_err();
    assert_eq!(state(&operation), CircuitState::Open);
    let error = work.by(&operation).await.unwrap_err();
    assert_eq!(work.count(), 3);
    assert_eq!(error.rejected_by(), Some(Policy::Breaker));
    assert_eq!(
        (error.kind(), error.effect()),
        (Kind::CircuitOpen, Effect::None)
    );
    assert!(error.retry_after() >= Some(SECS(4)));
    assert_eq!(error.attempts(), 0);
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "3 attempts in a row failed");
    let last = cause.source().unwrap();
    assert_eq!(last.to_string(), "refused");
}

#[tokio::test(start_paused = true)]
async fn ratio_counts_failures_without_a_hop() {
    let operation = operation();
    let work = Work::new((0..20).map(|_| Step::Maybe));
    for _ in 0..20 {
        work.by(&operation).await.unwrap_err();
    }
    let error = work.by(&operation).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap();
    let told = "20 of 20 attempts failed, 20 of them: other";
    assert_eq!(cause.to_string(), told);
}

#[tokio::test(start_paused = true)]
async fn rejected_retry_returns_the_error_before_it() {
    let operation = tripping(2);
    let work = Work::new((0..9).map(|_| Step::Unsent));
    let error = work.by(&operation).await.unwrap_err();
    assert_eq!((work.count(), error.rejected_by()), (2, None));
    assert_eq!(error.kind(), Kind::Refused);
    let reason = NoRetryReason::Rejected(Policy::Breaker);
    assert_eq!(error.no_retry_reason(), Some(reason));
    let notes = error.timeline().unwrap().events();
    assert_eq!(
        notes.last().unwrap().kind,
        TimelineEventKind::Rejected(Policy::Breaker)
    );
}

#[tokio::test(start_paused = true)]
async fn declined_work_does_not_count_against_its_destination() {
    let operation = tripping(2);
    let declined = || Step::Fail(OperationError::not_sent("duplicate key").permanent());
    let work = Work::new([Step::Maybe, declined(), Step::Maybe, declined(), declined()]);
    for _ in 0..5 {
        work.by(&operation).await.unwrap_err();
    }
    assert_eq!((work.count(), state(&operation)), (5, CircuitState::Closed));
}

#[tokio::test(start_paused = true)]
async fn attempt_whose_time_is_over_counts_against_its_destination() {
    let operation = tripping(1);
    Work::new([Step::Hang]).by(&operation).await.unwrap_err();
    assert_eq!(state(&operation), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn attempts_that_an_outer_operation_cuts_short_do_not_count() {
    let inner = tripping(1);
    let hang = async |cut: Duration| {
        let around = Operation::new("caller", cut).unwrap();
        let work = Work::new((0..9).map(|_| Step::Hang));
        let run = around.run(async |_| work.by(&inner).await.map_err(OperationError::from_error));
        run.await.unwrap_err();
    };
    for _ in 0..20 {
        hang(MS(10)).await;
    }
    assert_eq!(state(&inner), CircuitState::Closed);
    hang(SECS(10)).await;
    assert_eq!(state(&inner), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn open_circuit_waits_for_retry_after_and_closes_after_a_probe() {
    let operation = tripping(1);
    let asked = OperationError::not_sent("starting up").retry_after(SECS(60));
    let work = Work::new([Step::Fail(asked)]);
    work.by(&operation).await.unwrap_err();
    tokio::time::advance(SECS(59)).await;
    let refused = work.by(&operation).await.unwrap_err();
    assert_eq!(refused.rejected_by(), Some(Policy::Breaker));
    tokio::time::advance(SECS(14)).await;
    assert_eq!(work.by(&operation).await.unwrap(), 7);
    assert_eq!(state(&operation), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn ramp_counts_a_run_once_if_it_waits_for_the_rate_limit() {
    let breaker = CircuitBreakerConfig::new()
        .consecutive_failures(1)
        .recovery(Recovery::Ramp { step: SECS(10) });
    let config = settings()
        .circuit_breaker(breaker)
        .rate_limit(RateLimitConfig::new(1_000).burst(1));
    let operation = Operation::from_config("postgres", config).unwrap();
    let failing = Work::new([Step::Fail(OperationError::not_sent("starting up"))]);
    failing.by(&operation).await.unwrap_err();
    tokio::time::advance(SECS(6)).await;
    let work = Work::new([]);
    let mut rejected = 0;
    for _ in 0..101 {
        rejected += u32::from(work.by(&operation).await.is_err());
    }
    assert_eq!(rejected, 90, "one probe, then a tenth");
}

#[tokio::test(start_paused = true)]
async fn circuits_are_kept_apart_by_destination() {
    let operation = tripping(1);
    let work = Work::new([Step::Maybe]);
    work.by(&operation).await.unwrap_err();
    assert_eq!(
        work.by(&operation.clone().destination("other"))
            .await
            .unwrap(),
        7
    );
    assert_eq!(state(&operation), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn observing_breaker_rejects_nothing() {
    let breaker = CircuitBreakerConfig::new()
        .consecutive_failures(1)
        .observe_only(true);
    let operation =
        Operation::from_config("postgres", settings().circuit_breaker(breaker)).unwrap();
    let work = Work::new([Step::Maybe, Step::Maybe]);
    work.by(&operation).await.unwrap_err();
    assert_eq!(state(&operation), CircuitState::Open);
    work.by(&operation).await.unwrap_err();
    assert_eq!(work.by(&operation).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn slow_work_opens_a_breaker_with_a_slow_call_threshold() {
    let breaker = CircuitBreakerConfig::new()
        .slow_calls(SECS(1), 0.5)
        .min_attempts(1);
    let operation =
        Operation::from_config("postgres", settings().circuit_breaker(breaker)).unwrap();
    let slow = operation.run(async |_| {
        tokio::time::sleep(SECS(2)).await;
        Ok(())
    });
    slow.await.unwrap();
    assert_eq!(state(&operation), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn slow_work_that_is_dropped_after_its_time_is_slow_too() {
    let breaker = CircuitBreakerConfig::new().slow_calls(SECS(1), 0.5);
    let breaker = breaker.min_attempts(2).failure_ratio(1.0);
    let settings = settings().circuit_breaker(breaker);
    let operation = Operation::from_config("postgres", settings).unwrap();
    let work = Work::new([Step::Done, Step::Hang]);
    work.by(&operation).await.unwrap();
    let dropped = tokio::time::timeout(SECS(6), work.by(&operation)).await;
    assert!(dropped.is_err());
    assert_eq!(state(&operation), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn cancelled_run_drops_the_work_and_counts_nothing() {
    struct Dropped<'a>(&'a Mutex<u32>);
    impl Drop for Dropped<'_> {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    let operation = tripping(1);
    let dropped = Mutex::new(0);
    let outer = super::work::operation().name("outer");
    let work = async |_| {
        let _dropped = Dropped(&dropped);
        std::future::pending::<Result<(), OperationError>>().await
    };
    let run = outer.run(async |_| {
        let cancelled = tokio::time::timeout(SECS(1), operation.run(work)).await;
        assert!(cancelled.is_err());
        Err::<(), _>(OperationError::unknown("given up"))
    });
    let error = run.await.unwrap_err();
    assert_eq!(
        (*dropped.lock().unwrap(), state(&operation)),
        (1, CircuitState::Closed)
    );
    let inner = error.timeline().unwrap().attempts()[0].calls()[0].clone();
    assert_eq!(inner.outcome(), Some(Outcome::Cancelled));
    assert_eq!(inner.attempts()[0].outcome(), Outcome::Cancelled);
    assert_eq!(inner.effect(), Effect::Possible);
}

#[tokio::test(start_paused = true)]
async fn cancelled_probe_permits_another_one() {
    let operation = tripping(1);
    let work = Work::new([Step::Maybe, Step::Hang]);
    work.by(&operation).await.unwrap_err();
    tokio::time::advance(SECS(10)).await;
    let mut probe = Box::pin(work.by(&operation));
    let mut context = Context::from_waker(Waker::noop());
    assert!(probe.as_mut().poll(&mut context).is_pending());
    assert_eq!(state(&operation), CircuitState::HalfOpen);
    let refused = work.by(&operation).await.unwrap_err();
    assert_eq!(refused.rejected_by(), Some(Policy::Breaker));
    drop(probe);
    assert_eq!(work.by(&operation).await.unwrap(), 7);
    assert_eq!(state(&operation), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn run_dropped_after_its_attempt_had_its_time_counts_as_a_timeout() {
    let operation = tripping(1);
    let work = Work::new([Step::Hang]);
    let mut run = Box::pin(work.by(&operation));
    let mut context = Context::from_waker(Waker::noop());
    assert!(run.as_mut().poll(&mut context).is_pending());
    tokio::time::advance(SECS(6)).await;
    drop(run);
    assert_eq!(state(&operation), CircuitState::Open);
}

/// Allows one retry a second, and no more.
fn poor(breaker: CircuitBreakerConfig) -> Operation {
    let budget = retry::Budget::new().ratio(0.0);
    let budget = budget.min_retries_per_second(1).window(SECS(1));
    let settings = settings().retry(steady().budget(budget));
    Operation::from_config("postgres", settings.circuit_breaker(breaker)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn cancelled_wait_returns_its_token() {
    let operation = poor(CircuitBreakerConfig::new());
    let work = Work::new((0..9).map(|_| Step::Unsent));
    let mut run = Box::pin(work.by(&operation));
    let mut context = Context::from_waker(Waker::noop());
    assert!(run.as_mut().poll(&mut context).is_pending());
    drop(run);
    assert_eq!(work.count(), 1);
    let error = work.by(&operation).await.unwrap_err();
    assert_eq!(error.attempts(), 2, "the one retry is still available");
}

#[tokio::test(start_paused = true)]
async fn cancelled_retry_costs_its_token() {
    let operation = poor(CircuitBreakerConfig::new());
    let work = Work::new([Step::Unsent, Step::Hang, Step::Unsent]);
    let cancelled = tokio::time::timeout(MS(200), work.by(&operation)).await;
    assert!(cancelled.is_err());
    let error = work.by(&operation).await.unwrap_err();
    assert_eq!(
        error.no_retry_reason(),
        Some(NoRetryReason::BudgetExhausted)
    );
    assert_eq!(work.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn retry_that_the_breaker_rejects_costs_no_token() {
    let operation = poor(CircuitBreakerConfig::new().consecutive_failures(1));
    let work = Work::new((0..9).map(|_| Step::Unsent));
    for _ in 0..3 {
        let error = work.by(&operation).await.unwrap_err();
        let reason = NoRetryReason::Rejected(Policy::Breaker);
        assert_eq!(error.no_retry_reason(), Some(reason));
        let postgres = Destination::named("postgres");
        operation.breaker_handle().close(&postgres);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_the_deadline_is_not_made() {
    let operation = operation();
    let work = Work::new([Step::Unsent]);
    let mut run = Box::pin(work.by(&operation));
    let mut context = Context::from_waker(Waker::noop());
    assert!(run.as_mut().poll(&mut context).is_pending());
    // The process was suspended for a while.
    tokio::time::advance(SECS(20)).await;
    let error = run.await.unwrap_err();
    assert_eq!((work.count(), error.kind()), (1, Kind::Refused));
    let reason = NoRetryReason::Rejected(Policy::Deadline);
    assert_eq!(error.no_retry_reason(), Some(reason));
}

#[tokio::test]
async fn run_can_be_moved_to_another_thread() {
    let (operation, work) = (operation(), Work::new([Step::Unsent]));
    let run = async move { work.keyed(&operation).await };
    assert_eq!(tokio::spawn(run).await.unwrap().unwrap(), 7);
    let operation = super::work::operation();
    let texts = vec![String::from("a")];
    let spawned = tokio::spawn(async move {
        let texts = &texts;
        let work = async |attempt: OperationAttempt| {
            tokio::task::yield_now().await;
            Ok(texts.len() + attempt.idempotency_key().as_str().len())
        };
        operation.run(work).await
    });
    assert_eq!(spawned.await.unwrap().unwrap(), 37);
}

#[tokio::test(start_paused = true)]
async fn rejection_by_the_throttle_has_no_number() {
    let settings = settings().throttle(ThrottleConfig::new());
    let operation = Operation::from_config("postgres", settings).unwrap();
    let mut rejections = 0;
    for _ in 0..30 {
        let numbers = Mutex::new(Vec::new());
        let run = operation.run(async |attempt| {
            numbers.lock().unwrap().push(attempt.number());
            Err::<(), _>(OperationError::not_sent("overloaded").retry_after(MS(1)))
        });
        let error = run.await.unwrap_err();
        let numbers = numbers.into_inner().unwrap();
        let counted: Vec<u32> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, counted);
        let events = error.timeline().unwrap().events().into_iter();
        let rejected = TimelineEventKind::Rejected(Policy::Throttle);
        rejections += events.filter(|event| event.kind == rejected).count();
    }
    assert!(rejections > 0);
}
