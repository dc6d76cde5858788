//! The user's own layers around calls and around attempts.

mod calls;
mod elsewhere;
mod regions;
mod twice;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use sevenhops::client::InnerService;
use sevenhops::policy::retry::CloneBody;
use sevenhops::testing::TimelineRecorder;
use sevenhops::testing::{CannedResponse, ClosedPort, FaultServer, Reply};
use sevenhops::timeout::TimeoutKind;
use sevenhops::{
    Body, DestinationConfig, Effect, Error, Hop, Options, StandardLayer, Timeline, Timeouts,
    Transport,
};
use tower::timeout::TimeoutLayer;
use tower::util::{MapErrLayer, MapRequestLayer, MapResponseLayer};
use tower::{Layer, Service, ServiceExt, layer::layer_fn, service_fn};

use crate::net::{Net, url};

const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// Returns a layer that counts requests.
fn count(
    counter: &Arc<AtomicUsize>,
) -> MapRequestLayer<impl Fn(Request<Body>) -> Request<Body> + Clone + Send + Sync + use<>> {
    let counter = Arc::clone(counter);
    MapRequestLayer::new(move |request| {
        counter.fetch_add(1, Ordering::Relaxed);
        request
    })
}

/// Returns a layer that sends the request a second time after this status.
fn once_more(
    after: StatusCode,
) -> impl Layer<InnerService, Service = impl Sends> + Clone + Send + 'static {
    layer_fn(move |inner: InnerService| {
        service_fn(move |request: Request<Body>| {
            let mut inner = inner.clone();
            async move {
                let (head, body) = request.into_parts();
                let again = body
                    .clone_body()
                    .map(|body| Request::from_parts(head.clone(), body));
                let response = inner
                    .ready()
                    .await?
                    .call(Request::from_parts(head, body))
                    .await?;
                match again {
                    Some(again) if response.status() == after => {
                        inner.ready().await?.call(again).await
                    }
                    _ => Ok(response),
                }
            }
        })
    })
}

/// The services of this file's layers.
trait Sends:
    Service<
        Request<Body>,
        Response = Response<sevenhops::transport::Incoming>,
        Error = Error,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Sends for S where
    S: Service<
            Request<Body>,
            Response = Response<sevenhops::transport::Incoming>,
            Error = Error,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

#[tokio::test]
async fn attempt_layer_is_called_for_each_attempt_and_call_layer_once() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let [calls, attempts] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let client = net
        .builder()
        .call_layer(count(&calls))
        .attempt_layer(count(&attempts));
    let recorder = TimelineRecorder::new();
    let client = client.on_complete(recorder.listener()).build().unwrap();
    server.on_request([CannedResponse::new(UNAVAILABLE).into()]);

    let response = client
        .clone()
        .get(url(&server, "http"))
        .send()
        .await
        .unwrap();
    let timeline = response.timeline().unwrap().clone();
    assert_eq!(timeline.attempt_count(), 2);
    assert_eq!(response.content_length(), Some(11));
    assert_eq!(response.bytes().await.unwrap(), r#"{"ok":true}"#);
    let counts = [calls, attempts].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(counts, [1, 2]);
    // One call, with one record.
    assert_eq!(recorder.wait_for(1).await.len(), 1);
    let shown = timeline.to_string();
    assert!(shown.contains("attempt 2"), "{shown}");
    assert_eq!(timeline.effect(), Effect::Done);
}

#[tokio::test]
async fn first_layer_is_the_outermost() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let mark = |value: &'static str| {
        MapRequestLayer::new(move |mut request: Request<Body>| {
            request
                .headers_mut()
                .append("x-mark", HeaderValue::from_static(value));
            request
        })
    };
    let client = net
        .builder()
        .attempt_layer(mark("3"))
        .attempt_layer(mark("4"));
    let client = client
        .call_layer(mark("1"))
        .call_layer(mark("2"))
        .build()
        .unwrap();
    client.get(url(&server, "http")).send().await.unwrap();
    let seen = server.requests();
    let marks: Vec<_> = seen[0].headers.get_all("x-mark").iter().collect();
    assert_eq!(marks, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn layer_that_sends_twice_in_an_attempt_hides_no_effect() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let builder = net
        .builder()
        .attempt_layer(once_more(StatusCode::UNAUTHORIZED));
    let client = builder.build().unwrap();
    let expired = || Reply::from(CannedResponse::new(StatusCode::UNAUTHORIZED));

    server.on_request([expired()]);
    let response = client
        .post(url(&server, "http"))
        .body("charge")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.timeline().unwrap().effect(), Effect::Done);

    server.on_request([expired(), Reply::CloseAfterRequest]);
    let error = client
        .post(url(&server, "http"))
        .body("charge")
        .send()
        .await
        .unwrap_err();
    assert_eq!(
        (error.hop(), error.effect()),
        (Some(Hop::Server), Effect::Possible)
    );
    let seen = server.requests();
    assert_eq!(seen.len(), 4, "the lost POST is not sent again");
    let keys: Vec<_> = seen[2..]
        .iter()
        .map(|seen| &seen.headers["idempotency-key"])
        .collect();
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test]
async fn layers_see_a_complete_error_and_do_not_weaken_a_proof() {
    let net = Net::new().await;
    let closed = ClosedPort::new().unwrap();
    let see = |at: &'static str| {
        MapErrLayer::new(move |error: Error| {
            assert_eq!(
                (error.hop(), error.effect()),
                (Some(Hop::Connect), Effect::None),
                "{at}"
            );
            assert!(
                error.timeline().is_some_and(|of| of.attempt_count() > 0),
                "{at}"
            );
            error
        })
    };
    let client = net
        .builder()
        .call_layer(see("call"))
        .attempt_layer(see("attempt"));
    let client = client.build().unwrap();
    let target = format!("http://api.test:{}/", closed.addr().port());
    let post = client.post(target).options(|options| options.retry(false));
    let error = post.send().await.unwrap_err();
    assert!(error.had_no_effect(), "{error}");
    assert_eq!(error.timeline().unwrap().attempt_count(), 1);
}

