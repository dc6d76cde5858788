//! The two services that replace an SDK's own, if it takes one. Also the facts that hold for each SDK over either
//! service.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use sevenhops::{
    Config, Effect, Error, Hop, IdempotencyConfig, Kind, StandardLayer, TransportBuilder,
    testing::{CannedResponse, FaultServer, Reply},
};

use tower::util::BoxCloneService;
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::world::{BoxError, Fault, Move, World, base, found, keys, throttled, told};

/// An SDK's client that is given a service.
pub(super) trait OverService: Sized {
    /// Its requests' body.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static;

    /// A valid response, in JSON.
    const ANSWER: &str;

    fn copy(body: &Self::Body) -> Option<Self::Body>;
    fn empty() -> Self::Body;
    fn over(service: Service<Self::Body>, url: &str) -> Self;
    async fn get(&self) -> Result<Value, BoxError>;
    async fn post(&self) -> Result<Value, BoxError>;
}

/// Either of the two.
pub(super) type Service<B> = BoxCloneService<Request<B>, Response<BoxBody<Bytes, Error>>, Error>;

/// Over the policies on our transport, and over the policies on a client of hyper-util's that has our connector
/// layer, resolver and TLS.
pub(super) fn both<T: OverService>(
    settings: &Config,
    transport: impl Fn() -> TransportBuilder,
    url: &str,
) -> [T; 2] {
    let policies = StandardLayer::from_config(settings)
        .unwrap()
        .clone_body_with(T::copy, T::empty);
    let over_ours = policies.layer(transport().build().unwrap());
    let hops = transport().build_hyper().unwrap();
    let tcp = hops.http_connector();
    let https = HttpsConnectorBuilder::new().with_tls_config(hops.tls());
    let https = https.https_only().enable_all_versions().wrap_connector(tcp);
    let client = Client::builder(TokioExecutor::new()).build(hops.connector_layer().layer(https));
    let over_theirs = ServiceBuilder::new()
        .layer(policies)
        .layer(hops.layer())
        .service(client);
    let services = [
        BoxCloneService::new(over_ours.map_response(|answer| answer.map(BodyExt::boxed))),
        BoxCloneService::new(over_theirs.map_response(|answer| answer.map(BodyExt::boxed))),
    ];
    services.map(|service| T::over(service, url))
}

fn answer<T: OverService>() -> Value {
    serde_json::from_str(T::ANSWER).unwrap()
}

async fn server<T: OverService>(world: &World) -> FaultServer {
    let server = world.server().await;
    server.default_reply(CannedResponse::json(T::ANSWER));
    server
}

pub(super) async fn every_hop_is_named<T: OverService>() {
    for fault in Fault::ALL {
        for way in 0..2 {
            let world = World::new().await;
            let stage = world.stage(fault).await;
            let sdk = &both::<T>(&world.settings(), || world.transport(), &stage.url)[way];
            assert_eq!(found(sdk.get().await), fault.named(), "{way} {fault:?}");
        }
    }
}

pub(super) async fn throttled_call_is_repeated_when_the_server_said<T: OverService>() {
    let world = World::new().await;
    let server = server::<T>(&world).await;
    for sdk in both::<T>(&world.settings(), || world.transport(), &base(&server)) {
        server.on_request([throttled()]);
        let (begun, before) = (tokio::time::Instant::now(), server.requests_seen());
        assert_eq!(sdk.get().await.unwrap(), answer::<T>());
        assert!(begun.elapsed() >= Duration::from_secs(1));
        assert_eq!(server.requests_seen() - before, 2);
    }
}

pub(super) async fn lost_answer_to_a_post_is_asked_for_again_only_where_keys_are_honored<T>()
where
    T: OverService,
{
    let world = World::new().await;
    for way in 0..2 {
        let lossy = server::<T>(&world).await;
        lossy.on_request([Reply::CloseAfterRequest]);
        let sdk = &both::<T>(&world.settings(), || world.transport(), &base(&lossy))[way];
        let expected = told(Hop::Server, Kind::Closed, Effect::Possible);
        assert_eq!(found(sdk.post().await), expected);
        assert_eq!(lossy.requests_seen(), 1);

        let lossy = server::<T>(&world).await;
        lossy.on_request([Reply::CloseAfterRequest]);
        let honored = IdempotencyConfig::new().honored_by(base(&lossy).parse().unwrap());
        let settings = world.settings().idempotency(honored);
        let sdk = &both::<T>(&settings, || world.transport(), &base(&lossy))[way];
        assert_eq!(sdk.post().await.unwrap(), answer::<T>());
        let keys = keys(&lossy);
        assert!(
            keys.len() == 2 && keys[0].is_some() && keys[0] == keys[1],
            "{keys:?}"
        );
    }
}

pub(super) async fn dns_reaches_the_pool<T: OverService>() {
    let world = World::new().await;
    for way in 0..2 {
        let moved = Move::new(&world).await;
        for server in [&moved.before, &moved.after] {
            server.default_reply(CannedResponse::json(T::ANSWER));
        }
        let transport = || world.transport().resolver(moved.dns.clone());
        let sdk = &both::<T>(&world.settings(), transport, &base(&moved.before))[way];
        sdk.get().await.unwrap();
        moved.dns.move_to(2);
        sdk.get().await.unwrap();
        assert_eq!(moved.seen(), (1, 1), "{way}");
    }
}
