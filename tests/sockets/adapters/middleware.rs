//! Tests `ClientWithMiddleware`: the stack over this crate's transport, and over the client's own connections.

mod chain;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use http_body_util::{BodyExt, Full};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use sevenhops::{
    Client, Effect, Hop, IdempotencyKey, Kind, Options, StandardLayer,
    hop::Stage,
    sdk,
    testing::{CannedResponse, Gate, Reply},
};

use super::world::{BoxError, Fault, Move, NAME, World, base, found, keys, throttled, told};

/// Returns the stack over this crate's transport: the client below it is not used.
fn over_transport(world: &World, client: Client) -> ClientWithMiddleware {
    ClientBuilder::new(foreign(world)).with(client).build()
}

/// Returns the policies over a client's own connections.
fn over(world: &World, client: reqwest::Client) -> ClientWithMiddleware {
    let policies = StandardLayer::from_config(&world.settings()).unwrap();
    ClientBuilder::new(client).with(policies).build()
}

/// Returns a foreign client that knows the server's address.
fn foreign(world: &World) -> reqwest::Client {
    let told = foreign_builder(world).resolve("api.test", ([127, 0, 0, 1], 0).into());
    told.build().unwrap()
}

fn foreign_builder(world: &World) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(world.authority.client_config())
        .redirect(reqwest::redirect::Policy::none())
}

/// A foreign resolver that asks a name server of the test, without a timeout.
struct Theirs(TokioResolver);

impl Theirs {
    fn new(world: &World, patience: Duration) -> Self {
        let mut udp = ConnectionConfig::udp();
        udp.port = world.dns.addr().port();
        let server = NameServerConfig::new(world.dns.addr().ip(), true, vec![udp]);
        let config = ResolverConfig::from_name_servers(vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, Default::default());
        (
            builder.options_mut().timeout,
            builder.options_mut().attempts,
        ) = (patience, 0);
        Self(builder.build().unwrap())
    }
}

