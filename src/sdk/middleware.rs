//! SDKs that accept a [`ClientWithMiddleware`](reqwest_middleware::ClientWithMiddleware). (Feature
//! `reqwest-middleware`, which implies `reqwest`.)
//!
//! [`Client`] and [`StandardLayer`] are middleware. `Client` brings its own transport and ends the chain.
//! `StandardLayer` puts the policies around the rest of the chain.
//!
//! # Example
//!
//! ```no_run
//! use std::time::Duration;
//! use reqwest_middleware::ClientBuilder;
//! use sevenhops::{Client, StandardLayer, sdk};
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let deadline = Duration::from_secs(10);
//! let bare = sdk::bare::client(deadline)?;
//!
//! // Over our own transport. Other middleware goes before it: middleware after it is never called.
//! let ours = Client::builder(deadline).build()?;
//! let client = ClientBuilder::new(bare.clone()).with(ours).build();
//!
//! if let Err(error) = client.post("https://api.test/v1/charges").send().await {
//!     let found = sdk::classify_error(&error);
//!     println!("{found}");
//!     if found.had_no_effect() {
//!         println!("not charged: it is safe to try again");
//!     }
//! }
//!
//! // The policies over the client's own connections, and over the middleware after them.
//! let policies = StandardLayer::new(deadline)?;
//! let client = ClientBuilder::new(bare).with(policies).build();
//! # drop(client); Ok(()) }
//! ```
//!
//! # Protects from
//!
//! The policies are those of the stack. To override the config for one request, put [`Options`] into its extensions:
//! `.with_extension(Options::new().idempotency_key(key))`. The timeout of a single request becomes its deadline. A
//! timeout below 10 ms or above 24 h is refused. If the request has a timeout and an [`Options::deadline`], the shorter
//! one holds. Below `StandardLayer`, the timeout of the client itself does not apply: the deadline of the policies does.
//!
//! # A retry above the stack
//!
//! With `.with(retry).with(client)`, the stack sees each try of the retry middleware as a separate call. The tries of
//! one call still share one idempotency key, and the error of the last try includes the effect of the earlier tries.
//! The timeline shows the number of the try ([`TimelineEventKind::CallerRetry`](crate::hop::TimelineEventKind::CallerRetry)).
//!
//! Two requests are tries of one call if they share their extensions and have the same method, URL and body. The
//! earlier one must not have succeeded. The same request after a success is a new call with a new key. A streaming body
//! cannot be compared, so each try gets a new key. To be sure, pass the key yourself:
//! `.with_extension(Options::new().idempotency_key(key))`.
//!
//! # Reports
//!
//! Errors are [`reqwest_middleware::Error`]s that hold an [`Error`]. If a body breaks off, the error is a
//! [`reqwest::Error`] that holds one. [`sdk::classify_error`](crate::sdk::classify_error) finds it in either. The
//! timeline of a response is [`Response::from(response).timeline()`](crate::Response::timeline).
//!
//! # Trade-offs
//!
//! Over the client's own connections, dns, connect, tls and send are part of one wait from the request to the response.
//! The client's pool does not follow DNS. If that client comes from [`sdk::bare`](crate::sdk::bare), dns, connect and
//! tls are still reported.
//!
//! If an upload is a stream, each piece that the client takes begins the attempt's timeout again, unless that is set. A
//! body in memory shows no pieces: for a long upload over a slow path, set a longer attempt timeout.
//!
//! A body that cannot be cloned is used once. It is sent again only over our own transport, and only if no connection
//! took it. That also holds for [`Body::retryable`] as a [`reqwest::Body`]. To upload a stream with retries, use
//! [`with_body`].
//!
//! # How people get it wrong
//!
//! - Another middleware retries, before or after this one: three attempts of three make nine.
//! - A retry before this one gives each of its tries new extensions: each try gets a new key.
//! - Below the policies, a reqwest client follows redirects. It then sends credentials and keys to other origins.
//!   Switch that off (`redirect::Policy::none()`).

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Extensions;
use http_body::Body as _;
use reqwest_middleware::{Middleware, Next, RequestBuilder};
use tower::ServiceExt;
use tower_service::Service;

use super::reqwest::{framed, located};
use crate::body::BodyExtension;
use crate::box_error::BoxError;
use crate::call::{Call, CallerRequest, next_try};
use crate::client::{Body, Client};
use crate::error::Error;
use crate::layer::StandardLayer;
use crate::options::Options;

/// Sets the body of a request. A body from [`Body::retryable`] is created for each attempt, as in [`Client`].
///
/// # Example
///
/// ```no_run
/// use reqwest_middleware::ClientWithMiddleware;
/// use sevenhops::{Body, sdk::middleware};
///
/// # async fn f(client: ClientWithMiddleware) -> Result<(), Box<dyn std::error::Error>> {
/// let upload = Body::retryable(|| async { open("backup.tar").await });
/// let request = client.put("https://files.test/backup.tar");
/// let response = middleware::with_body(request, upload).send().await?;
/// # drop(response); Ok(()) }
/// # async fn open(_path: &str) -> std::io::Result<Body> { Ok(Body::empty()) }
/// ```
///
/// # Trade-offs
///
/// The function travels in the request's extensions. Middleware before the stack sees a stream. If it reads or replaces
/// that stream, the request is sent once, with the body that the middleware left. The same holds if it wraps the
/// stream. But if the wrapper reports the stream's length as its own, the stack sends the body without the wrapper.
/// Without a stack in the chain, the stream is sent once.
///
/// # Errors
///
/// If the function fails, the call fails at encode: see [`Body::retryable`].
///
/// # Cancel safety
///
/// Dropping the call drops the function's future, or the body that it created.
pub fn with_body(request: RequestBuilder, body: Body) -> RequestBuilder {
    let (body, extension) = BodyExtension::split(body);
    let request = request.body(body);
    match extension {
        Some(extension) => request.with_extension(extension),
        None => request,
    }
}

