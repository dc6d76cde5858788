//! The way of one request: look the name up, then try its addresses until one connects.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body;

use super::Shared;
use super::body::Loan;
use super::book::{Fared, share};
use super::dial::{NoRoots, Route};
use super::framing::announced;
use super::leave::{Abandon, alone, settled, within};
use super::look_up::{filter_literal, given, look_up};
use super::places::Visit;
use super::refresh::Name;
use super::target::{self, Target, speakable};
use super::visit::{Way, Went};
use super::wire::expect::asks;
use super::wire::incoming::Incoming;
use crate::body::unprepared;
use crate::box_error::BoxError;
use crate::call::{attempt_of_request, heard_alone};
use crate::clock;
use crate::diagnose::diagnose;
use crate::dns::{Filter, SecondLook};
use crate::error::{Error, Reason};
use crate::hop::{Diagnosis, Hop, Kind, Stage};
use crate::record::tracker::Tracker;
use crate::record::{MOST_DIALS, effect_of};

/// Sends a request on behalf of the attempt that polls this, or of none.
pub(super) async fn send<B>(
    shared: Arc<Shared>,
    request: Request<B>,
) -> Result<Response<Incoming>, Error>
where
    B: Body + Send + 'static,
    B::Data: Into<Bytes> + Send,
    B::Error: Into<BoxError>,
{
    if let Some(tracker) = attempt_of_request() {
        return within(&tracker, journey(&shared, request, &tracker)).await;
    }
    let tracker = alone(&shared.limits);
    heard_alone(request.method(), &tracker);
    let _abandon = Abandon(Arc::clone(&tracker));
    Box::pin(journey(&shared, request, &tracker)).await
}

async fn journey<B>(
    shared: &Shared,
    request: Request<B>,
    tracker: &Arc<Tracker>,
) -> Result<Response<Incoming>, Error>
where
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
    if asks(&head.headers) && (body.is_end_stream() || length == Some(0)) {
        return Err(Error::invalid().because(Reason::new(NOTHING_TO_ASK)));
    }
    let mut target = Target::of(&head.uri, &mut head.headers)?;
    let is_known = shared.connector.options.prior_knowledge;
    if head.version == Version::HTTP_2 && !target.is_secure && !is_known {
        return Err(Error::invalid().because(Reason::new(NOT_KNOWN)));
    }
    target.via = shared
        .proxies
        .way_to(target.is_secure, &target.dial, target.port);
    if let Some(via) = &target.via {
        tracker.facts(|facts| facts.via = Some(via.shown.clone()));
    }
    let (dial, port) = target.dialled();
    // A proxy is dialled wherever it is, and filters names itself: without that word nothing was built.
    // Of its destination, an address in the URL is judged here.
    filter_literal(&shared.filter, &target.dial, tracker)?;
    let none = Filter::new();
    let filter = if target.via.is_some() {
        &none
    } else {
        &shared.filter
    };
    let place = shared.places.of(&head.uri);
    let identity = shared.identity(&head.extensions);
    let tls = match (target.is_secure, shared.tls(identity)) {
        (false, _) => None,
        (true, Ok(config)) => Some(Arc::clone(place.tls(config, identity))),
        (true, Err(none)) => {
            let none = NoRoots(Arc::clone(none));
            return Err(Error::invalid().because(none));
        }
    };
    let ends = Arc::new(Route {
        host: Arc::clone(&target.host),
        port: target.port,
        tls,
        via: target.via.clone(),
    });
    let way = Way {
        shared,
        target: &target,
        dialled: (dial, port, filter),
        head: &head,
        place: (&place, identity),
        ends: &ends,
        tracker,
    };
    if let Some(path) = &shared.connector.options.unix_socket {
        let loan = Loan::new(body, &head, length, Arc::clone(tracker));
        return Box::pin(way.over_socket(path, &loan)).await;
    }
    let first = way.addresses(&[]).await?;
    let loan = Loan::new(body, &head, length, Arc::clone(tracker));
    way.walk(first, &loan).await
}

