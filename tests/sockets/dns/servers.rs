//! Tests the order of several name servers, and the behavior of each server, on real loopback sockets.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sevenhops::dns::{Answer, DnsError, DnsErrorReason, Resolve, Resolver};
use sevenhops::testing::{ClosedPort, DnsScript, QueryTransport, RecordType, ScriptedDns};
use sevenhops::{Client, Hop, Kind};

#[tokio::test]
async fn next_server_is_queried_after_an_unusable_response() {
    let faults = [
        DnsScript::ServFail,
        DnsScript::Refused,
        DnsScript::Silent,
        DnsScript::Garbage,
        DnsScript::Referral,
        DnsScript::OtherQuestion,
        DnsScript::NoRecords.without_soa(),
        DnsScript::cname("api.test", 60),
    ];
    for fault in faults {
        let (first, second) = (start().await, start().await);
        first.set("api.test", fault.clone());
        second.set("api.test", both());

        let answer = ask(&resolver([first.addr(), second.addr()]), "api.test").await;

        let answer = answer.unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
        assert_eq!(answer.addresses().len(), 2, "{fault:?}");
        assert!(!answer.is_partial(), "{fault:?}");
        assert!(first.queries_for("api.test") >= 2, "{fault:?}");
    }
}

#[tokio::test]
async fn three_servers_in_any_order_resolve_if_one_is_good() {
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        for dead_is_silent in [false, true] {
            let (refuses, silent, good) = (start().await, start().await, start().await);
            refuses.set("api.test", DnsScript::Refused);
            silent.set("api.test", DnsScript::Silent);
            good.set("api.test", both());
            let closed = ClosedPort::new().unwrap();
            let dead = match dead_is_silent {
                true => silent.addr(),
                false => closed.addr(),
            };
            let servers = [refuses.addr(), dead, good.addr()];

            let answer = ask(&resolver(order.map(|place| servers[place])), "api.test").await;

            assert_eq!(answer.unwrap().addresses().len(), 2, "{order:?}");
        }
    }
}

#[tokio::test]
async fn silent_server_is_waited_for_once_and_not_by_every_lookup() {
    let (silent, good) = (start().await, start().await);
    for name in ["a.test", "b.test"] {
        silent.set(name, DnsScript::Silent);
        good.set(name, both());
    }
    let resolver = resolver([silent.addr(), good.addr()]);

    ask(&resolver, "a.test").await.unwrap();
    ask(&resolver, "b.test").await.unwrap();

    assert_eq!(silent.queries_for("b.test"), 0);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(30)).await;
    tokio::time::resume();
    silent.set("c.test", both());
    ask(&resolver, "c.test").await.unwrap();
    assert_eq!(
        (silent.queries_for("c.test"), good.queries_for("c.test")),
        (2, 0)
    );
}

#[tokio::test]
async fn nxdomain_of_one_server_ends_the_walk() {
    let (first, second) = (start().await, start().await);
    second.set("api.test", both());

    let error = ask(&resolver([first.addr(), second.addr()]), "api.test").await;

    assert_eq!(error.unwrap_err().reason(), DnsErrorReason::NotFound);
    assert_eq!(second.queries_for("api.test"), 0);
}

#[tokio::test]
async fn walk_without_a_usable_response_is_a_failure_and_not_a_denial() {
    let (first, second) = (start().await, start().await);
    first.set("api.test", DnsScript::Referral);
    second.set("api.test", DnsScript::NoRecords.without_soa());

    let error = ask(&resolver([first.addr(), second.addr()]), "api.test").await;

    let error = error.unwrap_err();
    assert_eq!(error.reason(), DnsErrorReason::ServerFailure);
    assert!(!error.reason().is_negative());
}

