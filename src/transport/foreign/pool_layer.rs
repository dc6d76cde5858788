//! The layer around hyper-util's own client. It looks the name up first, takes connections out of use whose address has
//! left DNS, and reports when the request is taken and sent.

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Request, Response};
use http_body::Body;
use hyper_util::client::legacy::connect::{CaptureConnection, HttpInfo, capture_connection};
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use url::Url;

use super::connector::withheld;
use super::current::ShownTo;
use super::judge::{OTHER_SCHEME, is_judged, unseen};
use super::resolver_service::ResolverService;
use super::spelling::canonicalize;
use crate::body::unprepared;
use crate::box_error::BoxError;
use crate::call::{affinity_of, attempt_of_request, record_request_alone};
use crate::clock;
use crate::destination::{Origin, OtherOrigin};
use crate::diagnose::diagnose;
use crate::error::Error;
use crate::hop::{Diagnosis, Hop};
use crate::options::Unmet;
use crate::record::tracker::{self, Tracker};
use crate::registry::{self, Registry};
use crate::transport::balance::{Balancer, ResolvedAddresses};
use crate::transport::body::{RequestBody, ReturnableBody};
use crate::transport::framing::announced;
use crate::transport::leave::{Abandon, Leaving, alone, settled};
use crate::transport::resolve::{given, lookup};
use crate::transport::target::{dial, speakable};

/// Adds the record of hops to hyper-util's own client.
#[derive(Clone)]
pub struct PoolLayer {
    shared: Arc<PoolLayerInner>,
}

struct PoolLayerInner {
    names: ResolverService,
    /// The places whose connections may have the client's certificate.
    shown: Arc<ShownTo>,
    pools: Registry<TrackedPool>,
}

impl PoolLayer {
    pub(super) fn new(names: ResolverService, shown: Arc<ShownTo>) -> Self {
        let pools = Registry::bounded(MOST_POOLS, clock::now());
        Self {
            shared: Arc::new(PoolLayerInner {
                names,
                shown,
                pools,
            }),
        }
    }
}

impl<S> Layer<S> for PoolLayer {
    type Service = PoolService<S>;

    fn layer(&self, inner: S) -> PoolService<S> {
        PoolService {
            inner,
            shared: Arc::clone(&self.shared),
        }
    }
}

impl fmt::Debug for PoolLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pools = &self.shared.pools;
        f.debug_set()
            .entries(pools.each(|destination, _| destination.to_string()))
            .finish()
    }
}

/// The service of [`PoolLayer`].
#[derive(Clone)]
pub struct PoolService<S> {
    inner: S,
    shared: Arc<PoolLayerInner>,
}

impl<S: fmt::Debug> fmt::Debug for PoolService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for PoolService<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Into<Bytes> + Send,
    B::Error: Into<BoxError>,
    R: 'static,
{
    type Response = Response<R>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let ready = self.inner.poll_ready(cx);
        ready.map_err(unready)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was polled ready gets this request, and a clone of it gets the next one.
        let next = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, next);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            if affinity_of(request.extensions()).is_some() {
                return Err(Unmet::Affinity.into());
            }
            if let Some(tracker) = attempt_of_request() {
                let leaving = Leaving::of(&tracker);
                return leaving.ended(send(&shared, inner, request, &tracker).await);
            }
            let tracker = alone(&shared.names.timeouts);
            record_request_alone(request.method(), &tracker);
            let _abandon = Abandon(Arc::clone(&tracker));
            let sending = send(&shared, inner, request, &tracker);
            tracker::scope(Arc::clone(&tracker), sending).await
        })
    }
}

