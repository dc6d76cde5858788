//! One call with reqwest. `.ci/budget` measures how long it takes to compile.

use std::time::Duration;

use reqwest::Client;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::builder().timeout(Duration::from_secs(10)).build()?;
    let response = client.get("https://example.com/").send().await?;
    let body = response.error_for_status()?.bytes().await?;
    println!("{} bytes", body.len());
    Ok(())
}
