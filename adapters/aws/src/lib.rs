#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations)]

mod classifier;
mod operation;
mod timeouts;
mod tries;

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use sevenhops::{
    Body, ConfigError, ConfigHandle, Effect, Error, Hop, Options, StandardLayer, StandardService,
    Timeline, Timeouts, Transport, sdk,
};
use tower::ServiceExt;

pub use self::classifier::EffectClassifier;

/// The HTTP client of an AWS SDK, over the whole stack of sevenhops. Cheap to clone.
///
/// # Cancel safety
///
/// If the SDK drops a request, the call is given up.
#[derive(Clone, Debug)]
pub struct AwsHttpClient {
    service: StandardService<Transport>,
    config: ConfigHandle,
    settings: HttpConnectorSettings,
}

impl AwsHttpClient {
    /// Creates a client whose calls end within `deadline`, to the last byte of the body.
    ///
    /// # Errors
    ///
    /// Fails if `deadline` is out of range, or if the system's name servers or roots cannot be read.
    pub fn new(deadline: Duration) -> Result<Self, ConfigError> {
        let transport = Transport::new(Timeouts::new(deadline)?)?;
        Ok(Self::over(&StandardLayer::new(deadline)?, transport))
    }

    /// Creates a client over policies and a transport of yours.
    #[must_use]
    pub fn over(policies: &StandardLayer, transport: Transport) -> Self {
        Self {
            config: policies.config_handle(),
            service: policies.over(transport),
            settings: HttpConnectorSettings::default(),
        }
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let is_read = operation::is_read(&request);
        let request = request.try_into_http1x();
        let mut request = request
            .map_err(|error| ConnectorError::user(error.into()))?
            .map(body);
        let config = self.config.current();
        let deadline = timeouts::deadline((&config, request.uri()), &self.settings);
        // The SDK signed the request for this host. No AWS service reads a key from this header.
        let options = Options::new().generate_key(false).follow_redirects(false);
        let mut options = options.idempotent(is_read);
        if let Some(deadline) = deadline.map_err(ConnectorError::user)? {
            options = options.deadline(deadline);
        }
        request.extensions_mut().insert(options);
        let response = self.service.oneshot(request).await.map_err(failed)?;
        let timeline = response.body().timeline().clone();
        let response = HttpResponse::try_from(response.map(SdkBody::from_body_1_x));
        let mut response = response.map_err(|error| ConnectorError::other(error.into(), None))?;
        response.add_extension(timeline);
        Ok(response)
    }
}

impl HttpClient for AwsHttpClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let mut connector = self.clone();
        connector.settings = settings.clone();
        SharedHttpConnector::new(connector)
    }
}

impl HttpConnector for AwsHttpClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_retry = tries::is_retry(&request);
        let sent = self.clone().send(request);
        HttpConnectorFuture::new(async move {
            match is_retry {
                true => tries::mark(sent.await),
                false => sent.await,
            }
        })
    }
}

/// Returns the effect of a failed request. The error is that of the SDK's last try, and the adapter does not know what the
/// tries before it did. So after a retry of the SDK's own, the effect is at least possible.
#[must_use]
pub fn effect<E>(error: &SdkError<E, HttpResponse>) -> Effect
where
    E: std::error::Error + 'static,
{
    let of_the_last = match (error, timeline(error)) {
        // The SDK makes the request once, before the first try.
        (SdkError::ConstructionFailure(_), _) => Effect::None,
        // The adapter refused the request, or the timeouts of the SDK.
        (SdkError::DispatchFailure(failure), _) if failure.is_user() => Effect::None,
        (_, Some(timeline)) => timeline.effect(),
        (_, None) => sdk::classify_error(error).effect(),
    };
    match tries::is_marked(error) {
        true => of_the_last.max(Effect::Possible),
        false => of_the_last,
    }
}

/// Returns the timeline of a failed request: that of the SDK's last try. `None` if the SDK dropped the request, or sent
/// none.
#[must_use]
pub fn timeline<E>(error: &SdkError<E, HttpResponse>) -> Option<Timeline>
where
    E: std::error::Error + 'static,
{
    let responded = error
        .raw_response()
        .and_then(|response| response.extension());
    responded
        .or_else(|| sdk::classify_error(error).timeline())
        .cloned()
}

/// Converts a body. One that the SDK can create again is created for each attempt.
fn body(body: SdkBody) -> Body {
    if let Some(bytes) = body.bytes() {
        return Body::from(bytes.to_vec());
    }
    let length = body.content_length();
    let converted = match body.try_clone() {
        None => return Body::wrap(body),
        Some(_) => Body::retryable(move || {
            let again = body
                .try_clone()
                .ok_or("the SDK cannot create the body again");
            async move { again }
        }),
    };
    match length {
        Some(length) => converted.with_length(length),
        None => converted,
    }
}

/// Converts an error. `other` without a kind means in the SDK's terms: no retry. The stack has made all safe ones.
fn failed(error: Error) -> ConnectorError {
    let is_unconnected = matches!(
        error.hop(),
        Some(Hop::Encode | Hop::Dns | Hop::Connect | Hop::Tls)
    );
    let is_unconnected = is_unconnected && error.had_no_effect();
    let error = ConnectorError::other(error.into(), None);
    match is_unconnected {
        true => error.never_connected(),
        false => error,
    }
}
