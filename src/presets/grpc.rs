//! gRPC: the code in the trailers of a 200, or in its head ("gRPC over HTTP2" and "Status codes and their use in
//! gRPC").
//!
//! | code | class | effect |
//! |---|---|---|
//! | 0 | success | done |
//! | 14 unavailable, 13 internal, 4 deadline exceeded, 2 unknown and all codes above 16 | transient | possible |
//! | 8 resource exhausted | throttled | declined |
//! | 3, 5, 7, 9, 11, 12, 16 | permanent | declined |
//! | 1 cancelled, 6 already exists, 10 aborted, 15 data loss | permanent | possible |
//!
//! Every gRPC request is a POST. So a transient failure is retried only if the request says
//! [`idempotent(true)`](crate::Options::idempotent) or has a key that the server honors.

use crate::hop::{FailureClass, grpc_code};
use crate::policy::retry::Failure;

/// Classifies a gRPC response by its code. Use it in `classify_all`: a gRPC failure is a 200.
///
/// Only calls that receive the whole body see trailers.
///
/// ```
/// use sevenhops::{presets, RetryConfig, RetryLayer};
///
/// let retry = RetryLayer::new(RetryConfig::new())?.classify_all(presets::grpc::classify);
/// # drop(retry); Ok::<(), sevenhops::ConfigError>(())
/// ```
#[must_use]
pub fn classify(failure: &Failure<'_>) -> Option<FailureClass> {
    if !failure.status()?.is_success() {
        return None;
    }
    Some(match grpc_code(failure.headers()?, failure.trailers())? {
        0 => FailureClass::Success,
        8 => FailureClass::Throttled,
        1 | 3 | 5 | 6 | 7 | 9 | 10 | 11 | 12 | 15 | 16 => FailureClass::Permanent,
        _ => FailureClass::Transient,
    })
}
