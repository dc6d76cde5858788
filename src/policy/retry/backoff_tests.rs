use std::collections::BTreeSet;

use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;
/// The most luck there is.
const MOST: f64 = 1.0 - f64::EPSILON / 2.0;
const JITTERS: [Jitter; 5] = [
    Jitter::Full,
    Jitter::Equal,
    Jitter::Decorrelated,
    Jitter::Constant,
    Jitter::None,
];

/// The first waits of a call whose luck never changes.
fn waits<const N: usize>(backoff: Backoff, luck: f64) -> [Duration; N] {
    let mut previous = None;
    std::array::from_fn(|repeat| {
        let wait = backoff.wait(u32::try_from(repeat).unwrap(), previous, luck);
        previous = Some(wait);
        wait
    })
}

#[test]
fn full_jitter_draws_from_zero_to_the_grown_wait() {
    let backoff = Backoff::new().cap(SECS(1));
    assert_eq!(waits(backoff, 0.0), [MS(0); 5]);
    assert_eq!(
        waits(backoff, 0.5),
        [50, 100, 200, 400, 500, 500].map(MS),
        "half of 100, 200, 400, 800, then of the cap"
    );
}

#[test]
fn equal_jitter_keeps_half_of_the_wait() {
    let backoff = Backoff::new().jitter(Jitter::Equal).cap(SECS(1));
    assert_eq!(waits(backoff, 0.0), [50, 100, 200, 400, 500].map(MS));
    assert_eq!(waits(backoff, 0.5), [75, 150, 300, 600, 750].map(MS));
}

#[test]
fn decorrelated_jitter_triples_at_most_and_stops_at_the_cap() {
    let backoff = Backoff::new()
        .jitter(Jitter::Decorrelated)
        .base(SECS(1))
        .cap(SECS(20));
    let rounded = waits(backoff, MOST).map(|wait| wait.as_secs_f64().round());
    assert_eq!(rounded, [3.0, 9.0, 20.0]);
    assert_eq!(waits(backoff, 0.0), [SECS(1); 3]);
}

#[test]
fn decorrelated_jitter_takes_a_base_that_grew_meanwhile() {
    let backoff = Backoff::new().jitter(Jitter::Decorrelated).throttled();
    assert_eq!(backoff.wait(1, Some(MS(100)), MOST), SECS(1));
}

#[test]
fn constant_neither_grows_nor_draws() {
    let backoff = Backoff::new().jitter(Jitter::Constant);
    assert_eq!(waits(backoff, 0.7), [MS(100); 4]);
}

#[test]
fn no_jitter_is_the_growth_alone() {
    let backoff = Backoff::new().jitter(Jitter::None);
    let grown = [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000].map(MS);
    assert_eq!(waits(backoff, 0.7), grown);
}

#[test]
fn never_above_the_cap_whatever_the_jitter() {
    let mut luck = fastrand::Rng::with_seed(7);
    for jitter in JITTERS {
        let backoff = Backoff::new().jitter(jitter).cap(MS(500));
        for repeat in 0..2_000 {
            let previous = Some(MS(luck.u64(..10_000)));
            let wait = backoff.wait(repeat, previous, luck.f64());
            assert!(wait <= MS(500), "{jitter:?} {repeat} {wait:?}");
        }
        assert!(backoff.throttled().wait(0, None, MOST) <= MS(500));
    }
}

#[test]
fn nothing_overflows_at_attempt_2048() {
    for jitter in JITTERS {
        for cap in [SECS(5), Limit::MAX.get(), Duration::MAX] {
            let backoff = Backoff::new().jitter(jitter).base(cap).cap(cap);
            for repeat in [63, 64, 2_047, u32::MAX] {
                assert!(backoff.wait(repeat, Some(Duration::MAX), MOST) <= cap);
            }
        }
    }
    let grown = Backoff::new().jitter(Jitter::None);
    for repeat in 6..2_048 {
        assert_eq!(grown.wait(repeat, None, 0.0), SECS(5), "{repeat}");
    }
}