#[tokio::test]
async fn family_without_an_soa_does_not_delay_the_other() {
    let dns = start().await;
    dns.set("api.test", DnsScript::addresses([v4()]));
    dns.set_type(
        "api.test",
        RecordType::Aaaa,
        DnsScript::NoRecords.without_soa(),
    );
    let resolver = resolver([dns.addr()]);

    let answer = ask(&resolver, "api.test").await.unwrap();

    assert_eq!(answer.addresses(), [v4()]);
    assert_eq!(dns.queries_for("api.test"), 2);
}

#[tokio::test]
async fn server_without_edns_is_queried_again_without_it() {
    let (old, second) = (start().await, start().await);
    old.set("api.test", both().no_edns());

    let answer = ask(&resolver([old.addr(), second.addr()]), "api.test").await;

    assert_eq!(answer.unwrap().addresses().len(), 2);
    assert_eq!(second.queries().len(), 0);
    let without = old.queries().into_iter().filter(|query| !query.edns);
    assert_eq!((without.count(), old.queries().len()), (2, 4));
}

#[tokio::test]
async fn end_of_an_alias_is_queried_at_the_same_server() {
    let dns = start().await;
    // The server's records for `a.test` end with an alias to a name that only this server knows.
    dns.set("a.test", DnsScript::cname("b.test", 7));
    dns.set("b.test", DnsScript::NoRecords.without_soa());
    dns.set_type("b.test", RecordType::A, DnsScript::NoRecords.without_soa());
    let resolver = resolver([dns.addr()]);

    let error = ask(&resolver, "a.test").await.unwrap_err();

    assert_eq!(error.reason(), DnsErrorReason::ServerFailure);
    assert_eq!(dns.queries_for("b.test"), 2, "once for each family");
}

#[tokio::test]
async fn lost_datagram_is_sent_again() {
    let dns = start().await;
    dns.set("api.test", DnsScript::Silent);
    let resolver = resolver([dns.addr()]);
    let asking = tokio::spawn(resolver.resolve("api.test").answer());

    dns.wait_until(|queries| queries.len() >= 2).await;
    dns.set("api.test", both());

    assert_eq!(asking.await.unwrap().unwrap().addresses().len(), 2);
    let queries = dns.queries();
    assert!(queries.iter().all(|q| q.transport == QueryTransport::Udp));
}

#[tokio::test]
async fn server_listens_on_a_given_loopback_address_only() {
    let dns = ScriptedDns::start_at(([127, 0, 0, 2], 0).into()).await;
    assert_eq!(dns.unwrap().addr().ip(), IpAddr::from([127, 0, 0, 2]));

    assert!(
        ScriptedDns::start_at(([0, 0, 0, 0], 0).into())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn call_is_retried_if_the_name_server_has_a_closed_port() {
    let closed = ClosedPort::new().unwrap();
    let brief = Duration::from_millis(1);
    let resolver = Resolver::builder().hosts_file(false);
    let resolver = resolver.failure_backoff(brief, brief);
    let resolver = resolver.name_servers([closed.addr()]).build().unwrap();
    let client = Client::builder(Duration::from_secs(10))
        .transport(|transport| transport.resolver(resolver))
        .build()
        .unwrap();

    let error = client.get("http://api.test/").send().await.unwrap_err();

    assert_eq!(error.hop(), Some(Hop::Dns), "{error}");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.attempts() > 1, "{error}");
}

async fn start() -> ScriptedDns {
    let dns = ScriptedDns::start().await;
    dns.expect("a port of 127.0.0.1 is free")
}

fn resolver(servers: impl IntoIterator<Item = SocketAddr>) -> Resolver {
    let builder = Resolver::builder().hosts_file(false).name_servers(servers);
    // The limit is long, so that a slow machine does not look like a silent server.
    let builder = builder.timeout(Duration::from_secs(20));
    builder.build().expect("the settings do not contradict")
}

async fn ask(resolver: &Resolver, host: &str) -> Result<Answer, DnsError> {
    resolver.resolve(host).answer().await
}

fn both() -> DnsScript {
    DnsScript::addresses([v4(), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])])
}

fn v4() -> IpAddr {
    IpAddr::from([127, 0, 0, 1])
}