#[tokio::test]
async fn error_of_a_layer_has_the_timeline_and_proves_nothing() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let broken = MapResponseLayer::new(|response| response);
    let refuse = layer_fn(|_inner: InnerService| {
        service_fn(async |_request: Request<Body>| {
            Err::<Response<Full<bytes::Bytes>>, _>(io::Error::other("no signing key"))
        })
    });
    for is_call in [true, false] {
        let builder = net.builder().attempt_layer(broken.clone());
        let builder = match is_call {
            true => builder.call_layer(refuse),
            false => builder.attempt_layer(refuse),
        };
        let client = builder.build().unwrap();
        let error = client.post(url(&server, "http")).send().await.unwrap_err();
        assert_eq!(
            (error.hop(), error.effect()),
            (Some(Hop::Server), Effect::Possible)
        );
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "no signing key");
        let attempts = error.timeline().unwrap().attempt_count();
        assert_eq!(attempts, u32::from(!is_call));
    }
    assert_eq!(server.requests_seen(), 0);
}

#[tokio::test]
async fn layer_that_hides_our_error_keeps_the_timeline_and_its_effect() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let hide = MapErrLayer::new(|_: Error| io::Error::other("hidden"));
    let client = net.builder().call_layer(hide).build().unwrap();
    server.on_request([Reply::CloseAfterRequest]);
    let error = client.post(url(&server, "http")).send().await.unwrap_err();
    assert_eq!(error.effect(), Effect::Possible);
    let attempts = error.timeline().unwrap().attempts();
    let outcome = format!("{:?}", attempts[0].outcome());
    assert!(outcome.contains("Closed"), "{outcome}");
}

#[tokio::test]
async fn timeouts_cover_the_time_of_layers() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    let hang = layer_fn(|_inner: InnerService| {
        service_fn(async |_request: Request<Body>| {
            std::future::pending::<Result<Response<Full<bytes::Bytes>>, Infallible>>().await
        })
    });
    let client = net.builder().call_layer(hang).build().unwrap();
    let soon = Options::new().deadline(Duration::from_millis(50));
    let error = client
        .get(url(&server, "http"))
        .options(|_| soon)
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Deadline));

    // A part of the config for this host holds for the call layers, too.
    let begun = tokio::time::Instant::now();
    let part = DestinationConfig::new().deadline(Duration::from_millis(50));
    let builder = net
        .builder()
        .config(|config| config.destination("api.test", part));
    let client = builder.call_layer(hang).build().unwrap();
    let error = client.get(url(&server, "http")).send().await.unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Deadline));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "the client's own deadline is 10 s"
    );

    let client = net.builder().attempt_layer(hang).build().unwrap();
    let soon = Options::new()
        .deadline(Duration::from_millis(50))
        .retry(false);
    let error = client
        .get(url(&server, "http"))
        .options(|_| soon)
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.timeline().unwrap().attempt_count(), 1);
    assert!(error.timeout_kind().is_some(), "{error}");

    // The timeout of a layer is an error of its own.
    let client = net
        .builder()
        .call_layer(TimeoutLayer::new(Duration::from_millis(50)));
    let client = client.build().unwrap();
    server.on_request([Reply::Silent]);
    let error = client.post(url(&server, "http")).send().await.unwrap_err();
    assert_eq!(error.effect(), Effect::Possible);
    assert_eq!(error.timeline().unwrap().attempt_count(), 1);
}

#[tokio::test]
async fn response_of_a_stack_of_your_own_keeps_its_timeline() {
    let net = Net::new().await;
    let server = FaultServer::start().await.unwrap();
    server.default_reply(CannedResponse::new(UNAVAILABLE));
    let deadline = Duration::from_secs(10);
    let transport = Transport::builder(Timeouts::new(deadline).unwrap());
    let transport = transport.resolver(net.dns.resolver()).build().unwrap();
    let stack = StandardLayer::new(deadline).unwrap().over(transport);
    let request = Request::get(url(&server, "http")).body(Body::empty());
    let mut response = stack.oneshot(request.unwrap()).await.unwrap();
    let timeline = response.body().timeline().clone();
    let left = timeline.remaining();
    assert!(left < deadline && left > deadline / 2, "{left:?}");
    timeline.insert_into(response.extensions_mut());
    let error = sevenhops::Response::from(response)
        .error_for_status()
        .unwrap_err();
    assert_eq!(error.timeline().map(Timeline::attempt_count), Some(3));
}
