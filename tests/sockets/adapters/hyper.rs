//! Tests a client of hyper-util, as used by an SDK that accepts a tower service.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sevenhops::chaos::ChaosConfig;
use sevenhops::{
    Effect, Hop, IdempotencyKey, Kind, Options, StandardLayer, StandardService, Timeline,
    chaos::ChaosLayer,
    dns,
    hop::Stage,
    sdk::hyper::{HyperParts, PoolService, RequestBody, ResolverService, TrackedConnector},
    testing::{FaultServer, Gate, Reply},
};

use tower::util::MapRequest;
use tower::{Layer, ServiceExt};

use super::world::{
    BoxError, Fault, Move, Street, TEN_SECONDS, World, base, found, keys, throttled, told,
};

type Http<B> = Client<TrackedConnector<HttpsConnector<HttpConnector<ResolverService>>>, B>;
type Service = StandardService<PoolService<Http<RequestBody<Full<Bytes>>>>>;

fn client<B>(hops: &HyperParts) -> Http<B>
where
    B: http_body::Body<Data: Send> + Send + 'static,
{
    let https = HttpsConnectorBuilder::new().with_tls_config(hops.tls());
    let https = https
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(hops.http_connector());
    Client::builder(TokioExecutor::new()).build(hops.connector_layer().layer(https))
}

fn service(world: &World, hops: &HyperParts) -> Service {
    let policies = StandardLayer::from_config(&world.settings()).unwrap();
    policies.layer(hops.layer().layer(client(hops)))
}

fn request(method: Method, url: &str) -> Request<Full<Bytes>> {
    let body = if method == Method::POST {
        "amount=100"
    } else {
        ""
    };
    let request = Request::builder().method(method).uri(url);
    request.body(Full::new(Bytes::from(body))).unwrap()
}

async fn call(service: &Service, url: &str) -> Result<(u16, Timeline), BoxError> {
    send(service, request(Method::GET, url)).await
}

async fn send(
    service: &Service,
    request: Request<Full<Bytes>>,
) -> Result<(u16, Timeline), BoxError> {
    let response = service.clone().oneshot(request).await?;
    let status = response.status().as_u16();
    let timeline = response.body().timeline().clone();
    response.into_body().collect().await?;
    Ok((status, timeline))
}

fn stages(timeline: &Timeline) -> Vec<Stage> {
    let last = timeline.attempts().pop().unwrap();
    last.stages().iter().map(|row| row.stage()).collect()
}

#[tokio::test]
async fn every_hop_is_named() {
    for fault in Fault::ALL {
        let world = World::new().await;
        let hops = world.transport().build_hyper().unwrap();
        let stage = world.stage(fault).await;
        let told = found(call(&service(&world, &hops), &stage.url).await);
        assert_eq!(told, fault.named(), "{fault:?}");
    }
}

#[tokio::test]
async fn policies_over_a_client_with_only_our_connector_see_the_setup_and_one_wait() {
    for fault in Fault::ALL {
        let world = World::new().await;
        let hops = world.transport().build_hyper().unwrap();
        let policies = StandardLayer::from_config(&world.settings()).unwrap();
        let service = policies.layer(client::<Full<Bytes>>(&hops));
        let stage = world.stage(fault).await;
        let calling = async {
            let request = request(Method::GET, &stage.url);
            Ok(service
                .oneshot(request)
                .await?
                .into_body()
                .collect()
                .await?)
        };
        assert_eq!(found(calling.await), fault.named(), "{fault:?}");
    }
}

#[tokio::test]
async fn plain_client_with_our_connector_names_the_hop_and_proves_nothing() {
    for fault in Fault::ALL {
        let world = World::new().await;
        let hops = world.transport().build_hyper().unwrap();
        let stage = world.stage(fault).await;
        let calling = async {
            let answered = client(&hops)
                .request(request(Method::POST, &stage.url))
                .await?;
            Ok(answered.into_body().collect().await?)
        };
        let expected = match fault {
            // A client without limits would never give up.
            Fault::Silent => continue,
            Fault::Truncated => told(None, Kind::Incomplete, Effect::Possible),
            // A layer around the client may have followed a redirect.
            _ => (fault.named().0, fault.named().1, Effect::Possible),
        };
        assert_eq!(found(calling.await), expected, "{fault:?}");
    }
}

#[tokio::test]
async fn successful_call_shows_all_stages_and_a_reused_connection_shows_no_setup() {
    let world = World::new().await;
    let hops = world.transport().build_hyper().unwrap();
    let service = service(&world, &hops);
    let server = world.server().await;
    let (_, first) = call(&service, &base(&server)).await.unwrap();
    use Stage::{Connect, Dns, Receive, Send, Tls, Wait};
    assert_eq!(stages(&first), [Dns, Connect, Tls, Send, Wait, Receive]);
    let connect = first.attempts()[0].stages()[1].address();
    assert_eq!(connect, Some(server.addr()), "the port is the URL's");
    let (_, second) = call(&service, &base(&server)).await.unwrap();
    assert_eq!(stages(&second), [Send, Wait, Receive]);
    assert!(second.attempts()[0].is_reused());
    assert_eq!(second.attempts()[0].peer_addr(), Some(server.addr()));
}

