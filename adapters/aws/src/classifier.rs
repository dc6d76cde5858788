use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::retries::classifiers::{
    ClassifyRetry, RetryAction, RetryClassifierPriority,
};
use http::Method;
use sevenhops::{Effect, Timeline};

/// Forbids the SDK's own retries after failures that the stack has judged: a lost response, a timeout, a 5xx.
///
/// It says nothing about a 4xx that had no effect. The SDK knows its error codes: it signs such a request again, for
/// example after a throttling or with a corrected clock.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct EffectClassifier;

impl EffectClassifier {
    /// Creates the classifier.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl ClassifyRetry for EffectClassifier {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else {
            return RetryAction::NoActionIndicated;
        };
        // A timeout of the SDK's drops the request: it may have been carried out.
        if error.is_connector_error() || error.is_timeout_error() {
            return RetryAction::RetryForbidden;
        }
        // Without a timeline the response is not from the stack.
        let timed = |response| Some((response, HttpResponse::extension::<Timeline>(response)?));
        let Some((response, timeline)) = context.response().and_then(timed) else {
            return RetryAction::NoActionIndicated;
        };
        let is_safe = timeline.method().is_some_and(Method::is_safe);
        let had_effect = timeline.effect() > Effect::Declined && !is_safe;
        match had_effect || response.status().is_server_error() {
            true => RetryAction::RetryForbidden,
            false => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "Effects that sevenhops observed"
    }

    /// After all classifiers that ask for a retry.
    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}
