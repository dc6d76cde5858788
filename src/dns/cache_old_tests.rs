//! The life of a DNS answer: its refresh, and its use after its end.

use super::*;

#[test]
fn generation_changes_with_the_addresses_and_only_with_them() {
    let (mut cache, now) = (cache(), start());
    let mut generation = |outcome, at| {
        record(&mut cache, "a", outcome, at);
        let missing = nothing(DnsErrorReason::NoRecords, Some(60));
        cache.record(&question("a", Family::V6), missing, (at, LUCK));
        answer(&cache, "a", at).unwrap().generation()
    };
    let first = generation(addresses(&[1, 2], 6), now);

    assert_eq!(generation(addresses(&[2, 1], 6), now + secs(6)), first);
    let failed = nothing(DnsErrorReason::Timeout, None);
    assert_eq!(generation(failed, now + secs(12)), first, "stale");
    assert_eq!(generation(addresses(&[1, 2], 6), now + secs(18)), first);
    let other = generation(addresses(&[3], 6), now + secs(24));
    assert_ne!(other, first);
    assert_eq!(generation(addresses(&[3], 6), now + secs(30)), other);
}

#[test]
fn change_after_a_failure_is_reported() {
    let (mut cache, now) = (cache(), start());
    record(&mut cache, "a", addresses(&[1], 6), now);
    record(
        &mut cache,
        "a",
        nothing(DnsErrorReason::Timeout, None),
        now + secs(6),
    );

    assert!(record(&mut cache, "a", addresses(&[2], 6), now + secs(7)).changed);
}

#[test]
fn failure_leaves_the_addresses_until_the_stale_limit() {
    let (mut cache, now) = (cache(), start());
    both(&mut cache, "a", 6, now);
    let ended = now + secs(6);
    for (family, reason) in [
        (Family::V4, DnsErrorReason::Timeout),
        (Family::V6, DnsErrorReason::ServerFailure),
    ] {
        let failed = nothing(reason, None);
        cache.record(&question("a", family), failed, (ended, LUCK));
    }

    let stale = answer(&cache, "a", ended).unwrap();
    assert!(stale.is_stale() && stale.is_cached() && stale.is_partial());
    assert_eq!((stale.ttl(), stale.age()), (Duration::ZERO, secs(6)));
    assert!(!stale.is_authoritative_for(stale.addresses()[0]));

    let last = ended + STALE - secs(1);
    let failed = || nothing(DnsErrorReason::Timeout, None);
    let latest = record(&mut cache, "a", failed(), last).latest;
    assert!(latest.old(last).is_some() && latest.old(ended + STALE).is_none());
    assert_eq!(latest.changes_at(last), last + secs(1));
    let latest = record(&mut cache, "a", failed(), ended + STALE).latest;
    assert!(latest.old(ended + STALE).is_none());
}

#[test]
fn denial_that_is_confirmed_after_its_ttl_ends_the_addresses() {
    for reason in [DnsErrorReason::NotFound, DnsErrorReason::NoRecords] {
        let (mut cache, now) = (cache(), start());
        both(&mut cache, "a", 6, now);
        let denied_at = now + secs(6);
        let mut deny = |after: u32| {
            let at = denied_at + secs(after);
            record(&mut cache, "a", nothing(reason, Some(10)), at).latest
        };

        // Queried again at 2 s, then after the negative TTL and a second.
        for (after, next) in [(0, 2), (2, 11), (10, 11)] {
            let latest = deny(after);
            let at = denied_at + secs(after);
            assert!(latest.old(at).is_some() && !latest.is_gone(), "{after}");
            assert_eq!(latest.refresh, denied_at + secs(next), "{after}");
            assert_eq!(latest.until, denied_at + secs(61), "{after}");
        }
        let latest = deny(11);
        assert!(latest.old(denied_at + secs(11)).is_none());
        assert_eq!(latest.is_gone(), reason == DnsErrorReason::NotFound);

        let failed = nothing(DnsErrorReason::Timeout, None);
        let latest = record(&mut cache, "a", failed, denied_at + secs(22)).latest;
        assert!(latest.old(denied_at + secs(22)).is_none());
    }
}

#[test]
fn failure_neither_confirms_a_denial_nor_extends_the_old_addresses() {
    let (mut cache, now) = (cache(), start());
    both(&mut cache, "a", 6, now);
    let denied_at = now + secs(6);
    record(
        &mut cache,
        "a",
        nothing(DnsErrorReason::NotFound, Some(10)),
        denied_at,
    );

    let failed = nothing(DnsErrorReason::Timeout, None);
    let latest = record(&mut cache, "a", failed, denied_at + secs(11)).latest;
    let (last, end) = (denied_at + secs(61) - NANO, denied_at + secs(61));
    assert!(latest.old(last).is_some() && latest.old(end).is_none());
    let gone = nothing(DnsErrorReason::NotFound, Some(10));
    let latest = record(&mut cache, "a", gone, denied_at + secs(12)).latest;
    assert!(latest.is_gone() && latest.old(denied_at + secs(12)).is_none());
}

