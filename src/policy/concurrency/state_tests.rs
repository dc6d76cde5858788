use std::task::{Context, Poll, Waker};

use super::super::decide::Algorithm;
use super::*;
use crate::clock;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn terms(limit: u32) -> Terms {
    Terms {
        rules: Versioned {
            generation: 0,
            rules: Rules {
                algorithm: Algorithm::Fixed,
                initial: limit,
                least: 1,
                most: 200,
            },
        },
        max_queued: 3,
        longest: MS(1_000),
        priority: Priority::Normal,
    }
}

fn shared(limit: u32) -> Arc<Shared> {
    Arc::new(Shared::new(terms(limit).rules))
}

fn permit(shared: &Arc<Shared>, terms: &Terms) -> Permit {
    match shared.admit(terms, clock::now()) {
        Ok(Admitted::Permit(permit)) => permit,
        other => panic!("{other:?}"),
    }
}

/// Takes a permit, and begins the attempt.
fn begun(shared: &Arc<Shared>, terms: &Terms) -> Permit {
    let mut permit = permit(shared, terms);
    permit.begin();
    permit
}

fn newer(terms: Terms, limit: u32) -> Terms {
    let mut newer = terms;
    newer.rules.generation += 1;
    newer.rules.rules.initial = limit;
    newer
}

fn waiter(shared: &Arc<Shared>, terms: &Terms) -> Waiter {
    match shared.admit(terms, clock::now()) {
        Ok(Admitted::Waiter(waiter)) => waiter,
        other => panic!("{other:?}"),
    }
}

fn poll(waiter: &mut Waiter) -> Poll<Result<Permit, Rejection>> {
    waiter.poll(&mut Context::from_waker(Waker::noop()))
}

fn in_flight(shared: &Shared) -> (u32, usize) {
    let (_, in_flight, queued) = shared.counts();
    (in_flight, queued)
}

