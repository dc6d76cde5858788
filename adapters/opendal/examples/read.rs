//! A read whose first response is lost.
//!
//! ```text
//! cargo run -p sevenhops-opendal --example read
//! ```

use std::error::Error;
use std::time::Duration;

use opendal_core::{HttpTransporter, OperationContext, Operator};
use opendal_service_http::Http;
use sevenhops::testing::{CannedResponse, FaultServer, Reply};
use sevenhops_opendal::StackTransport;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = FaultServer::start().await?;
    server.default_reply(CannedResponse::json("{}"));
    server.on_request([Reply::CloseAfterRequest]);
    let transport = HttpTransporter::new(StackTransport::new(Duration::from_secs(10))?);
    let context = OperationContext::new().with_http_transport(transport);
    let operator = Operator::new(Http::default().endpoint(&server.url("")))?.with_context(context);
    let read = operator.read("object").await?;
    println!(
        "{} bytes, after {} requests",
        read.len(),
        server.requests_seen()
    );
    Ok(())
}
