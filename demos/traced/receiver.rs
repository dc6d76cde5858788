//! A small OTLP/HTTP receiver. It decodes the requests to `/v1/traces`.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::net::TcpListener;

/// The receiver. It listens until it is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    listening: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let received = Arc::default();
        let listening = tokio::spawn(listen(listener, Arc::clone(&received)));
        Ok(Self {
            address,
            received,
            listening,
        })
    }

    /// Returns the URL to which exporters send their traces.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1/traces", self.address)
    }

    /// Returns the requests that have arrived.
    pub(crate) fn received(&self) -> Vec<ExportTraceServiceRequest> {
        let received = self.received.lock();
        received.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

type Received = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

async fn listen(listener: TcpListener, received: Received) {
    while let Ok((stream, _)) = listener.accept().await {
        let received = Arc::clone(&received);
        let serve = service_fn(move |request| take(request, Arc::clone(&received)));
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), serve);
        tokio::spawn(connection);
    }
}

async fn take(
    request: Request<Incoming>,
    received: Received,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let status = if request.method() != Method::POST || request.uri().path() != "/v1/traces" {
        StatusCode::NOT_FOUND
    } else {
        match decode(request.into_body()).await {
            Some(traces) => {
                let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
                received.push(traces);
                StatusCode::OK
            }
            None => StatusCode::BAD_REQUEST,
        }
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}

async fn decode(body: Incoming) -> Option<ExportTraceServiceRequest> {
    let bytes = Limited::new(body, MOST_BYTES).collect().await.ok()?;
    ExportTraceServiceRequest::decode(bytes.to_bytes()).ok()
}

const MOST_BYTES: usize = 4 << 20;
