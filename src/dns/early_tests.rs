//! Queries before the end of the TTL.

use std::time::Duration;

use tokio::time::{advance, sleep};

use super::*;
use crate::dns::Family::{V4, V6};
use crate::dns::scripted::{Say, Scripted};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn answer_in_use_is_refreshed_in_the_background_before_it_ends() {
    let dns = Scripted::default();
    dns.four("a.test", "10.0.0.1", 100);
    let resolver = dns.resolver();
    ask(&resolver, "a.test").await.unwrap();
    dns.say(("a.test", V4), 500, Say::Address("10.0.0.2", 100));

    let mut moved = None;
    for tick in 0..1_500 {
        let answer = known(&resolver, "a.test").unwrap();
        if answer.addresses()[0].to_string() == "10.0.0.2" {
            moved.get_or_insert(tick);
        }
        sleep(Duration::from_millis(100)).await;
    }
    // No lookup ever waited, and there was one query for all of them.
    assert!((805..=908).contains(&moved.unwrap()), "{moved:?}");
    assert_eq!(dns.asked(V4).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn name_that_is_not_in_use_is_not_refreshed() {
    let dns = Scripted::default();
    dns.four("a.test", "10.0.0.1", 100);
    let resolver = dns.resolver();
    ask(&resolver, "a.test").await.unwrap();
    sleep(79 * SECOND).await;
    known(&resolver, "a.test").unwrap();
    sleep(100 * SECOND).await;

    assert_eq!(dns.asked(V4).len(), 1);
    assert!(matches!(resolver.resolve("a.test"), Resolution::Pending(_)));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_names_of_one_ttl_are_not_refreshed_in_one_tick() {
    let dns = Scripted::default();
    let names: Vec<_> = (0..1_000).map(|n| format!("{n}.test")).collect();
    let resolver = dns.resolver();
    for name in &names {
        dns.four(name, "10.0.0.1", 100);
    }
    let asking: Vec<_> = names.iter().map(|name| resolver.resolve(name)).collect();
    for asked in asking {
        asked.answer().await.unwrap();
    }
    sleep(79 * SECOND).await;
    let before = dns.asked(V4).len();
    let mut most = 0;
    for _ in 0..12 {
        let tick = dns.asked(V4).len();
        for name in &names {
            known(&resolver, name).unwrap();
        }
        sleep(SECOND).await;
        most = most.max(dns.asked(V4).len() - tick);
    }

    assert_eq!(dns.asked(V4).len() - before, 1_000);
    assert!(
        most <= 200,
        "{most} in one second, where 100 are an even share"
    );
}

#[tokio::test(start_paused = true)]
async fn name_behind_a_search_list_is_refreshed_too() {
    let dns = Scripted::default();
    dns.four("api.test", "10.0.0.1", 50);
    let resolver = dns.searching(&["corp.test"], 5);
    ask(&resolver, "api.test").await.unwrap();
    sleep(46 * SECOND).await;

    known(&resolver, "api.test").unwrap();
    sleep(SECOND).await;

    assert_eq!(
        dns.asked(V4),
        ["api.test.corp.test", "api.test", "api.test"]
    );
}

#[tokio::test(start_paused = true)]
async fn refresh_is_not_lost_if_an_earlier_one_has_just_completed() {
    let dns = Scripted::default();
    dns.four("a.test", "10.0.0.1", 50);
    let resolver = dns.resolver();
    ask(&resolver, "a.test").await.unwrap();
    // It saw that a refresh was due. The refresh has completed before the lookup requests one.
    resolver
        .0
        .ask_again("a.test", (RefreshReason::Due, clock::now()));
    advance(46 * SECOND).await;

    known(&resolver, "a.test").unwrap();
    sleep(SECOND).await;
    assert_eq!(dns.asked(V4).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn late_response_of_a_replaced_server_is_only_for_the_waiting_lookups() {
    let (old, new) = (Scripted::default(), Scripted::default());
    old.say(("a.test", V4), 500, Say::Address("10.0.0.1", 60));
    new.four("a.test", "10.0.0.2", 60);
    let resolver = old.resolver();
    let asking = tokio::spawn(resolver.resolve("a.test").answer());
    sleep(SECOND / 10).await;

    resolver.0.pool.use_source(Arc::new(new), clock::now());

    let late = asking.await.unwrap().unwrap();
    assert_eq!(late.addresses()[0].to_string(), "10.0.0.1");
    let answer = ask(&resolver, "a.test").await.unwrap();
    assert_eq!(answer.addresses()[0].to_string(), "10.0.0.2");
}

#[tokio::test(start_paused = true)]
async fn what_an_old_server_is_asked_holds_nobody_up_and_ends_nothing_that_is_newer() {
    let (old, new) = (Scripted::default(), Scripted::default());
    for asked in [
        ("a.test", V4),
        ("a.test", V6),
        ("b.test", V4),
        ("b.test", V6),
    ] {
        old.say(
            asked,
            1_000,
            Say::Nothing(DnsErrorReason::ServerFailure, None),
        );
    }
    new.four("a.test", "10.0.0.2", 60);
    let (resolver, begun) = (old.resolver(), clock::now());
    let asking = ["a.test", "b.test"].map(|name| tokio::spawn(resolver.resolve(name).answer()));
    sleep(SECOND / 10).await;

    resolver.0.pool.use_source(Arc::new(new), clock::now());

    let answer = ask(&resolver, "a.test").await.unwrap();
    assert_eq!(answer.addresses()[0].to_string(), "10.0.0.2");
    assert!(clock::now() - begun < SECOND);
    let [better, failed] = asking;
    assert!(better.await.unwrap().is_ok(), "a result came meanwhile");
    let failed = failed.await.unwrap().unwrap_err();
    assert_eq!(failed.again(), None, "the failure is not cached");
    let answer = known(&resolver, "a.test").unwrap();
    assert_eq!(answer.addresses()[0].to_string(), "10.0.0.2");
}

#[tokio::test(start_paused = true)]
async fn failed_refresh_is_retried_while_the_answer_is_valid() {
    let dns = Scripted::default();
    dns.four("a.test", "10.0.0.1", 100);
    let resolver = dns.resolver();
    ask(&resolver, "a.test").await.unwrap();
    let failed = Say::Nothing(DnsErrorReason::ServerFailure, None);
    dns.say(("a.test", V4), 0, failed);

    for _ in 0..99 {
        sleep(SECOND).await;
        assert!(!known(&resolver, "a.test").unwrap().is_stale());
    }
    // From 80 to 90 s on, 1, 2, 4 (and 8) s apart.
    assert!(
        (4..=5).contains(&dns.asked(V4)[1..].len()),
        "{:?}",
        dns.asked_at(V4)
    );
}

#[tokio::test(start_paused = true)]
async fn refresh_that_this_process_cannot_send_is_tried_again_each_second() {
    let dns = Scripted::default();
    dns.four("a.test", "10.0.0.1", 100);
    let resolver = dns.resolver();
    ask(&resolver, "a.test").await.unwrap();
    dns.say(("a.test", V4), 0, Say::Lacking);
    sleep(91 * SECOND).await;

    for _ in 0..50 {
        assert!(!known(&resolver, "a.test").unwrap().is_stale());
        sleep(SECOND / 10).await;
    }
    assert_eq!(dns.asked(V4).len(), 1 + 5);
    dns.four("a.test", "10.0.0.2", 100);
    known(&resolver, "a.test").unwrap();
    sleep(SECOND).await;
    let answer = known(&resolver, "a.test").unwrap();
    assert_eq!(answer.addresses()[0].to_string(), "10.0.0.2");
}

#[tokio::test(start_paused = true)]
async fn query_that_this_process_cannot_send_has_no_backoff() {
    let dns = Scripted::default();
    for family in [V4, V6] {
        dns.say(("a.test", family), 0, Say::Lacking);
    }
    let resolver = dns.resolver();
    let error = ask(&resolver, "a.test").await.unwrap_err();
    assert_eq!(error.again(), None);
    dns.four("a.test", "10.0.0.1", 100);
    ask(&resolver, "a.test").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn suspected_name_is_queried_immediately_and_at_most_once_a_second() {
    let dns = Scripted::default();
    dns.four("a.test", "10.0.0.1", 3_600);
    let resolver = dns.resolver();
    ask(&resolver, "a.test").await.unwrap();
    dns.four("a.test", "10.0.0.2", 3_600);

    // A result has just come, and the addresses changed at the same instant.
    resolver.report_unreachable("a.test");
    sleep(Duration::from_millis(1)).await;
    let answer = known(&resolver, "a.test").unwrap();
    assert_eq!(answer.addresses()[0].to_string(), "10.0.0.2");

    for _ in 0..100 {
        sleep(Duration::from_millis(30)).await;
        resolver.report_unreachable("a.test");
        assert!(known(&resolver, "a.test").is_ok(), "no lookup waits for it");
    }
    let asked = dns.asked_at(V4);
    assert_eq!(asked.len(), 1 + 3);
    let doubted = &asked[1..];
    assert!(doubted.windows(2).all(|two| two[1] - two[0] >= SECOND));
}

#[tokio::test(start_paused = true)]
async fn suspected_name_is_queried_while_the_other_family_is_silent() {
    let dns = Scripted::default();
    dns.say(("a.test", V4), 0, Say::Address("10.0.0.1", 3_600));
    dns.say(("a.test", V6), 0, Say::Silence);
    let resolver = dns.resolver();
    ask(&resolver, "a.test").await.unwrap();
    sleep(60 * SECOND).await;
    dns.say(("a.test", V4), 20, Say::Address("10.0.0.2", 3_600));
    ask(&resolver, "a.test").await.unwrap();

    let (refresh, begun) = (resolver.report_unreachable("a.test"), clock::now());
    refresh.unwrap().await;

    assert_eq!(clock::now() - begun, SECOND / 50, "not the silent one");
    let answer = ask(&resolver, "a.test").await.unwrap();
    assert_eq!(answer.addresses()[0].to_string(), "10.0.0.2");
}

#[tokio::test(start_paused = true)]
async fn refresh_waits_for_the_other_family_after_a_failure() {
    let dns = Scripted::default();
    dns.say(("a.test", V4), 0, Say::Address("10.0.0.1", 3_600));
    dns.say(("a.test", V6), 0, Say::Address("fd00::1", 3_600));
    let resolver = dns.resolver();
    ask(&resolver, "a.test").await.unwrap();
    let failed = Say::Nothing(DnsErrorReason::ServerFailure, None);
    dns.say(("a.test", V4), 20, failed);
    dns.say(("a.test", V6), 40, Say::Address("fd00::2", 3_600));

    let (refresh, begun) = (resolver.report_unreachable("a.test"), clock::now());
    refresh.unwrap().await;

    assert_eq!(clock::now() - begun, SECOND / 25);
    let answer = ask(&resolver, "a.test").await.unwrap();
    assert!(answer.addresses().contains(&"fd00::2".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn suspicion_of_a_failing_server_keeps_its_backoff() {
    let dns = Scripted::default();
    dns.four("a.test", "10.0.0.1", 3_600);
    let resolver = dns.resolver();
    ask(&resolver, "a.test").await.unwrap();
    let failed = Say::Nothing(DnsErrorReason::ServerFailure, None);
    dns.say(("a.test", V4), 0, failed);

    for _ in 0..600 {
        sleep(Duration::from_millis(100)).await;
        resolver.report_unreachable("a.test");
    }
    // One minute: tries at 1, 2, 4, 8, 16, 32 s.
    assert_eq!(dns.asked(V4).len(), 1 + 6);
    assert!(!known(&resolver, "a.test").unwrap().is_stale());
}

#[tokio::test(start_paused = true)]
async fn suspected_host_is_found_through_the_search_list() {
    let dns = Scripted::default();
    dns.four("api.corp.test", "10.0.0.1", 3_600);
    let resolver = dns.searching(&["other.test", "corp.test"], 2);
    ask(&resolver, "api").await.unwrap();
    advance(SECOND).await;

    resolver.report_unreachable("api");
    resolver.report_unreachable("unknown");
    sleep(SECOND).await;

    let asked = dns.asked(V4);
    assert_eq!(asked, ["api.other.test", "api.corp.test", "api.corp.test"]);
}

#[test]
fn suspicion_outside_a_runtime_changes_nothing() {
    Scripted::default().resolver().report_unreachable("a.test");
}

#[tokio::test(start_paused = true)]
async fn answer_without_the_slower_family_is_partial_and_the_next_one_is_not() {
    let dns = Scripted::default();
    dns.say(("a.test", V4), 20, Say::Address("10.0.0.1", 60));
    dns.say(("a.test", V6), 500, Say::Address("fd00::1", 60));
    let resolver = dns.resolver();

    let partial = ask(&resolver, "a.test").await.unwrap();
    assert!(partial.is_partial() && !partial.is_authoritative_for("fd00::9".parse().unwrap()));
    sleep(SECOND).await;
    let whole = known(&resolver, "a.test").unwrap();
    assert!(!whole.is_partial() && whole.is_authoritative_for("fd00::9".parse().unwrap()));
    assert_ne!(whole.generation(), partial.generation());
    assert!(partial.age() < SECOND && whole.age() >= SECOND);
}

#[tokio::test(start_paused = true)]
async fn lookup_that_waited_and_a_later_one_get_the_same_generation() {
    let dns = Scripted::default();
    dns.four("a.test", "10.0.0.1", 6);
    let resolver = dns.resolver();

    let asked = ask(&resolver, "a.test").await.unwrap();
    let cached = known(&resolver, "a.test").unwrap();
    advance(6 * SECOND).await;
    let again = ask(&resolver, "a.test").await.unwrap();
    dns.four("a.test", "10.0.0.2", 6);
    advance(6 * SECOND).await;
    let moved = ask(&resolver, "a.test").await.unwrap();

    assert!(!asked.is_cached() && cached.is_cached());
    assert_eq!(asked.generation(), cached.generation());
    assert_eq!(asked.generation(), again.generation());
    assert_ne!(asked.generation(), moved.generation());
}

async fn ask(resolver: &Resolver, host: &str) -> Result<Answer, DnsError> {
    resolver.resolve(host).answer().await
}

fn known(resolver: &Resolver, host: &str) -> Result<Answer, DnsError> {
    match resolver.resolve(host) {
        Resolution::Cached(answer) => answer,
        Resolution::Pending(_) => panic!("{host} is not known"),
    }
}
