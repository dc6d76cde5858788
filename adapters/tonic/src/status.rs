//! gRPC's statuses: read for the policies, and made of our errors.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use sevenhops::hop::FailureClass;
use sevenhops::policy::retry::Failure;
use sevenhops::timeout::TimeoutKind;
use sevenhops::{Error, Hop, Kind, presets};
use tonic::{Code, Status};

/// Classifies by the code in the head or in the trailers. A pushback without a time forbids the retry.
pub(crate) fn classify(failure: &Failure<'_>) -> Option<FailureClass> {
    let heads = [failure.headers(), failure.trailers()];
    let class = presets::grpc::classify(failure)?;
    let is_forbidden = heads
        .into_iter()
        .flatten()
        .any(|head| pushback(head) == Some(None));
    match class {
        FailureClass::Transient | FailureClass::Throttled if is_forbidden => {
            Some(FailureClass::Permanent)
        }
        class => Some(class),
    }
}

/// Returns the server's pushback, if there is one: the wait before a retry, or none if the server forbids it
/// (gRFC A6).
pub(crate) fn pushback(head: &HeaderMap) -> Option<Option<Duration>> {
    let value = head.get("grpc-retry-pushback-ms")?;
    let millis = value.to_str().ok().and_then(|text| text.parse().ok());
    Some(millis.map(Duration::from_millis))
}

/// Makes a status of an error. The error is its source.
pub(crate) fn of(error: Error) -> Status {
    let is_late = error.timeout_kind() == Some(TimeoutKind::Deadline);
    let code = match error.kind() {
        _ if is_late => Code::DeadlineExceeded,
        Kind::Timeout if !error.is_connect() => Code::DeadlineExceeded,
        Kind::TooLarge => Code::ResourceExhausted,
        _ if error.hop() == Some(Hop::Encode) => Code::Internal,
        _ => Code::Unavailable,
    };
    let mut status = Status::new(code, error.to_string());
    status.set_source(Arc::new(error));
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushback_is_a_wait_or_forbids() {
        let read = |text: &'static str| {
            let mut head = HeaderMap::new();
            head.insert("grpc-retry-pushback-ms", text.parse().unwrap());
            pushback(&head)
        };
        assert_eq!(read("250"), Some(Some(Duration::from_millis(250))));
        assert_eq!((read("-1"), read("soon")), (Some(None), Some(None)));
        assert_eq!(pushback(&HeaderMap::new()), None);
    }
}
