use std::sync::Arc;

use tower_layer::Layer;

use crate::config_error::SettingError;
use crate::driver::{Driver, Now, Policies};
use crate::policy::idempotency::Settings;

/// Gives every call that needs one an idempotency key: one key for each call, the same in every attempt.
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
/// # What it protects from
///
/// A charge that is made twice because its response was lost and the client sent it again.
///
/// # A key alone permits no retry
///
/// A service that does not know the header ignores it, and a retry is a second charge. If a call may
/// have happened, its key permits a retry only if the caller brought or derived it, or said that the
/// server honors keys: for the client or the destination in [`Settings`], for one request by
/// [`Options::honours_keys`](crate::Options::honours_keys).
///
/// # What it reports
///
/// A note in the timeline if the server says that its response is a replay; a refusal by
/// [`Policy::Idempotency`](crate::Policy::Idempotency) for a derived key that the server has forgotten.
///
/// # How people get it wrong
///
/// A fresh key for each attempt, or a key of the customer instead of the order: the first charges
/// twice, the second not at all.
///
/// A retry above the layer (`tower::retry`, a loop around the client) makes a call of each try, and each call gets a
/// new key: the layer finds nothing that the tries share, because the retry clones the request before the layer sees
/// it. Give such a request its key: [`Options::idempotency_key`](crate::Options::idempotency_key). A retry that is a
/// reqwest-middleware shares its extensions: there, the tries get the same key.
///
/// # Cancel safety
///
/// Nothing is held: a dropped future leaves nothing behind.
#[derive(Clone, Debug, Default)]
pub struct IdempotencyLayer {
    settings: Arc<Settings>,
}

impl IdempotencyLayer {
    /// Creates a layer that makes keys by these settings.
    ///
    /// # Errors
    ///
    /// Fails if HTTP has another use for the header of the key.
    pub fn new(settings: Settings) -> Result<Self, SettingError> {
        settings.check()?;
        Ok(Self {
            settings: Arc::new(settings),
        })
    }

    pub(crate) fn policy(&self) -> Arc<Settings> {
        Arc::clone(&self.settings)
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = IdempotencyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = Policies {
            idempotency: Some(self.policy()),
            ..Policies::default()
        };
        Driver::new(inner, Now, policies)
    }
}

/// The service of [`IdempotencyLayer`].
pub type IdempotencyService<S> = Driver<S, Now>;
