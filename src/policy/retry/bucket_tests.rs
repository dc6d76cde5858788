use std::time::Duration;

use tokio::time::Instant;

use super::super::Budget;
use super::super::budget::BudgetKind;
use super::Bucket;

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

fn start() -> Instant {
    crate::clock::now()
}

fn bucket(budget: Budget, now: Instant) -> Bucket {
    match budget.0 {
        BudgetKind::Rate(terms) => Bucket::new(&terms, now),
        other => panic!("{other:?}"),
    }
}

/// Returns a budget without a reserve.
fn saved(ratio: f64) -> Budget {
    Budget::new().ratio(ratio).min_retries_per_second(0)
}

/// Returns how many retries are granted until one is not.
fn drain(bucket: &mut Bucket, now: Instant) -> u32 {
    (0..1_000_000)
        .take_while(|_| bucket.withdraw(now))
        .count()
        .try_into()
        .unwrap()
}

#[test]
fn grants_are_the_deposits_and_the_reserve_at_every_ratio() {
    let now = start();
    for (least, over) in [(0, 10), (1, 1), (10, 10), (50, 2), (10, 60)] {
        for ratio in [0.0001, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.99, 0.999] {
            let budget = Budget::new()
                .ratio(ratio)
                .min_retries_per_second(least)
                .window(SECS(over));
            let mut bucket = bucket(budget, now);
            let mut grants = 0_u32;
            for _ in 0..10_000 {
                bucket.deposit(now);
                grants += u32::from(bucket.withdraw(now));
            }
            let reserve = f64::from(least) * SECS(over).as_secs_f64();
            let expected = (10_000.0 * ratio + reserve).min(10_000.0);
            let off = (f64::from(grants) - expected).abs();
            assert!(
                off <= 1.0,
                "{ratio} {least}/s over {over} s: {grants}, not {expected}"
            );
        }
    }
}

#[test]
fn ratio_is_exact_for_every_hundredth_up_to_two() {
    let now = start();
    for hundredths in 1..=200_u32 {
        let mut bucket = bucket(saved(f64::from(hundredths) / 100.0), now);
        for _ in 0..100 {
            bucket.deposit(now);
        }
        assert_eq!(drain(&mut bucket, now), hundredths);
    }
}

#[test]
fn ten_thousandth_is_one_repeat_for_ten_thousand_calls() {
    let now = start();
    let mut bucket = bucket(saved(0.0001), now);
    for _ in 0..9_999 {
        bucket.deposit(now);
    }
    assert!(!bucket.withdraw(now));
    bucket.deposit(now);
    assert_eq!(drain(&mut bucket, now), 1);
}

#[test]
fn deposit_lives_as_long_as_the_budget_says_to_one_slot() {
    let start = start();
    for offset in 0..100 {
        let paid = start + MS(offset * 10);
        let mut bucket = bucket(saved(1.0), start);
        bucket.deposit(paid);
        assert_eq!(bucket.balance(paid + MS(9_000)), 1, "paid in at {offset}");
        assert_eq!(bucket.balance(paid + MS(10_000)), 0, "paid in at {offset}");
    }
}

#[test]
fn withdrawal_expires_as_a_deposit_does() {
    let now = start();
    let mut bucket = bucket(Budget::new(), now);
    assert_eq!(drain(&mut bucket, now), 100);
    assert_eq!(drain(&mut bucket, now + MS(9_999)), 0);
    assert_eq!(drain(&mut bucket, now + MS(10_000)), 100);
}

#[test]
fn quiet_client_has_its_least_a_second() {
    let start = start();
    let mut bucket = bucket(Budget::new(), start);
    let mut grants = 0;
    for second in 0..600 {
        grants += drain(&mut bucket, start + SECS(second));
    }
    assert_eq!(grants, 600 * 10);
}

#[test]
fn part_of_a_repeat_is_none() {
    let now = start();
    let mut bucket = bucket(saved(0.5), now);
    bucket.deposit(now);
    assert_eq!(bucket.balance(now), 0);
    bucket.take_back(now);
    bucket.take_back(now);
    assert_eq!(bucket.balance(now), -1, "half of one is owed");
    assert_eq!(bucket.balance(now + SECS(10)), 0, "debts expire too");
}

#[test]
fn success_earns_nothing_beyond_the_ratio() {
    let now = start();
    let mut bucket = bucket(saved(0.2), now);
    let mut grants = 0;
    for call in 0..10_000 {
        bucket.deposit(now);
        // Every other call fails. In other designs each success refunds a token.
        grants += u32::from(call % 2 == 0 && bucket.withdraw(now));
    }
    assert!((1_999..=2_000).contains(&grants), "{grants}");
}

#[test]
fn latecomers_do_not_make_time_run_faster() {
    let start = start() + SECS(1_000);
    let mut bucket = bucket(saved(1.0), start);
    bucket.deposit(start + SECS(500));
    assert_eq!(bucket.balance(start + MS(499_999)), 1);
    // However late and however many the give-backs are, the deposit expires at its original time.
    for _ in 0..100 {
        assert_eq!(bucket.balance(start), 1);
        assert_eq!(bucket.balance(start + SECS(500) + MS(780)), 1);
    }
    assert_eq!(bucket.balance(start + SECS(508)), 1);
    assert_eq!(bucket.balance(start + SECS(511)), 0);
}

#[test]
fn what_has_come_back_by_itself_is_not_given_back_again() {
    let start = start();
    let one = Budget::new()
        .ratio(0.0)
        .min_retries_per_second(1)
        .window(SECS(1));
    for (after, left) in [(MS(0), 1), (MS(500), 1), (MS(1_200), 1)] {
        let mut bucket = bucket(one, start);
        assert!(bucket.withdraw(start));
        bucket.give_back(start, start + after);
        assert_eq!(bucket.balance(start + after), left, "{after:?}");
    }
}

#[test]
fn time_that_jumps_far_is_harmless() {
    let start = start();
    let mut bucket = bucket(Budget::new().ratio(1.0), start);
    bucket.deposit(start);
    assert_eq!(bucket.balance(start), 101);
    let far = start + SECS(60 * 60 * 24 * 365 * 100);
    assert_eq!(bucket.balance(far), 100);
    bucket.deposit(far);
    assert_eq!(drain(&mut bucket, far + MS(1)), 101);
}

#[test]
fn running_balance_is_the_sum_of_the_slots() {
    let mut luck = fastrand::Rng::with_seed(7);
    let mut now = start();
    let mut bucket = bucket(Budget::new().ratio(0.37).window(SECS(3)), now);
    for _ in 0..100_000 {
        match luck.u8(..4) {
            0 => bucket.deposit(now),
            1 => bucket.take_back(now),
            2 => now += MS(luck.u64(..700)),
            _ => drop(bucket.withdraw(now)),
        }
        let sum = bucket.reserve + bucket.slots.iter().sum::<i64>();
        assert_eq!(bucket.balance, sum);
    }
}

#[test]
fn numbers_that_cannot_be_counted_saturate_and_heal() {
    let start = start();
    let most = Budget::new()
        .ratio(1_000.0)
        .min_retries_per_second(u32::MAX)
        .window(SECS(60));
    let mut bucket = bucket(most, start);
    bucket.slots[0] = i64::MAX;
    bucket.balance = i64::MAX;
    bucket.deposit(start);
    assert!(bucket.withdraw(start));
    let reserve = i64::from(u32::MAX) * 60;
    assert_eq!(bucket.balance(start + SECS(60)), reserve);
}
