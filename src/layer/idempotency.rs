use std::sync::Arc;

use tower_layer::Layer;

use crate::config_error::ConfigError;
use crate::driver::{Driver, Now, Policies};
use crate::policy::idempotency::IdempotencyConfig;

/// Adds an idempotency key to every call that needs one: one key for each call, the same in every attempt.
///
/// # Example
///
/// ```
/// use sevenhops::IdempotencyLayer;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let service = ServiceBuilder::new()
///     .layer(IdempotencyLayer::default())
///     .service(service_fn(async |request: http::Request<String>| {
///         assert!(request.headers().contains_key("idempotency-key"));
///         Ok::<_, std::io::Error>(http::Response::new(String::new()))
///     }));
/// service.oneshot(http::Request::post("https://api.test/").body(String::new())?).await?;
/// # Ok(()) }
/// ```
///
/// # Protects from
///
/// A second charge: the response to the first one was lost, and the client sent the request again.
///
/// # A key alone permits no retry
///
/// A service that does not know the header ignores it, and a retry is a second charge. After a call that may have had
/// an effect, the key permits a retry in two cases. Either the caller supplied or derived the key, or the caller
/// declared that the server honors keys. [`IdempotencyConfig`] declares it for the client or the destination, and
/// [`Options::honors_idempotency_keys`](crate::Options::honors_idempotency_keys) for one request.
///
/// # Reports
///
/// The timeline has an event if the server declares that its response is a replay. If the server has forgotten a
/// derived key, [`Policy::Idempotency`](crate::Policy::Idempotency) rejects the call.
///
/// # How people get it wrong
///
/// Using a new key for each attempt: the customer is charged twice. Using one key for each customer instead of each
/// order: the second order is not charged.
///
/// Retrying above the layer (`tower::retry`, a loop around the client). Each try is then a call with a new key. The
/// retry clones the request before the layer sees it, so the tries share nothing that the layer could find. Set the key
/// of such a request with [`Options::idempotency_key`](crate::Options::idempotency_key). In reqwest-middleware the
/// tries of a retry middleware share their extensions, so they get the same key.
///
/// # Cancel safety
///
/// The layer holds no state of a call. Dropping the future is always safe.
#[derive(Clone, Debug, Default)]
pub struct IdempotencyLayer {
    config: Arc<IdempotencyConfig>,
}

impl IdempotencyLayer {
    /// Creates a layer with this config.
    ///
    /// # Errors
    ///
    /// Fails if the configured header has another purpose in HTTP.
    pub fn new(config: IdempotencyConfig) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            config: Arc::new(config),
        })
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = IdempotencyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = Policies {
            idempotency: Some(Arc::clone(&self.config)),
            ..Policies::default()
        };
        Driver::new(inner, Now, policies)
    }
}

/// The service of [`IdempotencyLayer`].
pub type IdempotencyService<S> = Driver<S, Now>;
