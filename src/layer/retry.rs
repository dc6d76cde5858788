use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Uri};
use tower_layer::Layer;

use crate::callback::{Site, ask};
use crate::clock;
use crate::config_error::ConfigError;
use crate::destination::Destination;
use crate::driver::{Again, Driver, Policies};
use crate::hop::FailureClass;
use crate::policy::retry::{Budgets, Failure, RetryConfig, RetryPolicy};
use crate::policy::{Classifier, destination_key};
use crate::replay::{FnCloner, TraitCloner};
use crate::retry_after::{Hints, ResponseHead};

/// Retries a failed call if a retry is safe.
///
/// # Example
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use std::time::Duration;
/// use sevenhops::{DeadlineLayer, RetryConfig, RetryLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// static ATTEMPTS: AtomicU32 = AtomicU32::new(0);
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let service = ServiceBuilder::new()
///     .layer(DeadlineLayer::new(Duration::from_secs(10))?)
///     .layer(RetryLayer::new(RetryConfig::new())?)
///     .service(service_fn(async |_request: http::Request<String>| {
///         let down = ATTEMPTS.fetch_add(1, Ordering::Relaxed) < 2;
///         let response = http::Response::builder().status(if down { 503 } else { 200 });
///         response.body(String::new())
///     }));
/// let request = http::Request::get("https://api.test/").body(String::new())?;
/// let response = service.oneshot(request).await?;
/// assert_eq!(response.status(), 200);
/// assert_eq!(response.body().timeline().events().len(), 2); // two waits
/// # Ok(()) }
/// ```
///
/// # Protects from
///
/// - A transient failure.
/// - A second charge.
/// - A service that cannot recover because of its callers' retries.
/// - Ignoring a server's request to retry later.
///
/// # When it retries
///
/// The [`Effect`](crate::Effect) decides. After none, the layer retries any method. After possible or done, it retries
/// only an idempotent method (RFC 9110 §9.2.2) or a key that the server is known to honor. After declined, it also
/// retries if the responder asked for a retry. Permanent failures (a certificate, an unknown name, a status that is not
/// listed) are not retried. A call ends at once if the wait is longer than the time left. It also
/// ends at once if the server's hint is longer than [`RetryConfig::max_hint`].
///
/// # Defaults
///
/// The defaults are those of [`RetryConfig`].
///
/// # Reports
///
/// Each wait is an event in the timeline. The reason why the last failure was not retried is in the timeline and in the
/// error's message. The caller gets the last real response or error, never a wrapper. If a retry began after a
/// response, and that response is still the last one, the caller gets up to 64 KiB of its body.
///
/// # Trade-offs
///
/// Each call keeps a copy of the request's head. A body in memory is shared, not copied. A stream is sent once. It is
/// sent again only if no connection took it. A stream from `Body::retryable` is created for each attempt.
///
/// # How people get it wrong
///
/// They retry at every level: three stacks of three attempts make 27. Here only the outermost retry layer of a call
/// retries. With [`AttemptLayer::propagate_deadline`](crate::AttemptLayer::propagate_deadline) that holds in the next
/// process too.
///
/// # Cancel safety
///
/// Dropping the future gives up the attempt or the wait. If the retry had not begun, its payment returns to the budget.
#[derive(Clone)]
pub struct RetryLayer<C = TraitCloner> {
    policy: RetryPolicy,
    classifier: Option<Classifier>,
    cloner: C,
}

impl RetryLayer {
    /// Creates a layer with this config.
    ///
    /// # Errors
    ///
    /// Fails if a value is out of range. The error names the field and its value.
    pub fn new(config: RetryConfig) -> Result<Self, ConfigError> {
        config.check(None)?;
        Ok(Self {
            policy: RetryPolicy::new(config, clock::now()),
            classifier: None,
            cloner: TraitCloner,
        })
    }
}

impl<C> RetryLayer<C> {
    /// Sets the function that clones bodies, for body types that do not implement
    /// [`CloneBody`](crate::policy::retry::CloneBody).
    #[must_use]
    pub fn clone_body_with<B>(self, clone: fn(&B) -> Option<B>) -> RetryLayer<FnCloner<B>> {
        RetryLayer {
            policy: self.policy,
            classifier: self.classifier,
            cloner: FnCloner { clone, empty: None },
        }
    }

