use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::config_error::ConfigError;
use crate::driver::{Again, Driver, Policies};
use crate::policy::redirect::RedirectConfig;
use crate::replay::{FnCloner, TraitCloner};

/// Follows redirects, and keeps credentials, cookies and keys at their origin.
///
/// # Example
///
/// ```
/// use sevenhops::{RedirectConfig, RedirectLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let service = ServiceBuilder::new()
///     .layer(RedirectLayer::new(RedirectConfig::new())?)
///     .service(service_fn(async |request: http::Request<String>| {
///         let moved = request.uri().path() == "/old";
///         let response = http::Response::builder().status(if moved { 308 } else { 200 });
///         response.header("location", "/new").body(String::new())
///     }));
/// let request = http::Request::get("https://api.test/old").body(String::new())?;
/// assert_eq!(service.oneshot(request).await?.status(), 200);
/// # Ok(()) }
/// ```
///
/// # Protects from
///
/// - Sending credentials, cookies and idempotency keys to any host that a `Location` names.
/// - A downgrade from https to http.
/// - A redirect loop.
///
/// # Which redirects are followed
///
/// The layer follows 301, 302, 303, 307 and 308 (RFC 9110 §15.4). A POST becomes a GET after 301, 302 and 303. It then
/// loses its body, the headers that describe the body, and its key. On a cross-origin redirect the layer sends only
/// headers that are known to be safe. Userinfo in a `Location` is ignored. Raw UTF-8 in a `Location` is
/// percent-encoded.
///
/// In three cases the redirect itself is the response of the call. Its `Location` is missing or malformed, several
/// `Location` headers differ, or the body cannot be sent again.
///
/// # Defaults
///
/// The defaults are those of [`RedirectConfig`].
///
/// # Reports
///
/// Each redirect is an event in the timeline. [`Policy::Redirect`](crate::Policy::Redirect) rejects a loop, too many
/// redirects, a downgrade from https to http, and a target that is not HTTP. After an attempt that may have been
/// processed, the layer also refuses to send a POST to another origin. Its key would not be sent there.
///
/// # How people get it wrong
///
/// They put this layer below the retry layer. Then one failed request of a redirect chain causes a retry of the whole
/// chain, and breaker and budget see one destination instead of two.
///
/// # Cancel safety
///
/// The layer holds no state of a call. Dropping the future drops the current request of the chain.
pub struct RedirectLayer<C = TraitCloner> {
    config: Arc<RedirectConfig>,
    cloner: C,
}

impl RedirectLayer {
    /// Creates a layer with this config.
    ///
    /// # Errors
    ///
    /// Fails if a value is out of range. The error names the field and its value.
    pub fn new(config: RedirectConfig) -> Result<Self, ConfigError> {
        config.check_alone()?;
        config.check()?;
        Ok(Self {
            config: Arc::new(config),
            cloner: TraitCloner,
        })
    }
}

impl<C> RedirectLayer<C> {
    /// Sets the functions that clone and empty bodies, for body types that do not implement
    /// [`CloneBody`](crate::policy::retry::CloneBody). `clone` has to clone the bodies of `empty` too.
    #[must_use]
    pub fn clone_body_with<B>(
        self,
        clone: fn(&B) -> Option<B>,
        empty: fn() -> B,
    ) -> RedirectLayer<FnCloner<B>> {
        RedirectLayer {
            config: self.config,
            cloner: FnCloner {
                clone,
                empty: Some(empty),
            },
        }
    }
}

impl<S, C: Clone> Layer<S> for RedirectLayer<C> {
    type Service = RedirectService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = Policies {
            redirect: Some(Arc::clone(&self.config)),
            ..Policies::default()
        };
        Driver::new(inner, Again(self.cloner.clone()), policies)
    }
}

/// The service of [`RedirectLayer`].
pub type RedirectService<S, C = TraitCloner> = Driver<S, Again<C>>;

impl<C: Clone> Clone for RedirectLayer<C> {
    fn clone(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
            cloner: self.cloner.clone(),
        }
    }
}

impl<C> fmt::Debug for RedirectLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedirectLayer")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