impl reqwest::dns::Resolve for Theirs {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.lookup_ip(name.as_str()).await?;
            let addresses: Vec<SocketAddr> = found.iter().map(|ip| (ip, 0).into()).collect();
            Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

async fn call(client: &ClientWithMiddleware, url: &str) -> Result<(u16, String), BoxError> {
    let response = client.get(format!("{url}/v1/charges")).send().await?;
    let status = response.status().as_u16();
    Ok((status, response.text().await?))
}

#[tokio::test]
async fn every_hop_is_named_over_our_transport() {
    for fault in Fault::ALL {
        let world = World::new().await;
        let client = over_transport(&world, world.client());
        let stage = world.stage(fault).await;
        let told = found(call(&client, &stage.url).await);
        assert_eq!(told, fault.named(), "{fault:?}");
    }
}

#[tokio::test]
async fn setup_is_named_over_our_bare_client_and_the_rest_is_one_wait() {
    for fault in Fault::ALL {
        let world = World::new().await;
        let client = over(&world, world.transport().build_reqwest().unwrap());
        let stage = world.stage(fault).await;
        let told = found(call(&client, &stage.url).await);
        assert_eq!(told, fault.named(), "{fault:?}");
    }
}

#[tokio::test]
async fn foreign_client_shows_only_one_wait() {
    for fault in Fault::ALL {
        let world = World::new().await;
        let client = over(&world, foreign(&world));
        let stage = world.stage(fault).await;
        let expected = match fault {
            Fault::DnsSilent => continue, // it makes no lookup: see below
            // Its connector reports the failure, but the client could have sent a request before.
            Fault::Refused => told(Hop::Connect, Kind::Refused, Effect::Possible),
            Fault::UnknownIssuer => {
                told(Hop::Tls, Kind::CertificateUnknownIssuer, Effect::Possible)
            }
            // From outside, the two cannot be distinguished.
            Fault::TlsSilent | Fault::Silent => told(Hop::Server, Kind::Timeout, Effect::Possible),
            Fault::Truncated => fault.named(),
        };
        assert_eq!(
            found(call(&client, &stage.url).await),
            expected,
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn dns_failure_of_a_foreign_client_is_named_if_it_comes_before_the_attempt_timeout() {
    let over_theirs = |world: &World, patience| {
        let resolver = Theirs::new(world, patience);
        over(
            world,
            foreign_builder(world)
                .dns_resolver(resolver)
                .build()
                .unwrap(),
        )
    };
    for (patience, expected) in [
        (
            Duration::from_millis(200),
            told(Hop::Dns, Kind::Other, Effect::Possible),
        ),
        (
            Duration::from_secs(60),
            told(Hop::Server, Kind::Timeout, Effect::Possible),
        ),
    ] {
        let world = World::new().await;
        let client = over_theirs(&world, patience);
        let stage = world.stage(Fault::DnsSilent).await;
        assert_eq!(found(call(&client, &stage.url).await), expected);
        assert!(world.dns.queries_for(NAME) > 0);
        assert_eq!(stage.requests(), 0);
    }
    let world = World::new().await;
    let client = over_theirs(&world, Duration::from_secs(60));
    let server = world.server().await;
    assert_eq!(
        call(&client, &base(&server)).await.unwrap().0,
        200,
        "it works"
    );
}

#[tokio::test]
async fn timeline_is_in_both_errors_and_in_the_response() {
    let world = World::new().await;
    let client = over_transport(&world, world.client());
    let stage = world.stage(Fault::TlsSilent).await;
    let error = client.get(&stage.url).send().await.unwrap_err();
    let found = sdk::classify_error(&error);
    assert_eq!(found.timeline().unwrap().attempt_count(), 2, "{found}");

    let world = World::new().await;
    let client = over_transport(&world, world.client());
    let stage = world.stage(Fault::Truncated).await;
    let response = client.get(&stage.url).send().await.unwrap();
    assert_eq!(response.url().as_str(), format!("{}/", stage.url));
    let error: reqwest::Error = response.bytes().await.unwrap_err();
    let rows = sdk::classify_error(&error).timeline().unwrap().attempts();
    assert!(
        rows[0]
            .stages()
            .iter()
            .any(|row| row.stage() == Stage::Receive)
    );

    let server = world.server().await;
    for client in [
        client,
        over(&world, world.transport().build_reqwest().unwrap()),
    ] {
        let response = client.get(base(&server)).send().await.unwrap();
        assert_eq!(response.url().as_str(), format!("{}/", base(&server)));
        let ours = sevenhops::Response::from(response);
        let stages = ours.timeline().unwrap().attempts()[0].stages().to_vec();
        let stages: Vec<_> = stages.iter().map(|row| row.stage()).collect();
        let setup = [Stage::Connect, Stage::Tls];
        assert!(stages.windows(2).any(|two| two == setup), "{stages:?}");
        assert!(stages.contains(&Stage::Wait), "{stages:?}");
    }
}

#[tokio::test]
async fn throttled_call_is_retried_after_retry_after() {
    let world = World::new().await;
    for client in [
        over_transport(&world, world.client()),
        over(&world, foreign(&world)),
    ] {
        let server = world.server().await;
        server.on_request([throttled()]);
        let begun = tokio::time::Instant::now();
        assert_eq!(call(&client, &base(&server)).await.unwrap().0, 200);
        assert!(begun.elapsed() >= Duration::from_secs(1));
        assert_eq!(server.requests_seen(), 2);
    }
}

#[tokio::test]
async fn post_with_a_lost_response_is_retried_only_with_an_honored_key() {
    let world = World::new().await;
    for client in [
        over_transport(&world, world.client()),
        over(&world, foreign(&world)),
    ] {
        let server = world.server().await;
        server.on_request([Reply::CloseAfterRequest]);
        let url = base(&server);
        let lost = client.post(&url).body("amount=100").send().await;
        let told_by = found(lost.map_err(BoxError::from));
        assert_eq!(told_by, told(Hop::Server, Kind::Closed, Effect::Possible));
        assert_eq!(server.requests_seen(), 1);
        assert!(keys(&server)[0].is_some(), "a key is sent all the same");

        let server = world.server().await;
        server.on_request([Reply::CloseAfterRequest]);
        let options = Options::new().idempotency_key(IdempotencyKey::new("order-4711").unwrap());
        let request = client.post(base(&server)).body("amount=100");
        let response = request.with_extension(options).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(keys(&server), vec![Some("order-4711".to_owned()); 2]);
    }
}

#[tokio::test]
async fn body_that_cannot_be_cloned_passes_once() {
    let world = World::new().await;
    for client in [
        over_transport(&world, world.client()),
        over(&world, foreign(&world)),
    ] {
        let server = world.server().await;
        server.on_request([Reply::CloseAfterRequest]);
        let options = Options::new().honors_idempotency_keys(true);
        let body = reqwest::Body::wrap(String::from("amount=100"));
        let request = client
            .post(base(&server))
            .with_extension(options)
            .body(body);
        let error = request.send().await.unwrap_err();
        let ours = sdk::classify_error(&error).error().unwrap();
        assert_eq!(server.requests()[0].body, "amount=100");
        assert_eq!(
            (server.requests_seen(), ours.effect()),
            (1, Effect::Possible)
        );
    }
}

#[tokio::test]
async fn timeout_of_one_request_is_its_deadline() {
    let world = World::new().await;
    let client = over_transport(&world, world.client());
    let stage = world.stage(Fault::Silent).await;
    let begun = tokio::time::Instant::now();
    let request = client.get(&stage.url).timeout(Duration::from_millis(200));
    let error = request.send().await.unwrap_err();
    assert_eq!(sdk::classify_error(&error).kind(), Kind::Timeout);
    // It ended before its first-byte timeout could have ended the first of two attempts.
    assert!(begun.elapsed() < Duration::from_millis(550));
    // Of a timeout and a deadline, the shorter one applies.
    let stage = world.stage(Fault::Silent).await;
    let (short, long) = (Duration::from_millis(200), Duration::from_secs(60));
    for (timeout, deadline) in [(short, long), (long, short)] {
        let deadline = Options::new().deadline(deadline);
        let begun = tokio::time::Instant::now();
        let request = client.get(&stage.url).timeout(timeout);
        let sent = request.with_extension(deadline).send().await;
        assert_eq!(
            sdk::classify_error(&sent.unwrap_err()).kind(),
            Kind::Timeout
        );
        assert!(begun.elapsed() < Duration::from_millis(550), "{timeout:?}");
    }
    let error = client.get(&stage.url).timeout(Duration::ZERO).send().await;
    let error = error.unwrap_err();
    assert_eq!(sdk::classify_error(&error).hop(), Some(Hop::Encode));
}

#[tokio::test]
async fn deadline_holds_and_not_the_timeout_of_the_client_below() {
    let world = World::new().await;
    let short = Duration::from_millis(300);
    let impatient = foreign_builder(&world).timeout(short);
    let impatient = impatient.resolve(NAME, ([127, 0, 0, 1], 0).into());
    let policies = StandardLayer::new(Duration::from_secs(10)).unwrap();
    let client = ClientBuilder::new(impatient.build().unwrap()).with(policies);
    let client = client.build();
    let server = world.server().await;
    for holds_body in [false, true] {
        let gate = Gate::new();
        let slow = CannedResponse::default();
        server.on_request([match holds_body {
            true => slow.hold_body(&gate).into(),
            false => slow.hold(&gate).into(),
        }]);
        let url = base(&server);
        let call = async {
            let request = client.post(url).timeout(Duration::from_secs(60));
            request.send().await?.bytes().await.map_err(BoxError::from)
        };
        let later = async {
            tokio::time::sleep(2 * short).await;
            gate.open();
        };
        let (called, ()) = tokio::join!(call, later);
        assert_eq!(called.unwrap(), r#"{"ok":true}"#);
    }
}

#[tokio::test]
async fn dns_changes_reach_our_pool_and_not_the_clients_own() {
    let world = World::new().await;
    let moved = Move::new(&world).await;
    let url = base(&moved.before);
    let client = Client::builder_from_config(world.settings())
        .transport(|transport| {
            transport
                .tls(world.authority.client_config())
                .resolver(moved.dns.clone())
        })
        .build();
    let client = over_transport(&world, client.unwrap());
    call(&client, &url).await.unwrap();
    moved.dns.move_to(2);
    call(&client, &url).await.unwrap();
    assert_eq!(moved.seen(), (1, 1));

    let moved = Move::new(&world).await;
    let bare = world.transport().resolver(moved.dns.clone());
    let client = over(&world, bare.build_reqwest().unwrap());
    call(&client, &base(&moved.before)).await.unwrap();
    moved.dns.move_to(2);
    call(&client, &base(&moved.before)).await.unwrap();
    assert_eq!(moved.seen(), (2, 0));
}

#[tokio::test]
async fn length_that_is_not_the_bodys_is_not_sent_in_either_place() {
    let world = World::new().await;
    let server = world.server().await;
    let url = base(&server);
    for client in [
        over_transport(&world, world.client()),
        over(&world, foreign(&world)),
    ] {
        let post = |length| client.post(&url).header("content-length", length);
        let known = post("3").body("sixsix").send().await;
        let expected = told(Hop::Encode, Kind::InvalidRequest, Effect::None);
        assert_eq!(found(known.map_err(BoxError::from)), expected);
        assert_eq!(server.requests_seen(), 0);
        for length in ["9", "3", "0"] {
            // Hides the length of the body.
            let body = Full::new(Bytes::from("sixsix")).map_frame(|frame| frame);
            let body = reqwest::Body::wrap(body);
            let unknown = post(length).body(body).send().await;
            let (hop, kind, _) = found(unknown.map_err(BoxError::from));
            assert_eq!(
                (hop, kind),
                (Some(Hop::Send), Kind::RequestBody),
                "{length}"
            );
        }
    }
    assert!(server.requests().iter().all(|seen| !seen.body_complete));
}