#[test]
fn addresses_that_did_not_work_until_now_are_not_kept() {
    for (after, kept) in [(59, true), (60, false)] {
        let (mut cache, now) = (cache(), start());
        both(&mut cache, "a", 6, now);
        let at = now + secs(6 + after);
        let latest = record(
            &mut cache,
            "a",
            nothing(DnsErrorReason::NotFound, Some(10)),
            at,
        )
        .latest;
        assert_eq!(latest.old(at).is_some(), kept, "{after}");
    }
}

#[test]
fn answer_with_ttl_zero_is_never_stale() {
    let (rules, now) = (rules(), start());
    let latest = rules.weigh(addresses(&[1], 0), None, (now, LUCK));
    assert!(latest.old(now).is_none());

    let failed = nothing(DnsErrorReason::Timeout, None);
    let latest = rules.weigh(failed, Some(&latest), (now, LUCK));
    assert!(latest.old(now).is_none());
}

#[test]
fn zero_ttl_from_the_last_second_of_a_cache_removes_no_stale_answer() {
    let (mut cache, now) = (cache(), start());
    both(&mut cache, "a", 6, now);
    let ended = now + secs(6);
    record(&mut cache, "a", addresses(&[2], 0), ended);

    let failed = nothing(DnsErrorReason::Timeout, None);
    let latest = record(&mut cache, "a", failed, ended).latest;
    assert_eq!(
        latest.old(ended).unwrap().addresses[0].to_string(),
        "10.0.0.2"
    );
    assert!(latest.old(ended + STALE - NANO).is_some() && latest.old(ended + STALE).is_none());
    let denied = nothing(DnsErrorReason::NotFound, Some(60));
    let latest = record(&mut cache, "a", denied, ended).latest;
    assert!(latest.old(ended).is_some());
}

#[test]
fn failed_refresh_leaves_the_answer_fresh_and_is_retried_after_the_backoff() {
    let (mut cache, now) = (cache(), start());
    both(&mut cache, "a", 60, now);
    let early = now + secs(51);
    record(
        &mut cache,
        "a",
        nothing(DnsErrorReason::Timeout, None),
        early,
    );

    let shown = cache.show("a", early).unwrap();
    assert!(!shown.composed.stale && shown.composed.missing.is_none());
    assert_eq!(
        (shown.until, shown.refresh),
        (now + secs(60), early + secs(1))
    );
}

#[test]
fn refresh_is_due_at_80_to_90_percent_of_the_ttl() {
    let (rules, now) = (rules(), start());
    for (luck, percent) in [(0.0, 80), (0.5, 85), (1.0, 90)] {
        let latest = rules.weigh(addresses(&[1], 100), None, (now, luck));
        assert!(!latest.is_due(now + secs(percent) - NANO) && latest.is_due(now + secs(percent)));
    }
    let missing = rules.weigh(
        nothing(DnsErrorReason::NoRecords, Some(60)),
        None,
        (now, 0.0),
    );
    assert!(
        !missing.is_due(now + secs(60)),
        "a name without addresses is not refreshed"
    );
}

#[test]
fn doubt_waits_for_a_second_and_for_the_backoff() {
    let (mut cache, now) = (cache(), start());
    assert!(!cache.may_doubt("a", now), "the name is not in the cache");
    let latest = record(&mut cache, "a", addresses(&[1], 60), now).latest;
    assert!(latest.may_be_doubted(now) && cache.may_doubt("a", now));
    cache.doubt("a", now);
    record(&mut cache, "a", addresses(&[1], 60), now);
    assert!(!cache.may_doubt("a", now + secs(1) - NANO) && cache.may_doubt("a", now + secs(1)));

    let failed = || nothing(DnsErrorReason::Timeout, None);
    record(&mut cache, "a", failed(), now);
    let latest = record(&mut cache, "a", failed(), now).latest;
    assert!(!latest.may_be_doubted(now + secs(2) - NANO) && latest.may_be_doubted(now + secs(2)));
}

#[test]
fn answers_of_replaced_servers_expire_immediately() {
    let (mut cache, now) = (cache(), start());
    both(&mut cache, "a", 60, now);
    record(
        &mut cache,
        "failed",
        nothing(DnsErrorReason::Timeout, None),
        now,
    );

    cache.expire(now + secs(1));

    assert_eq!(answer(&cache, "a", now + secs(1)), None);
    let latest = cache.latest("a", Family::V4).unwrap();
    assert!(latest.old(now + secs(1)).is_some());
    assert!(cache.is_worth_waiting("a", Family::V4, now + secs(1)));
    assert!(
        !cache
            .latest("failed", Family::V4)
            .unwrap()
            .is_valid(now + secs(1))
    );
}
