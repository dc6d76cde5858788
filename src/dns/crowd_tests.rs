//! Many names: names in use are not evicted, and silent names do not delay others.

use std::time::Duration;

use tokio::time::{advance, sleep};

use super::*;
use crate::dns::Family::{V4, V6};
use crate::dns::scripted::{Say, Scripted};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn name_in_use_is_stale_and_not_forgotten_after_4200_others() {
    for is_held in [false, true] {
        let dns = Scripted::default();
        let resolver = dns.resolver();
        dns.four("bank.test", "10.0.0.1", 60);
        ask(&resolver, "bank.test").await.unwrap();
        let hold = match is_held {
            true => Resolve::hold(&resolver, "bank.test"),
            false => {
                // The second lookup counts as a use.
                ask(&resolver, "bank.test").await.unwrap();
                None
            }
        };
        assert_eq!(hold.is_some(), is_held);
        let names: Vec<_> = (0..4_200).map(|n| format!("{n}.other.test")).collect();
        for name in &names {
            dns.four(name, "10.0.0.2", 3_600);
            ask(&resolver, name).await.unwrap();
        }
        advance(60 * SECOND).await;
        for family in [V4, V6] {
            let failed = Say::Nothing(DnsErrorReason::ServerFailure, None);
            dns.say(("bank.test", family), 0, failed);
        }

        let stale = ask(&resolver, "bank.test").await.unwrap();
        assert!(stale.is_stale(), "held: {is_held}");
    }
}

#[tokio::test(start_paused = true)]
async fn lookups_of_silent_names_do_not_fail_those_of_others() {
    let dns = Scripted::default();
    let resolver = dns.resolver();
    // 300 a second, for 10 seconds.
    for n in 0..3_000 {
        let silent = format!("{n}.silent.test");
        for family in [V4, V6] {
            dns.say((&silent, family), 0, Say::Silence);
        }
        drop(resolver.resolve(&silent));
        if n % 100 == 99 {
            let cold = format!("{n}.good.test");
            dns.four(&cold, "10.0.0.1", 60);
            let begun = clock::now();
            ask(&resolver, &cold).await.unwrap();
            assert!(clock::now() - begun < SECOND / 10, "{n}");
        }
        sleep(SECOND / 300).await;
    }
}

async fn ask(resolver: &Resolver, host: &str) -> Result<Answer, DnsError> {
    resolver.resolve(host).answer().await
}
