//! octocrab, which takes a tower service.

use std::time::Duration;

use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use serde_json::{Value, json};
use sevenhops::guard::idempotency;
use sevenhops::sdk::hyper::Hops;
use sevenhops::testing::Reply;
use sevenhops::{Effect, Hop, Kind, Settings, StandardLayer, TransportBuilder};
use tower::{Layer, ServiceBuilder};

use super::world::{BoxError, Fault, Move, World, base, found, keys, throttled, told};

/// A body in memory, or none, can be sent again.
fn copy(body: &OctoBody) -> Option<OctoBody> {
    use http_body::Body;
    let empty = body.is_end_stream().then(OctoBody::empty);
    empty.or_else(|| body.try_clone())
}

/// Our transport as its service.
fn over_transport(settings: &Settings, transport: TransportBuilder, url: &str) -> Octocrab {
    let guards = StandardLayer::with(settings).unwrap().replay_with(copy);
    let service = guards.layer(transport.build().unwrap());
    let base_uri = BaseUriLayer::new(url.parse().unwrap());
    let builder = OctocrabBuilder::new_empty().with_service(service);
    let builder = builder.with_layer(&base_uri).with_auth(AuthState::None);
    builder.build().unwrap()
}

/// A client of its own, with our connector layer and resolver, and the guards over it.
fn over_its_own(settings: &Settings, hops: &Hops, url: &str) -> Octocrab {
    let mut tcp = HttpConnector::new_with_resolver(hops.resolver());
    tcp.enforce_http(false);
    let https = HttpsConnectorBuilder::new().with_tls_config(hops.tls());
    let https = https.https_only().enable_all_versions().wrap_connector(tcp);
    let client = Client::builder(TokioExecutor::new()).build(hops.connector_layer().layer(https));
    let service = ServiceBuilder::new()
        .layer(StandardLayer::with(settings).unwrap().replay_with(copy))
        .layer(hops.layer())
        .service(client);
    let base_uri = BaseUriLayer::new(url.parse().unwrap());
    let builder = OctocrabBuilder::new_empty().with_service(service);
    let builder = builder.with_layer(&base_uri).with_auth(AuthState::None);
    builder.build().unwrap()
}

/// Both ways.
fn both(world: &World, settings: &Settings, url: &str) -> [Octocrab; 2] {
    let hops = world.transport().build_hyper().unwrap();
    [
        over_transport(settings, world.transport(), url),
        over_its_own(settings, &hops, url),
    ]
}

async fn get(octocrab: &Octocrab) -> Result<Value, BoxError> {
    Ok(octocrab.get("/repos", None::<&()>).await?)
}

async fn post(octocrab: &Octocrab) -> Result<Value, BoxError> {
    Ok(octocrab
        .post("/issues", Some(&json!({"title": "a"})))
        .await?)
}

#[tokio::test]
async fn every_hop_is_named() {
    for fault in Fault::ALL {
        for way in 0..2 {
            let world = World::new().await;
            let stage = world.stage(fault).await;
            let octocrab = &both(&world, &world.settings(), &stage.url)[way];
            assert_eq!(found(get(octocrab).await), fault.named(), "{way} {fault:?}");
        }
    }
}

#[tokio::test]
async fn throttled_call_is_repeated_when_the_server_said() {
    let world = World::new().await;
    let server = world.server().await;
    for octocrab in both(&world, &world.settings(), &base(&server)) {
        server.on_request([throttled()]);
        let (begun, before) = (tokio::time::Instant::now(), server.requests_seen());
        assert_eq!(get(&octocrab).await.unwrap(), json!({"ok": true}));
        assert!(begun.elapsed() >= Duration::from_secs(1));
        assert_eq!(server.requests_seen() - before, 2);
    }
}

#[tokio::test]
async fn post_whose_answer_was_lost_is_repeated_only_where_keys_are_honoured() {
    let world = World::new().await;
    for way in 0..2 {
        let server = world.server().await;
        server.on_request([Reply::CloseAfterRequest]);
        let octocrab = &both(&world, &world.settings(), &base(&server))[way];
        let expected = told(Hop::Server, Kind::Closed, Effect::Possible);
        assert_eq!(found(post(octocrab).await), expected);
        assert_eq!(server.requests_seen(), 1);

        let server = world.server().await;
        server.on_request([Reply::CloseAfterRequest]);
        let honoured = idempotency::Settings::new().honoured_by(base(&server).parse().unwrap());
        let settings = world.settings().idempotency(honoured);
        let octocrab = &both(&world, &settings, &base(&server))[way];
        assert_eq!(post(octocrab).await.unwrap(), json!({"ok": true}));
        let keys = keys(&server);
        assert!(
            keys.len() == 2 && keys[0].is_some() && keys[0] == keys[1],
            "{keys:?}"
        );
    }
}

#[tokio::test]
async fn dns_reaches_the_pool() {
    let world = World::new().await;
    for way in 0..2 {
        let moved = Move::new(&world).await;
        let transport = || world.transport().resolver(moved.dns.clone());
        let (settings, url) = (world.settings(), base(&moved.before));
        let octocrab = match way {
            0 => over_transport(&settings, transport(), &url),
            _ => over_its_own(&settings, &transport().build_hyper().unwrap(), &url),
        };
        get(&octocrab).await.unwrap();
        moved.dns.move_to(2);
        get(&octocrab).await.unwrap();
        assert_eq!(moved.seen(), (1, 1), "{way}");
    }
}
