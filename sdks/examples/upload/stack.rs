//! object_store's HTTP, over the whole stack or over its own client.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ClientOptions, RetryConfig};
use sevenhops::TimeoutsConfig;
use sevenhops::{Config, StandardLayer, Timeline, Timeouts, Transport};

use tower::Layer;

use crate::Result;
use crate::bucket::Bucket;
use crate::connector::Stack;

/// The timelines of the calls that have ended.
#[derive(Clone, Default)]
pub(crate) struct Tape(Arc<Mutex<Vec<Timeline>>>);

impl Tape {
    fn add(&self, timeline: &Timeline) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(timeline.clone());
    }

    /// Returns those since the last call of this function.
    pub(crate) fn take(&self) -> Vec<Timeline> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the bucket through our stack. Only the stack retries.
pub(crate) fn ours(bucket: &Bucket, tape: &Tape) -> Result<AmazonS3> {
    let timeouts = TimeoutsConfig::new().attempt(ATTEMPT).send(STALL);
    let settings = Config::new(DEADLINE).timeouts(timeouts);
    let tape = tape.clone();
    let policies =
        StandardLayer::from_config(&settings)?.on_complete(move |timeline| tape.add(timeline));
    let transport = Transport::new(Timeouts::from_config(DEADLINE, timeouts)?)?;
    let never = RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    };
    let store = builder(bucket).with_retry(never);
    Ok(store
        .with_http_connector(Stack(policies.layer(transport)))
        .build()?)
}

/// Returns the bucket through object_store's own client, with its own retries.
pub(crate) fn plain(bucket: &Bucket) -> Result<AmazonS3> {
    Ok(options(bucket, ClientOptions::new()).build()?)
}

/// The same, with a short timeout and without retries.
pub(crate) fn plain_once(bucket: &Bucket, timeout: Duration) -> Result<AmazonS3> {
    let never = RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    };
    let options = options(bucket, ClientOptions::new().with_timeout(timeout));
    Ok(options.with_retry(never).build()?)
}

fn options(bucket: &Bucket, options: ClientOptions) -> AmazonS3Builder {
    builder(bucket).with_client_options(options.with_allow_http(true))
}

fn builder(bucket: &Bucket) -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_endpoint(bucket.url())
        .with_bucket_name("bucket")
        .with_region("eu-central-1")
        .with_access_key_id("id")
        .with_secret_access_key("secret")
}

/// The deadline of each request with its retries. An upload in parts makes several.
pub(crate) const DEADLINE: Duration = Duration::from_secs(6);
pub(crate) const ATTEMPT: Duration = Duration::from_secs(3);
/// The time for which a body that goes out may make no progress.
pub(crate) const STALL: Duration = Duration::from_millis(500);
