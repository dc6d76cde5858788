//! Tests one client on several runtimes: a connection ends with the runtime that drives it, and no other connection
//! does.

use std::time::Duration;

use http::{Request, StatusCode};
use sevenhops::{
    Blame, Client, Effect, Error, Kind, Timeouts, Transport,
    testing::{CannedResponse, DnsScript, FaultServer, Gate, Reply},
};

use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

use crate::net::{Net, url};

/// The names of the server.
const HOSTS: [&str; 4] = ["api.test", "one.test", "two.test", "three.test"];

struct World {
    /// Runs the servers.
    home: Runtime,
    server: FaultServer,
    client: Client,
    url: String,
    net: Net,
}

impl World {
    fn new(http2: bool) -> Self {
        let mut home = Builder::new_multi_thread();
        let home = home.worker_threads(1).enable_all().build().unwrap();
        let (net, server) = home.block_on(async {
            let net = Net::new().await;
            let machine = DnsScript::addresses([[127, 0, 0, 1].into()]);
            for host in HOSTS {
                net.dns.set(host, machine.clone());
            }
            let server = match http2 {
                true => net.http2_of(&HOSTS).await,
                false => FaultServer::start().await.unwrap(),
            };
            (net, server)
        });
        let scheme = if http2 { "https" } else { "http" };
        Self {
            url: url(&server, scheme),
            client: net.client(),
            home,
            server,
            net,
        }
    }

    async fn get(&self) -> bool {
        let response = self.client.get(&self.url).send().await.unwrap();
        let attempts = response.timeline().unwrap().attempts();
        response.bytes().await.unwrap();
        assert_eq!(attempts.len(), 1, "{attempts:?}");
        attempts[0].is_reused()
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn connections_are_not_shared_between_runtimes_and_end_with_theirs() {
    for http2 in [false, true] {
        let world = World::new(http2);
        let (first, second) = (runtime(), runtime());
        assert!(!first.block_on(world.get()));
        assert!(first.block_on(world.get()));
        assert!(!second.block_on(world.get()), "driven by the other one");
        assert_eq!(world.server.connections(), 2);
        drop(first);
        assert!(second.block_on(world.get()), "its own is as good as before");
        let third = runtime();
        assert!(!third.block_on(world.get()));
        assert_eq!(world.server.connections(), 3);
        drop(second);
        let closed = world.server.wait_until(|stats| stats.open_connections == 1);
        world.home.block_on(closed);
    }
}

#[test]
fn runtime_that_ends_during_a_wait_does_not_harm_others() {
    for http2 in [false, true] {
        let world = World::new(http2);
        let (first, second) = (runtime(), runtime());
        let gate = Gate::new();
        world.server.on_request([
            Reply::Silent,
            Reply::Response(CannedResponse::json("2").hold(&gate)),
        ]);
        let send = |runtime: &Runtime, count| {
            let post = world
                .client
                .post(&world.url)
                .body("10")
                .options(|options| options.retry(false));
            let call = runtime.spawn(async move { post.send().await?.bytes().await });
            let seen = world
                .server
                .wait_until(move |stats| stats.requests == count);
            runtime.block_on(seen);
            call
        };
        let lost = send(&first, 1);
        let kept = send(&second, 2);
        drop(first);
        assert!(second.block_on(lost).unwrap_err().is_cancelled());
        gate.open();
        assert_eq!(second.block_on(kept).unwrap().unwrap(), "2");
        assert!(second.block_on(world.get()));
    }
}

#[test]
fn body_without_its_runtime_ends_as_a_local_failure() {
    for http2 in [false, true] {
        let world = World::new(http2);
        let (first, second) = (runtime(), runtime());
        let gate = Gate::new();
        let held = CannedResponse::json("1").hold_body(&gate);
        world.server.on_request([held.into()]);
        let get = world
            .client
            .get(&world.url)
            .options(|options| options.streaming(true));
        let response = first.block_on(get.send()).unwrap();
        drop(first);
        let error = second.block_on(response.bytes()).unwrap_err();
        assert_eq!(
            (error.kind(), error.blame()),
            (Kind::LocalResources, Blame::Client),
            "{error}"
        );
        assert!(!second.block_on(world.get()));
    }
}

/// Sends a request over the transport alone, because the deadline of a call needs one runtime.
async fn post(transport: Transport, url: String) -> Result<StatusCode, Error> {
    let request = Request::post(url).body("10".to_owned()).unwrap();
    Ok(transport.oneshot(request).await?.status())
}

#[test]
fn request_without_its_runtime_ends_as_a_local_failure() {
    for http2 in [false, true] {
        let world = World::new(http2);
        let timeouts = Timeouts::new(Duration::from_secs(10)).unwrap();
        let transport = Transport::builder(timeouts)
            .tls(world.net.authority.client_config())
            .resolver(world.net.dns.resolver());
        let transport = transport.build().unwrap();
        let (first, second) = (runtime(), runtime());
        world.server.on_request([Reply::Silent]);
        let mut call = Box::pin(post(transport.clone(), world.url.clone()));
        first.block_on(async {
            tokio::select! {
                biased;
                result = &mut call => panic!("{result:?}"),
                _ = world.server.wait_until(|stats| stats.bodies == 1) => {}
            }
        });
        drop(first);
        let error = second.block_on(call).unwrap_err();
        assert_eq!(
            (error.kind(), error.effect(), error.blame()),
            (Kind::LocalResources, Effect::Possible, Blame::Client),
            "{error}"
        );
        let again = post(transport, world.url.clone());
        assert_eq!(second.block_on(again).unwrap(), StatusCode::OK);
        assert_eq!(world.server.connections(), 2);
    }
}

#[test]
fn connections_of_a_runtime_that_is_gone_are_not_closed_in_place_of_others() {
    for http2 in [false, true] {
        let world = World::new(http2);
        let builder = world.net.builder();
        let builder = builder.transport(|transport| transport.max_connections(2));
        let client = builder.build().unwrap();
        let get = async |host: &str| {
            let url = world.url.replace(HOSTS[0], host);
            let get = client.get(url).options(|options| options.retry(false));
            let response = get.send().await.unwrap();
            response.bytes().await.unwrap();
        };
        let (first, second) = (runtime(), runtime());
        first.block_on(get(HOSTS[0]));
        drop(first);
        for host in &HOSTS[1..] {
            second.block_on(get(host));
        }
        assert_eq!(world.server.connections(), HOSTS.len());
    }
}

#[test]
fn idle_connection_of_a_runtime_that_is_not_driven_makes_room_for_another_at_once() {
    for http2 in [false, true] {
        let world = World::new(http2);
        let builder = world.net.builder();
        let builder = builder.transport(|transport| transport.max_connections(1));
        let client = builder.build().unwrap();
        let get = async |host: &str| {
            let url = world.url.replace(HOSTS[0], host);
            let get = client.get(url).options(|options| options.retry(false));
            let response = get.send().await.unwrap();
            response.bytes().await.unwrap();
        };
        // Each runtime is kept, and drives nothing after its call.
        let runtimes = HOSTS.map(|_| runtime());
        for (runtime, host) in runtimes.iter().zip(HOSTS) {
            runtime.block_on(get(host));
        }
        assert_eq!(world.server.connections(), HOSTS.len());
        // The server sees the end of the others.
        let closed = world.server.wait_until(|stats| stats.open_connections == 1);
        world.home.block_on(closed);
    }
}
