//! A gRPC call to a server that refuses, with tonic's health client: the status says that nothing happened.
//!
//! ```text
//! cargo run -p sevenhops-tonic --example health
//! ```

use std::error::Error;
use std::time::Duration;

use sevenhops::sdk;
use sevenhops::testing::ClosedPort;
use sevenhops_tonic::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let closed = ClosedPort::new()?;
    let origin = format!("http://{}", closed.addr()).parse()?;
    let channel = Channel::new(Duration::from_secs(1))?;
    let mut client = HealthClient::with_origin(channel, origin);
    let checked = client.check(HealthCheckRequest::default()).await;
    let status = checked.err().ok_or("a failure is expected")?;
    println!("{:?}: {}", status.code(), status.message());
    let found = sdk::classify_error(&status);
    if let Some(timeline) = found.timeline() {
        println!("{timeline}");
    }
    assert!(found.had_no_effect());
    Ok(())
}
