//! One address: take a connection to it, send the request, and wait for the head of the response.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Response;
use http::request::Parts;
use http_body::Body;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Shared;
use super::body::{Lent, Loan};
use super::dial::{Dial, Ends, Watch};
use super::places::Place;
use super::pool::{Checkout, Lease, Queue};
use super::request::{Form, http1, http2};
use super::route::Identity;
use super::wire::exchange::Failed;
use super::wire::incoming::Incoming;
use crate::box_error::BoxError;
use crate::clock;
use crate::dns::Filter;
use crate::hop::Stage;
use crate::record::tracker::Tracker;

/// What is the same for every address that a request is sent to.
pub(super) struct Way<'a> {
    pub(super) shared: &'a Shared,
    /// What the addresses have to pass.
    pub(super) filter: &'a Filter,
    pub(super) head: &'a Parts,
    pub(super) place: &'a Arc<Place>,
    pub(super) identity: Identity,
    pub(super) ends: &'a Arc<Ends>,
    pub(super) tracker: &'a Arc<Tracker>,
}

impl Way<'_> {
    /// Sends the request to one address. If connecting takes long, the next addresses are tried meanwhile, and this
    /// one is left as soon as another accepts (RFC 8305 §5, but the request goes to one address only).
    pub(super) async fn visit<B>(
        &self,
        (address, now): (SocketAddr, Instant),
        (loan, body): (&Loan<B>, Lent<B>),
        rest: &[IpAddr],
    ) -> Went
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let queue = Queue::default();
        let mut sending = pin!(self.send((address, now, &queue), loan, body));
        // A tunnel is slow for reasons of its own.
        let is_alone = rest.is_empty() || self.place.route.via.is_some();
        let rest = rest.iter().map(|ip| SocketAddr::new(*ip, address.port()));
        let overtake = || Box::pin(overtake(rest, self.tracker, &queue));
        let mut overtaking = (!is_alone).then(overtake);
        poll_fn(|cx| {
            if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
                return Poll::Ready(match sent {
                    Ok(response) => Went::Answered(response),
                    Err(failed) => Went::Failed(failed),
                });
            }
            match &mut overtaking {
                Some(overtaking) => overtaking.as_mut().poll(cx).map(|()| Went::Overtaken),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Takes a connection to an address and sends the request. A connection that had rested may turn out dead: if it
    /// is certain that nothing went out, the next one is taken.
    async fn send<B>(
        &self,
        (address, now, queue): (SocketAddr, Instant, &Queue),
        loan: &Loan<B>,
        body: Lent<B>,
    ) -> Result<Response<Incoming>, BoxError>
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let pool = self.place.pool(address.ip(), self.identity);
        let checkout = Checkout {
            pool: &pool,
            leases: &self.place.leases,
            tracker: self.tracker,
            queue,
            dial: &|| self.dial(address),
            make_room: &|| self.shared.places.close_idlest(),
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

    /// Begins a connection to an address.
    fn dial(&self, address: SocketAddr) -> (Dial, Watch) {
        let tracker = self.tracker;
        let watch = Watch::begin(tracker, address);
        let dial = Dial {
            connector: Arc::clone(&self.shared.connector),
            address,
            target: Arc::clone(self.ends),
            watch: watch.clone(),
            limits: (tracker.dial_limit(), tracker.limits().tls().get()),
        };
        (dial, watch)
    }

    /// Sends the request over a connection.
    async fn exchange<B>(&self, lease: Lease, body: Lent<B>) -> Result<Response<Incoming>, Failed>
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let is_empty = body.is_empty();
        let form = Form {
            head: self.head,
            route: &self.place.route,
            has_length: !body.hides_its_length(),
        };
        let response = match lease {
            Lease::Http1(connection, permit) => {
                connection.life.note(self.tracker);
                let body = body.over(Some(&connection.lane));
                let request = http1(&form, body).inspect_err(|_| connection.close())?;
                let sending = connection.exchange(request, is_empty, self.tracker)?;
                let response = sending.await?;
                Incoming::http1(response, connection, permit)
            }
            Lease::Http2(mut stream) => {
                stream.connection.life.note(self.tracker);
                let request = http2(&form, body.over(None))?;
                let sending = stream.exchange(request, is_empty, self.tracker)?;
                let (response, upload) = sending.await?;
                Incoming::http2(response, upload, stream)
            }
        };
        let version = response.version();
        self.tracker.facts(|facts| facts.version = Some(version));
        Ok(response)
    }
}

/// How a visit to an address ended.
pub(super) enum Went {
    Answered(Response<Incoming>),
    Failed(BoxError),
    /// Another address is there, and this one is not.
    Overtaken,
}

/// Ready when one of the next addresses takes a connection while the attempt still waits for its own.
async fn overtake(rest: impl Iterator<Item = SocketAddr>, tracker: &Tracker, queue: &Queue) {
    let waits = || tracker.open() == Some(Stage::Connect) && !tracker.is_taken();
    for address in rest {
        tokio::time::sleep(OVERTAKE_AFTER).await;
        while queue.has_waited() {
            tokio::time::sleep(OVERTAKE_AFTER).await;
        }
        if !waits() {
            break;
        }
        let connecting = tokio::time::timeout(OVERTAKE_AFTER, TcpStream::connect(address));
        if let Ok(Ok(_)) = connecting.await
            && waits()
        {
            return;
        }
    }
    std::future::pending().await
}

/// Why a connect was left.
#[derive(Debug)]
pub(super) struct Overtaken;

impl std::fmt::Display for Overtaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("another address took a connection first")
    }
}

impl std::error::Error for Overtaken {}

/// RFC 8305 §8: the Connection Attempt Delay.
const OVERTAKE_AFTER: Duration = Duration::from_millis(250);
/// How many connections that rested are tried for one request, each of them dead.
const MOST_RESENDS: usize = 8;
