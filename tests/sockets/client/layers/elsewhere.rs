//! A call layer that sends a failed request to another client. The record of the first attempt says nothing about the
//! second request.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use sevenhops::client::{Client, InnerService, Response as Answer};
use sevenhops::hop::Outcome;
use sevenhops::testing::{
    CannedResponse, ClosedPort, FaultServer, Reply, TestCa, TimelineRecorder,
};
use sevenhops::{Body, ClientBuilder, Effect, Error, Hop, Kind, Timeline};
use tower::{Service, ServiceExt, layer::layer_fn, service_fn};

use crate::net::{Net, url};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Boxed = Response<UnsyncBoxBody<Bytes, BoxError>>;

const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;

/// Returns a client that sends a request to `there` with reqwest, if it failed or if the server declined it.
fn failing_over(
    net: &Net,
    there: String,
    with: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Client {
    let tls = TestCa::new().unwrap().client_config();
    let foreign = reqwest::Client::builder().no_proxy();
    let foreign = foreign.tls_backend_preconfigured(tls).build().unwrap();
    let failover = layer_fn(move |inner: InnerService| {
        let (foreign, there) = (foreign.clone(), there.clone());
        service_fn(move |request: Request<Body>| {
            let mut inner = inner.clone();
            let again = foreign.request(request.method().clone(), &there);
            async move {
                match inner.ready().await?.call(request).await {
                    Ok(response) if response.status() != TOO_MANY => Ok::<Boxed, BoxError>(
                        response.map(|body| body.map_err(BoxError::from).boxed_unsync()),
                    ),
                    _ => {
                        let response = Response::from(again.body("charge").send().await?);
                        Ok(response.map(|body| body.map_err(BoxError::from).boxed_unsync()))
                    }
                }
            }
        })
    });
    with(net.builder()).call_layer(failover).build().unwrap()
}

async fn charge(client: &Client, target: &str) -> Result<Answer, Error> {
    let post = client.post(target).body("charge");
    post.options(|options| options.retry(false)).send().await
}

/// Returns a URL that refuses connections.
fn refusing(closed: &ClosedPort) -> String {
    format!("http://api.test:{}/", closed.addr().port())
}

fn here(server: &FaultServer) -> String {
    format!("http://{}/", server.addr())
}

#[tokio::test]
async fn refused_connect_proves_nothing_about_a_foreign_request_that_was_redirected() {
    let net = Net::new().await;
    let (closed, server) = (
        ClosedPort::new().unwrap(),
        FaultServer::start().await.unwrap(),
    );
    let client = failing_over(&net, here(&server), |builder| builder);
    let moved = CannedResponse::new(StatusCode::TEMPORARY_REDIRECT);
    let dead = format!("http://{}/", closed.addr());
    server.on_request([moved.header("location", &dead).into()]);
    let error = charge(&client, &refusing(&closed)).await.unwrap_err();
    assert_eq!(server.requests_seen(), 1);
    assert_eq!(
        (error.hop(), error.effect()),
        (Some(Hop::Connect), Effect::Possible)
    );
    assert_eq!(
        error.timeline().map(Timeline::effect),
        Some(Effect::Possible)
    );
}

#[tokio::test]
async fn declined_request_proves_nothing_about_a_foreign_one_that_was_lost() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let client = failing_over(&net, here(&server), |builder| builder);
    server.on_request([
        CannedResponse::new(TOO_MANY).into(),
        Reply::CloseAfterRequest,
    ]);
    let error = charge(&client, &url(&server, "http")).await.unwrap_err();
    assert_eq!(server.requests_seen(), 2);
    assert_eq!(
        (error.hop(), error.effect()),
        (Some(Hop::Server), Effect::Possible)
    );
    assert_eq!(
        error.timeline().map(Timeline::effect),
        Some(Effect::Possible)
    );
}

#[tokio::test]
async fn body_of_a_foreign_response_that_breaks_off_has_the_effect_of_its_head() {
    let net = Net::new().await;
    let (closed, server) = (
        ClosedPort::new().unwrap(),
        FaultServer::start().await.unwrap(),
    );
    let client = failing_over(&net, here(&server), |builder| builder);
    let sent = Bytes::from_static(b"half");
    server.on_request([Reply::TruncateBody { declared: 11, sent }]);
    let response = charge(&client, &refusing(&closed)).await.unwrap();
    let error = response.bytes().await.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Receive), Kind::Incomplete)
    );
    assert_eq!(error.effect(), Effect::Done);
    assert_eq!(error.timeline().map(Timeline::effect), Some(Effect::Done));
}

#[tokio::test]
async fn call_that_is_dropped_while_a_foreign_client_sends_it_may_have_had_an_effect() {
    let net = Net::new().await;
    let (closed, server) = (
        ClosedPort::new().unwrap(),
        FaultServer::start().await.unwrap(),
    );
    let recorder = TimelineRecorder::new();
    let client = failing_over(&net, here(&server), |builder| {
        builder.on_complete(recorder.listener())
    });
    server.on_request([Reply::Silent]);
    let target = refusing(&closed);
    tokio::select! {
        _ = charge(&client, &target) => panic!("no response comes"),
        _ = server.wait_until(|seen| seen.requests == 1) => {}
    }
    let timelines = recorder.wait_for(1).await;
    assert_eq!(timelines[0].outcome(), Some(Outcome::Cancelled));
    assert_eq!(timelines[0].effect(), Effect::Possible);
}

#[tokio::test]
async fn response_of_a_foreign_client_is_not_the_failure_of_the_attempt_before() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let client = failing_over(&net, here(&server), |builder| builder);
    server.on_request([CannedResponse::new(TOO_MANY).into()]);
    let response = charge(&client, &url(&server, "http")).await.unwrap();
    let timeline = response.timeline().unwrap().clone();
    response.bytes().await.unwrap();
    let ok = Some(Outcome::Responded(StatusCode::OK));
    assert_eq!((timeline.outcome(), timeline.effect()), (ok, Effect::Done));
}
