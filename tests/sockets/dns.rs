//! Tests lookups with a real server on loopback sockets.

use std::error::Error as _;
use std::net::IpAddr;
use std::time::Duration;

use sevenhops::dns::{Answer, DnsError, DnsErrorReason, Resolution, Resolve, Resolver};
use sevenhops::testing::{DnsScript, QueryTransport, RecordType, ScriptedDns};
use tokio::runtime::Builder;

// `cfg(test)` tells clippy that the modules below are tests, too.
#[cfg(test)]
mod servers;
#[cfg(test)]
mod unbound;

const V4: &str = "127.0.0.1";
const V6: &str = "::1";

#[tokio::test]
async fn second_lookup_needs_no_query() {
    let dns = start().await;
    dns.set("api.test", DnsScript::addresses([ip(V4), ip(V6)]).ttl(60));
    let resolver = dns.resolver();

    let first = ask(&resolver, "api.test").await.unwrap();
    assert_eq!(first.addresses(), [ip(V6), ip(V4)]);
    assert_ttl(&first, 60);

    let second = known(&resolver, "api.test").unwrap();
    assert!(second.is_cached() && second.ttl() <= first.ttl());
    assert_eq!(dns.queries_for("api.test"), 2);
}

#[tokio::test]
async fn name_is_queried_after_its_ttl_and_only_a_change_is_reported() {
    let dns = start().await;
    dns.set("api.test", DnsScript::addresses([ip(V4), ip(V6)]).ttl(60));
    let resolver = dns.resolver();
    let first = ask(&resolver, "api.test").await.unwrap();

    later(Duration::from_secs(60)).await;
    let same = ask(&resolver, "api.test").await.unwrap();
    assert!(!same.is_cached() && dns.queries_for("api.test") == 4);
    assert_eq!(same.generation(), first.generation());

    dns.set(
        "api.test",
        DnsScript::addresses([ip("127.0.0.2"), ip(V6)]).ttl(60),
    );
    later(Duration::from_secs(60)).await;
    let moved = ask(&resolver, "api.test").await.unwrap();
    assert_eq!(moved.addresses(), [ip(V6), ip("127.0.0.2")]);
    assert_ne!(moved.generation(), first.generation());
    let known = known(&resolver, "api.test").unwrap();
    assert_eq!(known.generation(), moved.generation());
}

#[tokio::test]
async fn old_addresses_are_served_while_the_server_fails_or_is_silent() {
    for fault in [DnsScript::ServFail, DnsScript::Refused, DnsScript::Silent] {
        let dns = start().await;
        dns.set("api.test", DnsScript::addresses([ip(V4), ip(V6)]).ttl(60));
        let builder = dns.resolver_builder().timeout(Duration::from_millis(500));
        let resolver = builder.build().unwrap();
        ask(&resolver, "api.test").await.unwrap();
        dns.set("api.test", fault.clone());
        later(Duration::from_secs(60)).await;

        let stale = ask(&resolver, "api.test").await.unwrap();

        assert!(stale.is_stale(), "{fault:?}");
        assert_eq!(stale.addresses(), [ip(V6), ip(V4)]);
        assert_eq!(stale.ttl(), Duration::ZERO);
    }
}

