//! Tests the connection limits: per destination and in total. Calls beyond a limit wait in connect.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use sevenhops::{
    Client, ClientBuilder, TimeoutsConfig,
    hop::{Attempt, Stage},
    testing::{CannedResponse, ConnFault, DnsScript, FaultServer, Gate, Reply},
};

use tokio::task::JoinSet;

use super::raw::{Frozen, Most};
use crate::net::{Net, url};

/// Counts the connections that are open at once.
fn watch(server: &Arc<FaultServer>) -> Most {
    let most = Most::default();
    let (server, seen) = (Arc::clone(server), most.clone());
    tokio::spawn(async move {
        let see = |stats: &sevenhops::testing::ServerStats| {
            seen.see(stats.open_connections);
            false
        };
        server.wait_until(see).await;
    });
    most
}

/// Sends this number of GETs at once.
fn calls(client: &Client, url: &str, count: usize) -> JoinSet<Vec<Attempt>> {
    (0..count)
        .map(|_| {
            let (client, url) = (client.clone(), url.to_owned());
            async move {
                let response = client.get(url).send().await.unwrap();
                let timeline = response.timeline().cloned().unwrap();
                response.bytes().await.unwrap();
                timeline.attempts()
            }
        })
        .collect()
}

/// Returns a builder whose timeouts do not end these calls, even on a busy machine.
fn patient(net: &Net) -> ClientBuilder {
    let long = Duration::from_secs(600);
    Client::builder(Duration::from_secs(3_600))
        .config(|config| config.timeouts(TimeoutsConfig::new().connect(long).send(long)))
        .transport(|transport| {
            transport
                .tls(net.authority.client_config())
                .resolver(net.dns.resolver())
        })
}

/// Returns whether an attempt waited in connect for a connection that it did not make.
fn was_queued(attempt: &Attempt) -> bool {
    let mut connects = attempt
        .stages()
        .iter()
        .filter(|row| row.stage() == Stage::Connect);
    let waited = connects.all(|row| row.is_queued()) && attempt.time_in_queue().is_some();
    attempt.is_queued() && attempt.is_reused() && waited
}

