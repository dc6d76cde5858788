//! Sends one request: looks the name up, then tries its addresses until one connects.

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
use super::wire::lane::GivenUp;
use crate::affinity::{Affinity, Session};
use crate::body::unprepared;
use crate::box_error::BoxError;
use crate::call::{Call, affinity_of, attempt_of_request, record_request_alone};
use crate::clock;
use crate::diagnose::diagnose;
use crate::dns::{AddressFilter, Answer, Refresh};
use crate::error::{Error, ReasonText};
use crate::hop::{Diagnosis, Hop, Kind, Stage};
use crate::options::Unmet;
use crate::record::tracker::Tracker;
use crate::record::{MOST_DIALS, effect_of};

/// Sends a request for the attempt that polls this, or without an attempt.
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
    // An `async fn` would store its arguments twice.
    async move {
        if let Some(tracker) = attempt_of_request() {
            let leaving = Leaving::of(&tracker);
            let sent = journey(&shared, (&mut head, body), &tracker).await;
            return leaving.ended(sent);
        }
        let tracker = alone(&shared.timeouts);
        record_request_alone(&head.method, &tracker);
        let session = affinity_of(&head.extensions).map(Session::new);
        if let Some(call) = Call::of(&head.extensions) {
            call.keep_session();
        }
        tracker.facts(|facts| facts.session = session.map(Box::new));
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
    if tracker.is_given_up() {
        // A connect of another transport has failed in this attempt, so no connection will take its request.
        return Err(Error::new(Diagnosis::unsent(Hop::Send, Kind::Other)).because(GivenUp));
    }
    speakable(head.version)?;
    if let Some(body) = unprepared(&mut body) {
        Box::pin(body.prepare()).await?;
    }
    let length = announced(head.version, &head.headers, &body);
    let length = length.map_err(|reason| Error::invalid().because(reason))?;
    if (body.is_end_stream() || length == Some(0)) && asks(&head.headers) {
        return Err(Error::invalid().because(ReasonText::new(NOTHING_TO_ASK)));
    }
    let now = clock::now();
    let destination = shared.destination(&head.uri, &mut head.headers, now)?;
    let Routing { target, via, .. } = &destination.routing;
    let is_known = shared.connector.options.prior_knowledge;
    if head.version == Version::HTTP_2 && !target.is_secure && !is_known {
        return Err(Error::invalid().because(ReasonText::new(NOT_KNOWN)));
    }
    if let Some(via) = via {
        let has_session = tracker.facts(|facts| {
            facts.via = Some(via.shown.clone());
            facts.session.is_some()
        });
        if has_session {
            return Err(Unmet::ProxiedAffinity.into());
        }
    }
    // The filter does not apply to the proxy's own address. The proxy filters names itself: `build()` required that
    // declaration. An address in the destination's URL is judged here.
    filter_literal(&shared.filter, &target.dial, tracker)?;
    let none = AddressFilter::new();
    let filter = if via.is_some() { &none } else { &shared.filter };
    let (identity, own) = shared.identities(&head.extensions);
    let route = destination.routing.route(shared.tls(own), own);
    let route = route.map_err(|none| Error::invalid().because(none))?;
    let way = SendPlan {
        shared,
        filter,
        head,
        destination: &destination,
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
        let routing = &self.destination.routing;
        if let Some(answer) = &routing.literal {
            return Ok((self.order(answer, tried, now), now));
        }
        let (dial, _) = routing.dialled();
        let resolver = &*self.shared.resolver;
        let answer = lookup(resolver, dial, self.filter, self.tracker).await?;
        if let Dial::Name(name) = dial {
            self.destination.hold(|| resolver.hold(name));
            self.destination
                .named(|| Name::new(name, self.shared, self.filter));
        }
        let now = clock::now();
        Ok((self.order(&answer, tried, now), now))
    }

    fn order(&self, answer: &Answer, tried: &[IpAddr], now: Instant) -> Vec<IpAddr> {
        // One address leaves no choice.
        let session = match answer.addresses() {
            [] | [_] => None,
            _ => self.tracker.facts(|facts| facts.session.clone()),
        };
        let given = (&given(answer), MOST_DIALS);
        let mut order = self.destination.order(session.as_deref(), given, now);
        order.retain(|address| !tried.contains(address));
        self.lead_hedge(&mut order);
        order.truncate(MOST_DIALS - tried.len().min(MOST_DIALS));
        order
    }

    /// Leads a hedge to an address that no attempt in flight uses, unless none is left by now. A hedge of a session
    /// stays on their addresses.
    fn lead_hedge(&self, order: &mut Vec<IpAddr>) {
        let hedge = self
            .tracker
            .facts(|facts| Some((facts.beside.clone()?, facts.session.is_some())));
        let Some((beside, has_session)) = hedge else {
            return;
        };
        let is_beside = |address: &IpAddr| beside.contains(address);
        match has_session {
            true => order.retain(is_beside),
            false if order.iter().all(is_beside) => {}
            false => order.retain(|address| !is_beside(address)),
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
        let (_, port) = self.destination.routing.dialled();
        let connect = tracker.timeouts().connect();
        let left = |now: Instant| connect.saturating_sub(now.saturating_duration_since(began));
        let (mut now, mut tried, mut last) = (began, 0, None);
        while let Some(ip) = order.get(tried) {
            let Some(body) = loan.lend() else {
                // A connection that came at the last moment may have taken the request. From now on no other one can.
                tracker.give_up();
                last = last.map(|last: Error| {
                    let effect = last.effect().max(effect_of(tracker));
                    last.with_effect(effect)
                });
                break;
            };
            tried += 1;
            let (address, rest) = (SocketAddr::new(*ip, port), &order[tried..]);
            tracker.set_dial_timeout(share(left(now), rest.len() + 1));
            // If the request fails on a pooled connection, only this tells which peer it was.
            let addresses = Arc::downgrade(self.destination);
            let affinity = tracker.facts(|facts| {
                facts.peer = Some(address);
                facts.addresses = Some(addresses);
                facts.is_session_kept = true;
                facts.session.as_ref().map(|session| session.affinity)
            });
            if let Some(affinity) = affinity {
                self.keep(affinity, address.ip(), now);
            }
            tracker.spans().peer(address);
            let visit = self.destination.begin((address.ip(), now), tracker);
            let went = self.visit((address, now), (loan, body), rest).await;
            // Read before the diagnosis: a connection that takes the request later makes the effect greater.
            let taken = tracker.is_taken();
            let error = match went {
                VisitOutcome::Answered(response) => {
                    let now = clock::now();
                    visit.finish(self.outcome_of(&response, now), now);
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
            let (second, kind) = (self.judge((visit, now), address, &error), error.kind());
            let error = worse(last.take(), error, tracker);
            let goes_on = !left(now).is_zero() && may_go_on(tracker) && !is_final(kind);
            let is_last = tried == order.len();
            if !goes_on || is_last && second.is_none() {
                return Err(settled(error, tracker, taken));
            }
            tracker.overcome(kind);
            if let Some(second) = second.filter(|_| is_last) {
                // No address is left to try, but DNS may have new ones by now.
                let more = Box::pin(self.look_again(second, &order, left(now))).await;
                now = clock::now();
                if left(now).is_zero() || more.is_empty() || tracker.is_taken() {
                    return Err(settled(error, tracker, taken));
                }
                order.extend(more);
            }
            last = Some(error);
        }
        Err(last.unwrap_or_else(|| self.no_address()))
    }

    /// Returns the error of a request without an address. A hedge has none if those of its session have left DNS: the
    /// name still has others.
    fn no_address(&self) -> Error {
        match self.tracker.facts(|facts| facts.beside.is_some()) {
            true => {
                Error::new(Diagnosis::unsent(Hop::Dns, Kind::Other)).because(HEDGE_WITHOUT_ADDRESS)
            }
            false => Error::new(Diagnosis::unsent(Hop::Dns, Kind::NoRecords)),
        }
    }

    /// Records whether the session of the request may read older data at this address than before.
    fn keep(&self, affinity: Affinity, address: IpAddr, now: Instant) {
        let moved = self.destination.keep(affinity, address, now);
        self.tracker.facts(|facts| facts.affinity_moved = moved);
        if moved {
            self.tracker.spans().affinity_moved(address);
        }
    }

    /// Records the outcome of a request for its address. If the connect failed, the resolver is told that the address
    /// is unreachable.
    fn judge(
        &self,
        (visit, now): (AddressVisit, Instant),
        address: SocketAddr,
        error: &Error,
    ) -> Option<Refresh> {
        if error.kind().is_local() {
            // The failure does not concern the address or its name.
            visit.finish(AddressOutcome::Unknown, now);
            return None;
        }
        let dark = error.kind() == Kind::Unacknowledged;
        if dark {
            // All connections of the pool to this address use the same dark path.
            let used = self.tracker.entered(Stage::Send);
            self.destination.forget(address.ip(), used);
        }
        // A proxy that refuses a tunnel is reachable.
        let refuses = error.kind() == Kind::ProxyRefused || is_final(error.kind());
        if refuses || !dark && error.hop() != Some(Hop::Connect) {
            visit.finish(AddressOutcome::Failed, now);
            return None;
        }
        visit.finish(AddressOutcome::Unreachable, now);
        match self.destination.routing.dialled() {
            (Dial::Name(name), _) => self.shared.resolver.report_unreachable(name),
            (Dial::Address(_), _) => None,
        }
    }

    /// Returns the new addresses that a second lookup finds within the time left.
    async fn look_again(&self, second: Refresh, tried: &[IpAddr], left: Duration) -> Vec<IpAddr> {
        let limit = self.tracker.timeouts().dns().min(left);
        self.tracker.enter(Stage::Dns);
        if let (Dial::Name(name), _) = self.destination.routing.dialled() {
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

    fn outcome_of(&self, response: &Response<Incoming>, now: Instant) -> AddressOutcome {
        if response.status().as_u16() >= 500 {
            return AddressOutcome::Failed;
        }
        let asked = self.tracker.entered(Stage::Wait);
        AddressOutcome::Answered(now.saturating_duration_since(asked))
    }
}

/// Addresses in the order in which to try them, and when they were chosen.
type Candidates = (Vec<IpAddr>, Instant);

/// Returns whether another address may be tried: the connect failed, and nothing was sent.
fn may_go_on(tracker: &Tracker) -> bool {
    tracker.open() == Some(Stage::Connect) && !tracker.is_taken()
}

/// Returns whether a proxy refuses permanently. Its other addresses apply the same rules, and the same password
/// again may lock the account.
const fn is_final(kind: Kind) -> bool {
    matches!(kind, Kind::ProxyDenied | Kind::ProxyUnauthorized)
}

/// Returns the error that stands for the addresses tried so far. If a connect failed only for a lack of local
/// resources, it does not hide that another address failed: the circuit counts that. An example is a host without IPv6.
fn worse(earlier: Option<Error>, error: Error, tracker: &Tracker) -> Error {
    match earlier {
        Some(earlier) if error.kind().is_local() && may_go_on(tracker) => earlier,
        _ => error,
    }
}

const HEDGE_WITHOUT_ADDRESS: &str = "the addresses of the session's attempts have left DNS";
const NOTHING_TO_ASK: &str = "expect: 100-continue must be removed: the request has no body";
const NOT_KNOWN: &str =
    "HTTP/2 to an http URL needs prior knowledge: call http2_prior_knowledge(true)";