#[tokio::test]
async fn deleted_name_is_served_until_the_denial_is_confirmed() {
    let dns = start().await;
    dns.set("api.test", DnsScript::addresses([ip(V4), ip(V6)]).ttl(60));
    let resolver = dns.resolver();
    ask(&resolver, "api.test").await.unwrap();
    dns.set("api.test", DnsScript::NxDomain.soa(10, 10));
    later(Duration::from_secs(60)).await;

    assert!(ask(&resolver, "api.test").await.unwrap().is_stale());
    later(Duration::from_secs(11)).await;
    known(&resolver, "api.test").unwrap(); // and refreshes it in the background
    let is_gone = async {
        while ask(&resolver, "api.test").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let is_gone = tokio::time::timeout(Duration::from_secs(20), is_gone);
    is_gone.await.expect("the denial is confirmed");
    let error = ask(&resolver, "api.test").await.unwrap_err();
    assert_eq!(error.reason(), DnsErrorReason::NotFound);
}

#[tokio::test]
async fn answer_in_use_is_refreshed_before_it_expires_without_a_wait() {
    let dns = start().await;
    dns.set("api.test", DnsScript::addresses([ip(V4), ip(V6)]).ttl(600));
    let resolver = dns.resolver();
    ask(&resolver, "api.test").await.unwrap();
    dns.set("api.test", DnsScript::addresses([ip("127.0.0.2")]).ttl(600));

    later(Duration::from_secs(545)).await;
    for _ in 0..100 {
        known(&resolver, "api.test").unwrap();
    }
    until_known(&resolver, "api.test", "127.0.0.2").await;
    assert_eq!(dns.queries_for("api.test"), 4);
}

#[tokio::test]
async fn suspected_name_is_queried_early() {
    let dns = start().await;
    dns.set(
        "api.test",
        DnsScript::addresses([ip(V4)]).ttl(600).soa(600, 600),
    );
    let resolver = dns.resolver();
    ask(&resolver, "api.test").await.unwrap();
    dns.set("api.test", DnsScript::addresses([ip("127.0.0.2")]).ttl(600));

    for _ in 0..100 {
        resolver.report_unreachable("api.test");
    }
    until_known(&resolver, "api.test", "127.0.0.2").await;
    assert_eq!(dns.queries_for("api.test"), 4);
}

#[tokio::test]
async fn a_hundred_misses_send_one_query_for_each_family() {
    let dns = start().await;
    dns.set("api.test", DnsScript::addresses([ip(V4), ip(V6)]));
    let resolver = dns.resolver();

    let asking: Vec<_> = (0..100)
        .map(|_| tokio::spawn(resolver.resolve("api.test").answer()))
        .collect();
    for asked in asking {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(dns.queries_for("api.test"), 2);
}

#[tokio::test]
async fn ttl_0_is_queried_each_time() {
    let dns = start().await;
    dns.set("api.test", DnsScript::addresses([ip(V4), ip(V6)]).ttl(0));
    let resolver = dns.resolver();

    for times in 1..=3 {
        let answer = ask(&resolver, "api.test").await.unwrap();
        assert_eq!(answer.ttl(), Duration::ZERO);
        assert_eq!(dns.queries_for("api.test"), 2 * times);
    }
}

#[tokio::test]
async fn very_long_ttl_is_clamped() {
    let dns = start().await;
    for (name, ttl) in [("a.test", u32::MAX >> 1), ("b.test", u32::MAX)] {
        dns.set(name, DnsScript::addresses([ip(V4), ip(V6)]).ttl(ttl));
        let answer = ask(&dns.resolver(), name).await.unwrap();
        assert_ttl(&answer, 60 * 60);
    }
}

#[tokio::test]
async fn chain_is_valid_for_its_lowest_ttl_at_any_position() {
    let dns = start().await;
    for ttls in [[7, 300, 60], [300, 7, 60], [300, 60, 7]] {
        dns.set("a.test", DnsScript::cname("b.test", ttls[0]));
        dns.set("b.test", DnsScript::cname("c.test", ttls[1]));
        dns.set(
            "c.test",
            DnsScript::addresses([ip(V4), ip(V6)]).ttl(ttls[2]),
        );

        let answer = ask(&dns.resolver(), "a.test").await.unwrap();

        assert_ttl(&answer, 7);
        assert_eq!(answer.addresses().len(), 2);
    }
}

#[tokio::test]
async fn missing_name_and_missing_records_differ_and_are_cached() {
    let dns = start().await;
    dns.set("empty.test", DnsScript::NoRecords.soa(30, 60));
    dns.set("bare.test", DnsScript::NxDomain.without_soa());
    let resolver = dns.resolver();

    for (name, reason) in [
        ("empty.test", DnsErrorReason::NoRecords),
        ("bare.test", DnsErrorReason::NotFound),
        ("unknown.test", DnsErrorReason::NotFound),
    ] {
        let error = ask(&resolver, name).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{name}");
        assert!(error.source().is_some());
        assert_eq!(known(&resolver, name).unwrap_err().reason(), reason);
        assert_eq!(dns.queries_for(name), 2, "{name}");
    }
}

#[tokio::test]
async fn alias_to_a_missing_name_is_not_found() {
    let dns = start().await;
    dns.set("a.test", DnsScript::cname("nowhere.test", 60));

    let error = ask(&dns.resolver(), "a.test").await.unwrap_err();
    assert_eq!(error.reason(), DnsErrorReason::NotFound);
}

#[tokio::test]
async fn silent_family_does_not_delay_the_other() {
    let dns = start().await;
    dns.set("api.test", DnsScript::addresses([ip(V4)]));
    dns.set_type("api.test", RecordType::Aaaa, DnsScript::Silent);
    let builder = dns.resolver_builder().timeout(Duration::from_secs(60));
    let resolver = builder.build().unwrap();

    let answer = tokio::time::timeout(Duration::from_secs(20), ask(&resolver, "api.test"));
    assert_eq!(answer.await.unwrap().unwrap().addresses(), [ip(V4)]);
}

#[tokio::test]
async fn failures_differ_and_are_cached() {
    let dns = start().await;
    dns.set("failed.test", DnsScript::ServFail);
    dns.set("refused.test", DnsScript::Refused);
    dns.set("garbage.test", DnsScript::Garbage);
    dns.set("silent.test", DnsScript::Silent);
    let builder = dns.resolver_builder().timeout(Duration::from_millis(500));
    let resolver = builder.build().unwrap();

    for (name, reason) in [
        ("failed.test", DnsErrorReason::ServerFailure),
        ("refused.test", DnsErrorReason::ServerFailure),
        ("garbage.test", DnsErrorReason::Protocol),
    ] {
        let error = ask(&resolver, name).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{name}");
        let queries = dns.queries_for(name);
        assert_eq!(known(&resolver, name).unwrap_err().reason(), reason);
        assert_eq!(dns.queries_for(name), queries, "{name}");
    }
    let error = ask(&resolver, "silent.test").await.unwrap_err();
    assert_eq!(error.reason(), DnsErrorReason::Timeout);
}

#[tokio::test]
async fn truncated_answer_is_fetched_over_tcp() {
    let dns = start().await;
    let many = (1..=200).map(|n| IpAddr::from([127, 0, 1, n]));
    dns.set("big.test", DnsScript::addresses(many).truncated());

    let answer = ask(&dns.resolver(), "big.test").await.unwrap();

    assert!(answer.addresses().len() > 100);
    let queries = dns.queries();
    let by_tcp = |record_type| {
        let mut queries = queries.iter().filter(|q| q.record_type == record_type);
        queries.any(|query| query.transport == QueryTransport::Tcp)
    };
    assert!(by_tcp(RecordType::A));
}

#[tokio::test]
async fn search_list_is_walked_and_silence_on_it_is_a_timeout() {
    let dns = start().await;
    dns.set("api.other.test", DnsScript::addresses([ip(V4)]));
    dns.set("mute.corp.test", DnsScript::Silent);
    dns.set("mute.other.test", DnsScript::addresses([ip(V4)]));
    let builder = dns.resolver_builder().search(["corp.test", "other.test"]);
    let builder = builder.ndots(2).timeout(Duration::from_millis(500));
    let resolver = builder.build().unwrap();

    assert!(ask(&resolver, "api").await.is_ok());
    let error = ask(&resolver, "mute").await.unwrap_err();
    assert_eq!(error.reason(), DnsErrorReason::Timeout);
    assert_eq!(dns.queries_for("mute.other.test"), 0);
    let error = ask(&resolver, "api.").await.unwrap_err();
    assert_eq!(error.reason(), DnsErrorReason::NotFound);
}

#[tokio::test]
async fn query_continues_after_its_lookup_is_dropped() {
    let dns = start().await;
    dns.set("api.test", DnsScript::addresses([ip(V4), ip(V6)]));
    let resolver = dns.resolver();

    drop(resolver.resolve("api.test"));

    dns.wait_until(|queries| queries.len() == 2).await;
    // Joins the running lookup, or finds its result.
    ask(&resolver, "api.test").await.unwrap();
    assert_eq!(dns.queries_for("api.test"), 2);
}

#[test]
fn resolver_outlives_the_runtime_it_was_first_used_in() {
    let runtime = || {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    };
    let home = runtime();
    let dns = home.block_on(start());
    for name in ["a.test", "b.test"] {
        dns.set(name, DnsScript::addresses([ip(V4), ip(V6)]));
    }
    let resolver = dns.resolver();

    for name in ["a.test", "b.test"] {
        let visitor = runtime();
        let answer = visitor.block_on(async { ask(&resolver, name).await });
        assert!(answer.is_ok(), "{name}: {answer:?}");
    }
}

#[test]
fn lookup_does_not_wait_for_a_stopped_runtime() {
    let lives = Builder::new_multi_thread().enable_all().build().unwrap();
    let stands_still = Builder::new_current_thread().enable_all().build().unwrap();
    let dns = lives.block_on(start());
    dns.set("a.test", DnsScript::addresses([ip(V4)]).ttl(0));
    let resolver = dns.resolver();

    // A runtime drives the sockets that were connected on it.
    for runtime in [&stands_still, &lives, &stands_still] {
        runtime.block_on(ask(&resolver, "a.test")).unwrap();
    }
}

async fn start() -> ScriptedDns {
    let dns = ScriptedDns::start().await;
    dns.expect("a port of 127.0.0.1 is free")
}

/// Advances the clock, and then lets it run by itself: sockets need a real clock.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Waits until `address` is the only known address of `host`. None of these lookups may wait.
async fn until_known(resolver: &Resolver, host: &str, address: &str) {
    let has_landed = || {
        let answer = known(resolver, host).expect("it stays known");
        answer.addresses() == [ip(address)]
    };
    let landed = async {
        while !has_landed() {
            tokio::task::yield_now().await;
        }
    };
    let landed = tokio::time::timeout(Duration::from_secs(20), landed).await;
    landed.expect("the new address is heard of");
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

/// The clock is real here: a part of the TTL has passed before the lookup returns.
fn assert_ttl(answer: &Answer, secs: u64) {
    let (most, gone) = (Duration::from_secs(secs), Duration::from_secs(5));
    assert!(
        answer.ttl() <= most && answer.ttl() > most - gone,
        "{answer:?}"
    );
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
