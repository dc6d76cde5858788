//! Tests code against failures, without a network and without waiting: the clock is paused.
//!
//! ```text
//! cargo run --example chaos_test
//! ```

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use sevenhops::chaos::{ChaosConfig, ChaosLayer, Fault};
use sevenhops::{Body, Effect, Hop, StandardLayer};
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt, service_fn};

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let network = ChaosLayer::new(ChaosConfig::new(0))?;
    let client = ServiceBuilder::new()
        .layer(StandardLayer::new(Duration::from_secs(10))?)
        .layer(network.clone())
        .service(service_fn(async |_: Request<Body>| {
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }));
    let charge = || Request::post("https://api.test/v1/charges").body(Body::empty());

    // Two attempts find no listener, then the service is back: the charge succeeds.
    network.enqueue([Fault::RefuseConnect; 2])?;
    let response = client.clone().oneshot(charge()?).await?;
    assert_eq!(response.status(), 200);

    // The service asks for a wait of four seconds, and the client waits.
    let begun = Instant::now();
    network.enqueue([Fault::throttled(Duration::from_secs(4))])?;
    let response = client.clone().oneshot(charge()?).await?;
    assert_eq!(response.status(), 200);
    assert!(begun.elapsed() >= Duration::from_secs(4));

    // The response is lost: the client does not charge again, and the error says that the effect is possible.
    network.enqueue([Fault::DropResponse])?;
    let lost = client.oneshot(charge()?).await;
    let error = lost.err().ok_or("a lost response is an error")?;
    assert_eq!(error.hop(), Some(Hop::Server));
    assert_eq!(error.effect(), Effect::Possible);
    println!("{error}");
    Ok(())
}
