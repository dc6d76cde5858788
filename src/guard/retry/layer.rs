use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::bucket::SharedBudget;
#[cfg(feature = "otel")]
use super::policy;
use super::policy::{Classify, Failure, Policy};
use super::turn::Turn;
use super::{ByFn, ByTrait, Copies, ResponseFuture, RetryBody, Settings};
use crate::call::Call;
use crate::callback::{Site, ask};
use crate::clock;
use crate::error::{BoxError, Error, SettingError};
use crate::guard::attempt::foreign;
use crate::hop::Class;
use crate::limit::Limit;
use crate::registry::Registry;
#[cfg(feature = "otel")]
use crate::telemetry::otel::Look;

/// Repeats a call that failed, where that is safe.
///
/// # Example
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use std::time::Duration;
/// use sevenhops::guard::retry::Settings;
/// use sevenhops::{CallLayer, RetryLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// static ASKED: AtomicU32 = AtomicU32::new(0);
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let service = ServiceBuilder::new()
///     .layer(CallLayer::new(Duration::from_secs(10))?)
///     .layer(RetryLayer::new(Settings::new())?)
///     .service(service_fn(async |_request: http::Request<String>| {
///         let down = ASKED.fetch_add(1, Ordering::Relaxed) < 2;
///         let answer = http::Response::builder().status(if down { 503 } else { 200 });
///         answer.body(String::new())
///     }));
/// let request = http::Request::get("https://api.test/").body(String::new())?;
/// let response = service.oneshot(request).await?;
/// assert_eq!(response.status(), 200);
/// assert_eq!(response.body().timeline().notes().len(), 2); // two waits
/// # Ok(()) }
/// ```
///
/// # What it protects from
///
/// A failure that passes; a second charge; a service that is down and kept down by its callers'
/// repeats; a server that asked for patience and is not given any.
///
/// # When it repeats
///
/// Everything follows from the effect: what provably did not happen is repeated for any method, what
/// may have happened only for an idempotent method (RFC 9110 §9.2.2) or a key that the far side is
/// known to honour. A failure that would come again (a certificate, a name that does not exist, a
/// status that is not listed) is not repeated, nor is one whose wait does not fit into the time left.
///
/// # Defaults
///
/// Those of [`Settings`].
///
/// # What it reports
///
/// Each wait, and why the last failure was not repeated, in the timeline and in the error's
/// sentence. The caller gets the last real answer (response or error), never a wrapper; of a
/// response that was kept while a repeat was under way, up to 64 KiB of the body.
///
/// # Trade-offs
///
/// A copy of the request's head for each call. A body in memory is shared, not copied; one that is a
/// stream is sent once, and again only if nothing took it.
///
/// # How people get it wrong
///
/// Repeating at every level: three stacks of three attempts make 27. Only the outermost retry of a
/// call repeats, here and, with [`AttemptLayer::propagating`](crate::AttemptLayer::propagating), in
/// the next process.
///
/// # Cancel safety
///
/// Dropping the future gives up the attempt or the wait; what the budget paid for a repeat that was not
/// begun goes back.
pub struct RetryLayer<C = ByTrait> {
    settings: Settings,
    classify: Option<Arc<Classify>>,
    budgets: Arc<Registry<SharedBudget>>,
    copies: C,
}

impl RetryLayer {
    /// Repeats as these settings say.
    ///
    /// # Errors
    ///
    /// Fails if a setting is out of range, naming it and its value.
    pub fn new(settings: Settings) -> Result<Self, SettingError> {
        settings.check()?;
        Ok(Self {
            settings,
            classify: None,
            budgets: Arc::new(Registry::new(clock::now())),
            copies: ByTrait,
        })
    }
}

impl<C> RetryLayer<C> {
    /// Copies bodies by a function, for body types that do not implement
    /// [`Replay`](super::Replay).
    #[must_use]
    pub fn replay_with<B>(self, copy: fn(&B) -> Option<B>) -> RetryLayer<ByFn<B>> {
        self.copying(ByFn(copy))
    }

    pub(crate) fn copying<D>(self, copies: D) -> RetryLayer<D> {
        RetryLayer {
            settings: self.settings,
            classify: self.classify,
            budgets: self.budgets,
            copies,
        }
    }

    /// Shows what is left of each destination's budget.
    #[cfg(feature = "otel")]
    pub(crate) fn look(&self) -> Look<i64> {
        policy::look(&self.budgets)
    }

    /// Asks this function first whether a failure passes; `None` leaves it to the table. It cannot
    /// make a repeat of what is not safe to repeat. If it panics, that is a `None`.
    #[must_use]
    pub fn classify<F>(mut self, classify: F) -> Self
    where
        F: Fn(&Failure<'_>) -> Option<Class> + Send + Sync + 'static,
    {
        let site = Site::new("RetryLayer::classify");
        self.classify = Some(Arc::new(move |failure: &Failure<'_>| {
            ask(&site, || classify(failure))
        }));
        self
    }
}

impl<S, C: Clone> Layer<S> for RetryLayer<C> {
    type Service = RetryService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        RetryService {
            inner,
            copies: self.copies.clone(),
            policy: Arc::new(Policy {
                settings: self.settings.clone(),
                classify: self.classify.clone(),
                budgets: Arc::clone(&self.budgets),
            }),
        }
    }
}

/// The service of [`RetryLayer`].
#[derive(Clone, Debug)]
pub struct RetryService<S, C = ByTrait> {
    inner: S,
    copies: C,
    policy: Arc<Policy>,
}

impl<S, C, B, R> Service<Request<B>> for RetryService<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    C: Copies<B> + Clone,
    B: Send + 'static,
    R: Body,
    R::Error: Into<BoxError>,
{
    type Response = Response<RetryBody<R>>;
    type Error = Error;
    type Future = ResponseFuture<S, B, R, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let ready = self.inner.poll_ready(cx);
        ready.map_err(|error| foreign(error.into()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call =
            Call::of(request.extensions()).unwrap_or_else(|| Call::begin(&mut request, Limit::MAX));
        let turn = Turn::new(&request, call, Arc::clone(&self.policy), &self.copies);
        // The service that was polled ready makes this attempt, a clone of it the others.
        let first = self.inner.call(request);
        ResponseFuture::new(first, turn, (self.inner.clone(), self.copies.clone()))
    }
}

impl<C: Clone> Clone for RetryLayer<C> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            classify: self.classify.clone(),
            budgets: Arc::clone(&self.budgets),
            copies: self.copies.clone(),
        }
    }
}

impl<C> fmt::Debug for RetryLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryLayer")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
