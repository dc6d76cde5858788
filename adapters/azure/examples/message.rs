//! A message whose response is lost: the SDK would send it again, and is told not to.
//!
//! ```text
//! cargo run -p sevenhops-azure --example message
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use azure_core::http::{ClientOptions, Context, Method, Pipeline, Request, Transport, Url};
use sevenhops::testing::{FaultServer, Reply};
use sevenhops_azure::{AzureHttpClient, call};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = FaultServer::start().await?; // in place of the service
    server.on_request([Reply::CloseAfterRequest]);
    let client = AzureHttpClient::new(Duration::from_secs(10))?;
    let options = ClientOptions {
        transport: Some(Transport::new(Arc::new(client))),
        ..ClientOptions::default()
    };
    let pipeline = Pipeline::new(Some("example"), Some("1"), options, vec![], vec![], None);
    let mut request = Request::new(Url::parse(&server.url("/messages"))?, Method::Post);
    let sent = pipeline.send(&Context::new(), &mut request, None).await;
    let error = sent.err().ok_or("an error is expected")?;
    if let Some(call) = call(&error) {
        println!("{call}");
    }
    assert_eq!(server.requests_seen(), 1);
    Ok(())
}
