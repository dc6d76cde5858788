use std::error::Error as _;
use std::time::Duration;

use tokio::time::advance;

use super::*;
use crate::dns::Family::{V4, V6};
use crate::dns::dual_stack::Abandoned;
use crate::dns::query_slots::QUERIES;
use crate::dns::scripted::{Say, Scripted};

const MILLI: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn name_is_looked_up_once_in_its_ttl_and_again_after() {
    let dns = Scripted::default();
    dns.four("a.test", "10.0.0.1", 6);
    let resolver = dns.resolver();

    let fresh = resolver.resolve("a.test").answer().await.unwrap();
    assert!(!fresh.is_cached());
    advance(Duration::from_secs(6) - MILLI).await;
    let kept = known(&resolver, "a.test").unwrap();
    assert_eq!(
        (kept.is_cached(), kept.ttl(), dns.asked(V4).len()),
        (true, MILLI, 1)
    );

    advance(MILLI).await;
    resolver.resolve("a.test").answer().await.unwrap();
    assert_eq!((dns.asked(V4).len(), dns.asked(V6).len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_timeout_and_the_next_query_comes_after_the_backoff() {
    let dns = Scripted::default();
    for family in [V4, V6] {
        dns.say(("a.test", family), 0, Say::Silence);
    }
    let (resolver, begun) = (dns.resolver(), clock::now());

    let error = resolver.resolve("a.test").answer().await.unwrap_err();
    assert_eq!(error.reason(), DnsErrorReason::Timeout);
    assert!(clock::now() - begun <= Duration::from_secs(2) + MILLI);

    advance(MILLI).await;
    assert_eq!(
        known(&resolver, "a.test").unwrap_err().reason(),
        DnsErrorReason::Timeout
    );
    assert_eq!(dns.asked(V4).len(), 1);
    advance(Duration::from_secs(1)).await;
    assert!(resolver.resolve("a.test").answer().await.is_err());
    assert_eq!(dns.asked(V4).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn failure_does_not_cause_a_query_storm() {
    let dns = Scripted::default();
    for family in [V4, V6] {
        let failed = Say::Nothing(DnsErrorReason::ServerFailure, None);
        dns.say(("a.test", family), 0, failed);
    }
    let resolver = dns.resolver();

    for _ in 0..1_000 {
        let error = resolver.resolve("a.test").answer().await.unwrap_err();
        assert_eq!(error.reason(), DnsErrorReason::ServerFailure);
        advance(Duration::from_millis(60)).await;
    }
    // One minute: tries at 0, 1, 3, 7, 15, 31 s.
    assert_eq!(dns.asked(V4).len(), 6);
}

#[tokio::test(start_paused = true)]
async fn failure_says_when_a_new_query_is_possible_and_absence_does_not() {
    let dns = Scripted::default();
    let failed = || Say::Nothing(DnsErrorReason::ServerFailure, None);
    dns.say(("a.test", V4), 0, failed());
    dns.say(("a.test", V6), 500, failed());
    let (resolver, begun) = (dns.resolver(), clock::now());

    let error = resolver.resolve("a.test").answer().await.unwrap_err();
    // As soon as one of the families may be queried.
    assert_eq!(error.again(), Some(begun + Duration::from_secs(1)));
    advance(Duration::from_millis(400)).await;
    let remembered = known(&resolver, "a.test").unwrap_err();
    assert_eq!(remembered.again(), error.again());
    let told = remembered.caused_by(std::fmt::Error);
    assert_eq!(told.again(), error.again());

    let missing = resolver.resolve("unknown.test").answer().await.unwrap_err();
    assert_eq!(missing.again(), None);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_misses_send_one_query_and_a_cancelled_lookup_does_not_affect_others() {
    let dns = Scripted::default();
    dns.say(("a.test", V4), 100, Say::Address("10.0.0.1", 60));
    dns.say(("a.test", V6), 100, Say::Address("fd00::1", 60));
    let resolver = dns.resolver();

    let ask = || tokio::spawn(resolver.resolve("a.test").answer());
    let first = ask();
    let others: Vec<_> = (0..99).map(|_| ask()).collect();
    advance(Duration::from_millis(50)).await;
    first.abort();

    for other in others {
        assert_eq!(other.await.unwrap().unwrap().addresses().len(), 2);
    }
    assert_eq!((dns.asked(V4).len(), dns.asked(V6).len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn answer_is_cached_although_every_lookup_was_dropped() {
    let dns = Scripted::default();
    dns.say(("a.test", V4), 100, Say::Address("10.0.0.1", 60));
    let resolver = dns.resolver();

    drop(resolver.resolve("a.test"));
    tokio::time::sleep(Duration::from_millis(200)).await;

    assert!(known(&resolver, "a.test").is_ok());
}

#[tokio::test(start_paused = true)]
async fn many_names_do_not_run_more_queries_than_there_are_slots() {
    let dns = Scripted::default();
    let names: Vec<_> = (0..QUERIES).map(|n| format!("{n}.test")).collect();
    for name in &names {
        for family in [V4, V6] {
            dns.say((name, family), 0, Say::Silence);
        }
    }
    let resolver = dns.resolver();

    let asking: Vec<_> = names.iter().map(|name| resolver.resolve(name)).collect();
    // Before the oldest are dropped for others.
    tokio::time::sleep(Duration::from_millis(499)).await;
    assert_eq!(dns.asked(V4).len() + dns.asked(V6).len(), QUERIES);

    for asked in asking {
        let error = asked.answer().await.unwrap_err();
        assert_eq!(error.reason(), DnsErrorReason::Timeout);
    }
    advance(MILLI).await;
    assert!(resolver.resolve("unknown.test").answer().await.is_err());
    assert_eq!(dns.asked(V4).last().unwrap(), "unknown.test");
}

#[tokio::test(start_paused = true)]
async fn ttl_0_serves_all_waiting_lookups_and_no_later_one() {
    let dns = Scripted::default();
    dns.say(("a.test", V4), 10, Say::Address("10.0.0.1", 0));
    dns.say(("a.test", V6), 10, Say::Address("fd00::1", 0));
    let resolver = dns.resolver();

    let asking: Vec<_> = (0..100)
        .map(|_| tokio::spawn(resolver.resolve("a.test").answer()))
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap().unwrap().ttl(), Duration::ZERO);
    }
    assert_eq!(dns.asked(V4).len(), 1);

    resolver.resolve("a.test").answer().await.unwrap();
    assert_eq!(dns.asked(V4).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn hanging_family_delays_the_other_only_for_the_resolution_delay() {
    let dns = Scripted::default();
    dns.say(("a.test", V4), 20, Say::Address("10.0.0.1", 60));
    dns.say(("a.test", V6), 500, Say::Address("fd00::1", 60));
    let (resolver, begun) = (dns.resolver(), clock::now());

    let answer = resolver.resolve("a.test").answer().await.unwrap();
    assert_eq!(answer.addresses().len(), 1);
    assert!((70..=72).contains(&(clock::now() - begun).as_millis()));

    // The delay is over for all lookups. A late result is in the next `Answer`.
    assert_eq!(known(&resolver, "a.test").unwrap().addresses().len(), 1);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let both = known(&resolver, "a.test").unwrap();
    assert!(both.addresses()[0].is_ipv6() && both.addresses().len() == 2);
    assert_eq!(dns.asked(V6).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn family_that_always_fails_is_queried_in_the_background() {
    let dns = Scripted::default();
    dns.say(("a.test", V4), 0, Say::Address("10.0.0.1", 3_600));
    dns.say(("a.test", V6), 0, Say::Silence);
    let resolver = dns.resolver();
    resolver.resolve("a.test").answer().await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;

    assert!(known(&resolver, "a.test").unwrap().is_cached());
    tokio::task::yield_now().await;
    assert_eq!((dns.asked(V4).len(), dns.asked(V6).len()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn family_whose_addresses_ran_out_is_waited_for() {
    let dns = Scripted::default();
    dns.say(("a.test", V4), 10, Say::Address("10.0.0.1", 60));
    dns.say(("a.test", V6), 10, Say::Address("fd00::1", 5));
    let resolver = dns.resolver();
    resolver.resolve("a.test").answer().await.unwrap();
    advance(Duration::from_secs(6)).await;

    let answer = resolver.resolve("a.test").answer().await.unwrap();

    assert_eq!((answer.addresses().len(), dns.asked(V4).len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn failed_family_does_not_affect_the_other_and_without_addresses_the_worst_failure_is_reported()
 {
    let dns = Scripted::default();
    let failed = || Say::Nothing(DnsErrorReason::ServerFailure, None);
    dns.say(("one.test", V4), 0, failed());
    dns.say(("one.test", V6), 0, Say::Address("fd00::1", 60));
    dns.say(("none.test", V4), 0, failed());
    dns.say(
        ("none.test", V6),
        0,
        Say::Nothing(DnsErrorReason::NoRecords, None),
    );
    let resolver = dns.resolver();

    assert!(resolver.resolve("one.test").answer().await.is_ok());
    let error = resolver.resolve("none.test").answer().await.unwrap_err();
    assert_eq!(error.reason(), DnsErrorReason::ServerFailure);
}

#[tokio::test(start_paused = true)]
async fn both_families_are_queried_for_each_name_of_the_search_list() {
    let dns = Scripted::default();
    dns.four("api.other.test", "10.0.0.1", 60);
    let resolver = dns.searching(&["corp.test", "other.test"], 2);

    resolver.resolve("api").answer().await.unwrap();

    assert_eq!(dns.asked(V4), ["api.corp.test", "api.other.test"]);
    assert_eq!(dns.asked(V6), dns.asked(V4));
    assert!(known(&resolver, "api").unwrap().is_cached());
}

#[tokio::test(start_paused = true)]
async fn silent_server_is_a_timeout_and_ends_the_walk() {
    let dns = Scripted::default();
    dns.say(("api.corp.test", V4), 0, Say::Silence);
    dns.four("api.other.test", "10.0.0.1", 60);
    let resolver = dns.searching(&["corp.test", "other.test"], 2);

    let error = resolver.resolve("api").answer().await.unwrap_err();

    assert_eq!(
        (error.reason(), error.host()),
        (DnsErrorReason::Timeout, "api")
    );
    assert_eq!(dns.asked(V4), ["api.corp.test"]);
}

#[tokio::test(start_paused = true)]
async fn failing_server_ends_the_walk() {
    let dns = Scripted::default();
    let failed = Say::Nothing(DnsErrorReason::ServerFailure, None);
    dns.say(("api.corp.test", V4), 0, failed);
    dns.four("api.other.test", "10.0.0.1", 60);
    let resolver = dns.searching(&["corp.test", "other.test"], 2);

    let error = resolver.resolve("api").answer().await.unwrap_err();

    assert_eq!(error.reason(), DnsErrorReason::ServerFailure);
    assert_eq!(dns.asked(V4), ["api.corp.test"]);
}

#[tokio::test(start_paused = true)]
async fn name_without_records_is_skipped_but_reported_at_the_end() {
    let dns = Scripted::default();
    dns.say(
        ("api.corp.test", V4),
        0,
        Say::Nothing(DnsErrorReason::NoRecords, None),
    );
    let resolver = dns.searching(&["corp.test", "other.test"], 1);

    let error = resolver.resolve("api").answer().await.unwrap_err();

    assert_eq!(error.reason(), DnsErrorReason::NoRecords);
    assert_eq!(dns.asked(V4), ["api.corp.test", "api.other.test", "api"]);
}

#[tokio::test(start_paused = true)]
async fn timeout_bounds_the_whole_lookup() {
    let dns = Scripted::default();
    for name in ["api.a.test", "api.b.test", "api.c.test"] {
        for family in [V4, V6] {
            let missing = Say::Nothing(DnsErrorReason::NotFound, Some(60));
            dns.say((name, family), 900, missing);
        }
    }
    let (resolver, begun) = (
        dns.searching(&["a.test", "b.test", "c.test"], 1),
        clock::now(),
    );

    let error = resolver.resolve("api").answer().await.unwrap_err();

    assert_eq!(error.reason(), DnsErrorReason::Timeout);
    assert!(clock::now() - begun <= Duration::from_secs(2) + MILLI);
}

#[tokio::test(start_paused = true)]
async fn ip_literals_localhost_and_impossible_names_send_no_query() {
    let dns = Scripted::default();
    let resolver = dns.resolver();

    for host in ["127.0.0.1", "::1", "[::1]", "localhost", "a.localhost."] {
        assert!(known(&resolver, host).unwrap().addresses()[0].is_loopback());
    }
    let error = known(&resolver, "a..test").unwrap_err();
    assert_eq!(error.reason(), DnsErrorReason::NotFound);
    assert!(dns.asked(V4).is_empty());
}

#[tokio::test(start_paused = true)]
async fn address_in_an_unusual_spelling_is_never_searched_for() {
    let dns = Scripted::default();
    let resolver = dns.resolver_with(|builder| builder.search(["evil.test"]));

    for host in ["127.1", "0x7f.1", "0177.0.0.1", "2130706433", "127.0.0.1."] {
        let addresses = known(&resolver, host).unwrap();
        assert_eq!(addresses.addresses(), [IpAddr::from([127, 0, 0, 1])]);
    }
    for host in ["256.256.256.256", "1.2.3.4.5", "api.0x", "api.08"] {
        let error = known(&resolver, host).unwrap_err();
        assert_eq!(error.reason(), DnsErrorReason::NotFound, "{host}");
    }
    assert!(dns.asked(V4).is_empty() && dns.asked(V6).is_empty());
}

#[tokio::test(start_paused = true)]
async fn panicking_query_is_an_error_and_a_later_one_succeeds() {
    let dns = Scripted::default();
    for family in [V4, V6] {
        dns.say(("a.test", family), 0, Say::Panic);
    }
    let resolver = dns.resolver();

    let error = resolver.resolve("a.test").answer().await.unwrap_err();
    assert!(error.source().unwrap().is::<Abandoned>());

    dns.four("a.test", "10.0.0.1", 60);
    assert!(resolver.resolve("a.test").answer().await.is_ok());
}

#[test]
fn runtime_that_shuts_down_leaves_no_lookup_hanging() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    let dns = Scripted::default();
    dns.four("a.test", "10.0.0.1", 60);
    let (resolver, doomed, other) = (dns.resolver(), runtime(), runtime());

    let asking = {
        let _inside = doomed.enter();
        resolver.resolve("a.test")
    };
    drop(doomed);
    let error = other.block_on(asking.answer()).unwrap_err();
    assert!(error.source().unwrap().is::<Abandoned>());

    let again = other.block_on(async { resolver.resolve("a.test").answer().await });
    assert!(again.is_ok());
}

#[test]
fn lookup_outside_a_runtime_is_an_error() {
    let error = known(&Scripted::default().resolver(), "a.test").unwrap_err();
    assert_eq!(error.reason(), DnsErrorReason::Unreachable);
    assert!(error.source().unwrap().is::<NoRuntime>());
}

fn known(resolver: &Resolver, host: &str) -> Result<Answer, DnsError> {
    match resolver.resolve(host) {
        Resolution::Cached(answer) => answer,
        Resolution::Pending(_) => panic!("{host} is not known"),
    }
}
