//! A message whose response is lost: it is sent once, and the error says that it may be in the queue.
//!
//! ```text
//! cargo run -p sevenhops-aws --example queue
//! ```

use std::error::Error;
use std::time::Duration;

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::{Client, Config};
use sevenhops::Effect;
use sevenhops::testing::{FaultServer, Reply};
use sevenhops_aws::{AwsHttpClient, EffectClassifier};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = FaultServer::start().await?; // in place of SQS
    server.on_request([Reply::CloseAfterRequest]);
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("AKID", "secret", None, None, "example"))
        .endpoint_url(server.url("/"))
        .http_client(AwsHttpClient::new(Duration::from_secs(10))?)
        .retry_classifier(EffectClassifier::new())
        .build();
    let client = Client::from_conf(config);
    let message = client
        .send_message()
        .queue_url("https://sqs.test/q")
        .message_body("hello");
    let error = message.send().await.err().ok_or("an error is expected")?;
    println!("effect: {}", sevenhops_aws::effect(&error));
    if let Some(timeline) = sevenhops_aws::timeline(&error) {
        println!("{timeline}");
    }
    assert_eq!(
        (sevenhops_aws::effect(&error), server.requests_seen()),
        (Effect::Possible, 1)
    );
    Ok(())
}
