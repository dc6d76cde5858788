//! The way of one request: look the name up, then try its addresses until one connects.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, Version};
use http_body::Body;
use tokio::time::Instant;

use super::TransportInner;
use super::balance::{AddressOutcome, share};
use super::body::ReturnableBody;
use super::destinations::AddressVisit;
use super::framing::announced;
use super::leave::{Abandon, Leaving, alone, settled};
use super::refresh::Name;
use super::resolve::{filter_literal, given, lookup};
use super::routing::Routing;
use super::target::{Dial, speakable};
use super::visit::{SendPlan, VisitOutcome};
use super::wire::expect::asks;
use super::wire::incoming::Incoming;
use crate::body::unprepared;
use crate::box_error::BoxError;
use crate::call::{attempt_of_request, heard_alone};
use crate::clock;
use crate::diagnose::diagnose;
use crate::dns::{AddressFilter, Answer, Refresh};
use crate::error::{Error, ReasonText};
use crate::hop::{Diagnosis, Hop, Kind, Stage};
use crate::record::tracker::Tracker;
use crate::record::{MOST_DIALS, effect_of};

/// Sends a request on behalf of the attempt that polls this, or of none.
pub(super) fn send<B>(
    shared: Arc<TransportInner>,
    request: Request<B>,
) -> impl Future<Output = Result<Response<Incoming>, Error>> + Send
where
    B: Body + Send + 'static,
    B::Data: Into<Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let (mut head, body) = request.into_parts();
    // An `async fn` would have room for its arguments twice.
    async move {
        if let Some(tracker) = attempt_of_request() {
            let leaving = Leaving::of(&tracker);
            let sent = journey(&shared, (&mut head, body), &tracker).await;
            return leaving.ended(sent);
        }
        let tracker = alone(&shared.timeouts);
        heard_alone(&head.method, &tracker);
        let _abandon = Abandon(Arc::clone(&tracker));
        Box::pin(journey(&shared, (&mut head, body), &tracker)).await
    }
}

async fn journey<B>(
    shared: &TransportInner,
    (head, mut body): (&mut Parts, B),
    tracker: &Arc<Tracker>,
) -> Result<Response<Incoming>, Error>
where
    B: Body + Send + 'static,
    B::Data: Into<Bytes> + Send,
    B::Error: Into<BoxError>,
{
    tracker.begin();
    speakable(head.version)?;
    if let Some(body) = unprepared(&mut body) {
        Box::pin(body.prepare()).await?;
    }
    let length = announced(head.version, &head.headers, &body);
    let length = length.map_err(|reason| Error::invalid().because(reason))?;
    if asks(&head.headers) && (body.is_end_stream() || length == Some(0)) {
        return Err(Error::invalid().because(ReasonText::new(NOTHING_TO_ASK)));
    }
    let now = clock::now();
    let place = shared.place(&head.uri, &mut head.headers, now)?;
    let Routing { target, via, .. } = &place.routing;
    let is_known = shared.connector.options.prior_knowledge;
    if head.version == Version::HTTP_2 && !target.is_secure && !is_known {
        return Err(Error::invalid().because(ReasonText::new(NOT_KNOWN)));
    }
    if let Some(via) = via {
        tracker.facts(|facts| facts.via = Some(via.shown.clone()));
    }
    // A proxy is dialled wherever it is, and filters names itself: without that word nothing was built.
    // Of its destination, an address in the URL is judged here.
    filter_literal(&shared.filter, &target.dial, tracker)?;
    let none = AddressFilter::new();
    let filter = if via.is_some() { &none } else { &shared.filter };
    let identity = shared.identity(&head.extensions);
    let route = place.routing.route(shared.tls(identity), identity);
    let route = route.map_err(|none| Error::invalid().because(none))?;
    let way = SendPlan {
        shared,
        filter,
        head,
        place: &place,
        identity,
        route,
        tracker,
    };
    if let Some(path) = &shared.connector.options.unix_socket {
        let loan = ReturnableBody::new(body, head, length, Arc::clone(tracker));
        return Box::pin(way.over_socket(path, &loan)).await;
    }
    let first = way.addresses(&[], now).await?;
    let loan = ReturnableBody::new(body, head, length, Arc::clone(tracker));
    way.walk(first, &loan).await
}

