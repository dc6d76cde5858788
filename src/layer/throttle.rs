use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Uri};
use tower_layer::Layer;

use crate::callback::{Site, ask};
use crate::config_error::ConfigError;
use crate::destination::Destination;
use crate::driver::{Driver, Now, Policies};
use crate::hop::FailureClass;
use crate::policy::retry::Failure;
use crate::policy::throttle::{Policy, ThrottleConfig, ThrottleHandle};
use crate::policy::{Classifier, NamedRules, destination_key};
use crate::retry_after::{Hints, ResponseHead};

/// Puts a throttle around a service. While a destination rejects many requests as overload, it rejects a part of them
/// before they are sent.
///
/// # Example
///
/// ```
/// use sevenhops::{Policy, ThrottleConfig, ThrottleLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let service = ServiceBuilder::new()
///     .layer(ThrottleLayer::new(ThrottleConfig::new())?)
///     .service(service_fn(async |_request: http::Request<String>| {
///         http::Response::builder().status(429).body(String::new())
///     }));
/// let get = || http::Request::get("https://api.test/v1").body(String::new());
/// let mut rejected = 0;
/// for _ in 0..100 {
///     if let Err(error) = service.clone().oneshot(get()?).await {
///         assert_eq!(error.rejected_by(), Some(Policy::Throttle));
///         rejected += 1;
///     }
/// }
/// assert!(rejected > 50);
/// # Ok(()) }
/// ```
///
/// # Protects from
///
/// - A server that spends its capacity on rejections.
/// - Many clients that keep a server overloaded: each of them sends less, without talking to the others.
///
/// The probability of a rejection is max(0, (requests − K · accepts) / (requests + 1)), over the attempts of the
/// window. It is the client-side throttling of Google's SRE book. With K = 2 the server gets at most about two requests
/// for each one that it accepts.
///
/// These are overload: 429, 503 and 529, every failure status with a hint such as `Retry-After`, and each response
/// that the classifier calls throttled. Every other response is accepted, also a failure. Attempts without a response
/// do not count: they are for the [breaker](crate::CircuitBreakerLayer).
///
/// The rejections are spread evenly over the attempts. Under retries, a rejected attempt is not the end of its call.
/// The throttle is asked again after the usual wait, because the next attempt may pass. Such a call pays one token of
/// the retry budget, and gets it back if nothing is sent in the end. It asks as often as
/// [`unsent_attempts`](crate::RetryConfig::unsent_attempts) says. If the server asked for a longer wait than the call
/// can afford, the call ends at once.
///
/// # When to switch it on
///
/// Switch it on for a service of your own that protects itself by rejections, if all its clients call it through this
/// crate. A rejection costs such a service almost as much as a response. The service then has more capacity for the
/// requests that it accepts. In the demo `load_and_faults` ("overload") almost no call succeeds without it.
///
/// Leave it off for a service that gives you a quota, such as a public API: there a rejection costs the server nothing.
/// A [rate limit](crate::RateLimitLayer) uses the quota better. A server that accepts a fixed rate still gives no fewer
/// responses with the throttle than without it, if it allows for a burst.
///
/// # Defaults
///
/// Off in a [`StandardLayer`](crate::StandardLayer) and in a client. The values are those of [`ThrottleConfig`]. Each
/// destination has its own window. [`key_by`](Self::key_by) can choose other groups.
///
/// # Reports
///
/// A rejection is an [`Error`](crate::Error) with [`Policy::Throttle`](crate::Policy::Throttle),
/// [`Kind::ClientThrottled`](crate::Kind::ClientThrottled) and no effect. Its
/// [`retry_after`](crate::Error::retry_after) is the latest hint of the server. The timeline and the call's span say
/// "rejected by the throttle". [`throttle_handle`](Self::throttle_handle) returns the counts of each window.
///
/// # Trade-offs
///
/// It also rejects requests that the server would have accepted. After an overload it takes up to one window until
/// nothing is rejected any more. A larger [multiplier](ThrottleConfig::multiplier) makes both smaller. During a long
/// overload, a server with a strict rate and no burst accepts up to a tenth less. With fewer requests, some of its free
/// moments pass unused.
///
/// # How people get it wrong
///
/// - Building a layer for each request: it learns nothing. Build one layer and clone it.
/// - Putting it outside of the retries: then retries are not counted. Put it inside.
/// - One window for tenants with quotas of their own: one tenant's 429 throttles the others. See
///   [`key_by`](Self::key_by).
///
/// # Cancel safety
///
/// An attempt that is dropped before its response head does not count.
#[derive(Clone)]
pub struct ThrottleLayer {
    policy: Policy,
    classifier: Option<Classifier>,
}

impl ThrottleLayer {
    /// Creates a throttle.
    ///
    /// # Errors
    ///
    /// Fails if a value is out of range. The error names the field and its value.
    pub fn new(config: ThrottleConfig) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            policy: Policy {
                throttle: ThrottleHandle::new(),
                config: Arc::new(config),
                key: None,
                rules: NamedRules::default(),
                hints: Hints::default(),
            },
            classifier: None,
        })
    }

    /// Keeps a window for each destination that `key` returns. Requests for which it returns `None` are not counted.
    /// By default the key is the [`Destination::of`] the URL. If `key` panics, the call fails at encode.
    #[must_use]
    pub fn key_by(
        mut self,
        key: impl Fn(&Method, &Uri, &HeaderMap) -> Option<Destination> + Send + Sync + 'static,
    ) -> Self {
        let site = Site::new("ThrottleLayer::key_by");
        self.policy.key = Some(destination_key(site, key));
        self
    }

    /// Calls this function first to read when to retry a response: see [`RetryLayer::hint`](crate::RetryLayer::hint).
    #[must_use]
    pub fn hint<F>(mut self, hint: F) -> Self
    where
        F: Fn(&ResponseHead<'_>) -> Option<Duration> + Send + Sync + 'static,
    {
        let site = Site::new("ThrottleLayer::hint");
        self.policy.hints = Hints::by(move |head| ask(&site, || hint(head)));
        self
    }

    /// Calls this function first to classify a failure: see [`RetryLayer::classify`](crate::RetryLayer::classify).
    ///
    /// A throttled failure is overload. A success counts as accepted. An ignored failure does not count.
    #[must_use]
    pub fn classify<F>(mut self, classify: F) -> Self
    where
        F: Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync + 'static,
    {
        let site = Site::new("ThrottleLayer::classify");
        self.classifier = Some(Classifier::of_failures(site, classify));
        self
    }

    /// Returns the windows, to read them.
    #[must_use]
    pub fn throttle_handle(&self) -> ThrottleHandle {
        self.policy.throttle.clone()
    }
}

impl<S> Layer<S> for ThrottleLayer {
    type Service = ThrottleService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = Policies {
            throttle: Some(self.policy.clone()),
            classifier: self.classifier.clone(),
            ..Policies::default()
        };
        Driver::new(inner, Now, policies)
    }
}

/// The service of [`ThrottleLayer`].
pub type ThrottleService<S> = Driver<S, Now>;

impl fmt::Debug for ThrottleLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThrottleLayer")
            .field("config", &self.policy.config)
            .field("keyed", &self.policy.key.is_some())
            .finish()
    }
}
