//! Tests a user's `reqwest::Client` below a stack.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use sevenhops::{
    Body, Effect, Error, Hop, IdempotencyKey, Kind, Options, StandardLayer, StandardService,
    Transport,
    sdk::reqwest::ReqwestService,
    testing::{ClosedPort, Reply},
};

use tower::{Layer, ServiceExt};

use super::world::{BoxError, Fault, Move, World, base, found, keys, throttled, told};

type Service = StandardService<ReqwestService>;

/// Returns a foreign client that knows the server's address.
fn foreign(world: &World) -> reqwest::Client {
    reqwest::Client::builder()
        .tls_backend_preconfigured(world.authority.client_config())
        .redirect(reqwest::redirect::Policy::none())
        .resolve("api.test", ([127, 0, 0, 1], 0).into())
        .build()
        .unwrap()
}

fn over(world: &World, client: reqwest::Client) -> Service {
    let policies = StandardLayer::from_config(&world.settings()).unwrap();
    policies.layer(Transport::over(client))
}

fn request(method: Method, url: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method);
    let request = request.uri(format!("{url}/v1/charges"));
    request.body(body.into()).unwrap()
}

async fn send(service: &Service, request: Request<Body>) -> Result<u16, BoxError> {
    let response = service.clone().oneshot(request).await?;
    let status = response.status().as_u16();
    response.into_body().collect().await?;
    Ok(status)
}

async fn call(service: &Service, url: &str) -> Result<u16, BoxError> {
    send(service, request(Method::GET, url, "")).await
}

#[tokio::test]
async fn foreign_client_shows_one_wait_and_proves_nothing() {
    for fault in Fault::ALL {
        let world = World::new().await;
        let service = over(&world, foreign(&world));
        let stage = world.stage(fault).await;
        let expected = match fault {
            Fault::DnsSilent => continue, // its own resolver is not asked
            Fault::Refused => told(Hop::Connect, Kind::Refused, Effect::Possible),
            Fault::UnknownIssuer => {
                told(Hop::Tls, Kind::CertificateUnknownIssuer, Effect::Possible)
            }
            Fault::TlsSilent | Fault::Silent => told(Hop::Server, Kind::Timeout, Effect::Possible),
            Fault::Truncated => fault.named(),
        };
        let told = found(call(&service, &stage.url).await);
        assert_eq!(told, expected, "{fault:?}");
    }
}

#[tokio::test]
async fn setup_is_named_over_our_bare_client() {
    for fault in Fault::ALL {
        let world = World::new().await;
        let service = over(&world, world.transport().build_reqwest().unwrap());
        let stage = world.stage(fault).await;
        let told = found(call(&service, &stage.url).await);
        assert_eq!(told, fault.named(), "{fault:?}");
    }
}

#[tokio::test]
async fn without_a_stack_the_error_has_reqwests_hop_and_no_proof() {
    let world = World::new().await;
    let port = ClosedPort::new().unwrap();
    let url = format!("https://api.test:{}", port.addr().port());
    let service = Transport::over(foreign(&world));
    let sending = service.clone().oneshot(request(Method::POST, &url, "a=1"));
    let error: Error = sending.await.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind(), error.effect()),
        told(Hop::Connect, Kind::Refused, Effect::Possible)
    );
    let server = world.server().await;
    server.default_reply(Reply::CloseAfterRequest);
    let sending = service.oneshot(request(Method::POST, &base(&server), "a=1"));
    let error = sending.await.unwrap_err();
    assert_eq!(error.hop(), Some(Hop::Server));
    assert_eq!(error.effect(), Effect::Possible);
}

#[tokio::test]
async fn throttled_call_is_retried_and_a_lost_response_only_with_an_honored_key() {
    let world = World::new().await;
    let service = over(&world, foreign(&world));
    let server = world.server().await;
    server.on_request([throttled()]);
    assert_eq!(call(&service, &base(&server)).await.unwrap(), 200);
    assert_eq!(server.requests_seen(), 2);

    server.on_request([Reply::CloseAfterRequest]);
    let post = || request(Method::POST, &base(&server), "amount=100");
    let lost = found(send(&service, post()).await);
    assert_eq!(lost.2, Effect::Possible);
    assert_eq!(server.requests_seen(), 3);

    server.on_request([Reply::CloseAfterRequest]);
    let mut vouched = post();
    vouched
        .extensions_mut()
        .insert(Options::new().honors_idempotency_keys(true));
    assert_eq!(send(&service, vouched).await.unwrap(), 200);
    let keys = keys(&server);
    assert!(keys[3].is_some() && keys[3] == keys[4], "{keys:?}");
    assert_eq!(server.requests()[4].body, "amount=100");
}

#[tokio::test]
async fn unmet_demand_and_wrong_framing_are_refused_before_the_client_sees_them() {
    let world = World::new().await;
    let server = world.server().await;
    let service = Transport::over(foreign(&world));
    let post = || request(Method::POST, &base(&server), "amount=100");
    let mut keyed = post();
    let key = Options::new().idempotency_key(IdempotencyKey::new("k-1").unwrap());
    keyed.extensions_mut().insert(key);
    let mut short = post();
    short.headers_mut().insert("content-length", 3.into());
    for (request, why) in [(keyed, "IdempotencyLayer"), (short, "Content-Length")] {
        let error = service.clone().oneshot(request).await.unwrap_err();
        assert_eq!(
            (error.hop(), error.kind(), error.effect()),
            told(Hop::Encode, Kind::InvalidRequest, Effect::None)
        );
        let all = format!("{error:?}").to_lowercase();
        assert!(all.contains(&why.to_lowercase()), "{all}");
    }
    assert_eq!(server.requests_seen(), 0);
    let stream = Body::wrap(Full::new(Bytes::from_static(b"amount=100")));
    let streamed = request(Method::POST, &base(&server), stream);
    let response = service.oneshot(streamed).await.unwrap();
    let url = reqwest::Response::from(response).url().to_string();
    assert_eq!(url, format!("{}/v1/charges", base(&server)));
    assert_eq!(server.requests()[0].body, "amount=100");
}

#[tokio::test]
async fn pool_of_the_client_does_not_follow_dns() {
    let world = World::new().await;
    let moved = Move::new(&world).await;
    let service = over(&world, foreign(&world));
    call(&service, &base(&moved.before)).await.unwrap();
    moved.dns.move_to(2);
    call(&service, &base(&moved.before)).await.unwrap();
    assert_eq!(moved.seen(), (2, 0));
}
