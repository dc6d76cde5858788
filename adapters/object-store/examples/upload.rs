//! A PUT whose response is lost, and the begin of a multipart upload whose response is lost.
//!
//! ```text
//! cargo run -p sevenhops-object-store --example upload
//! ```

use std::error::Error;
use std::time::Duration;

use http::StatusCode;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use sevenhops::sdk;
use sevenhops::testing::{CannedResponse, FaultServer, Reply};
use sevenhops_object_store::StackConnector;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = FaultServer::start().await?; // in place of S3
    let stored = CannedResponse::new(StatusCode::OK).header("etag", "\"1\"");
    server.on_request([
        Reply::CloseAfterRequest,
        stored.into(),
        Reply::CloseAfterRequest,
    ]);
    let store = AmazonS3Builder::new()
        .with_endpoint(server.url(""))
        .with_allow_http(true)
        .with_region("eu-central-1")
        .with_bucket_name("bucket")
        .with_access_key_id("AKID")
        .with_secret_access_key("secret")
        .with_http_connector(StackConnector::new(Duration::from_secs(10))?)
        .build()?;
    store
        .put(&Path::from("object"), PutPayload::from("bytes"))
        .await?;
    println!("stored, after {} requests", server.requests_seen());

    let begun = store.put_multipart(&Path::from("object")).await;
    let error = begun.err().ok_or("an error is expected")?;
    let found = sdk::classify_error(&error);
    println!("{found}");
    if let Some(timeline) = found.timeline() {
        println!("{timeline}");
    }
    assert_eq!(server.requests_seen(), 3);
    Ok(())
}
