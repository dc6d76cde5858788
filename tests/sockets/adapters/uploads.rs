//! A body that a function makes, in each way into other code.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use reqwest_middleware::ClientBuilder;
use sevenhops::testing::ClosedPort;
use sevenhops::{Body, Effect, Error, Hop, Kind, StandardLayer, Transport};
use tower::{Layer, Service, ServiceExt};

use super::world::{BoxError, World, base, throttled, told};

/// A body, and how often it was made.
fn hello() -> (Arc<AtomicU32>, Body) {
    let made = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&made);
    let body = Body::retryable(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        ready(Ok::<_, Infallible>(Full::new(Bytes::from("hello"))))
    });
    (made, body)
}

fn foreign(world: &World) -> reqwest::Client {
    reqwest::Client::builder()
        .tls_backend_preconfigured(world.authority.client_config())
        .redirect(reqwest::redirect::Policy::none())
        .resolve("api.test", ([127, 0, 0, 1], 0).into())
        .build()
        .unwrap()
}

/// Sends an upload that is throttled once, and one whose function fails.
async fn upload<S, R>(world: &World, wire: S)
where
    S: Service<Request<Body>, Response = Response<R>, Error: Into<BoxError>>,
    S: Clone,
    R: http_body::Body<Error: Into<BoxError>>,
{
    let server = world.server().await;
    let policies = StandardLayer::from_config(&world.settings()).unwrap();
    let service = policies.layer(wire);
    let put = |body| {
        let request = Request::builder().method(Method::PUT);
        let request = request.uri(format!("{}/v1/charges", base(&server)));
        request.body(body).unwrap()
    };
    let (made, body) = hello();
    server.on_request([throttled()]);
    let response = service.clone().oneshot(put(body)).await.unwrap();
    assert_eq!(response.status(), 200);
    drop(response.into_body().collect().await);
    let seen = server.requests();
    assert!(seen.iter().all(|seen| seen.body == "hello"));
    assert!(
        seen.iter()
            .all(|seen| seen.headers["content-length"] == "5")
    );
    assert_eq!((seen.len(), made.load(Ordering::Relaxed)), (2, 2));

    let none = Body::retryable(|| ready(Err::<Body, _>("no body today")));
    let error: Error = service.oneshot(put(none)).await.err().unwrap();
    let found = (error.hop(), error.kind(), error.effect());
    assert_eq!(found, told(Hop::Encode, Kind::InvalidRequest, Effect::None));
    assert_eq!(server.requests_seen(), 2);
}

#[tokio::test]
async fn over_the_transport() {
    let world = World::new().await;
    upload(&world, world.transport().build().unwrap()).await;
}

#[tokio::test]
async fn over_reqwests_client() {
    let world = World::new().await;
    upload(&world, Transport::over(foreign(&world))).await;
}

#[tokio::test]
async fn over_hyper_utils_client_with_our_parts() {
    let world = World::new().await;
    let hops = world.transport().build_hyper().unwrap();
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(hops.tls())
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(hops.http_connector());
    let client = Client::builder(TokioExecutor::new());
    let client = client.build(hops.connector_layer().layer(https));
    upload(&world, hops.layer().layer(client)).await;
}

#[tokio::test]
async fn converted_to_reqwests_body_it_is_created_and_sent_once() {
    let world = World::new().await;
    let ours = ClientBuilder::new(foreign(&world)).with(world.client());
    let server = world.server().await;
    let (made, body) = hello();
    server.on_request([throttled()]);
    let put = ours.build().put(format!("{}/v1/charges", base(&server)));
    let response = put.body(reqwest::Body::from(body.with_length(5))).send();
    assert_eq!(response.await.unwrap().status(), 429);
    let seen = server.requests();
    assert_eq!((seen.len(), &seen[0].body[..]), (1, &b"hello"[..]));
    assert_eq!(seen[0].headers["content-length"], "5");
    assert_eq!(made.load(Ordering::Relaxed), 1);
}

/// A piece, then an error of another call.
struct BreaksOff(Option<Bytes>, Option<Error>, bool);

impl http_body::Body for BreaksOff {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(piece) = self.0.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        // The head and the piece are sent first.
        if !std::mem::replace(&mut self.2, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.1.take().map(Err))
    }
}

#[tokio::test]
async fn error_of_the_bodys_own_source_is_not_that_of_the_request() {
    let world = World::new().await;
    let closed = format!(
        "http://127.0.0.1:{}/",
        ClosedPort::new().unwrap().addr().port()
    );
    fails_at_send(&world, Transport::over(foreign(&world)), &closed).await;
    fails_at_send(&world, world.transport().build().unwrap(), &closed).await;
}

/// Sends an upload whose source is a call that fails at connect.
async fn fails_at_send<S, R>(world: &World, wire: S, closed: &str)
where
    S: Service<Request<Body>, Response = Response<R>, Error: Into<BoxError>>,
    S: Clone,
    R: http_body::Body<Error: Into<BoxError>>,
{
    let server = world.server().await;
    let source = world.client().get(closed).send().await.unwrap_err();
    assert!(source.had_no_effect(), "{source}");
    let body = BreaksOff(Some(Bytes::from("a")), Some(source), false);
    let request = Request::post(format!("{}/v1/charges", base(&server)));
    let request = request.body(Body::wrap(body)).unwrap();
    let policies = StandardLayer::from_config(&world.settings()).unwrap();
    let error: Error = policies.layer(wire).oneshot(request).await.err().unwrap();
    let found = (error.hop(), error.kind(), error.effect());
    assert_eq!(found, told(Hop::Send, Kind::RequestBody, Effect::Possible));
    assert!(!sevenhops::sdk::classify_error(&error).had_no_effect());
}
