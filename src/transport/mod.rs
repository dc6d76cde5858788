//! The wire: resolve, balance, check out a connection or dial one, exchange.

mod balance;
pub(crate) mod body;
mod builder;
#[cfg(feature = "cookies")]
mod cookies;
mod destinations;
mod dial;
#[cfg(any(feature = "hyper-util", feature = "reqwest"))]
pub(crate) mod foreign;
pub(crate) mod framing;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod leave;
mod no_proxy;
mod options;
mod pool;
mod proxy;
mod recent;
mod refresh;
mod request;
mod resolve;
mod routing;
mod send;
mod setters;
mod sorted;
mod target;
mod tls;
mod visit;
mod wire;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::Authority;
use http::{Extensions, HeaderMap, Request, Response, Uri};
use http_body::Body;
use rustls::ClientConfig;
use tokio::time::Instant;
use tower::service_fn;
use tower_layer::Layer;
use tower_service::Service;

pub use self::builder::TransportBuilder;
#[cfg(feature = "cookies")]
pub use self::cookies::CookieJar;
use self::destinations::{DestinationPool, DestinationPools};
use self::dial::Connector;
use self::proxy::Proxies;
use self::routing::{Identity, Routing};
use self::target::Target;
pub(crate) use self::target::basic;
pub use self::wire::incoming::Incoming;
use crate::box_error::BoxError;
use crate::call::{attempt_of_request, unmet};
use crate::chaos::ChaosLayer;
use crate::config_error::ConfigError;
#[cfg(feature = "cookies")]
use crate::consistency::ForOneUser;
use crate::destination::OtherOrigin;
use crate::diagnose::diagnose;
use crate::dns::{AddressFilter, Resolve};
use crate::error::Error;
use crate::hop::{Diagnosis, Hop};
#[cfg(feature = "otel")]
use crate::metrics::Look;
use crate::timeout::Timeouts;

/// A tower service that sends requests over connections of its own, and reports every hop to the attempt above it.
///
/// # Example
///
/// ```no_run
/// use std::time::Duration;
/// use sevenhops::{AttemptLayer, DeadlineLayer, Timeouts, Transport};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # async fn f() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let timeouts = Timeouts::new(Duration::from_secs(10))?;
/// let service = ServiceBuilder::new()
///     .layer(DeadlineLayer::new(Duration::from_secs(10))?)
///     .layer(AttemptLayer::new(timeouts))
///     .service(Transport::builder(timeouts).build()?);
/// let request = http::Request::get("https://api.test/").body(String::new())?;
/// let response = service.oneshot(request).await?;
/// # drop(response); Ok(()) }
/// ```
///
/// # Protects from
///
/// - A pooled connection that outlives its DNS record.
/// - An address that refuses or drops connections.
/// - A connection that the server has closed since its last use.
/// - A path that goes dark under an established connection. If the peer acknowledges nothing for about the send
///   timeout, the attempt fails at send, unacknowledged. No connection to that address is used again. The kernel
///   detects this (`TCP_USER_TIMEOUT` on Linux, keep-alive everywhere), and so do HTTP/2 PINGs while requests wait.
///   With a deadline of a few seconds, or a first-byte timeout below the send timeout, this comes too late: the error
///   blames the service.
///
/// A body that the server refuses is not sent: with `Expect: 100-continue` the body goes out when the server asks for
/// it (RFC 9110 §10.1.1). It also goes out after 1 s without a response, or after half of the send timeout if that is
/// less. If the response comes first, the body is not sent, and an HTTP/1 connection ends with that response. Without a
/// body, such a request fails at encode.
///
/// # Reports
///
/// Its errors are [`Error`]s. It applies the timeouts of dns, connect and tls itself. The attempt and the call around
/// it apply the others.
///
/// # Trade-offs
///
/// One box for each request: it lets the loop over the addresses be read from top to bottom.
///
/// A peer that acknowledges but reads no byte for longer than the send timeout loses the connection. So does an HTTP/2
/// peer that does not respond for that long. An idle connection costs a packet every few seconds.
#[derive(Clone)]
pub struct Transport {
    shared: Arc<TransportInner>,
}

struct TransportInner {
    destinations: DestinationPools,
    connector: Arc<Connector>,
    /// The error if there is none: the system has no roots.
    tls: Result<ClientConfig, Arc<ConfigError>>,
    /// The same without the client's certificate.
    anonymous: Result<ClientConfig, Arc<ConfigError>>,
    resolver: Arc<dyn Resolve>,
    filter: AddressFilter,
    proxies: Proxies,
    timeouts: Timeouts,
    chaos: Option<ChaosLayer>,
    #[cfg(feature = "cookies")]
    cookies: Option<CookieJar>,
}

impl TransportInner {
    /// Returns the destination of a request. Moves a userinfo in its URL to its headers.
    fn destination(
        &self,
        uri: &Uri,
        headers: &mut HeaderMap,
        now: Instant,
    ) -> Result<Arc<DestinationPool>, Error> {
        // A userinfo moves to the headers.
        let authority = uri.authority();
        let has_userinfo = authority.is_some_and(|all| all.as_str().contains('@'));
        if !has_userinfo && let Some(recent) = self.destinations.recent(uri, now) {
            return Ok(recent);
        }
        // An unreadable port has to fail, also if the host is known.
        let is_unreadable =
            |all: &Authority| all.as_str().len() > all.host().len() && all.port_u16().is_none();
        let is_read = has_userinfo || authority.is_some_and(is_unreadable);
        let read = is_read.then(|| Target::of(uri, headers)).transpose()?;
        self.destinations.of(uri, now, || {
            let target = match read {
                Some(target) => target,
                None => Target::of(uri, headers)?,
            };
            let routing = Routing::new(target, &self.proxies);
            routing.map_err(|error| Error::invalid().because(error))
        })
    }

