//! Google: `error.status` in JSON ("Errors", Google AIP-193; "Automatic retry configuration", AIP-194), and the
//! reasons of a rate limit under a 403 ("Resolve errors", Google Calendar API).

use serde::Deserialize;

use super::json;
use crate::hop::FailureClass;
use crate::policy::retry::Failure;

/// Classifies a failure by the canonical code of its error. For unknown codes, the status decides.
///
/// ```
/// use sevenhops::{presets, RetryConfig, RetryLayer};
///
/// let retry = RetryLayer::new(RetryConfig::new())?.classify(presets::google::classify);
/// # drop(retry); Ok::<(), sevenhops::ConfigError>(())
/// ```
#[must_use]
pub fn classify(failure: &Failure<'_>) -> Option<FailureClass> {
    let Told { error } = json(failure)?;
    let mut reasons = error.errors.iter().chain(&error.details);
    if reasons.any(Detail::is_rate_limit) {
        return Some(FailureClass::Throttled);
    }
    match error.status?.as_str() {
        "RESOURCE_EXHAUSTED" => Some(FailureClass::Throttled),
        "UNAVAILABLE" | "DEADLINE_EXCEEDED" | "INTERNAL" | "UNKNOWN" => {
            Some(FailureClass::Transient)
        }
        "ABORTED"
        | "ALREADY_EXISTS"
        | "CANCELLED"
        | "DATA_LOSS"
        | "FAILED_PRECONDITION"
        | "INVALID_ARGUMENT"
        | "NOT_FOUND"
        | "OUT_OF_RANGE"
        | "PERMISSION_DENIED"
        | "UNAUTHENTICATED"
        | "UNIMPLEMENTED" => Some(FailureClass::Permanent),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Told {
    error: Described,
}

#[derive(Deserialize)]
struct Described {
    status: Option<String>,
    /// The form of older APIs.
    #[serde(default)]
    errors: Vec<Detail>,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    reason: Option<String>,
}

impl Detail {
    fn is_rate_limit(&self) -> bool {
        let reason = self.reason.as_deref();
        reason.is_some_and(|reason| RATE_LIMITS.contains(&reason))
    }
}

const RATE_LIMITS: [&str; 3] = [
    "RATE_LIMIT_EXCEEDED",
    "rateLimitExceeded",
    "userRateLimitExceeded",
];
