use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::future::Way;
use super::{ResponseFuture, Settings};
use crate::call::Call;
use crate::error::{BoxError, Error, SettingError};
use crate::guard::attempt::foreign;
use crate::limit::Limit;
use crate::replay::{ByFns, ByTrait, Empties, Saved};

/// Follows redirects, and keeps at home what belongs there.
///
/// # Example
///
/// ```
/// use sevenhops::RedirectLayer;
/// use sevenhops::guard::redirect::Settings;
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
/// Credentials, cookies and idempotency keys that are handed to whoever a `Location` names; a step
/// down from https to http; a loop.
///
/// # What is followed
///
/// 301, 302, 303, 307 and 308 (RFC 9110 §15.4). A POST becomes a GET after 301, 302 and 303, and
/// loses its body, what describes it, and its key. Across origins only headers that are known to be
/// harmless go along; userinfo in a `Location` is not used. Raw UTF-8 in a `Location` is percent-encoded.
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
/// Each redirect in the timeline. A refusal by [`Guard::Redirect`](crate::Guard::Redirect): a loop,
/// too many redirects, from https to http, or to what is not HTTP.
///
/// # How people get it wrong
///
/// Following redirects below the retry: a leg that fails then repeats the whole way, and breaker and
/// budget see one destination where there are two.
///
/// # Cancel safety
///
/// Nothing is held: dropping the future drops the leg that is under way.
pub struct RedirectLayer<C = ByTrait> {
    settings: Arc<Settings>,
    copies: C,
    /// A retry below keeps what the next leg needs, and hands it back.
    over_retry: bool,
}

impl RedirectLayer {
    /// Follows as these settings say.
    ///
    /// # Errors
    ///
    /// Fails if a setting is out of range, naming it and its value.
    pub fn new(settings: Settings) -> Result<Self, SettingError> {
        settings.check()?;
        Ok(Self {
            settings: Arc::new(settings),
            copies: ByTrait,
            over_retry: false,
        })
    }
}

impl<C> RedirectLayer<C> {
    /// Copies and empties bodies by functions, for body types that do not implement
    /// [`Replay`](crate::guard::retry::Replay) and [`Default`]. The first has to copy what the second makes.
    #[must_use]
    pub fn replay_with<B>(
        self,
        copy: fn(&B) -> Option<B>,
        empty: fn() -> B,
    ) -> RedirectLayer<ByFns<B>> {
        RedirectLayer {
            settings: self.settings,
            copies: ByFns { copy, empty },
            over_retry: self.over_retry,
        }
    }

    /// Keeps no copy of the request: the retry right below does.
    pub(crate) fn over_retry(mut self) -> Self {
        self.over_retry = true;
        self
    }
}

impl<S, C: Clone> Layer<S> for RedirectLayer<C> {
    type Service = RedirectService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        RedirectService {
            inner,
            settings: Arc::clone(&self.settings),
            copies: self.copies.clone(),
            over_retry: self.over_retry,
        }
    }
}

/// The service of [`RedirectLayer`].
#[derive(Clone, Debug)]
pub struct RedirectService<S, C = ByTrait> {
    inner: S,
    settings: Arc<Settings>,
    copies: C,
    over_retry: bool,
}

impl<S, C, B, R> Service<Request<B>> for RedirectService<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    C: Empties<B> + Clone,
    B: Send + 'static,
    R: Body,
{
    type Response = Response<R>;
    type Error = Error;
    type Future = ResponseFuture<S, B, R, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let ready = self.inner.poll_ready(cx);
        ready.map_err(|error| foreign(error.into()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call =
            Call::of(request.extensions()).unwrap_or_else(|| Call::begin(&mut request, Limit::MAX));
        let follow = self.settings.follow && !call.options().no_redirects;
        let settings = follow.then(|| Arc::clone(&self.settings));
        let keep = follow && !self.over_retry;
        let saved = keep.then(|| Box::new(Saved::of(&request, &self.copies)));
        let way = Way::new(call, settings, saved);
        // The service that was polled ready makes this leg, a clone of it the next ones.
        let first = self.inner.call(request);
        ResponseFuture::new(first, way, (self.inner.clone(), self.copies.clone()))
    }
}

impl<C: Clone> Clone for RedirectLayer<C> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
            copies: self.copies.clone(),
            over_retry: self.over_retry,
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
