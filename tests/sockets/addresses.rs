//! Tests which address a request goes to while DNS and the addresses change.

mod affinity;
mod circuits;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sevenhops::hop::{Stage, StageOutcome};
use sevenhops::testing::{BlackHole, CannedResponse, DnsScript, FaultServer};
use sevenhops::timeout::TimeoutsConfig;
use sevenhops::{Client, Kind, Timeline};

use crate::net::Net;

pub(super) fn host(last: u8) -> IpAddr {
    [127, 0, 0, last].into()
}

/// Starts a server at 127.0.0.`last`, at the port of the others.
pub(super) async fn at(last: u8, port: u16) -> FaultServer {
    let server = FaultServer::builder().address(SocketAddr::new(host(last), port));
    let server = server.start().await.unwrap();
    server.default_reply(CannedResponse::json(&format!("{{\"host\":{last}}}")));
    server
}

/// Starts servers at 127.0.0.1 and 127.0.0.2. Returns the URL of a name that may resolve to either.
async fn two() -> (FaultServer, FaultServer, String) {
    let first = at(1, 0).await;
    let port = first.addr().port();
    (first, at(2, port).await, url(port))
}

pub(super) fn url(port: u16) -> String {
    format!("http://pay.test:{port}/v1/charges")
}

async fn call(client: &Client, url: &str) -> Timeline {
    let response = client.get(url).send().await.unwrap();
    let timeline = response.timeline().cloned().unwrap();
    response.bytes().await.unwrap();
    timeline
}

pub(super) fn peer(timeline: &Timeline) -> IpAddr {
    timeline
        .attempts()
        .last()
        .unwrap()
        .peer_addr()
        .unwrap()
        .ip()
}

#[tokio::test]
async fn client_with_few_calls_reuses_the_open_connection_and_reports_its_age() {
    let net = Net::new().await;
    let (first, second, url) = two().await;
    net.dns
        .set("pay.test", DnsScript::addresses([host(1), host(2)]));
    let client = net.client();
    let fresh = call(&client, &url).await;
    assert_eq!(fresh.attempts()[0].connection_age(), Some(Duration::ZERO));
    for _ in 0..5 {
        let reused = call(&client, &url).await;
        assert!(reused.attempts()[0].is_reused());
        assert!(reused.attempts()[0].connection_age() > Some(Duration::ZERO));
    }
    assert_eq!(first.connections() + second.connections(), 1);
}

#[tokio::test]
async fn concurrent_requests_spread_over_the_addresses() {
    let net = Net::new().await;
    let (first, second, url) = two().await;
    net.dns
        .set("pay.test", DnsScript::addresses([host(1), host(2)]));
    let client = net.client();
    call(&client, &url).await;
    let gate = sevenhops::testing::Gate::new();
    for server in [&first, &second] {
        server.default_reply(CannedResponse::default().hold(&gate));
    }
    let calls: Vec<_> = (0..10)
        .map(|_| tokio::spawn(client.get(&url).send()))
        .collect();
    let half = |stats: &sevenhops::testing::ServerStats| stats.requests >= 5;
    tokio::join!(first.wait_until(half), second.wait_until(half));
    gate.open();
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

/// A link-local address without its interface cannot be connected to, whether IPv6 is on or off.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn lack_of_local_resources_does_not_hide_that_another_address_refused() {
    let net = Net::new().await;
    let server = at(7, 0).await;
    server.default_reply(CannedResponse::default().header("connection", "close"));
    let link_local = IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]);
    net.dns
        .set("pay.test", DnsScript::addresses([host(7), link_local]));
    let (client, url) = (net.client(), url(server.addr().port()));
    call(&client, &url).await;
    drop(server);
    let get = client.get(&url).options(|options| options.retry(false));
    let error = get.send().await.unwrap_err();
    let timeline = error.timeline().unwrap();
    assert_eq!(peer(timeline), link_local, "it was the last: {timeline}");
    let kind = error.kind();
    assert!(matches!(kind, Kind::Refused | Kind::Reset), "{timeline}");
}

