use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::box_error::BoxError;
use crate::clock;
use crate::config_error::ConfigError;
use crate::driver::{
    Driver, DriverBody, DriverFuture, HttpResponse, Now, Once, Policies, RefreshFuture,
};
use crate::error::Error;
use crate::policy::stale::{Policy, StaleConfig, Store};

/// Serves the last good response if a read fails: the choice between consistency and availability.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use sevenhops::{Consistency, StaleLayer, policy::stale::{StaleConfig, Staleness}};
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let config = StaleConfig::new()
///     .store_bytes(16 << 20)
///     .consistency(Consistency::StaleFor(Duration::from_secs(60)));
/// let mut is_up = true;
/// let mut wishlist = StaleLayer::new(config)?.layer(service_fn(move |_: http::Request<String>| {
///     let response = is_up.then(|| http::Response::new(String::from("a bicycle")));
///     is_up = false; // after the first request the network is partitioned
///     std::future::ready(response.ok_or(std::io::Error::other("unreachable")))
/// }));
///
/// let read = || http::Request::get("https://shop.test/wishlist").body(String::new());
/// let fresh = wishlist.ready().await?.call(read()?).await?;
/// # use http_body_util::BodyExt;
/// assert_eq!(fresh.into_body().collect().await?.to_bytes(), "a bicycle");
///
/// let stale = wishlist.ready().await?.call(read()?).await?;
/// let staleness = stale.extensions().get::<Staleness>().unwrap();
/// assert!(staleness.error().is_some()); // the failure beside the response
/// assert_eq!(stale.headers()["age"], "0");
/// # Ok(()) }
/// ```
///
/// # Protects from
///
/// An outage or a partition that makes every page fail, although a slightly old response would do.
///
/// # Defaults
///
/// [`StaleConfig`] has the table. A store is required. Without a window
/// ([`Consistency::StaleFor`](crate::Consistency::StaleFor)) in the config or in the
/// [options](crate::Options::consistency) of a request, nothing is stored or served.
///
/// A stored response stands in for an error of the call, a passed deadline and an open circuit included, and for a 5xx.
/// It does not stand in for a 4xx, nor for a request that cannot be encoded.
///
/// The server's `stale-if-error` and `stale-while-revalidate` (RFC 5861) shorten the window. Responses with `no-store`,
/// `no-cache`, `must-revalidate`, `Vary: *`, `Set-Cookie` or trailers are never stored (RFC 9111 §3). Neither are 206,
/// redirects and their targets, streams, and bodies above the limit. A request with content neither stores a response
/// nor gets a stored one, for its content may select the response. Content is a body that is not empty, or a
/// `Content-Type`, a `Transfer-Encoding`, or a `Content-Length` other than 0.
///
/// # Reports
///
/// The response has an `Age` header and a [`Staleness`](crate::policy::stale::Staleness) in its extensions. The
/// timeline and the span have the age and the failure. The histogram `sevenhops.stale.age` measures the window of
/// inconsistency. The attempts keep their hops and effects.
///
/// # Trade-offs
///
/// Each good response of a read with a window is copied once. A response whose body breaks off after its head was
/// delivered has no substitute: read it whole inside the attempt (`fetch_*`, or
/// [`Options::whole_body`](crate::Options::whole_body)).
///
/// A write makes the stored responses from its own path useless, unless it provably had no effect or was declined
/// (RFC 9111 §4.4). Writes by other processes, and writes at other paths, are not seen within the window.
///
/// With `while_revalidate` the layer clones its service, and spawns a task for each refresh.
///
/// # How people get it wrong
///
/// Reading a balance with a window: a stale number is then worse than an error. Set the window for a route or a
/// request, and leave the default at [`Refuse`](crate::Consistency::Refuse).
///
/// Sending `Authorization` over a shared store: only responses with `public` or `s-maxage` are kept. If all users of
/// the process may be separated by their credentials, set [`shared(false)`](StaleConfig::shared).
///
/// Signing each request anew (AWS): each signature is another credential, so no response is ever found.
///
/// Adding credentials below the layer: a layer of your own that sets `Authorization` there, or a client certificate of the
/// transport. The store does not see them. If one store serves calls with different credentials of that kind, one caller
/// gets the response of another. Put such a layer above, or use a store for each identity.
///
/// Following redirects below the layer with a client from another crate: the layer does not see them, and stores the
/// response of the other URL. Switch them off there. Redirects that a layer of this crate follows are seen.
///
/// Putting the layer below a [`DeadlineLayer`](crate::DeadlineLayer): the deadline then fails outside of this layer. Put it
/// above, or use a [`StandardLayer`](crate::StandardLayer).
///
/// # Cancel safety
///
/// Dropping the future cancels the attempt below. A body that is dropped before its end is not stored. A refresh in the
/// background goes on, until its response is stored or the window is over.
#[derive(Clone)]
pub struct StaleLayer {
    policy: Policy,
}

impl StaleLayer {
    /// Creates a layer with a store of its own. Clones share the store, and so do the services of clones.
    ///
    /// # Errors
    ///
    /// Fails if there is no store, or if a value is out of range or contradicts another one.
    pub fn new(config: StaleConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let Some(most_bytes) = config.get_store_bytes() else {
            let why = "it is missing: a StaleLayer needs a store";
            return Err(ConfigError::refused("stale.store_bytes", why));
        };
        let store = Arc::new(Store::new(most_bytes, clock::now()));
        Ok(Self {
            policy: Policy::new(store, &config),
        })
    }
}

impl<S> Layer<S> for StaleLayer {
    type Service = StaleService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let policies = Policies {
            stale: Some(self.policy.clone()),
            ..Policies::default()
        };
        StaleService {
            driver: Driver::new(inner, Now, policies),
        }
    }
}

impl fmt::Debug for StaleLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaleLayer").finish_non_exhaustive()
    }
}

/// The service of [`StaleLayer`]. A refresh in the background has an empty body: `B::default()`.
#[derive(Clone, Debug)]
pub struct StaleService<S> {
    driver: Driver<S, Now>,
}

impl<S, B> Service<Request<B>> for StaleService<S>
where
    S: Service<Request<B>, Response: HttpResponse, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    <S::Response as HttpResponse>::Body: Body + Send + 'static,
    B: Body + Default + Send + 'static,
{
    type Response = Response<DriverBody<<S::Response as HttpResponse>::Body>>;
    type Error = Error;
    type Future = RefreshFuture<
        DriverFuture<Once<B, S::Future>, <S::Response as HttpResponse>::Body>,
        Driver<S, Now>,
        B,
    >;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Service::<Request<B>>::poll_ready(&mut self.driver, cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let for_refresh = self.driver.clone();
        let sent = self.driver.send(request, |body| !body.is_end_stream());
        RefreshFuture::new(sent, for_refresh, B::default)
    }
}
