use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::clock;

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

fn start() -> Instant {
    clock::now()
}

#[test]
fn eight_threads_on_a_reserve_of_ten_get_ten() {
    let now = start();
    for _ in 0..50 {
        let budget = Budget::new()
            .ratio(0.0)
            .min_retries_per_second(10)
            .window(SECS(1));
        let budget = SharedBudget::new(budget, now);
        let grants = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let granted = u32::from(budget.withdraw(false, now).is_some());
                        grants.fetch_add(granted, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(grants.into_inner(), 10);
    }
}

#[test]
fn poisoned_budget_goes_on() {
    let now = start();
    let budget = SharedBudget::new(Budget::new(), now);
    let died = std::thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let _held = budget.counter();
            panic!("under the lock");
        });
        holder.join().is_err()
    });
    assert!(died);
    assert_eq!(budget.balance(now), Some(100));
    assert!(budget.withdraw(false, now).is_some());
}

#[test]
fn unlimited_budget_grants_everything_and_counts_nothing() {
    let now = start();
    let budget = SharedBudget::new(Budget::unlimited(), now);
    budget.deposit(now);
    assert!((0..1_000).all(|_| budget.withdraw(false, now).is_some()));
    assert_eq!(budget.balance(now), None);
}

/// Returns the number of requests a second at a service that fails all of them. There are 1,000 calls a second for a
/// minute, with up to 3 attempts each.
fn arrivals_per_second_in_an_outage(budget: Budget) -> f64 {
    let start = start();
    let budget = SharedBudget::new(budget, start);
    let mut arrivals = 0_u32;
    for call in 0..60_000 {
        let now = start + MS(call);
        budget.deposit(now);
        arrivals += 1;
        for _repeat in 0..2 {
            if budget.withdraw(false, now).is_none() {
                break;
            }
            arrivals += 1;
        }
    }
    f64::from(arrivals) / 60.0
}

#[test]
fn outage_without_a_budget_triples_the_load() {
    let arrivals = arrivals_per_second_in_an_outage(Budget::unlimited());
    assert_eq!(arrivals, 3_000.0);
}

#[test]
fn outage_under_the_default_budget_adds_a_fifth_and_ten() {
    let arrivals = arrivals_per_second_in_an_outage(Budget::new());
    assert!((1_205.0..=1_215.0).contains(&arrivals), "{arrivals}");
}

#[test]
fn reserve_is_refilled_by_successes_alone() {
    let now = start();
    let budget = SharedBudget::new(Budget::reserve(500), now);
    for _ in 0..1_000 {
        budget.deposit(now);
        budget.fail();
    }
    assert_eq!(budget.balance(now), Some(100));
    let paid = budget.withdraw(false, now);
    let again = budget.withdraw(true, now);
    assert_eq!(budget.balance(now), Some(97));
    budget.succeed(again);
    assert_eq!(
        budget.balance(now),
        Some(99),
        "the price of the retry that succeeded"
    );
    budget.give_back(paid.unwrap(), now);
    assert_eq!(budget.balance(now), Some(100), "a retry that was not begun");
    while budget.withdraw(false, now).is_some() {}
    for _ in 0..4 {
        budget.succeed(None);
    }
    assert!(
        budget.withdraw(false, now + SECS(3_600)).is_none(),
        "time refills nothing"
    );
    budget.succeed(None);
    assert!(budget.withdraw(false, now).is_some());
}

#[test]
fn outage_with_a_reserve_is_over_after_its_tokens() {
    let arrivals = arrivals_per_second_in_an_outage(Budget::reserve(500));
    assert!((1_000.0..1_002.0).contains(&arrivals), "{arrivals}");
}

#[test]
fn throttle_retries_nothing_below_half_of_its_tokens() {
    let now = start();
    let budget = SharedBudget::new(Budget::throttle(10, 0.1), now);
    for left in [4, 3, 2, 1] {
        budget.fail();
        assert!(budget.withdraw(false, now).is_some());
        assert_eq!(budget.balance(now), Some(left));
    }
    budget.fail();
    assert!(budget.withdraw(false, now).is_none());
    for _ in 0..11 {
        budget.succeed(None);
    }
    assert!(budget.withdraw(false, now).is_some());
}
