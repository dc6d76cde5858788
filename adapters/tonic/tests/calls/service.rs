//! A health service that follows a script, on a real tonic server.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use http::Uri;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// The fate of one request.
#[derive(Debug)]
pub(super) enum Step {
    Fail(Status),
    /// Waits until this number of requests has come, then fails.
    FailAfter(usize, Status),
    /// Never responds.
    Hang,
}

/// A service that takes these steps, then responds.
#[derive(Clone, Default)]
pub(super) struct Scripted(Arc<Inner>);

#[derive(Default)]
struct Inner {
    steps: Mutex<VecDeque<Step>>,
    metadata: Mutex<Vec<MetadataMap>>,
    seen: watch::Sender<usize>,
    cancelled: watch::Sender<usize>,
}

impl Scripted {
    pub(super) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let this = Self::default();
        this.0.steps.lock().unwrap().extend(steps);
        this
    }

    pub(super) fn failing(failures: impl IntoIterator<Item = Status>) -> Self {
        Self::new(failures.into_iter().map(Step::Fail))
    }

    /// Returns how many requests have come.
    pub(super) fn seen(&self) -> usize {
        *self.0.seen.borrow()
    }

    /// Waits until this number of requests has come.
    pub(super) async fn wait_for(&self, requests: usize) {
        let mut seen = self.0.seen.subscribe();
        seen.wait_for(|seen| *seen >= requests).await.unwrap();
    }

    /// Waits until the client has cancelled this number of requests that hang.
    pub(super) async fn cancelled(&self, requests: usize) {
        let mut cancelled = self.0.cancelled.subscribe();
        cancelled
            .wait_for(|cancelled| *cancelled >= requests)
            .await
            .unwrap();
    }

    /// Returns the `grpc-timeout` of each request, in milliseconds.
    pub(super) fn timeouts(&self) -> Vec<u64> {
        let millis = |text: &str| text.strip_suffix('m').unwrap().parse().unwrap();
        let timeouts = self.header("grpc-timeout").into_iter();
        timeouts.map(|text| millis(&text.unwrap())).collect()
    }

    /// Returns a header of each request.
    pub(super) fn header(&self, name: &str) -> Vec<Option<String>> {
        let metadata = self.0.metadata.lock().unwrap();
        let value = |of: &MetadataMap| Some(of.get(name)?.to_str().unwrap().to_owned());
        metadata.iter().map(value).collect()
    }

    /// Starts a real tonic server.
    pub(super) async fn start(&self) -> Uri {
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
        self.0.saw(request.metadata());
        let step = self.0.steps.lock().unwrap().pop_front();
        match step {
            None => Ok(Response::new(serving())),
            Some(Step::Fail(status)) => Err(status),
            Some(Step::FailAfter(requests, status)) => {
                self.wait_for(requests).await;
                Err(status)
            }
            Some(Step::Hang) => {
                let _cancelled = Cancelled(&self.0.cancelled);
                std::future::pending().await
            }
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.0.saw(request.metadata());
        let lost = Status::unavailable("lost");
        let items = [Ok(serving()), Ok(serving()), Err(lost)];
        Ok(Response::new(Box::pin(tokio_stream::iter(items))))
    }
}

impl Inner {
    fn saw(&self, metadata: &MetadataMap) {
        self.metadata.lock().unwrap().push(metadata.clone());
        self.seen.send_modify(|seen| *seen += 1);
    }
}

/// Counts a request that is dropped.
struct Cancelled<'a>(&'a watch::Sender<usize>);

impl Drop for Cancelled<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|cancelled| *cancelled += 1);
    }
}

pub(super) fn serving() -> HealthCheckResponse {
    HealthCheckResponse {
        status: ServingStatus::Serving.into(),
    }
}

/// Returns a failure with `grpc-retry-pushback-ms`.
pub(super) fn pushed(code: Code, millis: i64) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("grpc-retry-pushback-ms", MetadataValue::from(millis));
    Status::with_metadata(code, "slow down", metadata)
}