#[tokio::test(start_paused = true)]
async fn permit_that_comes_back_is_for_the_call_that_waits() {
    let (shared, terms) = (shared(2), terms(2));
    let permits = [(); 2].map(|()| permit(&shared, &terms));
    let mut waiters = [(); 2].map(|()| waiter(&shared, &terms));
    assert_eq!(in_flight(&shared), (2, 2));
    assert!(poll(&mut waiters[0]).is_pending());
    drop(permits);
    for waiter in &mut waiters {
        assert!(matches!(poll(waiter), Poll::Ready(Ok(_))));
    }
    drop(waiters);
    assert_eq!(in_flight(&shared), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn call_that_leaves_keeps_no_permit_and_no_place() {
    let (shared, terms) = (shared(1), terms(1));
    let held = permit(&shared, &terms);
    drop(waiter(&shared, &terms));
    assert_eq!(in_flight(&shared), (1, 0));
    // The permit was granted, and the call left before it looked.
    let granted = waiter(&shared, &terms);
    let mut next = waiter(&shared, &terms);
    drop(held);
    assert!(poll(&mut next).is_pending());
    drop(granted);
    assert!(matches!(poll(&mut next), Poll::Ready(Ok(_))));
    assert_eq!(in_flight(&shared), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn full_queue_rejects_at_once_or_sheds_a_less_important_call() {
    let (shared, terms) = (shared(1), terms(1));
    let _held = permit(&shared, &terms);
    let mut waiters = [(); 3].map(|()| waiter(&shared, &terms));
    let full = shared.admit(&terms, clock::now()).unwrap_err();
    let expected = Rejection::Full {
        in_flight: 1,
        queued: 3,
    };
    assert_eq!(full, expected);
    let critical = Terms {
        priority: Priority::Critical,
        ..terms
    };
    let _first = waiter(&shared, &critical);
    let Poll::Ready(Err(shed)) = poll(&mut waiters[0]) else {
        panic!("still in the queue");
    };
    assert_eq!(shed, Rejection::Shed);
    assert_eq!(in_flight(&shared), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn wait_that_does_not_fit_is_rejected_at_once() {
    let (shared, terms) = (shared(1), terms(1));
    let held = begun(&shared, &terms);
    tokio::time::advance(MS(600)).await;
    drop(held);
    let _held = permit(&shared, &terms);
    let _first = waiter(&shared, &terms);
    // A permit is held for 600 ms, so the second one in the queue waits for 1.2 s.
    let expected = Rejection::TooLong {
        expected: MS(1_200),
        longest: MS(1_000),
    };
    let rejected = shared.admit(&terms, clock::now()).unwrap_err();
    assert_eq!(rejected, expected);
}

#[tokio::test(start_paused = true)]
async fn larger_limit_serves_the_calls_that_wait() {
    let (shared, small) = (shared(1), terms(1));
    let _held = permit(&shared, &small);
    let mut waiting = waiter(&shared, &small);
    let _other = permit(&shared, &newer(small, 3));
    assert!(matches!(poll(&mut waiting), Poll::Ready(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn call_that_began_before_a_reload_does_not_bring_the_old_limit_back() {
    let (shared, old) = (shared(1), terms(1));
    let new = newer(old, 3);
    let _permits = [(); 2].map(|()| permit(&shared, &new));
    let _third = permit(&shared, &old);
    assert_eq!(shared.counts().0, 3);
    assert!(shared.try_admit(old.rules, clock::now()).is_err());
    assert_eq!(shared.counts().0, 3);
}

#[tokio::test(start_paused = true)]
async fn limit_that_grows_serves_the_calls_that_wait() {
    let mut terms = terms(1);
    terms.rules.rules.algorithm = Algorithm::Aimd;
    let shared = Arc::new(Shared::new(terms.rules));
    let held = permit(&shared, &terms);
    let mut waiting = waiter(&shared, &terms);
    held.learn(MS(10), true, clock::now());
    assert!(poll(&mut waiting).is_pending());
    held.learn(MS(10), false, clock::now());
    assert!(matches!(poll(&mut waiting), Poll::Ready(Ok(_))));
    assert_eq!(shared.counts().0, 2);
}

#[test]
fn reasons_are_sentences() {
    for (rejection, expected) in [
        (
            Rejection::Full {
                in_flight: 20,
                queued: 100,
            },
            "20 in flight, and the queue of 100 is full",
        ),
        (
            Rejection::TooLong {
                expected: MS(1_200),
                longest: MS(1_000),
            },
            "the expected wait is 1.20 s, and the call waits for at most 1.00 s",
        ),
        (
            Rejection::Shed,
            "a more important call took its place in the queue",
        ),
        (
            Rejection::TimedOut { longest: MS(500) },
            "no permit was free within 500.0 ms",
        ),
    ] {
        assert_eq!(rejection.to_string(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn permit_that_is_taken_at_once_or_not_at_all_does_not_queue() {
    let (shared, terms) = (shared(1), terms(1));
    let now = clock::now();
    let held = shared.try_admit(terms.rules, now).unwrap();
    let refused = shared.try_admit(terms.rules, now).unwrap_err();
    assert_eq!(
        refused,
        Rejection::Full {
            in_flight: 1,
            queued: 0
        }
    );
    assert_eq!(in_flight(&shared), (1, 0));
    let mut next = waiter(&shared, &terms);
    drop(held);
    assert!(
        shared.try_admit(terms.rules, now).is_err(),
        "it is the waiter's"
    );
    assert!(matches!(poll(&mut next), Poll::Ready(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn permit_that_was_not_used_does_not_count_for_the_expected_wait() {
    let (shared, terms) = (shared(1), terms(1));
    let used = begun(&shared, &terms);
    tokio::time::advance(MS(2_000)).await;
    drop(used);
    for _ in 0..100 {
        drop(permit(&shared, &terms));
    }
    assert_eq!(in_flight(&shared), (0, 0));
    let _held = permit(&shared, &terms);
    // Each permit is held for 2 s, and the call waits for at most 1 s.
    let refused = shared.admit(&terms, clock::now());
    assert!(
        matches!(refused, Err(Rejection::TooLong { .. })),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn stream_of_an_hour_hardly_changes_the_expected_wait() {
    let (shared, terms) = (shared(1), terms(1));
    let hold = async |time| {
        let permit = begun(&shared, &terms);
        tokio::time::advance(time).await;
        drop(permit);
    };
    for _ in 0..20 {
        hold(MS(50)).await;
    }
    hold(MS(3_600_000)).await;
    let _held = permit(&shared, &terms);
    let _waits = waiter(&shared, &terms);
}
