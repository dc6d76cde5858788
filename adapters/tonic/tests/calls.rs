//! tonic's health client over a real tonic server, and over a server on loopback that fails.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Uri;
use sevenhops::testing::{ClosedPort, FaultServer, Reply};
use sevenhops::{CircuitBreakerConfig, Config, Effect, Error, Hop, sdk};
use sevenhops_tonic::Channel;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// A service that fails with these statuses, then responds.
#[derive(Clone, Default)]
struct Scripted {
    failures: Arc<Mutex<Vec<Status>>>,
    seen: Arc<AtomicUsize>,
    timeouts: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    fn failing(failures: impl IntoIterator<Item = Status>) -> Self {
        let this = Self::default();
        this.failures.lock().unwrap().extend(failures);
        this
    }

    fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }

    /// Starts a real tonic server.
    async fn start(&self) -> Uri {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let server =
            tonic::transport::Server::builder().add_service(HealthServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        uri.parse().unwrap()
    }
}

#[tonic::async_trait]
impl Health for Scripted {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.seen.fetch_add(1, Ordering::Relaxed);
        let timeout = request.metadata().get("grpc-timeout").unwrap();
        self.timeouts
            .lock()
            .unwrap()
            .push(timeout.to_str().unwrap().to_owned());
        let mut failures = self.failures.lock().unwrap();
        match failures.is_empty() {
            true => Ok(Response::new(serving())),
            false => Err(failures.remove(0)),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.seen.fetch_add(1, Ordering::Relaxed);
        let lost = Status::unavailable("lost");
        let items = [Ok(serving()), Ok(serving()), Err(lost)];
        Ok(Response::new(Box::pin(tokio_stream::iter(items))))
    }
}

fn serving() -> HealthCheckResponse {
    HealthCheckResponse {
        status: ServingStatus::Serving.into(),
    }
}

fn channel(deadline: Duration) -> Channel {
    Channel::new(deadline)
        .unwrap()
        .streaming(|path| path.ends_with("/Watch"))
}

async fn check(
    channel: &Channel,
    origin: &Uri,
    service: &str,
) -> Result<HealthCheckResponse, Status> {
    let mut client = HealthClient::with_origin(channel.clone(), origin.clone());
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    Ok(client.check(request).await?.into_inner())
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
    assert_eq!(
        check(&channel(secs(10)), &origin, "").await.unwrap(),
        serving()
    );
    let timeouts = service.timeouts.lock().unwrap();
    let millis: u64 = timeouts[0].strip_suffix('m').unwrap().parse().unwrap();
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
    assert!(begun.elapsed() >= Duration::from_millis(250) && begun.elapsed() < secs(3));
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
async fn unavailable_is_retried_only_if_the_method_is_idempotent() {
    let service = Scripted::failing([Status::unavailable("restarting")]);
    let origin = service.start().await;
    let status = check(&channel(secs(10)), &origin, "").await.unwrap_err();
    assert_eq!((status.code(), service.seen()), (Code::Unavailable, 1));

    let service = Scripted::failing([
        Status::unavailable("restarting"),
        Status::unavailable("still"),
    ]);
    let origin = service.start().await;
    let channel = channel(secs(10)).idempotent(|path| path == "/grpc.health.v1.Health/Check");
    assert_eq!(check(&channel, &origin, "").await.unwrap(), serving());
    assert_eq!(service.seen(), 3);
    let timeouts = service.timeouts.lock().unwrap();
    let millis = timeouts
        .iter()
        .map(|text| text.strip_suffix('m').unwrap().parse::<u64>().unwrap());
    assert!(
        millis.is_sorted_by(|first, later| first >= later),
        "{timeouts:?}"
    );
}

#[tokio::test]
async fn pushback_is_waited_for_or_ends_the_call() {
    let pushed = |millis: i64| {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-retry-pushback-ms", MetadataValue::from(millis));
        Status::with_metadata(Code::ResourceExhausted, "slow down", metadata)
    };
    let service = Scripted::failing([pushed(400)]);
    let origin = service.start().await;
    let begun = Instant::now();
    // It declined and asked for a retry, so any method may be sent again.
    assert_eq!(
        check(&channel(secs(10)), &origin, "").await.unwrap(),
        serving()
    );
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert_eq!(service.seen(), 2);

    let service = Scripted::failing([pushed(-1)]);
    let origin = service.start().await;
    let channel = channel(secs(10)).idempotent(|_| true);
    assert_eq!(
        check(&channel, &origin, "").await.unwrap_err().code(),
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
            check(&channel, &origin, "").await.unwrap_err().code(),
            Code::Unavailable
        );
    }
    assert!(service.seen() < 40, "{}", service.seen());
    let status = check(&channel, &origin, "").await.unwrap_err();
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
    let (result, calls) = sdk::observe(check(&channel, &origin, "")).await;
    assert_eq!(result.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(calls.effect(), Effect::Declined);
}

#[tokio::test]
async fn lost_response_is_sent_once_and_possible() {
    let server = FaultServer::builder().http2().start().await.unwrap();
    server.default_reply(Reply::CloseAfterRequest);
    let origin = server.url("/").parse().unwrap();
    let status = check(&channel(secs(10)), &origin, "").await.unwrap_err();
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
    let status = check(&channel(secs(1)), &origin, "").await.unwrap_err();
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
    let status = check(&channel(secs(10)), &origin, "").await.unwrap_err();
    assert_eq!(
        (error(&status).hop(), server.requests_seen()),
        (Some(Hop::Receive), 1)
    );
}
