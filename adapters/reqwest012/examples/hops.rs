//! Three failures of a client of reqwest 0.12, and their hops.
//!
//! ```text
//! cargo run -p sevenhops-reqwest012 --example hops
//! ```

use std::error::Error;
use std::time::Duration;

use sevenhops::testing::{ClosedPort, DnsScript, FaultServer, Reply, ScriptedDns};
use sevenhops::{Hop, Timeouts, sdk};
use sevenhops_reqwest012::builder_with;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (dns, closed) = (ScriptedDns::start().await?, ClosedPort::new()?);
    dns.set("gone.test", DnsScript::NxDomain);
    let server = FaultServer::start().await?;
    server.on_request([Reply::CloseAfterRequest]);
    let timeouts = Timeouts::new(Duration::from_secs(10))?;
    let client = builder_with(timeouts, dns.resolver())?.build()?;
    let refused = format!("http://{}/", closed.addr());
    let urls = ["http://gone.test/".to_owned(), refused, server.url("/")];
    let mut hops = Vec::new();
    for url in urls {
        let error = client
            .post(url)
            .send()
            .await
            .err()
            .ok_or("an error is expected")?;
        let found = sdk::classify_error(&error);
        println!("{found}");
        hops.push(found.hop());
    }
    // The last error does not name its hop: the client was waiting for the response, or still sending.
    assert_eq!(hops, [Some(Hop::Dns), Some(Hop::Connect), None]);
    Ok(())
}
