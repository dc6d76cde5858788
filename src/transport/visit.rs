//! Sends the request to one address: takes a connection, sends, and waits for the head of the response.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Response;
use http::header::TRAILER;
use http::request::Parts;
use http_body::Body;
use tokio::time::Instant;

use super::TransportInner;
use super::body::{Lent, ReturnableBody};
use super::destinations::DestinationPool;
use super::dial::{Dial, End, Route, SetupWatch};
use super::leave::settled;
use super::pool::{Checkout, ConnectionLease, Queue};
use super::request::{Form, http1, http2};
use super::routing::Identity;
use super::wire::exchange::ExchangeError;
use super::wire::expect::{keep_back, patience};
use super::wire::incoming::Incoming;
use crate::box_error::BoxError;
use crate::clock;
use crate::diagnose::diagnose;
use crate::dns::AddressFilter;
use crate::error::{Error, ReasonText};
use crate::hop::Stage;
use crate::record::tracker::Tracker;

/// The facts of a request that are the same for each address.
pub(super) struct SendPlan<'a> {
    pub(super) shared: &'a TransportInner,
    /// The filter of the addresses.
    pub(super) filter: &'a AddressFilter,
    pub(super) head: &'a Parts,
    pub(super) destination: &'a Arc<DestinationPool>,
    pub(super) identity: Identity,
    pub(super) route: &'a Arc<Route>,
    pub(super) tracker: &'a Arc<Tracker>,
}