    /// Sets a function that classifies a failure before the built-in table does. `None` leaves the decision to the
    /// table. The function cannot allow an unsafe retry after effect possible or done. A panic counts as `None`. A
    /// later classifier replaces an earlier one.
    ///
    /// The function sees method, URL, outcome and headers. In calls that receive the whole body it also sees the
    /// beginning of the body: see [`Failure::body`]. The class does not change the response that the caller gets.
    ///
    /// [`FailureClass::Throttled`] means that the responder wants a retry: after effect declined, any method is
    /// retried.
    ///
    /// ```
    /// use sevenhops::{hop::FailureClass, RetryConfig, RetryLayer};
    ///
    /// let retry = RetryLayer::new(RetryConfig::new())?.classify(|failure| {
    ///     let body = std::str::from_utf8(failure.body()?).ok()?;
    ///     body.contains("\"try_again\"").then_some(FailureClass::Throttled)
    /// });
    /// # drop(retry); Ok::<(), sevenhops::ConfigError>(())
    /// ```
    ///
    /// A [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) in the same stack has its own classifier. A
    /// [`StandardLayer`](crate::StandardLayer) has one for all policies.
    #[must_use]
    pub fn classify<F>(mut self, classify: F) -> Self
    where
        F: Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync + 'static,
    {
        let site = Site::new("RetryLayer::classify");
        self.classifier = Some(Classifier::of_failures(site, classify));
        self
    }

    /// Sets a function like that of [`classify`](Self::classify), which also classifies each 2xx response. Use it for a
    /// service that reports failures with a 200.
    ///
    /// A 2xx that the function calls transient, permanent or throttled counts as failed. Its effect is possible,
    /// because nothing shows what was done. If a gRPC code declines the request, the effect is declined. Calls that
    /// receive the whole body classify it after the body has arrived. Other calls classify it by its head. With `None`,
    /// [`FailureClass::Success`] and [`FailureClass::Ignore`] it stays a success. The function does not see other
    /// statuses below 400.
    ///
    /// ```
    /// use sevenhops::{hop::FailureClass, RetryConfig, RetryLayer};
    ///
    /// let retry = RetryLayer::new(RetryConfig::new())?.classify_all(|response| {
    ///     let errors = response.body()?.starts_with(b"{\"errors\"");
    ///     errors.then_some(FailureClass::Permanent)
    /// });
    /// # drop(retry); Ok::<(), sevenhops::ConfigError>(())
    /// ```
    #[must_use]
    pub fn classify_all<F>(mut self, classify: F) -> Self
    where
        F: Fn(&Failure<'_>) -> Option<FailureClass> + Send + Sync + 'static,
    {
        let site = Site::new("RetryLayer::classify_all");
        self.classifier = Some(Classifier::of_all(site, classify));
        self
    }
}

impl<C> RetryLayer<C> {
    /// Sets a function that reads from a response when to retry, for a service with its own header or format. `None`
    /// leaves it to the common headers: `retry-after-ms`, `x-ms-retry-after-ms`, `Retry-After` and `RateLimit`. A panic
    /// counts as `None`.
    ///
    /// An unreadable header is ignored. The first one of each name is logged as a warning, without its value.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sevenhops::{RetryConfig, RetryLayer};
    ///
    /// let retry = RetryLayer::new(RetryConfig::new())?.hint(|head| {
    ///     let seconds = head.headers().get("x-backoff-seconds")?.to_str().ok()?;
    ///     Some(Duration::from_secs(seconds.parse().ok()?))
    /// });
    /// # drop(retry); Ok::<(), sevenhops::ConfigError>(())
    /// ```
    #[must_use]
    pub fn hint<F>(mut self, hint: F) -> Self
    where
        F: Fn(&ResponseHead<'_>) -> Option<Duration> + Send + Sync + 'static,
    {
        let site = Site::new("RetryLayer::hint");
        self.policy.hints = Hints::by(move |head| ask(&site, || hint(head)));
        self
    }

    /// Keeps a budget for each destination that `key` returns: a tenant, a shard, a route. If `key` returns `None` or
    /// panics, the request uses the budget of its URL's destination.
    #[must_use]
    pub fn key_by<F>(mut self, key: F) -> Self
    where
        F: Fn(&Method, &Uri, &HeaderMap) -> Option<Destination> + Send + Sync + 'static,
    {
        let site = Site::new("RetryLayer::key_by");
        self.policy.key = Some(destination_key(site, key));
        self
    }

    /// Returns the budgets, to read and to share them: see [`Budgets`].
    #[must_use]
    pub fn budgets(&self) -> Budgets {
        self.policy.budgets.clone()
    }

    /// Uses the budgets of other clients, and shares them.
    ///
    /// # Errors
    ///
    /// Fails if the config of this layer has its own budget with other values.
    pub fn share_budgets(mut self, budgets: &Budgets) -> Result<Self, ConfigError> {
        self.policy.share(budgets)?;
        Ok(self)
    }
}

impl<S, C: Clone> Layer<S> for RetryLayer<C> {
    type Service = RetryService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = Policies {
            retry: Some(Arc::new(self.policy.clone())),
            classifier: self.classifier.clone(),
            ..Policies::default()
        };
        Driver::new(inner, Again(self.cloner.clone()), policies)
    }
}

/// The service of [`RetryLayer`].
pub type RetryService<S, C = TraitCloner> = Driver<S, Again<C>>;

impl<C> fmt::Debug for RetryLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryLayer")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