/// The whole stack with its own transport, at the end of the chain.
#[async_trait]
impl Middleware for Client {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        _next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let request = incoming(request, extensions).map_err(failed)?;
        let answered = self.execute(request).await;
        answered.map(Into::into).map_err(failed)
    }
}

/// The policies around the rest of the chain.
#[async_trait]
impl Middleware for StandardLayer {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let request = incoming(request, extensions).map_err(failed)?;
        // A clone: if the try is dropped before its end, the caller's extensions are unchanged.
        let mut below = extensions.clone();
        // The call has the options now. Another stack of this crate further down finds them in the call.
        let options = below.remove::<Options>();
        let shared = Arc::new(Mutex::new(below));
        let below = Below {
            next,
            extensions: Arc::clone(&shared),
        };
        let answered = self.over_one_call(below).oneshot(request).await;
        *extensions = mem::take(&mut *lock(&shared));
        // For a middleware further up that sends the request again.
        if let Some(options) = options {
            extensions.insert(options);
        }
        let response = answered.map_err(failed)?;
        Ok(crate::client::shared(response).into())
    }
}

/// The rest of the chain, below the policies.
#[derive(Clone)]
struct Below<'a> {
    next: Next<'a>,
    /// The extensions that the middleware of a chain share; each attempt sees the values of earlier attempts.
    extensions: Arc<Mutex<Extensions>>,
}

impl<'a> Service<http::Request<Body>> for Below<'a> {
    type Response = http::Response<reqwest::Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send + 'a>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Self { next, extensions } = self.clone();
        Box::pin(async move {
            let mut request = reqwest::Request::try_from(framed(request).await?)?;
            *request.timeout_mut() = Some(ENDLESS);
            let mut own = lock(&extensions).clone();
            let answered = next.run(request, &mut own).await;
            *lock(&extensions) = own;
            Ok(located(answered.map_err(unwrapped)?)?)
        })
    }
}

/// Converts a reqwest request. It counts as a retry by the caller, unless a stack of this crate around this one
/// retries.
fn incoming(
    mut request: reqwest::Request,
    extensions: &mut Extensions,
) -> Result<http::Request<Body>, Error> {
    let timeout = request.timeout_mut().take();
    let request = http::Request::<reqwest::Body>::try_from(request);
    let (mut head, body) = request
        .map_err(|error| Error::invalid().because(error))?
        .into_parts();
    head.extensions.extend(extensions.clone());
    let extension = extensions.get::<BodyExtension>();
    let (body, bytes) = match extension.and_then(|extension| extension.take(&body)) {
        Some(body) => (body, None),
        None => in_memory(body),
    };
    let is_outermost = Call::of(&head.extensions).is_none();
    if let Some(body) = bytes.filter(|_| is_outermost) {
        let wish = CallerRequest {
            method: head.method.clone(),
            uri: head.uri.clone(),
            body,
        };
        head.extensions.insert(next_try(extensions, wish));
    }
    // A stack around this one has the deadline.
    if let Some(timeout) = timeout.filter(|timeout| is_outermost || *timeout != ENDLESS) {
        let options = head.extensions.get_or_insert_default::<Options>();
        // The shorter one holds.
        let deadline = options.deadline.map_or(timeout, |own| own.min(timeout));
        *options = mem::take(options).deadline(deadline);
    }
    Ok(http::Request::from_parts(head, body))
}

/// Takes out a body that is in memory, so that it can be sent again. A stream is used once.
fn in_memory(mut body: reqwest::Body) -> (Body, Option<Bytes>) {
    if body.as_bytes().is_none() {
        return (Body::wrap(body), None);
    }
    let mut context = Context::from_waker(Waker::noop());
    let bytes = match Pin::new(&mut body).poll_frame(&mut context) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        _ => Bytes::new(),
    };
    (Body::from(bytes.clone()), Some(bytes))
}

fn failed(error: Error) -> reqwest_middleware::Error {
    reqwest_middleware::Error::middleware(error)
}

/// Returns the error of another stack of this crate unchanged, and any other error without its wrapper.
fn unwrapped(error: reqwest_middleware::Error) -> BoxError {
    match error {
        reqwest_middleware::Error::Reqwest(error) => Box::new(error),
        reqwest_middleware::Error::Middleware(error) => match error.downcast::<Error>() {
            Ok(ours) => Box::new(ours),
            Err(other) => other.into(),
        },
    }
}

/// Longer than any call: the policies end a request. Otherwise the client below would end it by a timeout of its own, which
/// may be shorter.
const ENDLESS: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn lock(extensions: &Mutex<Extensions>) -> MutexGuard<'_, Extensions> {
    extensions.lock().unwrap_or_else(PoisonError::into_inner)
}