#[tokio::test]
async fn throttled_call_is_retried_after_retry_after() {
    let world = World::new().await;
    let hops = world.transport().build_hyper().unwrap();
    let server = world.server().await;
    server.on_request([throttled()]);
    let begun = tokio::time::Instant::now();
    let (status, timeline) = call(&service(&world, &hops), &base(&server)).await.unwrap();
    assert_eq!((status, timeline.attempt_count()), (200, 2));
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn post_with_a_lost_response_is_retried_only_with_an_honored_key() {
    let world = World::new().await;
    let hops = world.transport().build_hyper().unwrap();
    let service = service(&world, &hops);
    let server = world.server().await;
    server.on_request([Reply::CloseAfterRequest]);
    let lost = send(&service, request(Method::POST, &base(&server))).await;
    assert_eq!(
        found(lost),
        told(Hop::Server, Kind::Closed, Effect::Possible)
    );
    assert_eq!(server.requests_seen(), 1);

    let server = world.server().await;
    server.on_request([Reply::CloseAfterRequest]);
    let mut keyed = request(Method::POST, &base(&server));
    let options = Options::new().idempotency_key(IdempotencyKey::new("order-4711").unwrap());
    keyed.extensions_mut().insert(options);
    assert_eq!(send(&service, keyed).await.unwrap().0, 200);
    assert_eq!(keys(&server), vec![Some("order-4711".to_owned()); 2]);
}

#[tokio::test]
async fn request_that_was_given_up_while_it_waited_for_a_stream_was_not_sent() {
    let world = World::new().await;
    let hops = world.transport().build_hyper().unwrap();
    let service = service(&world, &hops);
    let identity = world.authority.issue(&["api.test"]).unwrap();
    let server = FaultServer::builder().tls(identity).http2();
    let server = server.start().await.unwrap();
    server.on_connection([sevenhops::testing::ConnFault::MaxStreams(1)]);
    call(&service, &base(&server)).await.unwrap();
    server.on_request([Reply::Silent]);
    let occupant = tokio::spawn(send_owned(service.clone(), base(&server)));
    server.wait_until(|stats| stats.requests == 2).await;
    let mut queued = Box::pin(send_owned(service.clone(), base(&server)));
    // After one poll it is in the queue before the test's call. From there it continues in the background.
    poll_fn(|cx| Poll::Ready(queued.as_mut().poll(cx).is_pending())).await;
    let queued = tokio::spawn(queued);
    let mut once = request(Method::POST, &base(&server));
    once.extensions_mut().insert(Options::new().retry(false));
    let error = send(&service, once).await;
    assert_eq!(found(error), told(Hop::Send, Kind::Timeout, Effect::None));
    let _ = tokio::join!(occupant, queued);
    assert!(server.requests().iter().all(|seen| seen.method != "POST"));
}

async fn send_owned(service: Service, url: String) -> Result<(u16, Timeline), BoxError> {
    let mut request = request(Method::GET, &url);
    request.extensions_mut().insert(Options::new().retry(false));
    send(&service, request).await
}

#[tokio::test]
async fn pooled_connection_is_not_used_again_after_its_address_left_dns() {
    for http2 in [false, true] {
        let world = World::new().await;
        let moved = Move::of(&world, http2).await;
        let transport = world.transport().resolver(moved.dns.clone());
        let hops = transport.build_hyper().unwrap();
        let service = service(&world, &hops);
        let url = base(&moved.before);
        call(&service, &url).await.unwrap();
        // A request that is in flight finishes.
        let gate = Gate::new();
        let held = sevenhops::testing::CannedResponse::default().hold(&gate);
        moved.before.on_request([held.into()]);
        let in_flight = tokio::spawn(send_owned(service.clone(), url.clone()));
        moved.before.wait_until(|stats| stats.requests == 2).await;
        moved.dns.move_to(2);
        call(&service, &url).await.unwrap();
        assert_eq!(moved.seen(), (2, 1), "http2: {http2}");
        gate.open();
        assert_eq!(in_flight.await.unwrap().unwrap().0, 200);
        call(&service, &url).await.unwrap();
        assert_eq!(moved.seen(), (2, 2), "http2: {http2}");
    }
}

#[tokio::test]
async fn connection_whose_address_left_dns_before_its_first_response_is_not_used_again() {
    let world = World::new().await;
    let moved = Move::new(&world).await;
    let transport = world.transport().resolver(moved.dns.clone());
    let service = service(&world, &transport.build_hyper().unwrap());
    let url = base(&moved.before);
    let gate = Gate::new();
    let held = sevenhops::testing::CannedResponse::default().hold(&gate);
    moved.before.on_request([held.into()]);
    let in_flight = tokio::spawn(send_owned(service.clone(), url.clone()));
    moved.before.wait_until(|stats| stats.requests == 1).await;
    moved.dns.move_to(2);
    call(&service, &url).await.unwrap();
    gate.open();
    in_flight.await.unwrap().unwrap();
    // The pool prefers the connection that was returned last.
    call(&service, &url).await.unwrap();
    assert_eq!(moved.seen(), (1, 2));
}

#[tokio::test]
async fn connection_of_a_tunnel_is_used_again() {
    let world = World::new().await;
    let server = FaultServer::start().await.unwrap();
    let names = dns::StaticResolver::new().host("api.test", [[127, 0, 0, 9].into()]);
    let hops = world.transport().resolver(names).build_hyper().unwrap();
    let entry: http::Uri = server.url("").parse().unwrap();
    let tunnel = MapRequest::new(HttpConnector::new(), move |_: http::Uri| entry.clone());
    let tunnel = hops.connector_layer().layer(tunnel);
    let client: Client<_, RequestBody<Full<Bytes>>> =
        Client::builder(TokioExecutor::new()).build(tunnel);
    let policies = StandardLayer::from_config(&world.settings()).unwrap();
    let service = policies.layer(hops.layer().layer(client));
    for _ in 0..3 {
        let get = request(Method::GET, "http://api.test/");
        let response = service.clone().oneshot(get).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    assert_eq!((server.requests_seen(), server.connections()), (3, 1));
}

#[tokio::test]
async fn pooled_connection_of_a_client_without_the_layer_outlives_its_record() {
    let world = World::new().await;
    let moved = Move::new(&world).await;
    let transport = world.transport().resolver(moved.dns.clone());
    let client = client(&transport.build_hyper().unwrap());
    for last in [1, 2] {
        moved.dns.move_to(last);
        let answered = client.request(request(Method::GET, &base(&moved.before)));
        answered.await.unwrap().into_body().collect().await.unwrap();
    }
    assert_eq!(moved.seen(), (2, 0));
}

#[tokio::test]
async fn length_that_is_not_the_bodys_is_not_sent() {
    let world = World::new().await;
    let server = world.server().await;
    let hops = world.transport().build_hyper().unwrap();
    for length in ["3", "11", "ten"] {
        let mut post = request(Method::POST, &base(&server));
        let length = http::HeaderValue::from_static(length);
        post.headers_mut().insert("content-length", length);
        let sent = send(&service(&world, &hops), post).await;
        let expected = told(Hop::Encode, Kind::InvalidRequest, Effect::None);
        assert_eq!(found(sent), expected);
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn filter_applies_to_names_and_to_addresses_in_urls() {
    let world = World::new().await;
    let server = world.server().await;
    let filter = dns::AddressFilter::public_only();
    let hops = world.transport().filter(filter).build_hyper().unwrap();
    let port = server.addr().port();
    for host in ["api.test", "127.0.0.1", "[::ffff:127.0.0.1]"] {
        let url = format!("https://{host}:{port}/");
        let expected = told(Hop::Dns, Kind::Filtered, Effect::None);
        assert_eq!(found(call(&service(&world, &hops), &url).await), expected);
        // The same for the connector alone.
        let plain = client(&hops).request(request(Method::GET, &url)).await;
        let expected = told(Hop::Dns, Kind::Filtered, Effect::Possible);
        assert_eq!(found(plain.map_err(BoxError::from)), expected, "{host}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn config_that_an_own_connector_cannot_apply_is_refused() {
    let world = World::new().await;
    let proxied = world.transport().proxy("http://127.0.0.1:9").build_hyper();
    let refused = proxied.unwrap_err().to_string();
    assert!(refused.starts_with("transport.proxy: "), "{refused}");
    let chaos = ChaosConfig::new(1);
    let chaotic = || {
        world
            .transport()
            .chaos(ChaosLayer::new(chaos.clone()).unwrap())
    };
    let refused = [
        chaotic().build_hyper().unwrap_err(),
        chaotic().build_reqwest().unwrap_err(),
    ];
    for refused in refused.map(|error| error.to_string()) {
        assert!(refused.starts_with("transport.chaos: "), "{refused}");
    }
}

#[tokio::test]
async fn dark_address_uses_only_its_share_of_the_connect_timeout() {
    let world = World::new().await;
    let street = Street::new(&world).await;
    let guards = StandardLayer::new(TEN_SECONDS).unwrap();
    let calls = (0..7).map(|_| {
        let hops = street.transport(&world).build_hyper().unwrap();
        let service = guards.clone().layer(hops.layer().layer(client(&hops)));
        let request = request(Method::POST, &street.url);
        async move {
            let answered = service.oneshot(request).await.unwrap();
            assert_eq!(answered.body().timeline().attempt_count(), 1);
            answered.into_body().collect().await.unwrap();
        }
    });
    street.all_within_the_connect_limit(calls).await;
}
