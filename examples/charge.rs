//! Charges a customer once, although the first response is lost.
//!
//! ```text
//! cargo run --example charge
//! ```

use std::time::Duration;

use sevenhops::testing::{FaultServer, Reply};
use sevenhops::{Client, Effect};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = FaultServer::builder().start().await?;
    let url = server.url("/v1/charges");
    let client = Client::builder(Duration::from_secs(10)).build()?;
    let charge = |honored| {
        let request = client.post(url.as_str()).form(&[("amount", "100")]);
        request
            .options(|options| options.honors_idempotency_keys(honored))
            .fetch_bytes()
    };

    // The server honors keys: the client sends the charge again, with the same key.
    server.on_request([Reply::CloseAfterRequest]);
    charge(true).await?;
    println!("charged, {} requests", server.requests_seen());

    // The server does not honor keys: the client returns an error instead of charging twice.
    server.on_request([Reply::CloseAfterRequest]);
    if let Err(error) = charge(false).await {
        println!("{error}");
        match error.effect() {
            Effect::None => println!("not charged: try again"),
            Effect::Declined => println!("not charged, says the service: correct the request"),
            Effect::Possible => println!("perhaps charged: look it up before you try again"),
            Effect::Done => println!("charged: only the response was lost"),
        }
    }
    Ok(())
}