#[test]
fn whole_seconds_are_drawn_from_as_finely_as_any_other_wait() {
    for base in [1, 2, 10].map(SECS) {
        for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated] {
            let mut luck = fastrand::Rng::with_seed(7);
            let backoff = Backoff::new().jitter(jitter).base(base).cap(SECS(60));
            let draws: BTreeSet<Duration> = (0..2_000)
                .map(|_| backoff.wait(0, None, luck.f64()))
                .collect();
            assert!(draws.len() > 100, "{jitter:?} {base:?}: {}", draws.len());
        }
    }
}

#[test]
fn full_jitter_is_even_over_the_whole_wait() {
    let mut luck = fastrand::Rng::with_seed(7);
    let backoff = Backoff::new().base(SECS(1));
    let mut tenths = [0; 10];
    for _ in 0..10_000 {
        let wait = backoff.wait(0, None, luck.f64()).as_nanos();
        tenths[usize::try_from(wait / 100_000_000).unwrap()] += 1;
    }
    assert!(
        tenths.iter().all(|count| (880..1_120).contains(count)),
        "{tenths:?}"
    );
}

#[test]
fn throttled_without_a_hint_starts_at_a_second_at_least() {
    let waits = |backoff: Backoff| waits(backoff.jitter(Jitter::None).throttled(), 0.0);
    assert_eq!(waits(Backoff::new()), [1, 2, 4, 5].map(SECS));
    assert_eq!(waits(Backoff::new().base(SECS(2))), [2, 4, 5, 5].map(SECS));
    assert_eq!(waits(Backoff::new().cap(MS(300))), [MS(300); 4]);
}

#[test]
fn own_wait_stands_when_the_server_says_nothing() {
    assert_eq!(after_hint(MS(70), None, MOST), MS(70));
}

#[test]
fn hint_is_never_anticipated_and_spread_by_a_tenth() {
    assert_eq!(after_hint(MS(70), Some(SECS(2)), 0.0), SECS(2));
    assert_eq!(after_hint(MS(70), Some(SECS(2)), 0.5), MS(2_100));
    let mut luck = fastrand::Rng::with_seed(7);
    for _ in 0..2_000 {
        let wait = after_hint(MS(70), Some(SECS(2)), luck.f64());
        assert!((SECS(2)..MS(2_200)).contains(&wait), "{wait:?}");
    }
}

#[test]
fn at_once_is_not_below_the_own_wait() {
    assert_eq!(after_hint(MS(70), Some(Duration::ZERO), 0.0), MS(70));
    assert_eq!(after_hint(MS(70), Some(MS(69)), 0.0), MS(70));
}

#[test]
fn hint_beyond_counting_saturates_and_is_not_shortened() {
    for hint in [SECS(i64::MAX.unsigned_abs()), SECS(u64::MAX), Duration::MAX] {
        assert!(after_hint(MS(70), Some(hint), MOST) >= hint);
    }
    assert_eq!(after_hint(MS(0), Some(Duration::MAX), MOST), Duration::MAX);
}

#[test]
fn luck_that_is_none_does_no_harm() {
    for luck in [-1.0, 1.0, 7.0, f64::NAN, f64::INFINITY] {
        assert!(Backoff::new().wait(0, None, luck) <= MS(100));
        assert!(after_hint(MS(0), Some(SECS(1)), luck) <= MS(1_100));
    }
}

#[test]
fn wrong_settings_are_refused_by_name_and_value() {
    let base = Backoff::new();
    for (backoff, refusal) in [
        (
            base.base(MS(0)),
            "back-off base of 0ns is not within 0s (not included) to 86400s",
        ),
        (
            base.cap(MS(0)),
            "back-off cap of 0ns is not within 0s (not included) to 86400s",
        ),
        (
            base.cap(SECS(86_401)),
            "back-off cap of 86401s is not within 0s (not included) to 86400s",
        ),
        (
            base.base(SECS(6)),
            "back-off base of 6s is longer than the back-off cap of 5s",
        ),
    ] {
        assert_eq!(backoff.validate().unwrap_err().to_string(), refusal);
    }
    assert!(base.validate().is_ok());
    assert!(base.base(SECS(5)).validate().is_ok());
    assert!(base.cap(Limit::MAX.get()).validate().is_ok());
}
