use std::time::Duration;

use super::*;
use crate::dns::error::LookupFailure;
use crate::dns::record::ADDRESSES;
use crate::dns::{Answer, AnswerOrigin, DnsErrorReason};

#[path = "cache_old_tests.rs"]
mod old;

const FLOOR: Duration = Duration::from_secs(1);
const CEILING: Duration = Duration::from_secs(3600);
const STALE: Duration = Duration::from_secs(24 * 3600);
/// In the middle of the spread: refreshes are due at 85 % of the TTL.
const LUCK: f64 = 0.5;
const NANO: Duration = Duration::from_nanos(1);

#[test]
fn answer_is_fresh_for_its_ttl_and_not_longer() {
    let (mut cache, now) = (cache(), start());
    both(&mut cache, "a", 6, now);

    let just_before = now + secs(6) - NANO;
    assert_eq!(answer(&cache, "a", just_before).unwrap().ttl(), NANO);
    assert_eq!(answer(&cache, "a", now + secs(6)), None);
}

#[test]
fn same_addresses_in_another_order_are_not_a_change() {
    let (mut cache, now) = (cache(), start());
    assert!(!record(&mut cache, "a", addresses(&[1, 2], 6), now).changed);
    assert!(!record(&mut cache, "a", addresses(&[2, 1], 6), now + secs(6)).changed);
}

#[test]
fn another_address_is_a_change_once() {
    let (mut cache, now) = (cache(), start());
    record(&mut cache, "a", addresses(&[1], 6), now);

    assert!(record(&mut cache, "a", addresses(&[2], 6), now + secs(6)).changed);
    assert!(!record(&mut cache, "a", addresses(&[2], 6), now + secs(12)).changed);
}

#[test]
fn failure_and_recovery_are_not_a_change() {
    let (mut cache, now) = (cache(), start());
    record(&mut cache, "a", addresses(&[1], 6), now);

    for outcome in [nothing(DnsErrorReason::Timeout, None), addresses(&[1], 6)] {
        assert!(!record(&mut cache, "a", outcome, now).changed);
    }
    let gone = || nothing(DnsErrorReason::NoRecords, Some(6));
    let denied = now + secs(6);
    assert!(!record(&mut cache, "a", gone(), denied).changed);
    assert!(record(&mut cache, "a", gone(), denied + secs(7)).changed);
}

#[test]
fn short_ttl_is_lifted_to_the_floor() {
    let rules = CachePolicy {
        floor: secs(5),
        ..rules()
    };
    let (mut cache, now) = (Cache::new(rules), start());
    assert_eq!(good_for(&mut cache, addresses(&[1], 1), now), secs(5));
}

#[test]
fn failures_in_a_row_double_the_back_off_up_to_its_cap() {
    let (mut cache, mut now) = (cache(), start());
    let waits = [1, 2, 4, 8, 16, 30, 30].map(secs);

    for wait in waits {
        let failed = nothing(DnsErrorReason::ServerFailure, None);
        assert_eq!(good_for(&mut cache, failed, now), wait);
        now += wait;
    }
}

#[test]
fn backoff_restarts_after_an_answer_and_after_a_quiet_time() {
    let (mut cache, now) = (cache(), start());
    let failed = || nothing(DnsErrorReason::Timeout, None);
    good_for(&mut cache, failed(), now);
    assert_eq!(good_for(&mut cache, failed(), now + secs(1)), secs(2));
    let quiet = now + secs(1 + 2 + 30);

    assert_eq!(good_for(&mut cache, failed(), quiet - NANO), secs(4));
    assert_eq!(good_for(&mut cache, addresses(&[1], 6), quiet), secs(6));
    assert_eq!(good_for(&mut cache, failed(), quiet + secs(6)), secs(1));
    assert_eq!(good_for(&mut cache, failed(), quiet + secs(60)), secs(1));
}

#[test]
fn back_off_does_not_overflow_after_a_long_outage() {
    assert_eq!(rules().back_off(1_000), secs(30));
}

#[test]
fn ttl_0_is_not_kept_and_not_lifted() {
    let (mut cache, now) = (cache(), start());
    both(&mut cache, "a", 0, now);

    assert_eq!(answer(&cache, "a", now), None);
    assert!(cache.entries.is_empty());
}

#[test]
fn very_long_ttl_is_clamped_to_the_ceiling() {
    let (mut cache, now) = (cache(), start());
    for ttl in [u32::MAX >> 1, u32::MAX] {
        assert_eq!(good_for(&mut cache, addresses(&[1], ttl), now), CEILING);
    }
}

#[test]
fn negative_answer_is_kept_for_the_ttl_of_its_soa_clamped() {
    let (mut cache, now) = (cache(), start());
    for (soa, kept) in [(Some(20), 20), (Some(61), 60), (Some(0), 1), (None, 1)] {
        for reason in [DnsErrorReason::NotFound, DnsErrorReason::NoRecords] {
            let latest = good_for(&mut cache, nothing(reason, soa), now);
            assert_eq!(latest, secs(kept), "{soa:?}");
        }
    }
}

#[test]
fn answer_lives_as_long_as_the_shorter_of_its_families() {
    let (mut cache, now) = (cache(), start());
    record(&mut cache, "a", addresses(&[1], 60), now);
    assert_eq!(
        answer(&cache, "a", now),
        None,
        "the other family has no result"
    );

    let six = QueryOutcome::Addresses {
        addresses: vec!["fd00::1".parse().unwrap()],
        ttl: secs(30),
    };
    cache.record(&question("a", Family::V6), six, (now, LUCK));

    let answer = answer(&cache, "a", now).unwrap();
    assert_eq!(answer.ttl(), secs(30));
    assert!(answer.addresses()[0].is_ipv6() && answer.addresses()[1].is_ipv4());
}

