//! Gets JSON, and shows where the time went.
//!
//! ```text
//! cargo run --example get_json [URL]
//! ```

use std::env;
use std::time::Duration;

use sevenhops::Client;
use sevenhops::testing::FaultServer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = FaultServer::builder().start().await?;
    let url = env::args().nth(1);
    let url = url.unwrap_or_else(|| server.url("/status"));

    let client = Client::builder(Duration::from_secs(10)).build()?;
    match client.get(url.as_str()).send().await {
        Ok(response) => {
            let timeline = response.timeline().cloned();
            let value: serde_json::Value = response.json().await?;
            println!("{value}");
            if let Some(timeline) = timeline {
                println!("{timeline}");
            }
        }
        Err(error) => {
            println!("{error}");
            if let Some(timeline) = error.timeline() {
                println!("{timeline}");
            }
        }
    }
    Ok(())
}
