use crate::timeout::LONGEST;
use std::collections::BTreeSet;

use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;
/// The largest value of luck.
const MOST: f64 = 1.0 - f64::EPSILON / 2.0;
const JITTERS: [Jitter; 5] = [
    Jitter::Full,
    Jitter::Equal,
    Jitter::Decorrelated,
    Jitter::Proportional(0.25),
    Jitter::None,
];

/// Returns the wait before one retry in a call of ten seconds.
fn wait(backoff: &Backoff, retry: u32, previous: Option<Duration>, luck: f64) -> Duration {
    let base = backoff.base_within(SECS(10), false);
    let step = BackoffStep {
        retry,
        previous,
        base,
    };
    backoff.wait(&step, luck)
}

/// Returns the first waits of a call, with constant luck.
fn waits<const N: usize>(backoff: &Backoff, luck: f64) -> [Duration; N] {
    let mut previous = None;
    std::array::from_fn(|retry| {
        let wait = wait(backoff, u32::try_from(retry).unwrap(), previous, luck);
        previous = Some(wait);
        wait
    })
}

#[test]
fn full_jitter_draws_from_zero_to_the_grown_wait() {
    let backoff = Backoff::new().cap(SECS(1));
    assert_eq!(waits(&backoff, 0.0), [MS(0); 5]);
    assert_eq!(
        waits(&backoff, 0.5),
        [50, 100, 200, 400, 500, 500].map(MS),
        "half of 100, 200, 400, 800, then of the cap"
    );
}

#[test]
fn equal_jitter_keeps_half_of_the_wait() {
    let backoff = Backoff::new().jitter(Jitter::Equal).cap(SECS(1));
    assert_eq!(waits(&backoff, 0.0), [50, 100, 200, 400, 500].map(MS));
    assert_eq!(waits(&backoff, 0.5), [75, 150, 300, 600, 750].map(MS));
}

#[test]
fn decorrelated_jitter_triples_at_most_and_stops_at_the_cap() {
    let backoff = Backoff::new()
        .jitter(Jitter::Decorrelated)
        .base(SECS(1))
        .cap(SECS(20));
    let rounded = waits(&backoff, MOST).map(|wait| wait.as_secs_f64().round());
    assert_eq!(rounded, [3.0, 9.0, 20.0]);
    assert_eq!(waits(&backoff, 0.0), [SECS(1); 3]);
}

#[test]
fn decorrelated_jitter_takes_a_base_that_grew_meanwhile() {
    let backoff = Backoff::new().jitter(Jitter::Decorrelated);
    let step = BackoffStep {
        retry: 1,
        previous: Some(MS(100)),
        base: backoff.base_within(SECS(10), true),
    };
    assert_eq!(backoff.wait(&step, MOST), SECS(1));
}

#[test]
fn no_jitter_is_the_growth_alone() {
    let backoff = Backoff::new().jitter(Jitter::None);
    let grown = [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000].map(MS);
    assert_eq!(waits(&backoff, 0.7), grown);
}

#[test]
fn never_above_the_cap_nor_below_the_minimum_whatever_the_kind() {
    let mut luck = fastrand::Rng::with_seed(7);
    for (kind, spread) in kinds() {
        let backoff = kind.cap(MS(500)).minimum(MS(30));
        for retry in 0..2_000 {
            let previous = Some(MS(luck.u64(..10_000)));
            let wait = wait(&backoff, retry, previous, luck.f64());
            let range = MS(30)..=MS(500).mul_f64(1.0 + spread);
            assert!(range.contains(&wait), "{backoff:?} {retry} {wait:?}");
        }
    }
}

#[test]
fn more_luck_never_makes_a_wait_shorter() {
    for (backoff, _) in kinds() {
        for retry in [0, 1, 2, 10] {
            let waits = (0..=100).map(|luck| {
                let luck = f64::from(luck) / 100.0 * MOST;
                wait(&backoff, retry, Some(MS(150)), luck)
            });
            assert!(waits.is_sorted(), "{backoff:?} {retry}");
        }
    }
}

#[test]
fn nothing_overflows_at_attempt_2048() {
    for jitter in JITTERS {
        for cap in [SECS(5), LONGEST, Duration::MAX] {
            let backoff = Backoff::new().jitter(jitter).base(cap).cap(cap);
            for retry in [63, 64, 1_000, 2_047, u32::MAX] {
                let wait = wait(&backoff, retry, Some(Duration::MAX), MOST);
                assert!(wait <= cap.saturating_add(cap / 4), "{wait:?}");
            }
        }
    }
    for growth in [Growth::Exponential(2.0), Growth::Linear] {
        let grown = Backoff::new().growth(growth).jitter(Jitter::None);
        for retry in 49..2_048 {
            assert_eq!(wait(&grown, retry, None, 0.0), SECS(5), "{retry}");
        }
    }
}

#[test]
fn whole_seconds_are_drawn_from_as_finely_as_any_other_wait() {
    for base in [1, 2, 10].map(SECS) {
        for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated] {
            let mut luck = fastrand::Rng::with_seed(7);
            let backoff = Backoff::new().jitter(jitter).base(base).cap(SECS(60));
            let draws: BTreeSet<Duration> = (0..2_000)
                .map(|_| wait(&backoff, 0, None, luck.f64()))
                .collect();
            assert!(draws.len() > 100, "{jitter:?} {base:?}: {}", draws.len());
        }
    }
}

