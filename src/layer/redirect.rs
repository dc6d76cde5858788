use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::config_error::SettingError;
use crate::driver::{Again, Driver, Policies};
use crate::policy::redirect::Settings;
use crate::replay::{ByFn, ByTrait};

/// Follows redirects, and keeps credentials, cookies and keys at their origin.
///
/// # Example
///
/// ```
/// use sevenhops::RedirectLayer;
/// use sevenhops::policy::redirect::Settings;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let service = ServiceBuilder::new()
///     .layer(RedirectLayer::new(Settings::new())?)
///     .service(service_fn(async |request: http::Request<String>| {
///         let moved = request.uri().path() == "/old";
///         let answer = http::Response::builder().status(if moved { 308 } else { 200 });
///         answer.header("location", "/new").body(String::new())
///     }));
/// let request = http::Request::get("https://api.test/old").body(String::new())?;
/// assert_eq!(service.oneshot(request).await?.status(), 200);
/// # Ok(()) }
/// ```
///
/// # What it protects from
///
/// Credentials, cookies and idempotency keys that are sent to any host that a `Location` names; a
/// step down from https to http; a loop.
///
/// # Which redirects are followed
///
/// 301, 302, 303, 307 and 308 (RFC 9110 §15.4). A POST becomes a GET after 301, 302 and 303, and
/// loses its body, the headers that describe it, and its key. Across origins the layer sends only headers
/// that are known to be harmless; userinfo in a `Location` is not used. Raw UTF-8 in a `Location` is percent-encoded.
///
/// The redirect itself is the response if its `Location` is missing or malformed, if there are several that
/// differ, or if the body cannot be sent again.
///
/// # Defaults
///
/// Those of [`Settings`].
///
/// # What it reports
///
/// Each redirect in the timeline. A refusal by [`Policy::Redirect`](crate::Policy::Redirect): a loop,
/// too many redirects, a step from https to http, or a target that is not HTTP. The layer also refuses to send a
/// POST to another origin, where its key does not go, after an attempt that may have been processed.
///
/// # How people get it wrong
///
/// Following redirects below the retry: a leg that fails then retries the whole way, and breaker and
/// budget see one destination where there are two.
///
/// # Cancel safety
///
/// Nothing is held: dropping the future drops the leg that is under way.
pub struct RedirectLayer<C = ByTrait> {
    settings: Arc<Settings>,
    cloner: C,
}

impl RedirectLayer {
    /// Creates a layer that follows redirects by these settings.
    ///
    /// # Errors
    ///
    /// Fails if a setting is out of range, naming it and its value.
    pub fn new(settings: Settings) -> Result<Self, SettingError> {
        settings.check()?;
        Ok(Self {
            settings: Arc::new(settings),
            cloner: ByTrait,
        })
    }
}

impl<C> RedirectLayer<C> {
    /// Clones and empties bodies by functions, for body types that do not implement
    /// [`CloneBody`](crate::policy::retry::CloneBody). The first has to clone the bodies of the second.
    #[must_use]
    pub fn replay_with<B>(
        self,
        clone: fn(&B) -> Option<B>,
        empty: fn() -> B,
    ) -> RedirectLayer<ByFn<B>> {
        RedirectLayer {
            settings: self.settings,
            cloner: ByFn {
                clone,
                empty: Some(empty),
            },
        }
    }

    pub(crate) fn policy(&self) -> Arc<Settings> {
        Arc::clone(&self.settings)
    }
}

impl<S, C: Clone> Layer<S> for RedirectLayer<C> {
    type Service = RedirectService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = Policies {
            redirect: Some(self.policy()),
            ..Policies::default()
        };
        Driver::new(inner, Again(self.cloner.clone()), policies)
    }
}

/// The service of [`RedirectLayer`].
pub type RedirectService<S, C = ByTrait> = Driver<S, Again<C>>;

impl<C: Clone> Clone for RedirectLayer<C> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
            cloner: self.cloner.clone(),
        }
    }
}

impl<C> fmt::Debug for RedirectLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedirectLayer")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
