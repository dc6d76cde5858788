//! The tries of the SDK. Each is a call of its own, so a timeline has nothing of the tries before.

use std::error::Error as StdError;
use std::{fmt, iter};

use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};

/// Returns whether a request is a retry of the SDK's own, by its header: `amz-sdk-request: attempt=2; max=3`.
pub(crate) fn is_retry(request: &HttpRequest) -> bool {
    let header = request.headers().get("amz-sdk-request");
    let mut pairs = header.into_iter().flat_map(|header| header.split(';'));
    let attempt = pairs.find_map(|pair| pair.trim().strip_prefix("attempt="));
    attempt.is_some_and(|attempt| attempt != "1")
}

/// Marks the result of a retry. `other` without a kind is not retried, as the error in it.
pub(crate) fn mark(
    sent: Result<HttpResponse, ConnectorError>,
) -> Result<HttpResponse, ConnectorError> {
    let sent = sent.map(|mut response| {
        response.add_extension(Retried);
        response
    });
    sent.map_err(|error| ConnectorError::other(RetryFailed(error).into(), None))
}

/// Returns whether a failure is that of a retry.
pub(crate) fn is_marked<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: StdError + 'static,
{
    let response = error.raw_response();
    let mut causes = iter::successors(error.source(), |cause| (*cause).source());
    response.is_some_and(|response| response.extension::<Retried>().is_some())
        || causes.any(|cause| cause.is::<RetryFailed>())
}

/// Marks a response.
#[derive(Clone, Copy, Debug)]
struct Retried;

#[derive(Debug)]
struct RetryFailed(ConnectorError);

impl fmt::Display for RetryFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a retry of the SDK failed")
    }
}

impl StdError for RetryFailed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
    use sevenhops::Effect;
    use sevenhops::testing::ClosedPort;

    use super::*;
    use crate::{AwsHttpClient, effect, timeline};

    async fn effect_of(client: &AwsHttpClient, header: &str) -> Effect {
        let closed = ClosedPort::new().unwrap();
        let mut request = HttpRequest::empty();
        request.set_method("POST").unwrap();
        request
            .set_uri(format!("http://{}/", closed.addr()))
            .unwrap();
        if !header.is_empty() {
            let headers = request.headers_mut();
            headers.insert("amz-sdk-request", header.to_owned());
        }
        let error = HttpConnector::call(client, request).await.unwrap_err();
        let is_sent = client.settings.connect_timeout().is_none();
        let error = SdkError::<fmt::Error, _>::dispatch_failure(error);
        assert_eq!(timeline(&error).is_some(), is_sent, "{error:?}");
        effect(&error)
    }

    #[tokio::test]
    async fn effect_of_a_later_try_is_at_least_possible() {
        let sends = AwsHttpClient::new(Duration::from_secs(1)).unwrap();
        let mut refuses = sends.clone();
        let short = HttpConnectorSettings::builder().connect_timeout(Duration::from_millis(1));
        refuses.settings = short.build();
        for client in [&sends, &refuses] {
            for first in ["", "attempt=1", "attempt=1; max=3"] {
                assert_eq!(effect_of(client, first).await, Effect::None, "{first}");
            }
            for later in ["attempt=2; max=3", "ttl=20260101T000000Z; attempt=3; max=3"] {
                assert_eq!(effect_of(client, later).await, Effect::Possible, "{later}");
            }
        }
    }
}