impl SendPlan<'_> {
    /// Sends the request to one address. If the connect takes long, test connections to the next addresses are opened.
    /// As soon as one of them is accepted, this address is given up. This follows RFC 8305 §5, but the request goes to
    /// one address only.
    pub(super) async fn visit<B>(
        &self,
        (address, now): (SocketAddr, Instant),
        (loan, body): (&ReturnableBody<B>, Lent<B>),
        rest: &[IpAddr],
    ) -> VisitOutcome
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let queue = Queue::default();
        let end = End::Address(address);
        let mut sending = pin!(self.send((&end, now, &queue), loan, body));
        // A tunnel may be slow for other reasons.
        let is_alone = rest.is_empty() || self.destination.routing.via.is_some();
        let mut overtaking = (!is_alone).then(|| Box::pin(self.overtake(rest, &queue)));
        poll_fn(|cx| {
            if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
                return Poll::Ready(match sent {
                    Ok(response) => VisitOutcome::Answered(response),
                    Err(failed) => VisitOutcome::Failed(failed),
                });
            }
            match &mut overtaking {
                Some(overtaking) => overtaking
                    .as_mut()
                    .poll(cx)
                    .map(|()| VisitOutcome::Overtaken),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Ready when one of the next addresses accepts a connection while the attempt still waits for its own.
    async fn overtake(&self, rest: &[IpAddr], queue: &Queue) {
        let (tracker, connector) = (self.tracker, &self.shared.connector);
        let waits = || tracker.open() == Some(Stage::Connect) && !tracker.is_taken();
        let (_, port) = self.destination.routing.dialled();
        for ip in rest {
            tokio::time::sleep(OVERTAKE_AFTER).await;
            while queue.has_waited() {
                tokio::time::sleep(OVERTAKE_AFTER).await;
            }
            if !waits() {
                break;
            }
            let address = SocketAddr::new(*ip, port);
            let connecting = tokio::time::timeout(OVERTAKE_AFTER, connector.tcp(address));
            if let Ok(Ok(_)) = connecting.await
                && waits()
            {
                return;
            }
        }
        std::future::pending().await
    }

    /// Sends the request through a unix socket.
    pub(super) async fn over_socket<B>(
        &self,
        path: &Arc<Path>,
        loan: &ReturnableBody<B>,
    ) -> Result<Response<Incoming>, Error>
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let tracker = self.tracker;
        tracker.facts(|facts| {
            facts.unix_socket = Some(Arc::clone(path));
            facts.is_session_kept = true;
        });
        tracker.spans().socket(path);
        let sent = match loan.lend() {
            Some(body) => {
                let (end, queue) = (End::Socket(Arc::clone(path)), Queue::default());
                let now = clock::now();
                self.send((&end, now, &queue), loan, body).await
            }
            None => Err(ReasonText::new("the request body is gone").into()),
        };
        sent.map_err(|failed| {
            // Read before the diagnosis: a connection that takes the request later makes the effect greater.
            let taken = tracker.is_taken();
            let cause = loan.cause(failed);
            let error = Error::new(diagnose(tracker, &*cause)).because(cause);
            settled(error, tracker, taken)
        })
    }

    /// Takes a connection to an address and sends the request. An idle connection may be found dead. If it is certain
    /// that nothing went out, the next one is used.
    async fn send<B>(
        &self,
        (end, now, queue): (&End, Instant, &Queue),
        loan: &ReturnableBody<B>,
        body: Lent<B>,
    ) -> Result<Response<Incoming>, BoxError>
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let address = end.address().map(|address| address.ip());
        let pool = self.destination.pool(address, self.identity);
        let checkout = Checkout {
            pool: &pool,
            leases: &self.destination.leases,
            tracker: self.tracker,
            queue,
            dial: &|| self.dial(end),
            make_room: &|| self.shared.destinations.close_idlest(),
        };
        let (mut body, mut now, mut resends) = (body, now, 0);
        loop {
            let lease = checkout.lease(now).await?;
            let is_own = self.tracker.is_own_connection();
            let failed = match self.exchange(lease, body).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            let again = loan.lend().filter(|_| failed.is_unsent && !is_own);
            body = match again {
                Some(again) if resends < MOST_RESENDS => again,
                _ => return Err(failed.error),
            };
            resends += 1;
            now = clock::now();
        }
    }

    /// Returns the dial of a new connection, and its watch.
    fn dial(&self, end: &End) -> (Dial, SetupWatch) {
        let tracker = self.tracker;
        let watch = SetupWatch::begin(tracker, end);
        let dial = Dial {
            connector: Arc::clone(&self.shared.connector),
            end: end.clone(),
            target: Arc::clone(self.route),
            watch: watch.clone(),
            timeouts: (tracker.dial_timeout(), tracker.timeouts().tls()),
        };
        (dial, watch)
    }

    /// Sends the request over a connection.
    async fn exchange<B>(
        &self,
        lease: ConnectionLease,
        body: Lent<B>,
    ) -> Result<Response<Incoming>, ExchangeError>
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut body = body;
        let is_http1 = matches!(lease, ConnectionLease::Http1(..));
        // Over HTTP/1 such a request is chunked, which not every server accepts.
        if !is_http1 || self.head.headers.contains_key(TRAILER) {
            body.expect_trailers(is_http1);
        }
        let (is_empty, source) = (body.is_empty(), body.source());
        let wait = || patience(&self.head.headers, self.tracker.timeouts().send());
        let wait = (!is_empty).then(wait).flatten();
        let form = Form {
            head: self.head,
            routing: &self.destination.routing,
            has_length: !body.hides_its_length(),
        };
        let response = match lease {
            ConnectionLease::Http1(connection, permit) => {
                connection.life.note(self.tracker);
                let body = body.over(Some((&connection.lane, self.head)));
                let mut request = http1(&form, body).inspect_err(|_| connection.close())?;
                if let Some(wait) = wait {
                    request = keep_back(request, wait, self.tracker);
                }
                let sending = connection.exchange(request, is_empty, self.tracker)?;
                let response = sending.await?;
                Incoming::http1(response, connection, permit, source)
            }
            ConnectionLease::Http2(mut stream) => {
                stream.connection.life.note(self.tracker);
                let request = http2(&form, body.over(None))?;
                let sending = stream.exchange(request, (is_empty, wait), self.tracker)?;
                let answered = sending.await?;
                Incoming::http2(answered, (stream, &self.head.method), source)
            }
        };
        let version = response.version();
        self.tracker.facts(|facts| facts.version = Some(version));
        Ok(response)
    }
}

/// How the request to one address ended.
pub(super) enum VisitOutcome {
    Answered(Response<Incoming>),
    Failed(BoxError),
    /// Another address accepts connections, and this one did not.
    Overtaken,
}

/// RFC 8305 §8: the Connection Attempt Delay.
const OVERTAKE_AFTER: Duration = Duration::from_millis(250);
/// How many dead idle connections one request may try.
const MOST_RESENDS: usize = 8;