#[test]
fn missing_family_does_not_shorten_the_answer() {
    let (mut cache, now) = (cache(), start());
    both(&mut cache, "a", 6, now);
    let missing = nothing(DnsErrorReason::NoRecords, Some(3));
    cache.record(&question("a", Family::V6), missing, (now, LUCK));

    assert_eq!(answer(&cache, "a", now).unwrap().ttl(), secs(6));
}

#[test]
fn full_cache_forgets_names_that_were_not_used_again() {
    let (mut cache, now) = (full(3), start());
    for name in ["used", "first", "second"] {
        both(&mut cache, name, 60, now);
    }
    cache.mark_used("used");
    for (new, forgotten) in [("a", "first"), ("b", "second"), ("c", "used"), ("d", "a")] {
        let evicted = record(&mut cache, new, addresses(&[1], 60), now).evicted;
        assert_eq!(evicted.as_deref(), Some(forgotten));
    }
}

#[test]
fn served_answer_counts_as_a_use() {
    let (mut cache, now) = (full(2), start());
    both(&mut cache, "used", 60, now);
    both(&mut cache, "other", 60, now);
    let hot = crate::dns::hot_cache::HotCache::default();
    hot.put(&"used".into(), cache.show("used", now), None);
    assert!(hot.find("used", now).is_some());

    let evicted = record(&mut cache, "new", addresses(&[1], 60), now).evicted;
    assert_eq!(evicted.as_deref(), Some("other"));
}

#[test]
fn name_of_a_live_destination_is_evicted_last() {
    let (mut cache, now) = (full(3), start());
    for name in ["held", "a", "b"] {
        both(&mut cache, name, 60, now);
    }
    let hold = cache.hold("held").unwrap();
    for n in 0..10 {
        let new = format!("{n}");
        let evicted = record(&mut cache, &new, addresses(&[1], 60), now).evicted;
        assert_ne!(evicted.as_deref(), Some("held"));
    }

    let all: Vec<_> = cache
        .queue
        .iter()
        .filter_map(|name| cache.hold(name))
        .collect();
    assert_eq!(all.len(), 3);
    assert!(
        record(&mut cache, "new", addresses(&[1], 60), now)
            .evicted
            .is_some()
    );
    assert_eq!((cache.entries.len(), cache.queue.len()), (3, 3));
    drop((all, hold));
}

#[test]
fn hostile_names_do_not_grow_the_memory() {
    let (mut cache, now) = (full(100), start());
    for n in 0..10_000 {
        let missing = nothing(DnsErrorReason::NotFound, Some(60));
        record(&mut cache, &format!("{n}.hostile.test"), missing, now);
    }
    assert_eq!((cache.entries.len(), cache.queue.len()), (100, 100));
}

#[test]
fn evicted_name_is_returned_so_that_it_is_not_served_any_longer() {
    let (mut cache, now) = (full(1), start());
    assert_eq!(
        record(&mut cache, "a", addresses(&[1], 6), now).evicted,
        None
    );

    let evicted = record(&mut cache, "b", addresses(&[1], 6), now).evicted;
    assert_eq!(evicted.as_deref(), Some("a"));
}

#[test]
fn hostile_answer_is_cut() {
    let (mut cache, now) = (cache(), start());
    let many = addresses(&[7; 4_000], 60);
    let latest = record(&mut cache, "a", many, now).latest;
    assert_eq!(latest.fresh(now).unwrap().addresses.len(), ADDRESSES);
}

fn rules() -> CachePolicy {
    CachePolicy {
        floor: FLOOR,
        ceiling: CEILING,
        negative_ceiling: secs(60),
        backoff: (secs(1), secs(30)),
        stale: Some(STALE),
        capacity: 4_096,
    }
}

fn full(capacity: usize) -> Cache {
    Cache::new(CachePolicy {
        capacity,
        ..rules()
    })
}

fn cache() -> Cache {
    Cache::new(rules())
}

fn both(cache: &mut Cache, name: &str, ttl: u32, now: Instant) {
    let missing = nothing(DnsErrorReason::NoRecords, Some(ttl));
    record(cache, name, addresses(&[1], ttl), now);
    if ttl > 0 {
        cache.record(&question(name, Family::V6), missing, (now, LUCK));
    }
}

/// Returns the DNS answer at `now` that needs no query.
fn answer(cache: &Cache, name: &str, now: Instant) -> Option<Answer> {
    let shown = cache.show(name, now)?;
    assert!(now < shown.until);
    let composed = Answer::composed(&shown.composed, (now, AnswerOrigin::Memory));
    Some(composed)
}

fn record(cache: &mut Cache, name: &str, outcome: QueryOutcome, now: Instant) -> Recorded {
    cache.record(&question(name, Family::V4), outcome, (now, LUCK))
}

fn question(name: &str, family: Family) -> Question {
    let name = name.into();
    Question { name, family }
}

fn good_for(cache: &mut Cache, outcome: QueryOutcome, now: Instant) -> Duration {
    let latest = record(cache, "a", outcome, now).latest;
    assert_eq!(latest.at, now);
    latest.until - now
}

fn addresses(last: &[u8], ttl: u32) -> QueryOutcome {
    QueryOutcome::Addresses {
        addresses: last.iter().map(|&d| [10, 0, 0, d].into()).collect(),
        ttl: secs(ttl),
    }
}

fn nothing(reason: DnsErrorReason, ttl: Option<u32>) -> QueryOutcome {
    QueryOutcome::Nothing {
        failure: LookupFailure::new(reason),
        ttl: ttl.map(secs),
    }
}

fn secs(secs: u32) -> Duration {
    Duration::from_secs(secs.into())
}

/// Returns any instant: every test computes its times from it.
fn start() -> Instant {
    Instant::now()
}
