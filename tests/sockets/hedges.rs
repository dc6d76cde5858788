//! Tests hedges on real sockets: where they go, and what becomes of the connections.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use sevenhops::dns::{Answer, Resolution, Resolve};
use sevenhops::hop::{Attempt, Outcome};
use sevenhops::testing::{BlackHole, CannedResponse, DnsScript, FaultServer, Gate, Reply};
use sevenhops::{Client, HedgeConfig, Options, Timeline};

use crate::net::{Net, url};

fn host(last: u8) -> IpAddr {
    [127, 0, 0, last].into()
}

/// Starts a server at 127.0.0.`last`, at the port of the others. It names itself in its responses.
async fn at(last: u8, port: u16) -> FaultServer {
    let server = FaultServer::builder().address(SocketAddr::new(host(last), port));
    let server = server.start().await.unwrap();
    server.default_reply(named(last));
    server
}

fn named(last: u8) -> CannedResponse {
    CannedResponse::json(&last.to_string())
}

fn client(net: &Net, hedge: HedgeConfig) -> Client {
    net.builder()
        .config(|config| config.hedge(hedge))
        .build()
        .unwrap()
}

fn hedge() -> HedgeConfig {
    HedgeConfig::new().delay(Duration::from_millis(30))
}

/// Calls the service. Returns the number of the server that responded.
async fn call(client: &Client, url: &str) -> (String, Timeline) {
    let response = client.get(url).send().await.unwrap();
    let timeline = response.timeline().cloned().unwrap();
    (response.text().await.unwrap(), timeline)
}

/// Returns the events of a timeline as text.
fn events(timeline: &Timeline) -> Vec<String> {
    let events = timeline.events().into_iter();
    events.map(|event| event.kind.to_string()).collect()
}

fn peers(timeline: &Timeline) -> Vec<IpAddr> {
    let attempts = timeline.attempts().into_iter();
    attempts
        .map(|attempt| attempt.peer_addr().unwrap().ip())
        .collect()
}

#[tokio::test]
async fn hedge_goes_to_another_address_and_the_loser_is_cancelled() {
    let net = Net::new().await;
    let first = at(1, 0).await;
    let second = at(2, first.addr().port()).await;
    let addresses = DnsScript::addresses([host(1), host(2)]);
    net.dns.set("api.test", addresses);
    let gate = Gate::new();
    let servers = [&first, &second];
    for (server, last) in servers.into_iter().zip([1, 2]) {
        server.on_request([Reply::from(named(last).hold(&gate))]);
    }
    let client = client(&net, hedge());
    // Both servers hold their responses until the gate opens.
    let url = url(&first, "http");
    let both = async {
        while first.requests_seen() + second.requests_seen() < 2 {
            tokio::task::yield_now().await;
        }
        gate.open();
    };
    let ((_, timeline), ()) = tokio::join!(call(&client, &url), both);
    assert_eq!((first.requests_seen(), second.requests_seen()), (1, 1));
    let mut peers = peers(&timeline);
    peers.sort();
    assert_eq!(peers, [host(1), host(2)]);
    let lost = timeline
        .attempts()
        .into_iter()
        .filter(|attempt| attempt.is_lost());
    let lost: Vec<Attempt> = lost.collect();
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].outcome(), Outcome::Cancelled);
    assert!(lost[0].is_taken());
    assert!(
        events(&timeline)[0].starts_with("hedged after "),
        "{timeline}"
    );
}

#[tokio::test]
async fn destination_with_one_address_is_hedged_only_on_request() {
    let net = Net::new().await;
    let server = at(1, 0).await;
    let url = url(&server, "http");
    let gate = Gate::new();
    server.on_request([Reply::from(named(1).hold(&gate))]);
    let once = client(&net, hedge());
    let told = async {
        // The reason is in the timeline, and the call goes on.
        tokio::time::sleep(Duration::from_millis(60)).await;
        gate.open();
    };
    let ((_, timeline), ()) = tokio::join!(call(&once, &url), told);
    assert_eq!(events(&timeline), ["not hedged: no other address is known"]);
    assert_eq!(server.requests_seen(), 1);

    let gate = Gate::new();
    server.on_request([Reply::from(named(1).hold(&gate))]);
    let twice = client(&net, hedge().same_address(true));
    let (_, timeline) = call(&twice, &url).await;
    assert_eq!(peers(&timeline), [host(1), host(1)]);
    assert!(timeline.attempts()[0].is_lost());
}

#[tokio::test]
async fn session_stays_on_its_address_and_is_hedged_only_on_request() {
    for same_address in [false, true] {
        let net = Net::new().await;
        let first = at(1, 0).await;
        let second = at(2, first.addr().port()).await;
        let addresses = DnsScript::addresses([host(1), host(2)]);
        net.dns.set("api.test", addresses);
        let gate = Gate::new();
        for (server, last) in [&first, &second].into_iter().zip([1, 2]) {
            server.on_request([Reply::from(named(last).hold(&gate))]);
        }
        let client = client(&net, hedge().same_address(same_address));
        let session = Options::new().affinity("user-1");
        let call = client.get(url(&first, "http")).options(|_| session).send();
        let told = async {
            if !same_address {
                // The reason is in the timeline, and the call goes on.
                tokio::time::sleep(Duration::from_millis(60)).await;
                gate.open();
            }
        };
        let (response, ()) = tokio::join!(call, told);
        let timeline = response.unwrap().timeline().cloned().unwrap();
        let peers = peers(&timeline);
        match same_address {
            false => {
                let reason = "not hedged: the session of the call stays on one address";
                assert_eq!(events(&timeline), [reason]);
                assert_eq!(peers.len(), 1);
            }
            true => assert_eq!(peers, [peers[0]; 2]),
        }
    }
}

