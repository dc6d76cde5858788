//! Queries that get lost, and refreshes that must not get lost.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tokio::time::{advance, sleep};

use crate::dns::Family::V4;
use crate::dns::scripted::{Say, Scripted};
use crate::dns::{Resolve, Resolver};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn query_on_a_stopped_runtime_is_sent_again_by_another_runtime() {
    let dns = Scripted::default();
    let (resolver, stands_still, lives) = (dns.resolver(), runtime(), runtime());
    dns.say(("a.test", V4), 500, Say::Address("10.0.0.1", 60));
    stands_still.block_on(async {
        drop(resolver.resolve("a.test"));
        yield_now().await; // the query goes out
    });
    dns.say(("a.test", V4), 500, Say::Address("10.0.0.2", 60));

    lives.block_on(async {
        assert!(
            address(&resolver).await.is_err(),
            "its result may still come"
        );
        advance(SECOND).await;
        assert_eq!(address(&resolver).await.unwrap(), "10.0.0.2");
    });

    // The result that this query gets in the end is old.
    stands_still.block_on(async { sleep(SECOND).await });
    lives.block_on(async {
        assert_eq!(address(&resolver).await.unwrap(), "10.0.0.2");
    });
}

#[test]
fn lost_query_does_not_end_the_one_that_replaced_it() {
    let dns = Scripted::default();
    let (resolver, stands_still, lives) = (dns.resolver(), runtime(), runtime());
    dns.say(("a.test", V4), 500, Say::Address("10.0.0.1", 60));
    stands_still.block_on(async { drop(resolver.resolve("a.test")) });

    lives.block_on(async {
        advance(3 * SECOND).await;
        let first = tokio::spawn(resolver.resolve("a.test").answer());
        yield_now().await;
        stands_still.shutdown_background();
        address(&resolver).await.unwrap();
        first.await.unwrap().unwrap();
    });
    assert_eq!(dns.asked(V4).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn late_answer_is_only_for_the_waiting_lookups() {
    let dns = Scripted::default();
    dns.say(("a.test", V4), 500, Say::Address("10.0.0.1", 60));
    let resolver = dns.resolver();
    let asking = tokio::spawn(resolver.resolve("a.test").answer());
    yield_now().await;
    dns.say(("a.test", V4), 500, Say::Address("10.0.0.2", 60));
    advance(10 * SECOND).await; // the runtime was busy

    let late = asking.await.unwrap().unwrap();
    assert_eq!(late.addresses()[0].to_string(), "10.0.0.1");
    assert_eq!(address(&resolver).await.unwrap(), "10.0.0.2");
}

/// Returns a runtime with its own clock.
fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

async fn address(resolver: &Resolver) -> Result<String, crate::dns::DnsError> {
    let answer = resolver.resolve("a.test").answer().await?;
    Ok(answer.addresses()[0].to_string())
}
