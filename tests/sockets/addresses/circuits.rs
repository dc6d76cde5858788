//! The circuit of a destination whose addresses change. Failures of an address that has left DNS do not count. A new
//! address lets the circuit probe at once.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use sevenhops::dns::{self, Resolution, Resolve};
use sevenhops::policy::breaker::CircuitState;
use sevenhops::testing::{CannedResponse, DnsScript, FaultServer, Reply};
use sevenhops::{Client, Destination, Policy};
use tokio::task::JoinSet;

use crate::frozen::Frozen;
use crate::net::Net;

/// A name that moves from one server of HTTP/2 to another.
struct World {
    net: Net,
    old: FaultServer,
    new: FaultServer,
}

impl World {
    async fn new() -> Self {
        let net = Net::new().await;
        let old = at(&net, 1, 0).await;
        let new = at(&net, 2, old.addr().port()).await;
        Self { net, old, new }
    }

    /// DNS gives this address from now on.
    fn lead_to(&self, address: IpAddr, ttl: u32) {
        let script = DnsScript::addresses([address]).ttl(ttl);
        self.net.dns.set("pay.test", script);
    }

    fn url(&self) -> String {
        format!("https://pay.test:{}/v1/charges", self.old.addr().port())
    }

    fn destination(&self) -> Destination {
        format!("https://pay.test:{}", self.old.addr().port())
            .parse()
            .unwrap()
    }

    /// Whether the breaker lets a call through. Nothing else stops it.
    async fn is_let_through(&self, client: &Client) -> bool {
        match client
            .get(self.url())
            .options(|options| options.retry(false))
            .fetch_bytes()
            .await
        {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.rejected_by(), Some(Policy::Breaker), "{error}");
                false
            }
        }
    }

    /// Opens the circuit by failures of the old server.
    async fn open(&self, client: &Client) {
        self.old
            .default_reply(CannedResponse::new(StatusCode::INTERNAL_SERVER_ERROR));
        for _ in 0..ENOUGH {
            let failed = client
                .get(self.url())
                .options(|options| options.retry(false))
                .fetch_bytes()
                .await;
            failed.unwrap_err();
        }
        assert!(!self.is_let_through(client).await);
    }
}

async fn at(net: &Net, last: u8, port: u16) -> FaultServer {
    let identity = net.authority.issue(&["pay.test"]).unwrap();
    let server = FaultServer::builder().tls(identity).http2();
    let server = server.address(SocketAddr::new(host(last), port));
    server.start().await.unwrap()
}

const fn host(last: u8) -> IpAddr {
    IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, last))
}

#[tokio::test]
async fn failures_of_an_address_count_only_while_it_is_in_dns() {
    for has_moved in [false, true] {
        let world = World::new().await;
        world.lead_to(host(1), 0);
        let client = world.net.client();
        world.old.default_reply(Reply::Silent);
        let mut calls = JoinSet::new();
        for _ in 0..ENOUGH {
            let get = client
                .get(world.url())
                .options(|options| options.retry(false));
            calls.spawn(async move { get.send().await });
        }
        world.old.wait_until(|stats| stats.requests == ENOUGH).await;
        if has_moved {
            world.lead_to(host(2), 0);
            assert!(world.is_let_through(&client).await);
        }
        world.old.close_connections();
        for call in calls.join_all().await {
            call.unwrap_err();
        }
        let state = client.breaker_handle().state(&world.destination());
        let expected = match has_moved {
            true => CircuitState::Closed,
            false => CircuitState::Open,
        };
        assert_eq!(state, expected, "moved: {has_moved}");
    }
}

#[tokio::test]
async fn first_call_after_an_open_circuits_name_has_moved_is_its_probe() {
    for is_keyed in [false, true] {
        let world = World::new().await;
        let moves = Moves::default();
        moves.lead_to(host(1));
        let builder = world
            .net
            .builder()
            .transport(|transport| transport.resolver(moves.clone()));
        let builder = match is_keyed {
            true => builder.key_by(|_, _, _| Some(Destination::named("tenant"))),
            false => builder,
        };
        let client = builder.build().unwrap();
        world.open(&client).await;
        moves.lead_to(host(2));
        for _ in 0..ENOUGH {
            assert!(world.is_let_through(&client).await, "keyed: {is_keyed}");
        }
        assert_eq!(world.new.requests_seen(), ENOUGH);
    }
}

#[tokio::test]
async fn circuit_whose_probe_of_a_new_address_failed_stays_open() {
    let world = World::new().await;
    let moves = Moves::default();
    moves.lead_to(host(1));
    let client = world
        .net
        .builder()
        .transport(|transport| transport.resolver(moves.clone()));
    let client = client.build().unwrap();
    world.open(&client).await;
    moves.lead_to(host(2));
    world
        .new
        .default_reply(CannedResponse::new(StatusCode::INTERNAL_SERVER_ERROR));
    let probe = client
        .get(world.url())
        .options(|options| options.retry(false))
        .fetch_bytes()
        .await;
    assert_eq!(probe.unwrap_err().rejected_by(), None);
    for _ in 0..ENOUGH {
        assert!(!world.is_let_through(&client).await);
    }
    assert_eq!(world.new.requests_seen(), 1);
}

#[tokio::test]
async fn calls_that_an_open_circuit_rejects_renew_the_dns_answer() {
    let world = World::new().await;
    world.lead_to(host(1), 3);
    let client = world.net.client();
    world.open(&client).await;
    world.lead_to(host(2), 3);
    let _frozen = Frozen::now();
    let begun = tokio::time::Instant::now();
    // Their TTL is over by then, and the open time of 5 s is not.
    tokio::time::advance(Duration::from_secs(4)).await;
    assert!(
        !world.is_let_through(&client).await,
        "it asks, and does not wait"
    );
    let mut rejected = 0;
    while !world.is_let_through(&client).await {
        rejected += 1;
        assert!(rejected < 10_000, "the address does not come");
        tokio::task::yield_now().await;
    }
    assert_eq!(begun.elapsed(), Duration::from_secs(4));
    for _ in 0..ENOUGH {
        assert!(world.is_let_through(&client).await);
    }
    let queries = world.net.dns.queries_for("pay.test");
    assert_eq!(queries, 3, "one AAAA is good for longer, and one A twice");
}

/// A resolver that knows one address.
#[derive(Clone, Debug, Default)]
struct Moves(Arc<Mutex<Option<dns::Answer>>>);

impl Moves {
    fn lead_to(&self, address: IpAddr) {
        *self.0.lock().unwrap() = dns::Answer::new([address], Duration::from_secs(60));
    }
}

impl Resolve for Moves {
    fn resolve(&self, _: &str) -> Resolution {
        Resolution::Cached(Ok(self.0.lock().unwrap().clone().unwrap()))
    }
}

/// As many failures open a circuit.
const ENOUGH: usize = 20;
