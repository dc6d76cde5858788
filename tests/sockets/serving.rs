//! Tests the server's layer on a real server: a client's deadline reaches the calls of its server.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sevenhops::server::InheritLayer;
use sevenhops::testing::{CannedResponse, FaultServer};
use sevenhops::{Client, Hop, Kind};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt, service_fn};

/// Starts a hyper server that makes one call for each request, and returns its URL.
async fn start(client: Client, below: String) -> String {
    let handler = service_fn(move |_: Request<Incoming>| {
        let (client, below) = (client.clone(), below.clone());
        async move {
            let mut response = Response::new(Full::<Bytes>::default());
            let answered = client.get(&below).send().await;
            let status = answered.map(|answered| answered.status());
            *response.status_mut() = status.unwrap_or(StatusCode::BAD_GATEWAY);
            Ok::<_, Infallible>(response)
        }
    });
    let service = InheritLayer::new().layer(handler);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            let serve = hyper::service::service_fn(move |request| service.clone().oneshot(request));
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            tokio::spawn(async move { server.serve_connection(TokioIo::new(stream), serve).await });
        }
    });
    format!("http://{address}/orders")
}

fn client(deadline: Duration) -> Client {
    Client::builder(deadline)
        .config(|config| config.propagate_deadline(true))
        .build()
        .unwrap()
}

#[tokio::test]
async fn three_attempts_of_the_caller_are_three_below_and_not_nine() {
    let below = FaultServer::start().await.unwrap();
    below.default_reply(CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE));
    let url = format!("http://{}/", below.addr());
    let own = start(client(Duration::from_secs(10)), url).await;
    let response = client(Duration::from_secs(10))
        .get(&own)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(below.requests_seen(), 3);
}

#[tokio::test]
async fn request_without_time_is_rejected_and_nothing_is_sent_below() {
    let below = FaultServer::start().await.unwrap();
    let url = format!("http://{}/", below.addr());
    let own = start(client(Duration::from_secs(10)), url).await;
    let plain = Client::builder(Duration::from_secs(10)).build().unwrap();
    let late = plain.get(&own).header("sevenhops-timeout-ms", "0");
    let error = late
        .options(|options| options.retry(false))
        .send()
        .await
        .unwrap()
        .error_for_status();
    let error = error.unwrap_err();
    assert_eq!(
        (error.hop(), error.kind()),
        (Some(Hop::Gateway), Kind::Timeout)
    );
    assert_eq!(below.requests_seen(), 0);
}
