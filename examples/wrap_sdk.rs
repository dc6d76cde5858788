//! Puts the stack below another crate that takes a `ClientWithMiddleware`.
//!
//! ```text
//! cargo run --example wrap_sdk
//! ```

use std::time::Duration;

use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use sevenhops::testing::{FaultServer, Reply};
use sevenhops::{Client, sdk};

/// Stands for an SDK that does not know this crate.
async fn status(
    client: &ClientWithMiddleware,
    url: &str,
) -> Result<u16, reqwest_middleware::Error> {
    Ok(client.get(url).send().await?.status().as_u16())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = FaultServer::builder().start().await?;
    let url = server.url("/");

    let deadline = Duration::from_secs(10);
    let stack = Client::builder(deadline).build()?;
    let client = ClientBuilder::new(sdk::bare::client(deadline)?)
        .with(stack)
        .build();

    server.on_request([Reply::CloseAfterRequest]);
    println!(
        "{} after {} requests",
        status(&client, &url).await?,
        server.requests_seen()
    );

    drop(server);
    if let Err(error) = status(&client, &url).await {
        // The SDK's error contains this crate's error: hop, effect and timeline are still there.
        println!("{}", sdk::classify_error(&error));
    }
    Ok(())
}