impl SendPlan<'_> {
    /// Returns the current addresses in the order in which to try them, without those in `tried`, and the time.
    async fn addresses(&self, tried: &[IpAddr], now: Instant) -> Result<Candidates, Error> {
        let routing = &self.place.routing;
        if let Some(answer) = &routing.literal {
            return Ok((self.order(answer, tried, now), now));
        }
        let (dial, _) = routing.dialled();
        let resolver = &*self.shared.resolver;
        let answer = lookup(resolver, dial, self.filter, self.tracker).await?;
        if let Dial::Name(name) = dial {
            self.place.hold(|| resolver.hold(name));
            self.place
                .named(|| Name::new(name, self.shared, self.filter));
        }
        let now = clock::now();
        Ok((self.order(&answer, tried, now), now))
    }

    fn order(&self, answer: &Answer, tried: &[IpAddr], now: Instant) -> Vec<IpAddr> {
        let mut order = self.place.order(&given(answer), MOST_DIALS, now);
        order.retain(|address| !tried.contains(address));
        if order.len() > 1 {
            self.avoid(&mut order);
        }
        order.truncate(MOST_DIALS - tried.len().min(MOST_DIALS));
        order
    }

    /// Removes the addresses that a hedge avoids, unless no other one is left by now.
    fn avoid(&self, order: &mut Vec<IpAddr>) {
        let avoided = self.tracker.facts(|facts| facts.avoided.clone());
        let Some(avoided) = avoided else { return };
        let is_other = |address: &IpAddr| !avoided.contains(address);
        if order.iter().any(is_other) {
            order.retain(is_other);
        }
    }

    /// Tries the addresses one after another, until one connects or the connect timeout is over.
    async fn walk<B>(
        &self,
        (mut order, began): Candidates,
        loan: &ReturnableBody<B>,
    ) -> Result<Response<Incoming>, Error>
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let tracker = self.tracker;
        let (_, port) = self.place.routing.dialled();
        let connect = tracker.timeouts().connect().get();
        let left = |now: Instant| connect.saturating_sub(now.saturating_duration_since(began));
        let (mut now, mut tried, mut last) = (began, 0, None);
        while let Some(ip) = order.get(tried) {
            let Some(body) = loan.lend() else {
                // A connection that came at the last moment may have taken it. From now on no other one can.
                tracker.give_up();
                last = last.map(|last: Error| {
                    let effect = last.effect().max(effect_of(tracker));
                    last.with_effect(effect)
                });
                break;
            };
            tried += 1;
            let (address, rest) = (SocketAddr::new(*ip, port), &order[tried..]);
            tracker.set_dial_limit(share(left(now), rest.len() + 1));
            // Where it fails on a pooled connection, nothing else tells to whom.
            let addresses = Arc::downgrade(self.place);
            tracker.facts(|facts| {
                facts.peer = Some(address);
                facts.addresses = Some(addresses);
            });
            tracker.spans().peer(address);
            let visit = self.place.begin((address.ip(), now), tracker);
            let went = self.visit((address, now), (loan, body), rest).await;
            // Before anything is made of the failure: a take that comes later makes it worse.
            let taken = tracker.is_taken();
            let error = match went {
                VisitOutcome::Answered(response) => {
                    let now = clock::now();
                    visit.fared(self.fared(&response, now), now);
                    return Ok(response);
                }
                VisitOutcome::Failed(failed) => {
                    let cause = loan.cause(failed);
                    Error::new(diagnose(tracker, &*cause)).because(cause)
                }
                VisitOutcome::Overtaken => {
                    let effect = effect_of(tracker);
                    let timeout = Diagnosis::new(Hop::Connect, Kind::Timeout, effect);
                    Error::new(timeout).because("another address took a connection first")
                }
            };
            now = clock::now();
            let second = self.judge((visit, now), address, &error);
            let goes_on = !left(now).is_zero() && may_go_on(tracker);
            let is_last = tried == order.len();
            if !goes_on || is_last && second.is_none() {
                return Err(settled(error, tracker, taken));
            }
            tracker.overcome(error.kind());
            if let Some(second) = second.filter(|_| is_last) {
                // Nothing else is left to try, but DNS may know better by now.
                let more = Box::pin(self.look_again(second, &order, left(now))).await;
                now = clock::now();
                if left(now).is_zero() || more.is_empty() || tracker.is_taken() {
                    return Err(settled(error, tracker, taken));
                }
                order.extend(more);
            }
            last = Some(error);
        }
        let none = || Error::new(Diagnosis::unsent(Hop::Dns, Kind::NoRecords));
        Err(last.unwrap_or_else(none))
    }

    /// Writes down how an address fared. Where nothing can be connected to it, its name is in doubt.
    fn judge(
        &self,
        (visit, now): (AddressVisit, Instant),
        address: SocketAddr,
        error: &Error,
    ) -> Option<Refresh> {
        if error.kind().is_local() {
            // It says nothing of the address, nor of its name.
            visit.fared(AddressOutcome::Unknown, now);
            return None;
        }
        let dark = error.kind() == Kind::Unacknowledged;
        if dark {
            // Whatever else the pool holds to there went the same dark way.
            let used = self.tracker.entered(Stage::Send);
            self.place.forget(address.ip(), used);
        }
        // A proxy that refuses a tunnel is reachable.
        let refuses = matches!(
            error.kind(),
            Kind::ProxyRefused | Kind::ProxyDenied | Kind::ProxyUnauthorized
        );
        if refuses || !dark && error.hop() != Some(Hop::Connect) {
            visit.fared(AddressOutcome::Failed, now);
            return None;
        }
        visit.fared(AddressOutcome::Unreachable, now);
        match self.place.routing.dialled() {
            (Dial::Name(name), _) => self.shared.resolver.report_unreachable(name),
            (Dial::Address(_), _) => None,
        }
    }

    /// The addresses that a second look brings within the time left.
    async fn look_again(&self, second: Refresh, tried: &[IpAddr], left: Duration) -> Vec<IpAddr> {
        let limit = self.tracker.timeouts().dns().get().min(left);
        self.tracker.enter(Stage::Dns);
        if let (Dial::Name(name), _) = self.place.routing.dialled() {
            self.tracker.spans().asking(name);
        }
        let looking = async {
            second.await;
            self.addresses(tried, clock::now()).await
        };
        let failed = match tokio::time::timeout(limit, looking).await {
            Ok(Ok((addresses, _))) => {
                self.tracker.resolved();
                return addresses;
            }
            Ok(Err(error)) => error.kind(),
            Err(_) => Kind::Timeout,
        };
        self.tracker.overcome(failed);
        Vec::new()
    }

    fn fared(&self, response: &Response<Incoming>, now: Instant) -> AddressOutcome {
        if response.status().as_u16() >= 500 {
            return AddressOutcome::Failed;
        }
        let asked = self.tracker.entered(Stage::Wait);
        AddressOutcome::Answered(now.saturating_duration_since(asked))
    }
}

/// Addresses in the order in which to try them, and when they were chosen.
type Candidates = (Vec<IpAddr>, Instant);

/// Whether another address may be tried: the connect failed, and nothing was sent.
fn may_go_on(tracker: &Tracker) -> bool {
    tracker.open() == Some(Stage::Connect) && !tracker.is_taken()
}

const NOTHING_TO_ASK: &str = "expect: 100-continue must be removed: the request has no body";
const NOT_KNOWN: &str =
    "HTTP/2 to an http URL needs prior knowledge: call http2_prior_knowledge(true)";