#[test]
fn uniform_kinds_are_even_over_their_whole_range() {
    let mut luck = fastrand::Rng::with_seed(7);
    for jitter in [Jitter::Full, Jitter::Equal, Jitter::Proportional(0.25)] {
        let backoff = Backoff::new().jitter(jitter);
        let (least, most) = (
            wait(&backoff, 10, None, 0.0),
            wait(&backoff, 10, None, MOST),
        );
        let tenth = (most - least) / 10 + Duration::from_nanos(1);
        let mut tenths = [0; 10];
        for _ in 0..10_000 {
            let above = wait(&backoff, 10, None, luck.f64()) - least;
            tenths[usize::try_from(above.as_nanos() / tenth.as_nanos()).unwrap()] += 1;
        }
        let even = tenths.iter().all(|count| (800..=1_200).contains(count));
        assert!(even, "{jitter:?} {tenths:?}");
    }
}

#[test]
fn base_follows_the_deadline_and_grows_after_a_throttling_without_a_hint() {
    let base = Backoff::new().base(SECS(2));
    for (backoff, deadline, usual, throttled) in [
        (Backoff::new(), SECS(10), MS(100), SECS(1)),
        (Backoff::new(), SECS(2), MS(40), MS(400)),
        (Backoff::new(), MS(10), Duration::from_micros(200), MS(2)),
        (Backoff::new(), SECS(86_400), MS(100), SECS(1)),
        (Backoff::new().base(MS(20)), SECS(2), MS(20), MS(400)),
        (base, SECS(10), SECS(2), SECS(2)),
        (Backoff::new().cap(MS(50)), SECS(10), MS(50), MS(50)),
    ] {
        let bases = [false, true].map(|throttled| backoff.base_within(deadline, throttled));
        assert_eq!(bases, [usual, throttled], "{backoff:?} {deadline:?}");
    }
}

/// Returns the wait within `left`, with the given draws.
fn within(backoff: &Backoff, left: Duration, draws: [f64; 2]) -> Duration {
    let step = BackoffStep {
        retry: 3,
        previous: Some(MS(400)),
        base: MS(100),
    };
    let mut draws = draws.into_iter();
    backoff.wait_within(&step, left, || draws.next().unwrap())
}

#[test]
fn draw_that_does_not_fit_is_drawn_again_within_half_of_the_time_left() {
    let full = Backoff::new();
    assert_eq!(within(&full, SECS(10), [0.5, 0.9]), MS(400));
    assert_eq!(within(&full, MS(800), [0.5, 0.9]), MS(400), "it just fits");
    assert_eq!(within(&full, MS(100), [0.5, 0.5]), MS(25));
    let equal = Backoff::new().jitter(Jitter::Equal);
    // The range begins at 400 ms, whatever luck is.
    assert_eq!(within(&equal, SECS(1), [0.9, 0.5]), MS(450));
    assert_eq!(
        within(&equal, MS(700), [0.5, 0.9]),
        MS(600),
        "what fits stays"
    );
    assert_eq!(within(&equal, MS(600), [0.9, 0.5]), MS(500));
    assert!(within(&equal, MS(300), [0.9, 0.5]) >= MS(400), "none fits");
    let steady = Backoff::new().jitter(Jitter::None);
    assert_eq!(within(&steady, SECS(1), [0.1, 0.1]), MS(800));
    assert_eq!(
        within(&steady, MS(500), [0.1, 0.1]),
        MS(800),
        "nothing to draw"
    );
    let late = Backoff::by(|_, _, luck| SECS(2).mul_f64(luck));
    assert_eq!(within(&late, SECS(1), [0.9, 0.25]), MS(500));
    assert_eq!(within(&late, SECS(1), [0.25, 0.9]), MS(500));
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
fn hint_is_spread_by_five_seconds_at_most() {
    for (hint, most) in [
        (SECS(10), SECS(11)),
        (SECS(50), SECS(55)),
        (SECS(3_600), SECS(3_605)),
    ] {
        assert_eq!(after_hint(MS(70), Some(hint), 1.0), most);
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
        assert!(wait(&Backoff::new(), 0, None, luck) <= MS(100));
        assert!(after_hint(MS(0), Some(SECS(1)), luck) <= MS(1_100));
    }
}

/// Returns a backoff of each kind, and the factor by which it may exceed the cap.
fn kinds() -> Vec<(Backoff, f64)> {
    let growths = [Growth::Exponential(1.5), Growth::Linear, Growth::Constant];
    let mut kinds: Vec<_> = JITTERS.map(|jitter| Backoff::new().jitter(jitter)).into();
    for growth in growths {
        kinds.extend(
            [Jitter::Full, Jitter::Equal, Jitter::None]
                .map(|jitter| Backoff::new().growth(growth).jitter(jitter)),
        );
    }
    kinds.push(Backoff::by(|retry, _, luck| {
        SECS(1).mul_f64(luck) * retry.min(9)
    }));
    let spread = |backoff: &Backoff| match backoff.jitter {
        Jitter::Proportional(spread) => spread,
        _ => 0.0,
    };
    kinds
        .into_iter()
        .map(|kind| (kind.clone(), spread(&kind)))
        .collect()
}
