use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Method, Uri};
use tower_layer::Layer;

use crate::callback::Site;
use crate::config_error::ConfigError;
use crate::destination::Destination;
use crate::driver::{Again, Driver, Policies};
use crate::policy::rate_limit::{Policy, RateLimit, RateLimitConfig, SharedRateLimit};
use crate::policy::{NamedRules, destination_key};
use crate::replay::SentOnce;

/// Puts a rate limit around a service. It sends no more requests to a destination than the rate allows. The others
/// wait for their slot, or are rejected.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{Policy, RateLimitConfig, RateLimitLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let service = ServiceBuilder::new()
///     .layer(RateLimitLayer::new(RateLimitConfig::new(2).wait(false))?)
///     .service(service_fn(async |_request: http::Request<String>| {
///         Ok::<_, std::io::Error>(http::Response::new(String::from("hello")))
///     }));
/// let get = || http::Request::get("https://api.test/v1").body(String::new());
/// for _ in 0..2 {
///     assert_eq!(service.clone().oneshot(get()?).await?.status(), 200);
/// }
/// let refused = service.oneshot(get()?).await.unwrap_err();
/// assert_eq!(refused.rejected_by(), Some(Policy::RateLimit));
/// assert_eq!(refused.retry_after(), Some(Duration::from_millis(500)));
/// # Ok(()) }
/// ```
///
/// # Protects from
///
/// - A quota that is used up by a burst, so that all later calls get 429.
/// - A bill or a ban for too many requests.
///
/// It counts attempts, so retries and redirects need slots, too. The algorithm is GCRA: it has no windows, so there is
/// no burst of twice the rate at the border of two windows.
///
/// # Defaults
///
/// Off in a [`StandardLayer`](crate::StandardLayer) and in a client. The values are those of [`RateLimitConfig`]. Each
/// destination has its own bucket. [`key_by`](Self::key_by) can choose other groups. Clones of the layer share the
/// buckets. Over this layer alone a call has no deadline: set [`max_wait`](RateLimitConfig::max_wait).
///
/// # Reports
///
/// A rejection is an [`Error`](crate::Error) with [`Policy::RateLimit`](crate::Policy::RateLimit),
/// [`Kind::RateLimit`](crate::Kind::RateLimit) and no effect. Its [`retry_after`](crate::Error::retry_after) is the
/// time until the next slot. A call whose wait does not fit into its deadline is rejected at once. A wait is a row of
/// the timeline: "waited 100.0 ms for the rate limit". It is an event of the call's span, and a metric.
///
/// # Trade-offs
///
/// Slots are given in the order of the calls, without priorities. A slot that a call leaves is for the next new call:
/// those that wait keep theirs. The buckets are those of this process. Several processes with one quota need a share
/// each, or a store: [`share_rate_limit`](Self::share_rate_limit).
///
/// With [`server_informed`](RateLimitConfig::server_informed), the bucket follows `RateLimit`, or
/// `x-ratelimit-remaining` and `x-ratelimit-reset`. A server can only lower the limit. It says so in a response, so
/// requests that were sent meanwhile may be too many.
///
/// # How people get it wrong
///
/// - Building a layer for each request: it limits nothing. Build one layer and clone it.
/// - Putting it outside of the retries: then retries are not counted. Put it inside.
/// - The default burst for a server that counts in short windows: set [`burst`](RateLimitConfig::burst) to 1.
///
/// # Cancel safety
///
/// If the future is dropped during the wait, the next new call gets its slot. A slot that was due is used up, and so is
/// one of a store.
#[derive(Clone)]
pub struct RateLimitLayer {
    policy: Policy,
}

impl RateLimitLayer {
    /// Creates a rate limit.
    ///
    /// # Errors
    ///
    /// Fails if a value is missing, is out of range or contradicts another one. The error names the fields and their
    /// values.
    pub fn new(config: RateLimitConfig) -> Result<Self, ConfigError> {
        config.check(None)?;
        Ok(Self {
            policy: Policy {
                limit: RateLimit::new(),
                config: Arc::new(config),
                key: None,
                rules: NamedRules::default(),
                shared: None,
            },
        })
    }

    /// Shares the rate with other processes, by a store: see [`SharedRateLimit`].
    #[must_use]
    pub fn share_rate_limit(mut self, limit: &SharedRateLimit) -> Self {
        self.policy.share(limit);
        self
    }

    /// Keeps a bucket for each destination that `key` returns. Requests for which it returns `None` are not limited.
    /// By default the key is the [`Destination::of`] the URL. If `key` panics, the call fails at encode.
    #[must_use]
    pub fn key_by(
        mut self,
        key: impl Fn(&Method, &Uri, &HeaderMap) -> Option<Destination> + Send + Sync + 'static,
    ) -> Self {
        let site = Site::new("RateLimitLayer::key_by");
        self.policy.key = Some(destination_key(site, key));
        self
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimitService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = Policies {
            rate_limit: Some(self.policy.clone()),
            ..Policies::default()
        };
        Driver::new(inner, Again(SentOnce), policies)
    }
}

/// The service of [`RateLimitLayer`]. It sends each request once, through a clone of its service if it has to wait.
pub type RateLimitService<S> = Driver<S, Again<SentOnce>>;

impl fmt::Debug for RateLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("config", &self.policy.config)
            .field("keyed", &self.policy.key.is_some())
            .field("shared", &self.policy.shared)
            .finish()
    }
}