#[tokio::test]
async fn address_that_drops_syns_costs_250_ms_once() {
    let net = Net::new().await;
    let hole = BlackHole::start_at(SocketAddr::new(host(3), 0))
        .await
        .unwrap();
    let port = hole.addr().port();
    let _good = at(4, port).await;
    net.dns
        .set("pay.test", DnsScript::addresses([host(3), host(4)]));
    let (client, url) = (net.client(), url(port));
    let began = tokio::time::Instant::now();
    let timeline = call(&client, &url).await;
    assert_eq!(peer(&timeline), host(4), "{timeline}");
    assert_eq!(timeline.attempt_count(), 1, "{timeline}");
    // The connect timeout is 2.5 s; an equal share of it would be 1.25 s.
    assert!(began.elapsed() < Duration::from_secs(1), "{timeline}");
    let rows = timeline.attempts()[0].stages().to_vec();
    let swallowed = rows.iter().find(|row| row.stage() == Stage::Connect);
    assert_eq!(
        swallowed.unwrap().outcome(),
        StageOutcome::Failed(Kind::Timeout)
    );
    for _ in 0..3 {
        let timeline = call(&client, &url).await;
        assert!(timeline.attempts()[0].is_reused(), "{timeline}");
    }
}

#[tokio::test]
async fn address_that_left_dns_is_not_used_again_although_it_works() {
    let net = Net::new().await;
    let (old, new, url) = two().await;
    // With TTL 0, every call sees the current records.
    let says = |address: IpAddr| DnsScript::addresses([address]).ttl(0);
    net.dns.set("pay.test", says(host(1)));
    let client = net.client();
    call(&client, &url).await;
    assert_eq!(old.stats().open_connections, 1);
    net.dns.set("pay.test", says(host(2)));
    assert_eq!(peer(&call(&client, &url).await), host(2));
    // Its idle connection was closed, not only unused.
    old.wait_until(|stats| stats.open_connections == 0).await;
    assert_eq!((old.requests_seen(), new.requests_seen()), (1, 1));
}

#[tokio::test]
async fn address_that_refuses_is_replaced_before_its_ttl_is_over() {
    let net = Net::new().await;
    let (old, _new, url) = two().await;
    let says = |address: IpAddr| DnsScript::addresses([address]).ttl(60);
    net.dns.set("pay.test", says(host(1)));
    let deadline = Duration::from_secs(5);
    let builder = net
        .builder()
        .config(|config| config.timeouts(TimeoutsConfig::new().attempt(deadline / 2)));
    let client = builder.build().unwrap();
    assert_eq!(peer(&call(&client, &url).await), host(1));
    net.dns.set("pay.test", says(host(2)));
    drop(old);
    let get = client
        .get(&url)
        .options(|options| options.deadline(deadline));
    let response = get.send().await.unwrap();
    let timeline = response.timeline().unwrap();
    assert_eq!(peer(timeline), host(2), "{timeline}");
    assert!(timeline.attempt_count() <= 3, "{timeline}");
    // Two lookups, each with one query for each family.
    assert_eq!(net.dns.queries_for("pay.test"), 4);
}

#[tokio::test]
async fn request_in_flight_to_an_address_that_left_dns_finishes() {
    let net = Net::new().await;
    let (old, _new, url) = two().await;
    let says = |address: IpAddr| DnsScript::addresses([address]).ttl(0);
    net.dns.set("pay.test", says(host(1)));
    let gate = sevenhops::testing::Gate::new();
    old.default_reply(CannedResponse::json("\"late\"").hold(&gate));
    let client = net.client();
    let slow = tokio::spawn(client.get(&url).send());
    old.wait_until(|stats| stats.requests == 1).await;
    net.dns.set("pay.test", says(host(2)));
    assert_eq!(peer(&call(&client, &url).await), host(2));
    gate.open();
    let answer = slow.await.unwrap().unwrap();
    assert_eq!(answer.text().await.unwrap(), "\"late\"");
}