#[tokio::test]
async fn calls_beyond_the_bound_of_a_destination_wait_in_connect() {
    for (set, most) in [(None, 256), (Some(4), 4), (Some(1), 1)] {
        let net = Net::new().await;
        let server = Arc::new(FaultServer::start().await.unwrap());
        let gate = Gate::new();
        server.default_reply(CannedResponse::default().hold(&gate));
        let seen = watch(&server);
        let builder = patient(&net).transport(move |transport| match set {
            Some(most) => transport.max_connections_per_destination(most),
            None => transport,
        });
        let client = builder.build().unwrap();
        let calls = calls(&client, &url(&server, "http"), 300);
        server.wait_until(|stats| stats.requests == most).await;
        assert_eq!(server.connections(), most);
        gate.open();
        let attempts = calls.join_all().await;
        assert_eq!(server.requests_seen(), 300);
        assert!(seen.get() <= most, "{} connections at once", seen.get());
        assert_eq!(server.connections(), most, "made in all");
        assert!(attempts.iter().all(|attempts| attempts.len() == 1));
        let queued = attempts.iter().filter(|attempts| was_queued(&attempts[0]));
        assert_eq!(queued.count(), 300 - most);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bound_of_a_destination_applies_across_threads() {
    let net = Net::new().await;
    let server = Arc::new(FaultServer::start().await.unwrap());
    let seen = watch(&server);
    let builder = patient(&net);
    let builder = builder.transport(|transport| transport.max_connections_per_destination(4));
    let client = builder.build().unwrap();
    server.default_reply(CannedResponse::default().chunked());
    calls(&client, &url(&server, "http"), 2_000)
        .join_all()
        .await;
    assert!(seen.get() <= 4, "{} connections at once", seen.get());
    assert_eq!(server.connections(), 4, "made in all");
}

#[tokio::test]
async fn ten_thousand_concurrent_calls_to_one_host_succeed() {
    let net = Net::new().await;
    let server = Arc::new(FaultServer::start().await.unwrap());
    let seen = watch(&server);
    let client = patient(&net).build().unwrap();
    let attempts = calls(&client, &server.url("/"), 10_000).join_all().await;
    assert_eq!(server.requests_seen(), 10_000);
    assert!(attempts.iter().all(|attempts| attempts.len() == 1));
    assert!(seen.get() <= 256, "{} connections at once", seen.get());
}

/// Returns a client with this limit of connections in total.
fn bounded(net: &Net, most: usize) -> Client {
    let builder = patient(net).transport(move |transport| transport.max_connections(most));
    builder.build().unwrap()
}

#[tokio::test]
async fn call_at_the_bound_closes_an_idle_connection() {
    let net = Net::new().await;
    let client = bounded(&net, 2);
    let servers = [
        FaultServer::start().await.unwrap(),
        net.http2().await,
        FaultServer::start().await.unwrap(),
        net.http2().await,
    ];
    for _ in 0..3 {
        for server in &servers {
            let scheme = &server.url("/")[..5];
            let scheme = scheme.trim_end_matches(':');
            let response = client.get(url(server, scheme)).send().await.unwrap();
            response.bytes().await.unwrap();
        }
    }
    for server in &servers {
        assert_eq!(server.connections(), 3, "the one used least recently went");
    }
}

#[tokio::test]
async fn connection_in_use_is_closed_for_others_in_its_turn_once_it_is_idle() {
    for http2 in [false, true] {
        let net = Net::new().await;
        let client = bounded(&net, 3);
        let (first, scheme) = match http2 {
            true => (net.http2().await, "https"),
            false => (FaultServer::start().await.unwrap(), "http"),
        };
        let mut others = Vec::new();
        for _ in 0..6 {
            others.push(FaultServer::start().await.unwrap());
        }
        let get = |url| async { client.get(url).fetch_bytes().await.unwrap() };
        let other = |nth: usize| get(url(&others[nth], "http"));
        get(url(&first, scheme)).await;
        other(0).await;
        other(1).await;
        // It was used least recently, and is in use again when another call needs room.
        let gate = Gate::new();
        first.default_reply(CannedResponse::default().hold(&gate));
        let held = calls(&client, &url(&first, scheme), 1);
        first.wait_until(|stats| stats.requests == 2).await;
        other(2).await;
        others[0]
            .wait_until(|stats| stats.open_connections == 0)
            .await;
        gate.open();
        held.join_all().await;
        for (nth, closed) in [(3, &others[1]), (4, &others[2]), (5, &first)] {
            let open = closed.open_connections();
            assert_eq!(open, 1, "it is closed before its turn, at {nth}");
            other(nth).await;
            closed.wait_until(|stats| stats.open_connections == 0).await;
        }
        assert_eq!(first.connections(), 1);
    }
}

#[tokio::test]
async fn connection_outlives_a_flood_of_other_destinations() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let client = bounded(&net, 2);
    let url = url(&server, "http");
    client.get(&url).fetch_bytes().await.unwrap();
    for number in 0..1_200 {
        // Nothing listens there.
        let other = format!("http://127.1.{}.{}:9/", number / 200, number % 200 + 1);
        let once = client.get(other).options(|options| options.retry(false));
        once.send().await.unwrap_err();
    }
    client.get(&url).fetch_bytes().await.unwrap();
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn waiting_call_gets_the_permit_of_the_next_idle_connection() {
    // The connection that becomes idle uses HTTP/1, then HTTP/2.
    for http2 in [false, true] {
        let net = Net::new().await;
        let client = bounded(&net, 1);
        let (first, scheme) = match http2 {
            true => (net.http2().await, "https"),
            false => (FaultServer::start().await.unwrap(), "http"),
        };
        let second = FaultServer::start().await.unwrap();
        let gate = Gate::new();
        first.default_reply(CannedResponse::default().hold(&gate));
        let held = calls(&client, &url(&first, scheme), 1);
        first.wait_until(|stats| stats.requests == 1).await;
        let mut waiting = Box::pin(client.get(url(&second, "http")).send());
        // By now it waits for a free connection.
        for _ in 0..100 {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(waiting.as_mut().poll(&mut context).is_pending());
            tokio::task::yield_now().await;
        }
        assert_eq!(second.connections(), 0);
        gate.open();
        held.join_all().await;
        let response = tokio::time::timeout(Duration::from_secs(5), waiting).await;
        let response = response.expect("there was room").unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        first.wait_until(|stats| stats.open_connections == 0).await;
    }
}

#[tokio::test]
async fn total_bound_is_shared_by_concurrent_calls_to_many_hosts() {
    let net = Net::new().await;
    let client = bounded(&net, 3);
    let mut servers = Vec::new();
    for http2 in [false, true, false, true, false, true] {
        servers.push(match http2 {
            true => (net.http2().await, "https"),
            false => (FaultServer::start().await.unwrap(), "http"),
        });
    }
    let mut all = JoinSet::new();
    for _ in 0..20 {
        for (server, scheme) in &servers {
            let (client, url) = (client.clone(), url(server, scheme));
            all.spawn(async move { client.get(url).fetch_bytes().await });
        }
    }
    let finished = tokio::time::timeout(Duration::from_secs(20), all.join_all()).await;
    for result in finished.expect("no call waits for ever") {
        result.unwrap();
    }
}

#[tokio::test]
async fn unused_lease_is_not_lost() {
    let net = Net::new().await;
    let identity = net.authority.issue(&["api.test"]).unwrap();
    let server = FaultServer::builder().tls(identity).start().await.unwrap();
    let builder = patient(&net);
    let builder = builder.transport(|transport| transport.max_connections(2));
    let client = builder.build().unwrap();
    let url = url(&server, "https");
    for _ in 0..4 {
        // The server does not support HTTP/2. The client learns that from the connection.
        let get = client.get(&url).version(http::Version::HTTP_2);
        get.send().await.unwrap_err();
    }
    let response = tokio::time::timeout(Duration::from_secs(5), client.get(&url).send()).await;
    response.expect("there is room").unwrap();
    assert!(server.open_connections() <= 2);
}

#[tokio::test]
async fn queued_call_does_not_count_against_its_address() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let other = FaultServer::builder();
    let there = ([127, 0, 0, 2], server.addr().port()).into();
    let other = other.address(there).start().await.unwrap();
    let both = [[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
    let both = DnsScript::addresses(both);
    net.dns.set("api.test", both);
    let gate = Gate::new();
    for server in [&server, &other] {
        server.default_reply(CannedResponse::default().hold(&gate));
    }
    let builder = patient(&net);
    let builder = builder.transport(|transport| transport.max_connections_per_destination(1));
    let client = builder.build().unwrap();
    let held = calls(&client, &url(&server, "http"), 1);
    tokio::select! {
        _ = server.wait_until(|stats| stats.requests == 1) => {}
        _ = other.wait_until(|stats| stats.requests == 1) => {}
    }
    let mut queued = calls(&client, &url(&server, "http"), 1);
    let frozen = Frozen::now();
    // Longer than the delay after which the client tries another address.
    for _ in 0..3 {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(Duration::from_millis(300)).await;
    }
    tokio::time::resume();
    drop(frozen);
    assert!(queued.try_join_next().is_none(), "there is no room");
    assert_eq!(server.connections() + other.connections(), 1);
    gate.open();
    held.join_all().await;
    let attempts = queued.join_next().await.unwrap().unwrap();
    let connects = attempts[0].stages().iter();
    let connects = connects.filter(|row| row.stage() == Stage::Connect);
    assert_eq!(connects.count(), 1, "{:?}", attempts[0].stages());
}

#[tokio::test]
async fn streams_beyond_the_limit_are_on_a_second_connection() {
    let net = Net::new().await;
    let server = net.http2().await;
    server.on_connection([ConnFault::MaxStreams(2), ConnFault::MaxStreams(2)]);
    let gate = Gate::new();
    let client = net.client();
    let url = url(&server, "https");
    client.get(&url).fetch_bytes().await.unwrap();
    server.default_reply(CannedResponse::default().hold(&gate));
    let first = calls(&client, &url, 2);
    server.wait_until(|stats| stats.requests == 3).await;
    assert_eq!(server.connections(), 1);
    let second = calls(&client, &url, 2);
    server.wait_until(|stats| stats.requests == 5).await;
    assert_eq!(server.connections(), 2);
    gate.open();
    first.join_all().await;
    second.join_all().await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn connection_that_the_server_has_closed_is_not_closed_in_place_of_others() {
    let hosts = ["api.test", "one.test", "two.test", "three.test"];
    let net = Net::new().await;
    let server = net.http2_of(&hosts).await;
    let builder = net.builder();
    let builder = builder.transport(|transport| transport.max_connections(2));
    let client = builder.build().unwrap();
    server.on_request([Reply::AnswerThenClose(CannedResponse::default())]);
    for host in hosts {
        let machine = DnsScript::addresses([[127, 0, 0, 1].into()]);
        net.dns.set(host, machine);
        let url = url(&server, "https").replace(hosts[0], host);
        let get = client.get(url).options(|options| options.retry(false));
        let response = get.send().await.unwrap();
        response.bytes().await.unwrap();
        if host == hosts[0] {
            server.wait_until(|stats| stats.open_connections == 0).await;
        }
    }
    assert_eq!(server.connections(), hosts.len());
}
