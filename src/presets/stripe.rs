//! Stripe: the header `stripe-should-retry`, and the code `lock_timeout` ("Advanced error handling" and "Error codes",
//! Stripe documentation).

use http::HeaderName;
use serde::Deserialize;

use super::json;
use crate::hop::FailureClass;
use crate::policy::retry::Failure;
use crate::retry_after::should_retry;

/// Classifies a failure by Stripe's header or error code. Without these, the status decides.
///
/// Below 500 a failure that Stripe wants retried counts as throttled, because the destination is healthy. A lock
/// timeout counts as throttled, too: another request holds the lock. A 5xx that Stripe does not want retried opens no
/// circuit.
///
/// ```
/// use sevenhops::{presets, RetryConfig, RetryLayer};
///
/// let retry = RetryLayer::new(RetryConfig::new())?.classify(presets::stripe::classify);
/// # drop(retry); Ok::<(), sevenhops::ConfigError>(())
/// ```
#[must_use]
pub fn classify(failure: &Failure<'_>) -> Option<FailureClass> {
    let status = failure.status()?;
    match should_retry(failure.headers()?, &SHOULD_RETRY) {
        Some(true) if status.is_server_error() => Some(FailureClass::Transient),
        Some(true) => Some(FailureClass::Throttled),
        Some(false) => Some(FailureClass::Permanent),
        None => {
            let Told { error } = json(failure)?;
            let is_locked = error.code? == LOCKED;
            is_locked.then_some(FailureClass::Throttled)
        }
    }
}

#[derive(Deserialize)]
struct Told {
    error: Coded,
}

#[derive(Deserialize)]
struct Coded {
    code: Option<String>,
}

const SHOULD_RETRY: HeaderName = HeaderName::from_static("stripe-should-retry");
const LOCKED: &str = "lock_timeout";
