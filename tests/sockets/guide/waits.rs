use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use sevenhops::chaos::{ChaosConfig, ChaosLayer, Fault};
use sevenhops::{StandardLayer, assert_effect, assert_hop};
use tokio::time::Instant;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

/// The service, without a socket.
async fn service(_request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("ch_1")))
}

fn charge() -> Request<Full<Bytes>> {
    let charge = Request::post("https://api.test/v1/charges");
    charge.body(Full::from("amount=100")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn client_waits_for_retry_after_unless_the_deadline_comes_first() {
    let network = ChaosLayer::new(ChaosConfig::new(0)).unwrap();
    let client = ServiceBuilder::new()
        .layer(StandardLayer::new(Duration::from_secs(10)).unwrap())
        .service(network.layer(service_fn(service)));

    // Throttled: the client waits for as long as the server asks, and the charge is made.
    let start = Instant::now();
    let asked = Duration::from_secs(4);
    network.enqueue([Fault::throttled(asked)]).unwrap();
    let response = client.clone().oneshot(charge()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(start.elapsed() >= asked);

    // The server asks for a longer wait than `max_hint` (here 5 s): the client does not begin the wait.
    let start = Instant::now();
    let asked = Duration::from_secs(30);
    network.enqueue([Fault::throttled(asked)]).unwrap();
    let response = client.clone().oneshot(charge()).await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(start.elapsed(), Duration::ZERO);

    // First the connection is refused, then the server does not respond: only the first failure is retried.
    network
        .enqueue([Fault::RefuseConnect, Fault::Silence])
        .unwrap();
    let start = Instant::now();
    let error = client.clone().oneshot(charge()).await.unwrap_err();
    assert_hop!(error, Server, Timeout);
    assert_effect!(error, Possible);
    assert_eq!(error.attempts(), 2);
    assert!(start.elapsed() <= Duration::from_secs(10));
}
