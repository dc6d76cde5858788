//! The way of one request: look the name up, then try its addresses until one connects.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;

use super::Shared;
use super::addresses::{order, share};
use super::body::{Loan, RequestBody};
use super::target::{Dial, Target};
use crate::clock;
use crate::dns::{Resolve, Resolving};
use crate::error::{BoxError, Error};
use crate::hop::tracker::{self, Tracker};
use crate::hop::{Diagnosis, Effect, Hop, Kind, LimitExpired, MOST_DIALS, Stage, diagnose};
use crate::limit::Waited;
use crate::telemetry::AttemptSpans;

/// Sends a request on behalf of the attempt that polls this, or of none.
pub(super) async fn send<B>(
    shared: Arc<Shared>,
    request: Request<B>,
) -> Result<Response<reqwest::Body>, Error>
where
    B: Body + Send + 'static,
    B::Data: Into<Bytes> + Send,
    B::Error: Into<BoxError>,
{
    if let Some(tracker) = tracker::current() {
        return journey(&shared, request, &tracker).await;
    }
    let spans = AttemptSpans::default();
    let tracker = Arc::new(Tracker::new(shared.limits, spans, clock::now()));
    let _abandon = Abandon(Arc::clone(&tracker));
    tracker::scope(Arc::clone(&tracker), journey(&shared, request, &tracker)).await
}

/// Gives a request up that no attempt watches over, when its future is dropped.
struct Abandon(Arc<Tracker>);

impl Drop for Abandon {
    fn drop(&mut self) {
        if self.0.status().is_none() && self.0.facts(|facts| facts.version.is_none()) {
            self.0.give_up();
        }
    }
}

async fn journey<B>(
    shared: &Shared,
    request: Request<B>,
    tracker: &Arc<Tracker>,
) -> Result<Response<reqwest::Body>, Error>
where
    B: Body + Send + 'static,
    B::Data: Into<Bytes> + Send,
    B::Error: Into<BoxError>,
{
    tracker.begin();
    let (mut head, body) = request.into_parts();
    let target = Target::of(&head.uri, &mut head.headers)?;
    let (dial, port) = shared
        .proxy
        .as_ref()
        .map_or((&target.dial, target.port), |(dial, port)| (dial, *port));
    let answer = look_up(&*shared.resolver, dial, tracker).await?;
    let warm = shared.clients.warm(&target, &answer, port);
    let loan = Loan::new(body, &head, Arc::clone(tracker));
    let began = clock::now();
    let mut addresses = order(&answer, warm, MOST_DIALS).into_iter();
    let connect = tracker.limits().connect().get();
    while let (Some(address), Some(body)) = (addresses.next(), loan.lend()) {
        let left = connect.saturating_sub(clock::now().saturating_duration_since(began));
        tracker.set_dial_limit(share(left, addresses.len() + 1));
        let address = SocketAddr::new(address, port);
        let failed = match attempt(shared, (&target, address), (&head, body), tracker).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        let error = Error::new(diagnose(tracker, &failed)).because(failed);
        let time_left = connect.saturating_sub(clock::now().saturating_duration_since(began));
        if addresses.len() == 0 || time_left.is_zero() || !may_go_on(tracker) {
            return Err(settled(error, tracker));
        }
        tracker.overcome(error.kind());
    }
    let nothing = Diagnosis::new(Hop::Dns, Kind::NoRecords, Effect::None);
    Err(Error::new(nothing))
}

/// The effect of a failure, settled: what was not taken until now never will be.
fn settled(mut error: Error, tracker: &Tracker) -> Error {
    let taken = tracker.is_taken();
    if tracker.give_up() && !taken {
        error.at_least(Effect::Possible);
    }
    error
}

/// Whether another address may be tried: the connect failed, and nothing was sent.
fn may_go_on(tracker: &Tracker) -> bool {
    tracker.open() == Some(Stage::Connect) && !tracker.is_taken()
}

/// Sends the request to one address.
async fn attempt<B>(
    shared: &Shared,
    (target, address): (&Target, SocketAddr),
    (head, body): (&Parts, RequestBody<B>),
    tracker: &Tracker,
) -> Result<Response<reqwest::Body>, reqwest::Error>
where
    B: Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let client = shared.clients.of(target, address)?;
    let mut request = reqwest::Request::new(head.method.clone(), target.url.clone());
    *request.headers_mut() = head.headers.clone();
    *request.version_mut() = head.version;
    *request.body_mut() = Some(reqwest::Body::wrap(body));
    let mut sending = pin!(client.execute(request));
    let response = poll_fn(|cx| {
        let polled = sending.as_mut().poll(cx);
        if polled.is_pending() {
            // No connection is being made for it: it waits for one of the pool to take it.
            tracker.queued();
        }
        polled
    })
    .await?;
    let peer = response.remote_addr().unwrap_or(address);
    tracker.spans().peer(peer);
    tracker.facts(|facts| {
        facts.peer = Some(peer);
        facts.version = Some(response.version());
    });
    Ok(response.into())
}

async fn look_up(
    resolver: &dyn Resolve,
    dial: &Dial,
    tracker: &Tracker,
) -> Result<Vec<IpAddr>, Error> {
    let name = match dial {
        Dial::Address(address) => return Ok(vec![*address]),
        Dial::Name(name) => name,
    };
    let limit: Duration = tracker.limits().dns().get();
    let answer = match resolver.resolve(name) {
        Resolving::Known(answer) => answer.map_err(|error| {
            tracker.resolving();
            BoxError::from(error)
        }),
        Resolving::Asking(asking) => {
            tracker.resolving();
            match tokio::time::timeout(limit, asking).await {
                Ok(answer) => answer.map_err(BoxError::from),
                Err(_) => Err(BoxError::from(LimitExpired(Waited::Dns))),
            }
        }
    };
    match answer {
        Ok(answer) => {
            tracker.resolved();
            tracker.facts(|facts| facts.dns = Some((answer.ttl(), answer.is_cached())));
            Ok(answer.addresses().to_vec())
        }
        Err(error) => Err(Error::new(diagnose(tracker, &*error)).because(error)),
    }
}