/// A resolver that gives two addresses once, and then only the second one.
#[derive(Debug)]
struct Leaving(Mutex<Vec<IpAddr>>);

impl Resolve for Leaving {
    fn resolve(&self, _: &str) -> Resolution {
        let mut left = self.0.lock().unwrap();
        let answer = Answer::new(left.clone(), Duration::from_secs(60));
        let next = left.split_off(1);
        *left = if next.is_empty() { left.clone() } else { next };
        Resolution::Cached(Ok(answer.unwrap()))
    }
}

#[tokio::test]
async fn session_whose_address_left_dns_goes_on_without_a_hedge() {
    let net = Net::new().await;
    let first = at(1, 0).await;
    let second = at(2, first.addr().port()).await;
    let addresses = DnsScript::addresses([host(1), host(2)]);
    net.dns.set("api.test", addresses);
    let url = url(&first, "http");
    let of_session = || Options::new().affinity("user-1");
    let found = net.client().get(&url).options(|_| of_session()).send();
    let own = peers(found.await.unwrap().timeline().unwrap())[0];
    let (server, other) = match own == host(1) {
        true => (&first, host(2)),
        false => (&second, host(1)),
    };
    let gate = Gate::new();
    server.on_request([Reply::from(named(1).hold(&gate))]);
    let leaving = Leaving(Mutex::new(vec![own, other]));
    let config = hedge().same_address(true);
    let client = net.builder().config(|values| values.hedge(config));
    let client = client.transport(|transport| transport.resolver(leaving));
    let client = client.build().unwrap();
    let call = client.get(&url).options(|_| of_session()).send();
    let told = async {
        // The hedge fails, and the call goes on.
        tokio::time::sleep(Duration::from_millis(100)).await;
        gate.open();
    };
    let (response, ()) = tokio::join!(call, told);
    let timeline = response.unwrap().timeline().cloned().unwrap();
    let attempts = timeline.attempts();
    assert_eq!(attempts.len(), 2, "{timeline}");
    assert!(attempts[1].is_hedge(), "{timeline}");
    let drawn = timeline.to_string();
    assert!(!drawn.contains("no records"), "{drawn}");
}

#[tokio::test]
async fn slow_connect_is_left_to_the_transport() {
    let net = Net::new().await;
    let server = at(2, 0).await;
    let dark = BlackHole::start_at(SocketAddr::new(host(1), server.addr().port()));
    let dark = dark.await.unwrap();
    net.dns
        .set("api.test", DnsScript::addresses([host(1), host(2)]));
    // Less than the connect takes until it is overtaken, and more than the response takes.
    let client = client(&net, hedge().delay(Duration::from_millis(200)));
    let (by, timeline) = call(&client, &url(&server, "http")).await;
    assert_eq!(by, "2");
    assert_eq!(timeline.attempts().len(), 1, "{timeline}");
    drop(dark);
}

#[tokio::test]
async fn stream_that_lost_ends_and_its_connection_stays() {
    let net = Net::new().await;
    let server = net.http2().await;
    let url = url(&server, "https");
    let client = client(&net, hedge().same_address(true));
    for calls in 1..=5 {
        let gate = Gate::new();
        server.on_request([Reply::from(named(1).hold(&gate))]);
        let (_, timeline) = call(&client, &url).await;
        assert_eq!(timeline.attempts().len(), 2);
        assert_eq!(server.requests_seen(), 2 * calls);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn body_of_the_winner_is_received_whole() {
    let net = Net::new().await;
    let server = at(1, 0).await;
    let url = url(&server, "http");
    let client = client(&net, hedge().same_address(true));
    let gate = Gate::new();
    server.on_request([Reply::from(named(1).hold(&gate))]);
    assert_eq!(client.get(&url).fetch_json::<u8>().await.unwrap(), 1);
    assert_eq!(server.requests_seen(), 2);
}

#[tokio::test]
async fn leases_of_losers_come_back() {
    let net = Net::new().await;
    let server = at(1, 0).await;
    let url = url(&server, "http");
    let transport = net
        .builder()
        .config(|config| config.hedge(hedge().same_address(true)));
    let bounded = transport.transport(|transport| transport.max_connections_per_destination(2));
    let client = bounded.build().unwrap();
    for _ in 0..5 {
        let gate = Gate::new();
        server.on_request([Reply::from(named(1).hold(&gate))]);
        let (_, timeline) = call(&client, &url).await;
        assert_eq!(timeline.attempts().len(), 2);
        assert!(
            timeline
                .attempts()
                .iter()
                .all(|attempt| !attempt.is_queued())
        );
    }
}
