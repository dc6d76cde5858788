//! One call with this crate. `.ci/budget` measures how long it takes to compile.

use std::time::Duration;

use sevenhops::Client;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::builder(Duration::from_secs(10)).build()?;
    let body = client.get("https://example.com/").fetch_bytes().await?;
    println!("{} bytes", body.len());
    Ok(())
}
