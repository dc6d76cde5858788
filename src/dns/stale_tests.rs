//! Stale addresses while the name servers fail or are silent (RFC 8767).

use std::time::Duration;

use tokio::time::advance;

use super::*;
use crate::dns::Family::{V4, V6};
use crate::dns::scripted::{Say, Scripted};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn old_addresses_are_served_when_the_servers_fail() {
    let (dns, resolver) = known_for_a_minute().await;
    dns.fails("a.test", DnsErrorReason::ServerFailure);
    let begun = clock::now();

    let stale = ask(&resolver).await.unwrap();

    assert!(stale.is_stale() && stale.is_cached());
    assert_eq!(stale.addresses()[0].to_string(), "10.0.0.1");
    assert!(clock::now() - begun <= MILLI, "a failure causes no wait");
}

#[tokio::test(start_paused = true)]
async fn old_addresses_are_used_after_silence_of_half_the_timeout() {
    let (dns, resolver) = known_for_a_minute().await;
    dns.is_silent("a.test");
    let begun = clock::now();

    let stale = ask(&resolver).await.unwrap();

    assert!(stale.is_stale());
    let waited = clock::now() - begun;
    assert!((SECOND..=SECOND + MILLI).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn old_addresses_are_used_after_silence_of_at_most_1800_ms() {
    let dns = Scripted::default();
    let resolver = dns.resolver_with(|builder| builder.timeout(Duration::from_secs(60)));
    dns.four("a.test", "10.0.0.1", 60);
    ask(&resolver).await.unwrap();
    advance(60 * SECOND).await;
    dns.is_silent("a.test");
    let begun = clock::now();

    assert!(ask(&resolver).await.unwrap().is_stale());
    let (waited, patience) = (clock::now() - begun, Duration::from_millis(1_800));
    assert!(
        (patience..=patience + MILLI).contains(&waited),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn old_addresses_are_used_after_half_of_the_callers_wait() {
    let (dns, resolver) = known_for_a_minute().await;
    dns.is_silent("a.test");
    let (begun, limit) = (clock::now(), Duration::from_millis(200));

    let asking = resolver.resolve_within("a.test", limit).answer();
    let stale = tokio::time::timeout(limit, asking).await.unwrap();

    assert!(stale.unwrap().is_stale());
    let (waited, half) = (clock::now() - begun, limit / 2);
    assert!((half..=half + MILLI).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn known_failure_is_not_waited_for_and_is_retried_in_the_background_with_backoff() {
    let (dns, resolver) = known_for_a_minute().await;
    dns.is_silent("a.test");
    ask(&resolver).await.unwrap();
    tokio::time::sleep(3 * SECOND).await; // until the query has failed

    for _ in 0..600 {
        let stale = known(&resolver).unwrap();
        assert!(stale.is_stale());
        advance(Duration::from_millis(100)).await;
    }
    // One query at first. Then queries for one minute, each of 2 s: 1, 2, 4, 8, 16 s apart.
    let asked = dns.asked(V4).len() - 1;
    assert!((5..=7).contains(&asked), "{asked}");

    dns.four("a.test", "10.0.0.2", 60);
    tokio::time::sleep(30 * SECOND).await;
    let _ = known(&resolver);
    tokio::time::sleep(3 * SECOND).await;
    let _ = known(&resolver);
    tokio::time::sleep(SECOND).await;
    let fresh = known(&resolver).unwrap();
    assert!(!fresh.is_stale() && fresh.addresses()[0].to_string() == "10.0.0.2");
}

#[tokio::test(start_paused = true)]
async fn old_failure_does_not_count() {
    let (dns, resolver) = known_for_a_minute().await;
    dns.fails("a.test", DnsErrorReason::ServerFailure);
    ask(&resolver).await.unwrap();
    advance(600 * SECOND).await;

    dns.four("a.test", "10.0.0.2", 60);
    let fresh = ask(&resolver).await.unwrap();
    assert!(!fresh.is_stale() && fresh.addresses()[0].to_string() == "10.0.0.2");
}

#[tokio::test(start_paused = true)]
async fn stale_addresses_end_with_the_stale_limit() {
    let dns = Scripted::default();
    let resolver = dns.resolver_with(|builder| builder.stale_limit(10 * SECOND));
    dns.four("a.test", "10.0.0.1", 60);
    ask(&resolver).await.unwrap();
    dns.fails("a.test", DnsErrorReason::ServerFailure);

    advance(60 * SECOND).await;
    assert!(ask(&resolver).await.unwrap().is_stale());
    advance(10 * SECOND).await;
    let error = ask(&resolver).await.unwrap_err();
    assert_eq!(error.reason(), DnsErrorReason::ServerFailure);
}

#[tokio::test(start_paused = true)]
async fn never_stale_serves_no_expired_address() {
    let dns = Scripted::default();
    let resolver = dns.resolver_with(|builder| builder.stale_limit(Duration::ZERO));
    dns.four("a.test", "10.0.0.1", 60);
    ask(&resolver).await.unwrap();
    advance(60 * SECOND).await;
    dns.fails("a.test", DnsErrorReason::ServerFailure);

    let error = ask(&resolver).await.unwrap_err();
    assert_eq!(error.reason(), DnsErrorReason::ServerFailure);
}

#[tokio::test(start_paused = true)]
async fn family_that_still_resolves_is_used_alone_and_marked() {
    let dns = Scripted::default();
    dns.say(("a.test", V4), 0, Say::Address("10.0.0.1", 60));
    dns.say(("a.test", V6), 0, Say::Address("fd00::1", 60));
    let resolver = dns.resolver();
    ask(&resolver).await.unwrap();
    advance(60 * SECOND).await;
    let failed = Say::Nothing(DnsErrorReason::ServerFailure, None);
    dns.say(("a.test", V6), 0, failed);

    let answer = ask(&resolver).await.unwrap();

    assert_eq!(answer.addresses(), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    assert!(!answer.is_stale() && answer.is_partial());
    assert!(answer.is_authoritative_for("10.0.0.9".parse().unwrap()));
    assert!(!answer.is_authoritative_for("fd00::1".parse().unwrap()));
    let cached = known(&resolver).unwrap();
    assert!(cached.is_partial() && cached.is_cached());
}

#[tokio::test(start_paused = true)]
async fn search_list_is_walked_as_before_while_the_servers_fail_or_are_silent() {
    for silent in [false, true] {
        let dns = Scripted::default();
        dns.four("api.test", "10.0.0.1", 60);
        let resolver = dns.searching(&["a.corp.test", "b.corp.test", "corp.test"], 5);
        resolver.resolve("api.test").answer().await.unwrap();
        advance(600 * SECOND).await;
        let names = ["a.corp.test", "b.corp.test", "corp.test"].map(|d| format!("api.test.{d}"));
        for name in names.iter().map(String::as_str).chain(["api.test"]) {
            match silent {
                true => dns.is_silent(name),
                false => dns.fails(name, DnsErrorReason::ServerFailure),
            }
        }
        let begun = clock::now();

        let stale = resolver.resolve("api.test").answer().await.unwrap();

        assert!(stale.is_stale() && stale.is_cached());
        let waited = clock::now() - begun;
        assert!(waited <= SECOND + MILLI, "all names together: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn old_denial_is_not_used_while_a_server_is_only_slow() {
    let dns = Scripted::default();
    for family in [V4, V6] {
        let missing = Say::Nothing(DnsErrorReason::NotFound, Some(60));
        dns.say(("api.test.corp.test", family), 500, missing);
    }
    dns.four("api.test", "10.0.0.1", 60);
    let resolver = dns.searching(&["corp.test"], 5);
    for host in ["api.test", "api.test.corp.test."] {
        let _ = resolver.resolve(host).answer().await;
    }
    advance(100 * SECOND).await;

    let answer = resolver.resolve("api.test").answer().await.unwrap();
    assert!(!answer.is_stale());
    advance(100 * SECOND).await;
    let missing = resolver.resolve("api.test.corp.test.").answer().await;
    assert_eq!(missing.unwrap_err().reason(), DnsErrorReason::NotFound);
}

#[tokio::test(start_paused = true)]
async fn unknown_name_is_not_skipped() {
    let dns = Scripted::default();
    dns.four("api.test", "10.0.0.1", 3_600);
    let resolver = dns.searching(&["corp.test"], 5);
    resolver.resolve("api.test.").answer().await.unwrap();
    dns.fails("api.test.corp.test", DnsErrorReason::ServerFailure);

    let error = resolver.resolve("api.test").answer().await.unwrap_err();
    assert_eq!(error.reason(), DnsErrorReason::ServerFailure);
}

/// Returns a resolver whose only answer has just expired.
async fn known_for_a_minute() -> (Scripted, Resolver) {
    let dns = Scripted::default();
    dns.four("a.test", "10.0.0.1", 60);
    let resolver = dns.resolver();
    assert!(!ask(&resolver).await.unwrap().is_stale());
    advance(60 * SECOND).await;
    (dns, resolver)
}

impl Scripted {
    fn fails(&self, name: &str, reason: DnsErrorReason) {
        for family in [V4, V6] {
            self.say((name, family), 0, Say::Nothing(reason, None));
        }
    }

    fn is_silent(&self, name: &str) {
        for family in [V4, V6] {
            self.say((name, family), 0, Say::Silence);
        }
    }
}

async fn ask(resolver: &Resolver) -> Result<Answer, DnsError> {
    resolver.resolve("a.test").answer().await
}

fn known(resolver: &Resolver) -> Result<Answer, DnsError> {
    match resolver.resolve("a.test") {
        Resolution::Cached(answer) => answer,
        Resolution::Pending(_) => panic!("the name is not known"),
    }
}
