//! Tests HTTP/2 responses that end by a reset that hyper reports as the end of the body.

use bytes::Bytes;
use h2::Reason;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use reqwest_middleware::ClientBuilder;
use sevenhops::testing::{CannedResponse, FaultServer, Reply};
use sevenhops::{Body, Effect, Hop, Kind, Options, StandardLayer, Transport};
use tower::{Layer, Service, ServiceExt};

use super::world::{BoxError, NAME, World, base, found, told};

async fn http2(world: &World) -> FaultServer {
    let identity = world.authority.issue(&[NAME]).unwrap();
    let server = FaultServer::builder().tls(identity).http2();
    server.start().await.unwrap()
}

fn foreign(world: &World) -> reqwest::Client {
    let mut tls = world.authority.client_config();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .resolve(NAME, ([127, 0, 0, 1], 0).into())
        .build()
        .unwrap()
}

/// A response with some of its 100 bytes, and then the reset that hyper takes for the end.
const CUT: Reply = Reply::ResetStreamInBody(Reason::NO_ERROR);

/// Checks responses that are cut, and responses whose head announces bytes that never come.
async fn check<S, B, R>(world: &World, service: S, body: impl Fn() -> B)
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    R: http_body::Body<Error: Into<BoxError>>,
{
    let send = async |server: &FaultServer, method: Method, options: Options| {
        let request = Request::builder().method(method).uri(base(server));
        let request = request.extension(options).body(body()).unwrap();
        let response = service.clone().oneshot(request).await;
        let response = response.map_err(Into::into)?;
        let status = response.status();
        let whole = response.into_body().collect().await.map_err(Into::into)?;
        Ok::<_, BoxError>((status, whole.to_bytes()))
    };
    let server = http2(world).await;
    server.on_request([CUT]);
    let cut = send(&server, Method::GET, Options::new()).await;
    let expected = told(Hop::Receive, Kind::Incomplete, Effect::Done);
    assert_eq!(found(cut), expected);

    server.on_request([CUT]);
    let whole = send(&server, Method::GET, Options::new().whole_body(1 << 10)).await;
    assert_eq!(whole.unwrap().1, r#"{"ok":true}"#);
    assert_eq!(server.requests_seen(), 3, "it is received again");

    for options in [Options::new(), Options::new().whole_body(1 << 10)] {
        let (status, body) = send(&server, Method::HEAD, options.clone()).await.unwrap();
        assert_eq!((status, body.len()), (StatusCode::OK, 0));
        let fresh = CannedResponse::new(StatusCode::NOT_MODIFIED);
        server.on_request([fresh.header("content-length", "11").into()]);
        let (status, body) = send(&server, Method::GET, options).await.unwrap();
        assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
    }
}

#[tokio::test]
async fn cut_response_over_hyper_utils_client_is_incomplete() {
    let world = World::new().await;
    let hops = world.transport().build_hyper().unwrap();
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(hops.tls())
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(hops.http_connector());
    let client = Client::builder(TokioExecutor::new());
    let client = client.build(hops.connector_layer().layer(https));
    let policies = StandardLayer::from_config(&world.settings()).unwrap();
    let service = policies.layer(hops.layer().layer(client));
    check(&world, service, Full::<Bytes>::default).await;
}

#[tokio::test]
async fn cut_response_over_reqwests_client_is_incomplete() {
    let world = World::new().await;
    let policies = StandardLayer::from_config(&world.settings()).unwrap();
    let service = policies.layer(Transport::over(foreign(&world)));
    check(&world, service, Body::empty).await;
}

#[tokio::test]
async fn cut_response_below_middleware_is_incomplete() {
    let world = World::new().await;
    let policies = StandardLayer::from_config(&world.settings()).unwrap();
    let client = ClientBuilder::new(foreign(&world)).with(policies).build();
    let server = http2(&world).await;
    server.on_request([CUT]);
    let cut = async {
        let response = client.get(base(&server)).send().await?;
        Ok(response.bytes().await?)
    };
    let expected = told(Hop::Receive, Kind::Incomplete, Effect::Done);
    assert_eq!(found(cut.await), expected);
}
