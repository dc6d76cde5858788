//! tonic's health client over a real tonic server, and over a server on loopback that fails.

mod hedges;
mod service;

use std::time::Duration;

use http::{StatusCode, Uri};
use sevenhops::testing::{BlackHole, CannedResponse, ClosedPort, FaultServer, Reply};
use sevenhops::{
    CircuitBreakerConfig, Config, Effect, Error, Hop, Options, RetryConfig, TimeoutsConfig, sdk,
};
use sevenhops_tonic::Channel;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tonic::{Code, Request, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use self::service::{Scripted, pushed, serving};

fn channel(deadline: Duration) -> Channel {
    Channel::new(deadline)
        .unwrap()
        .streaming(|path| path.ends_with("/Watch"))
}

async fn check(channel: &Channel, origin: &Uri) -> Result<HealthCheckResponse, Status> {
    let mut client = HealthClient::with_origin(channel.clone(), origin.clone());
    Ok(client
        .check(HealthCheckRequest::default())
        .await?
        .into_inner())
}

fn error(status: &Status) -> &Error {
    let source = std::error::Error::source(status);
    source.and_then(|source| source.downcast_ref()).unwrap()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[tokio::test]
async fn call_gets_its_response_and_the_server_the_deadline() {
    let service = Scripted::default();
    let origin = service.start().await;
    assert_eq!(check(&channel(secs(10)), &origin).await.unwrap(), serving());
    let millis = service.timeouts()[0];
    assert!((9_000..=10_000).contains(&millis), "{millis}");
}

#[tokio::test]
async fn timeout_of_a_request_is_its_deadline() {
    let server = FaultServer::builder().http2().start().await.unwrap();
    server.default_reply(Reply::Silent);
    let mut client = HealthClient::with_origin(channel(secs(10)), server.url("/").parse().unwrap());
    let mut request = Request::new(HealthCheckRequest::default());
    request.set_timeout(Duration::from_millis(300));
    let begun = Instant::now();
    let status = client.check(request).await.unwrap_err();
    assert!(begun.elapsed() >= Duration::from_millis(250) && begun.elapsed() < secs(10));
    assert_eq!(
        (status.code(), error(&status).effect()),
        (Code::DeadlineExceeded, Effect::Possible)
    );
    let seen = server.requests();
    let millis = seen[0].headers["grpc-timeout"]
        .to_str()
        .unwrap()
        .strip_suffix('m')
        .unwrap();
    assert!(millis.parse::<u64>().unwrap() <= 300, "{millis}");
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn stream_has_only_the_timeout_of_its_request() {
    let service = Scripted::default();
    let origin = service.start().await;
    let mut client = HealthClient::with_origin(channel(secs(10)), origin);
    let mut request = Request::new(HealthCheckRequest::default());
    client.watch(request).await.unwrap();
    request = Request::new(HealthCheckRequest::default());
    request.set_timeout(secs(60));
    client.watch(request).await.unwrap();
    let own = Some("60000000u".to_owned());
    assert_eq!(service.header("grpc-timeout"), [None, own]);
}

#[tokio::test]
async fn unavailable_is_retried_only_if_the_method_is_idempotent() {
    let service = Scripted::failing([Status::unavailable("restarting")]);
    let origin = service.start().await;
    let status = check(&channel(secs(10)), &origin).await.unwrap_err();
    assert_eq!((status.code(), service.seen()), (Code::Unavailable, 1));

    let service = Scripted::failing([
        Status::unavailable("restarting"),
        Status::unavailable("still"),
    ]);
    let origin = service.start().await;
    let channel = channel(secs(10)).idempotent(|path| path == "/grpc.health.v1.Health/Check");
    assert_eq!(check(&channel, &origin).await.unwrap(), serving());
    assert_eq!(service.seen(), 3);
    let timeouts = service.timeouts();
    assert!(
        timeouts.is_sorted_by(|first, later| first >= later),
        "{timeouts:?}"
    );
}

#[tokio::test]
async fn options_in_the_extensions_of_a_request_hold() {
    let service = Scripted::failing([Status::unavailable("restarting")]);
    let origin = service.start().await;
    let mut client = HealthClient::with_origin(channel(secs(10)), origin);
    let mut request = Request::new(HealthCheckRequest::default());
    // The function of the channel does not name the method, but this call may be carried out twice.
    let again = Options::new().idempotent(true);
    request.extensions_mut().insert(again);
    let response = client.check(request).await.unwrap();
    assert_eq!((response.into_inner(), service.seen()), (serving(), 2));
}

#[tokio::test]
async fn pushback_is_waited_for_or_ends_the_call() {
    let service = Scripted::failing([pushed(Code::ResourceExhausted, 400)]);
    let origin = service.start().await;
    let begun = Instant::now();
    // It declined and asked for a retry, so any method may be sent again.
    assert_eq!(check(&channel(secs(10)), &origin).await.unwrap(), serving());
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert_eq!(service.seen(), 2);

    let service = Scripted::failing([pushed(Code::ResourceExhausted, -1)]);
    let origin = service.start().await;
    let channel = channel(secs(10)).idempotent(|_| true);
    assert_eq!(
        check(&channel, &origin).await.unwrap_err().code(),
        Code::ResourceExhausted
    );
    assert_eq!(service.seen(), 1);
}

#[tokio::test]
async fn failing_codes_open_the_circuit() {
    let service = Scripted::failing((0..60).map(|_| Status::unavailable("down")));
    let origin = service.start().await;
    let breaker = CircuitBreakerConfig::new().min_attempts(20);
    let config = Config::new(secs(10)).circuit_breaker(breaker);
    let channel = Channel::build(config, |transport| transport).unwrap();
    for _ in 0..40 {
        assert_eq!(
            check(&channel, &origin).await.unwrap_err().code(),
            Code::Unavailable
        );
    }
    assert!(service.seen() < 40, "{}", service.seen());
    let status = check(&channel, &origin).await.unwrap_err();
    assert!(error(&status).rejected_by().is_some(), "{status}");
}

#[tokio::test]
async fn stream_is_passed_on_and_ends_with_its_status() {
    let service = Scripted::default();
    let origin = service.start().await;
    let mut client = HealthClient::with_origin(channel(secs(10)), origin);
    let mut watch = client
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap(), serving());
    assert_eq!(watch.next().await.unwrap().unwrap(), serving());
    assert_eq!(
        watch.next().await.unwrap().unwrap_err().code(),
        Code::Unavailable
    );
}

#[tokio::test]
async fn code_of_the_server_is_observed_with_its_effect() {
    let service = Scripted::failing([Status::permission_denied("no")]);
    let origin = service.start().await;
    let channel = channel(secs(10));
    let (result, calls) = sdk::observe(check(&channel, &origin)).await;
    assert_eq!(result.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(calls.effect(), Effect::Declined);
}

#[tokio::test]
async fn lost_response_is_sent_once_and_possible() {
    let server = FaultServer::builder().http2().start().await.unwrap();
    server.default_reply(Reply::CloseAfterRequest);
    let origin = server.url("/").parse().unwrap();
    let status = check(&channel(secs(10)), &origin).await.unwrap_err();
    assert_eq!(
        (status.code(), error(&status).effect()),
        (Code::Unavailable, Effect::Possible)
    );
    assert_eq!(
        (error(&status).hop(), server.requests_seen()),
        (Some(Hop::Server), 1)
    );
    let found = sdk::classify_error(&status);
    assert_eq!(
        (found.hop(), found.effect()),
        (Some(Hop::Server), Effect::Possible)
    );
}

#[tokio::test]
async fn refused_connection_has_no_effect() {
    let closed = ClosedPort::new().unwrap();
    let origin = format!("http://{}", closed.addr()).parse().unwrap();
    let status = check(&channel(secs(1)), &origin).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(
        (error(&status).hop(), error(&status).had_no_effect()),
        (Some(Hop::Connect), true)
    );
}

#[tokio::test]
async fn broken_body_is_a_failed_call() {
    let server = FaultServer::builder().http2().start().await.unwrap();
    server.default_reply(Reply::ResetInBody);
    let origin = server.url("/").parse().unwrap();
    let status = check(&channel(secs(10)), &origin).await.unwrap_err();
    assert_eq!(
        (error(&status).hop(), server.requests_seen()),
        (Some(Hop::Receive), 1)
    );
}

#[tokio::test]
async fn deadline_that_ends_before_a_connection_is_exceeded() {
    let hole = BlackHole::start().await.unwrap();
    let origin = format!("http://{}", hole.addr()).parse().unwrap();
    let once = RetryConfig::new().attempts(1).unsent_attempts(1);
    let timeouts = TimeoutsConfig::new().connect(secs(3));
    let config = Config::new(secs(10)).timeouts(timeouts).retry(once);
    let channel = Channel::build(config, |transport| transport).unwrap();
    let mut client = HealthClient::with_origin(channel, origin);
    let mut request = Request::new(HealthCheckRequest::default());
    request.set_timeout(secs(1));
    let status = client.check(request).await.unwrap_err();
    assert!(error(&status).had_no_effect(), "{status}");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
}

#[tokio::test]
async fn status_of_a_proxy_is_retried_after_its_hint_or_becomes_a_code() {
    let server = FaultServer::builder().http2().start().await.unwrap();
    let throttled = |wait| {
        let throttled = CannedResponse::new(StatusCode::TOO_MANY_REQUESTS);
        Reply::from(throttled.header("retry-after", wait))
    };
    server.on_request([throttled("1"), throttled("90")]);
    let origin = server.url("/").parse().unwrap();
    let begun = Instant::now();
    let status = check(&channel(secs(10)), &origin).await.unwrap_err();
    assert!(begun.elapsed() >= secs(1));
    assert_eq!(
        (status.code(), server.requests_seen()),
        (Code::Unavailable, 2)
    );
}
