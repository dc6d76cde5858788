//! AWS: error codes in the header `x-amzn-errortype`, in JSON (`__type`, `code`) and in XML (`<Code>`).
//!
//! The lists are those of the standard retry mode ("Retry behavior", AWS SDKs and Tools Reference Guide). For codes
//! in neither list, the status decides.
//!
//! In `classify_all` it also finds an error that S3 sends under a 200 ("CopyObject" and "CompleteMultipartUpload",
//! Amazon S3 API Reference).

use std::time::Duration;

use http::HeaderName;
use serde::Deserialize;

use super::json;
use crate::hop::FailureClass;
use crate::policy::retry::Failure;
use crate::retry_after::{ResponseHead, readable};

/// Classifies a failure by its error code.
///
/// ```
/// use sevenhops::{presets, RetryConfig, RetryLayer};
///
/// let retry = RetryLayer::new(RetryConfig::new())?.classify_all(presets::aws::classify);
/// # drop(retry); Ok::<(), sevenhops::ConfigError>(())
/// ```
#[must_use]
pub fn classify(failure: &Failure<'_>) -> Option<FailureClass> {
    if failure.status()?.is_success() {
        let text = std::str::from_utf8(failure.body()?).ok()?;
        return is_error(text).then(|| class(xml(text)).unwrap_or(FailureClass::Permanent));
    }
    let header = failure.headers().and_then(|headers| {
        let name = &ERROR_TYPE;
        readable(headers, name, |text| Some(text.to_owned()))
    });
    match header {
        Some(code) => class(Some(&code)),
        None => by_body(failure),
    }
}

/// Reads `x-amz-retry-after`: milliseconds.
#[must_use]
pub fn hint(head: &ResponseHead<'_>) -> Option<Duration> {
    readable(head.headers(), &RETRY_AFTER, |text| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let millis = text.parse().ok().filter(|_| digits);
        millis.map(Duration::from_millis)
    })
}

fn by_body(failure: &Failure<'_>) -> Option<FailureClass> {
    if let Some(Coded { kind, code }) = json(failure) {
        return class(kind.or(code).as_deref());
    }
    class(xml(std::str::from_utf8(failure.body()?).ok()?))
}

/// The JSON form of an error.
#[derive(Deserialize)]
struct Coded {
    #[serde(rename = "__type")]
    kind: Option<String>,
    code: Option<String>,
}

fn class(code: Option<&str>) -> Option<FailureClass> {
    // `namespace#Code:http://more/`
    let code = code?.split(':').next()?;
    let code = code.rsplit('#').next()?.trim();
    if THROTTLED.contains(&code) {
        Some(FailureClass::Throttled)
    } else {
        let is_transient = TRANSIENT.contains(&code);
        is_transient.then_some(FailureClass::Transient)
    }
}

/// Returns the text of the first `<Code>`.
fn xml(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    Some(code)
}

/// Returns whether the document is an error and nothing else.
fn is_error(text: &str) -> bool {
    let text = text.trim_start();
    let root = match text.strip_prefix("<?xml") {
        Some(rest) => rest.split_once("?>").map_or("", |(_, root)| root),
        None => text,
    };
    root.trim_start().starts_with("<Error>")
}

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const RETRY_AFTER: HeaderName = HeaderName::from_static("x-amz-retry-after");
const THROTTLED: [&str; 14] = [
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
];
/// The last code is for S3's errors under a 200. In other responses the status says the same.
const TRANSIENT: [&str; 3] = ["RequestTimeout", "RequestTimeoutException", "InternalError"];
