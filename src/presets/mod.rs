//! Classifiers for well-known services that report failures in headers or bodies, not only by the status.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use sevenhops::{Client, presets};
//!
//! # fn f() -> Result<(), sevenhops::ConfigError> {
//! let dynamodb = Client::builder(Duration::from_secs(10))
//!     .classify(presets::aws::classify)
//!     .hint(presets::aws::hint)
//!     .build()?;
//! let github = Client::builder(Duration::from_secs(30))
//!     .classify(presets::github::classify)
//!     .hint(presets::github::hint)
//!     .build()?;
//! // A rule of your own goes before it.
//! let stripe = Client::builder(Duration::from_secs(10))
//!     .classify(|failure| match failure.uri().path() {
//!         "/v1/search" => None,
//!         _ => presets::stripe::classify(failure),
//!     })
//!     .build()?;
//! # drop((dynamodb, github, stripe)); Ok(()) }
//! ```
//!
//! # Protect from
//!
//! - A throttling under a 400 that is not retried (DynamoDB).
//! - A rate limit under a 403 (GitHub, Google).
//! - A lock that is held for a moment (Stripe).
//! - An error under a 200 (S3, gRPC).
//!
//! # How people get it wrong
//!
//! They call `send()`. Only calls that receive the whole body (`fetch_*`, or
//! [`Options::whole_body`](crate::Options::whole_body)) see the error codes in bodies. All calls see headers.
//!
//! They give [`grpc::classify`], or [`aws::classify`] for S3, to `classify`. gRPC and S3 report failures under a 200,
//! which only `classify_all` sees.

pub mod aws;
pub mod github;
pub mod google;
pub mod grpc;
pub mod stripe;

use serde::de::DeserializeOwned;

use crate::policy::retry::Failure;

/// Reads the body as JSON. A body of more than 8 KiB is cut, so it is not valid JSON.
fn json<T: DeserializeOwned>(failure: &Failure<'_>) -> Option<T> {
    serde_json::from_slice(failure.body()?).ok()
}
