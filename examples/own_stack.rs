//! Builds a tower stack of single policies, with your own layer for each attempt.
//!
//! ```text
//! cargo run --example own_stack
//! ```

use std::time::Duration;

use http::{Request, StatusCode};
use sevenhops::{
    AttemptLayer, Body, CircuitBreakerLayer, DeadlineLayer, RetryConfig, RetryLayer, Timeouts,
    Transport,
    testing::{CannedResponse, FaultServer},
};

use tower::{ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = FaultServer::builder().start().await?;
    server.on_request([CannedResponse::new(StatusCode::SERVICE_UNAVAILABLE).into()]);

    let deadline = Duration::from_secs(10);
    let timeouts = Timeouts::new(deadline)?;
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(deadline)?)
        .layer(RetryLayer::new(RetryConfig::new())?)
        .layer(CircuitBreakerLayer::new(timeouts))
        .layer(AttemptLayer::new(timeouts))
        .map_request(|request: Request<Body>| {
            println!("sends {} {}", request.method(), request.uri());
            request
        })
        .service(Transport::new(timeouts)?);

    let request = Request::get(server.url("/")).body(Body::empty())?;
    let response = service.oneshot(request).await?;
    println!("{}", response.status());
    Ok(())
}