async fn send<S, B, R>(
    shared: &PoolLayerInner,
    mut inner: S,
    request: Request<B>,
    tracker: &Arc<Tracker>,
) -> Result<Response<R>, Error>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Into<Bytes> + Send,
    B::Error: Into<BoxError>,
{
    tracker.begin();
    let (mut head, mut body) = request.into_parts();
    speakable(head.version)?;
    if let Some(body) = unprepared(&mut body) {
        Box::pin(body.prepare()).await?;
    }
    let length = announced(head.version, &head.headers, &body);
    let length = length.map_err(|reason| Error::invalid().because(reason))?;
    let url = Url::parse(&head.uri.to_string()).map_err(|error| Error::invalid().because(error))?;
    let (whom, _) = dial(&url)?;
    canonicalize(&mut head.uri, &whom)?;
    if head.extensions.get::<OtherOrigin>().is_some() {
        tracker.facts(|facts| facts.is_led_away = true);
        let is_shown = |port| shared.shown.may_have(&(whom.shown(), port));
        if url.scheme() == "https" && url.port_or_known_default().is_some_and(is_shown) {
            return Err(withheld());
        }
    }
    let ResolverService {
        resolver, filter, ..
    } = &shared.names;
    if filter.is_on() && !is_judged(&url) {
        return Err(unseen(OTHER_SCHEME));
    }
    let answer = lookup(&**resolver, &whom, filter, tracker).await?;
    let pool = shared.pool(&head.uri);
    pool.leave(&given(&answer));

    let loan = ReturnableBody::new(body, &head, length, Arc::clone(tracker));
    let Some(body) = loan.lend() else {
        return Err(Error::invalid());
    };
    if body.has_no_length_of_its_own() {
        // With the caller's own body, hyper would send the head of a request that was given up, and complete it.
        head.headers.remove(CONTENT_LENGTH);
    }
    let mut request = Request::from_parts(head, *body);
    let connection = capture_connection(&mut request);
    let answered = {
        let mut sending = pin!(inner.call(request));
        poll_fn(|cx| {
            let polled = sending.as_mut().poll(cx);
            if polled.is_pending() {
                // No connection is being made for it: it waits until a pooled one takes it.
                tracker.queued();
            }
            polled
        })
        .await
    };
    // Read before the diagnosis: a connection that takes the request later makes the effect greater.
    let taken = tracker.is_taken();
    match answered {
        Ok(response) => {
            pool.note(&response, connection, tracker);
            Ok(response)
        }
        Err(error) => {
            let error = loan.cause(error);
            let failed = Error::new(diagnose(tracker, &*error)).because(error);
            Err(settled(failed, tracker, taken))
        }
    }
}

impl PoolLayerInner {
    fn pool(&self, uri: &http::Uri) -> Arc<TrackedPool> {
        let now = clock::now();
        let Some(origin) = Origin::of(uri) else {
            return Arc::default();
        };
        self.pools.get(&origin, now).unwrap_or_else(|| {
            let fresh = TrackedPool::default();
            self.pools.get_or_keep(origin.to_destination(), fresh, now)
        })
    }
}

/// The connections of one destination that have received a response.
#[derive(Default)]
struct TrackedPool(Mutex<TrackedPoolState>);

#[derive(Default)]
struct TrackedPoolState {
    balancer: Balancer,
    /// By their local address.
    open: HashMap<SocketAddr, OpenConnections>,
}

struct OpenConnections {
    peer: IpAddr,
    since: Instant,
    connection: CaptureConnection,
}

impl TrackedPool {
    /// Takes over the current addresses. Connections to an address that has left DNS are not used again. Requests in
    /// flight on them finish.
    fn leave(&self, given: &ResolvedAddresses<'_>) {
        let mut inside = self.inside();
        let gone = inside.balancer.update(given, clock::now());
        if gone.is_empty() {
            return;
        }
        let left = inside.open.extract_if(|_, open| gone.contains(&open.peer));
        let left: Vec<_> = left.collect();
        drop(inside);
        for (_, open) in left {
            poison(&open.connection);
        }
    }

    /// Records that a connection has received a response.
    fn note<R>(&self, response: &Response<R>, connection: CaptureConnection, tracker: &Tracker) {
        let known = response.extensions().get::<HttpInfo>();
        tracker.facts(|facts| facts.version = Some(response.version()));
        let Some(known) = known else { return };
        tracker.spans().peer(known.remote_addr());
        tracker.facts(|facts| facts.peer = Some(known.remote_addr()));
        let (peer, since) = (known.remote_addr().ip(), clock::now());
        let mut inside = self.inside();
        if inside.balancer.has_left(peer) {
            // Its address left DNS while it received the response. A tunnel's peer was never in DNS.
            drop(inside);
            return poison(&connection);
        }
        if inside.open.len() >= MOST_CONNECTIONS {
            let oldest = inside.open.iter().min_by_key(|(_, open)| open.since);
            let oldest = oldest.map(|(local, _)| *local);
            oldest.map(|oldest| inside.open.remove(&oldest));
        }
        let open = OpenConnections {
            peer,
            since,
            connection,
        };
        inside.open.insert(known.local_addr(), open);
    }

    fn inside(&self) -> MutexGuard<'_, TrackedPoolState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl registry::Entry for TrackedPool {
    /// Never pinned: the connections of a removed destination are only used for longer.
    fn is_pinned(&self, _now: Instant) -> bool {
        false
    }
}

fn poison(connection: &CaptureConnection) {
    if let Some(connected) = connection.connection_metadata().as_ref() {
        connected.poison();
    }
}

const MOST_POOLS: usize = 1_024;
/// The bound for one destination.
const MOST_CONNECTIONS: usize = 256;

/// Returns the error of a client that was not ready: nothing was sent.
fn unready<E: Into<BoxError>>(error: E) -> Error {
    Error::ours(error.into()).unwrap_or_else(|other| {
        let diagnosis = Diagnosis::foreign(&*other).or_at(Hop::Server);
        Error::new(diagnosis).because(other)
    })
}
