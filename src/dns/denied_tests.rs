//! Names that servers deny, for a short time or permanently.

use std::time::Duration;

use tokio::time::{advance, sleep};

use super::*;
use crate::dns::Family::{V4, V6};
use crate::dns::scripted::{Say, Scripted};

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn record_that_is_deleted_for_a_moment_fails_no_lookup() {
    for reason in [DnsErrorReason::NotFound, DnsErrorReason::NoRecords] {
        let (dns, resolver) = known(5).await;
        let mut stale = 0;
        for tick in 0..1_000 {
            match tick {
                40 => dns.denies(reason, 60),
                55 => dns.four("a.test", "10.0.0.1", 5),
                _ => {}
            }
            let answer = ask(&resolver)
                .await
                .unwrap_or_else(|e| panic!("{tick}: {e:?}"));
            stale += usize::from(answer.is_stale());
            sleep(TICK).await;
        }
        // Queried again after 2 s.
        assert!((1..=21).contains(&stale), "{reason:?}: {stale}");
    }
}

#[tokio::test(start_paused = true)]
async fn denial_that_a_cache_gives_again_for_a_minute_fails_no_lookup() {
    let (dns, resolver) = known(5).await;
    for tick in 0..1_000_u64 {
        match tick {
            // A cache returns it for up to a second longer than its TTL.
            40..=649 if tick % 10 == 0 => dns.denies(DnsErrorReason::NotFound, 64 - tick / 10),
            650 => dns.four("a.test", "10.0.0.1", 5),
            _ => {}
        }
        ask(&resolver)
            .await
            .unwrap_or_else(|e| panic!("{tick}: {e:?}"));
        sleep(TICK).await;
    }
    assert!(!ask(&resolver).await.unwrap().is_stale());
}

#[tokio::test(start_paused = true)]
async fn deleted_name_ends_when_the_denial_is_confirmed() {
    for (ttl, end) in [(1, 20), (10, 110), (60, 610), (3_600, 610)] {
        let (dns, resolver) = known(60).await;
        advance(60 * SECOND).await;
        dns.denies(DnsErrorReason::NotFound, ttl);
        let begun = clock::now();
        let error = loop {
            match ask(&resolver).await {
                Ok(answer) => assert!(answer.is_stale()),
                Err(error) => break error,
            }
            sleep(TICK).await;
        };
        assert_eq!(error.reason(), DnsErrorReason::NotFound);
        let ended = clock::now() - begun;
        // The confirming query runs in the background, so one more lookup is served.
        assert!(
            (TICK * end..=TICK * (end + 2)).contains(&ended),
            "{ttl}: {ended:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn expired_addresses_are_not_kept_if_stale_answers_are_off() {
    let dns = Scripted::default();
    let resolver = dns.resolver_with(|builder| builder.stale_limit(Duration::ZERO));
    dns.four("a.test", "10.0.0.1", 100);
    ask(&resolver).await.unwrap();
    advance(95 * SECOND).await;
    dns.denies(DnsErrorReason::NotFound, 60);
    ask(&resolver).await.unwrap();
    sleep(SECOND).await;

    assert!(ask(&resolver).await.is_ok(), "its own TTL is not over");
    advance(5 * SECOND).await;
    assert_eq!(
        ask(&resolver).await.unwrap_err().reason(),
        DnsErrorReason::NotFound
    );
}

#[tokio::test(start_paused = true)]
async fn denied_family_ends_if_the_other_one_has_addresses() {
    let dns = Scripted::default();
    dns.say(("a.test", V4), 0, Say::Address("10.0.0.1", 60));
    dns.say(("a.test", V6), 0, Say::Address("fd00::1", 60));
    let resolver = dns.resolver();
    ask(&resolver).await.unwrap();
    advance(60 * SECOND).await;
    let none = Say::Nothing(DnsErrorReason::NoRecords, Some(10));
    dns.say(("a.test", V6), 0, none);

    // A name may drop one family.
    let moved = ask(&resolver).await.unwrap();
    assert_eq!(moved.addresses(), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    assert!(!moved.is_stale() && !moved.is_partial());
}

#[tokio::test(start_paused = true)]
async fn confirmed_nxdomain_also_ends_the_silent_family() {
    let (dns, resolver) = known(60).await;
    advance(60 * SECOND).await;
    dns.say(("a.test", V4), 0, Say::Silence);
    dns.say(
        ("a.test", V6),
        0,
        Say::Nothing(DnsErrorReason::NotFound, Some(10)),
    );

    assert!(ask(&resolver).await.unwrap().is_stale());
    sleep(11 * SECOND).await;
    let _ = ask(&resolver).await; // queries in the background
    sleep(TICK).await;
    assert_eq!(
        ask(&resolver).await.unwrap_err().reason(),
        DnsErrorReason::Timeout
    );
}

impl Scripted {
    fn denies(&self, reason: DnsErrorReason, ttl: u64) {
        for family in [V4, V6] {
            self.say(("a.test", family), 0, Say::Nothing(reason, Some(ttl)));
        }
    }
}

/// Returns a resolver that has just received an address with this TTL in seconds.
async fn known(ttl: u64) -> (Scripted, Resolver) {
    let dns = Scripted::default();
    dns.four("a.test", "10.0.0.1", ttl);
    let resolver = dns.resolver();
    assert!(!ask(&resolver).await.unwrap().is_stale());
    (dns, resolver)
}

async fn ask(resolver: &Resolver) -> Result<Answer, DnsError> {
    resolver.resolve("a.test").answer().await
}