impl Way<'_> {
    /// What DNS gives now, in the order in which to try it, but for what was `tried` before.
    async fn addresses(&self, tried: &[SocketAddr]) -> Result<VecDeque<SocketAddr>, Error> {
        let (dial, port, filter) = self.dialled;
        let resolver = &*self.shared.resolver;
        let answer = look_up(resolver, dial, filter, self.tracker).await?;
        if let target::Dial::Name(name) = dial {
            self.place.0.hold(|| resolver.hold(name));
            self.place.0.named(|| Name::new(name, self.shared, filter));
        }
        let order = self.place.0.order(&given(&answer), MOST_DIALS).into_iter();
        let order = order.map(|ip| SocketAddr::new(ip, port));
        let new = order.filter(|address| !tried.contains(address));
        Ok(new.take(MOST_DIALS - tried.len().min(MOST_DIALS)).collect())
    }

    /// Tries the addresses one after another, until one connects or the connect limit is over.
    async fn walk<B>(
        &self,
        mut rest: VecDeque<SocketAddr>,
        loan: &Loan<B>,
    ) -> Result<Response<Incoming>, Error>
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let tracker = self.tracker;
        let began = clock::now();
        let connect = tracker.limits().connect().get();
        let left = || connect.saturating_sub(clock::now().saturating_duration_since(began));
        let mut tried = Vec::new();
        let mut last = None;
        while let Some(address) = rest.pop_front() {
            let Some(body) = loan.lend() else {
                // A connection that came at the last moment holds it: it is that one's, or nobody's.
                tracker.give_up();
                last = last.map(|last: Error| {
                    let effect = last.effect().max(effect_of(tracker));
                    last.with_effect(effect)
                });
                break;
            };
            tried.push(address);
            tracker.set_dial_limit(share(left(), rest.len() + 1));
            // Where it fails on a pooled connection, nothing else tells to whom.
            let addresses = Arc::downgrade(self.place.0);
            tracker.facts(|facts| {
                facts.peer = Some(address);
                facts.addresses = Some(addresses);
            });
            tracker.spans().peer(address);
            let visit = self.place.0.begin(address.ip(), tracker);
            let went = self
                .visit(address, (loan, body), rest.make_contiguous())
                .await;
            // Before anything is made of the failure: a take that comes later makes it worse.
            let taken = tracker.is_taken();
            let error = match went {
                Went::Answered(response) => {
                    visit.fared(self.fared(&response));
                    return Ok(response);
                }
                Went::Failed(failed) => {
                    let cause = loan.cause(failed);
                    Error::new(diagnose(tracker, &*cause)).because(cause)
                }
                Went::Overtaken => {
                    let effect = effect_of(tracker);
                    let timeout = Diagnosis::new(Hop::Connect, Kind::Timeout, effect);
                    Error::new(timeout).because("another address took a connection first")
                }
            };
            let second = self.judge(visit, address, &error);
            let goes_on = !left().is_zero() && may_go_on(tracker);
            if !goes_on || rest.is_empty() && second.is_none() {
                return Err(settled(error, tracker, taken));
            }
            tracker.overcome(error.kind());
            if let Some(second) = second.filter(|_| rest.is_empty()) {
                // Nothing else is left to try, but DNS may know better by now.
                rest = Box::pin(self.look_again(second, &tried, left())).await;
                if left().is_zero() || rest.is_empty() || tracker.is_taken() {
                    return Err(settled(error, tracker, taken));
                }
            }
            last = Some(error);
        }
        let none = || Error::new(Diagnosis::unsent(Hop::Dns, Kind::NoRecords));
        Err(last.unwrap_or_else(none))
    }

    /// Writes down how an address fared. Where nothing can be connected to it, its name is in doubt.
    fn judge(&self, visit: Visit, address: SocketAddr, error: &Error) -> Option<SecondLook> {
        if error.kind().is_local() {
            // It says nothing of the address, nor of its name.
            visit.fared(Fared::Unknown);
            return None;
        }
        let dark = error.kind() == Kind::Unacknowledged;
        if dark {
            // Whatever else the pool holds to there went the same dark way.
            let used = self.tracker.entered(Stage::Send);
            self.place.0.forget(address.ip(), used);
        }
        // Who refuses a tunnel is there.
        let refuses = matches!(
            error.kind(),
            Kind::Proxy | Kind::ProxyDenied | Kind::ProxyUnauthorized
        );
        if refuses || !dark && error.hop() != Some(Hop::Connect) {
            visit.fared(Fared::Failed);
            return None;
        }
        visit.fared(Fared::Unreachable);
        match self.dialled.0 {
            target::Dial::Name(name) => self.shared.resolver.suspect(name),
            target::Dial::Address(_) => None,
        }
    }

    /// The addresses that a second look brings within the time left.
    async fn look_again(
        &self,
        second: SecondLook,
        tried: &[SocketAddr],
        left: Duration,
    ) -> VecDeque<SocketAddr> {
        let limit = self.tracker.limits().dns().get().min(left);
        self.tracker.enter(Stage::Dns);
        if let target::Dial::Name(name) = self.dialled.0 {
            self.tracker.spans().asking(name);
        }
        let looking = async {
            second.await;
            self.addresses(tried).await
        };
        let failed = match tokio::time::timeout(limit, looking).await {
            Ok(Ok(addresses)) => {
                self.tracker.resolved();
                return addresses;
            }
            Ok(Err(error)) => error.kind(),
            Err(_) => Kind::Timeout,
        };
        self.tracker.overcome(failed);
        VecDeque::new()
    }

    fn fared(&self, response: &Response<Incoming>) -> Fared {
        if response.status().as_u16() >= 500 {
            return Fared::Failed;
        }
        let asked = self.tracker.entered(Stage::Wait);
        Fared::Answered(clock::now().saturating_duration_since(asked))
    }
}

/// Whether another address may be tried: the connect failed, and nothing was sent.
fn may_go_on(tracker: &Tracker) -> bool {
    tracker.open() == Some(Stage::Connect) && !tracker.is_taken()
}

const NOTHING_TO_ASK: &str = "expect: 100-continue must be removed: the request has no body";
const NOT_KNOWN: &str =
    "HTTP/2 to an http URL needs prior knowledge: call http2_prior_knowledge(true)";