    /// Returns the identity of the connections that a request may use, and of a new one that it makes. The certificate
    /// is only for the origin that the caller named. As long as there is none, all requests share their connections.
    fn identities(&self, extensions: &Extensions) -> (Identity, Identity) {
        if extensions.get::<OtherOrigin>().is_none() {
            return (Identity::Shown, Identity::Shown);
        }
        let has_certificate = |tls: &ClientConfig| tls.client_auth_cert_resolver.has_certs();
        match self.tls.as_ref().is_ok_and(has_certificate) {
            true => (Identity::Withheld, Identity::Withheld),
            // The certificate may come before the handshake.
            false => (Identity::Shown, Identity::Withheld),
        }
    }

    fn tls(&self, identity: Identity) -> Result<&ClientConfig, &Arc<ConfigError>> {
        match identity {
            Identity::Shown => self.tls.as_ref(),
            Identity::Withheld => self.anonymous.as_ref(),
        }
    }
}

impl Transport {
    /// Creates a transport with the roots and the name servers of the system.
    ///
    /// # Errors
    ///
    /// Fails if a proxy in the environment has an invalid URL. The error names the variable, not its value. Also fails
    /// if an entry of `NO_PROXY` is unreadable. Without roots or name servers, only the calls that need them fail.
    pub fn new(timeouts: Timeouts) -> Result<Self, ConfigError> {
        Self::builder(timeouts).build()
    }

    /// Returns a builder. `timeouts` apply unless an outer attempt has its own.
    pub fn builder(timeouts: Timeouts) -> TransportBuilder {
        TransportBuilder::new(timeouts)
    }

    /// Returns whether faults are injected into some requests.
    pub(crate) fn is_amid_chaos(&self) -> bool {
        self.shared.chaos.is_some()
    }

    /// Returns a function that makes new connections follow other timeouts. It returns false once the transport is
    /// gone.
    pub(crate) fn follow_timeouts(&self) -> impl Fn(&[Timeouts]) -> bool + Send + 'static {
        let connector = Arc::downgrade(&self.shared.connector);
        move |timeouts| {
            let connector = connector.upgrade();
            connector.is_some_and(|connector| {
                connector.follow(timeouts);
                true
            })
        }
    }

    /// Returns a function that counts the open connections by their state.
    #[cfg(feature = "otel")]
    pub(crate) fn look(&self) -> Look<[u64; 2]> {
        Look::at(&self.shared, |shared| shared.destinations.connections())
    }
}

impl<B> Service<Request<B>> for Transport
where
    B: Body + Send + 'static,
    B::Data: Into<Bytes> + Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Incoming>;
    type Error = Error;
    type Future = TransportFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> TransportFuture {
        if let Some(unmet) = unmet(&request) {
            return TransportFuture(Box::pin(std::future::ready(Err(unmet.into()))));
        }
        #[cfg(feature = "cookies")]
        if let Some(jar) = &self.shared.cookies {
            return self.send_with(jar.clone(), request);
        }
        self.send(request)
    }
}

impl Transport {
    fn send<B>(&self, request: Request<B>) -> TransportFuture
    where
        B: Body + Send + 'static,
        B::Data: Into<Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let shared = Arc::clone(&self.shared);
        match &self.shared.chaos {
            None => TransportFuture(Box::pin(send::send(shared, request))),
            Some(chaos) => {
                TransportFuture(Box::pin(send_with_chaos(chaos.clone(), shared, request)))
            }
        }
    }

    /// Sends a request with the cookies of a jar, and keeps those of the response.
    #[cfg(feature = "cookies")]
    fn send_with<B>(&self, jar: CookieJar, mut request: Request<B>) -> TransportFuture
    where
        B: Body + Send + 'static,
        B::Data: Into<Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let url = jar.attach(&mut request);
        let sent = self.send(request);
        let Some((url, has_cookies)) = url else {
            return sent;
        };
        TransportFuture(Box::pin(async move {
            let mut response = sent.await?;
            jar.keep(&url, response.headers());
            if has_cookies {
                response.extensions_mut().insert(ForOneUser);
            }
            Ok(response)
        }))
    }
}

/// Sends a request, or injects a fault in its place: chaos acts where the network begins.
async fn send_with_chaos<B>(
    chaos: ChaosLayer,
    shared: Arc<TransportInner>,
    request: Request<B>,
) -> TransportResult
where
    B: Body + Send + 'static,
    B::Data: Into<Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let mut service = chaos.layer(service_fn(move |request| {
        send::send(Arc::clone(&shared), request)
    }));
    match service.call(request).await {
        Ok(answer) => Ok(answer.map(Incoming::other)),
        // Chaos imitates the failures of this transport.
        Err(error) => Err(Error::ours(error).unwrap_or_else(|played| {
            let diagnosis = match attempt_of_request() {
                Some(tracker) => diagnose(&tracker, &*played),
                None => Diagnosis::foreign(&*played).or_at(Hop::Server),
            };
            Error::new(diagnosis).because(played)
        })),
    }
}

/// The future of [`Transport`].
#[must_use = "futures do nothing unless polled"]
pub struct TransportFuture(Pin<Box<dyn Future<Output = TransportResult> + Send>>);

type TransportResult = Result<Response<Incoming>, Error>;

impl Future for TransportFuture {
    type Output = Result<Response<Incoming>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for TransportFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportFuture").finish_non_exhaustive()
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("destinations", &self.shared.destinations)
            .field("resolver", &self.shared.resolver)
            .field("proxies", &self.shared.proxies)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
