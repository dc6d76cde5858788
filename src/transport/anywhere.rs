//! The ear around a connector that goes wherever it is told: it looks names up by itself, and nobody
//! below it reports the sending. What it cannot connect to it says in our words.

#![cfg_attr(
    not(feature = "hyper"),
    expect(unreachable_pub, reason = "it is shown with that feature")
)]

use std::fmt::{self, Debug};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper_util::client::legacy::connect::Connection;
use tower_layer::Layer;
use tower_service::Service;
use url::{Host, Url};

use super::connector::{Connecting, Setup};
use crate::box_error::BoxError;
use crate::clock;
use crate::diagnose::diagnose;
use crate::dns::Filter;
use crate::error::Error;
use crate::hop::{Diagnosis, Effect, Hop, Kind, Stage};
use crate::limit::Limits;
use crate::record::effect_of;
use crate::record::tracker::{self, Tracker};
use crate::telemetry::AttemptSpans;

/// Listens to the connections of a client, keeps the limits of dns, connect and tls on them, and refuses
/// addresses in URLs that the filter refuses.
#[derive(Clone, Debug)]
pub struct ConnectorLayer {
    pub(super) filter: Filter,
    pub(super) limits: Limits,
}

impl<S> Layer<S> for ConnectorLayer {
    type Service = Connector<S>;

    fn layer(&self, inner: S) -> Connector<S> {
        Connector {
            inner,
            layer: self.clone(),
        }
    }
}

/// The connector of [`ConnectorLayer`].
#[derive(Clone, Debug)]
pub struct Connector<S> {
    inner: S,
    layer: ConnectorLayer,
}

impl<S, T> Service<T> for Connector<S>
where
    S: Service<T, Response: Connection>,
    S::Error: Into<BoxError>,
    T: Debug,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Arriving<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let ConnectorLayer { filter, limits } = &self.layer;
        let url = destination(&target);
        let literal = url.as_ref().and_then(literal);
        if let Err(error) = admit(filter, url.is_some(), literal.map(|at| at.ip())) {
            return Arriving {
                connecting: None,
                refused: Some(error),
            };
        }
        let (tracker, own) = match tracker::current() {
            Some(tracker) => (tracker, false),
            None => (alone(limits), true),
        };
        let mut setup = Setup::new(url.as_ref().and_then(host), tracker.limits());
        setup.port = url.as_ref().and_then(Url::port_or_known_default);
        setup.watch_look_up(tracker, own);
        if literal.is_some() {
            setup.dialling(literal);
        }
        Arriving {
            connecting: Some(Box::pin(Connecting::new(self.inner.call(target), setup))),
            refused: None,
        }
    }
}

/// The future of [`Connector`]. In a box, because hyper-util wants to move it.
#[must_use = "futures do nothing unless polled"]
pub struct Arriving<F> {
    connecting: Option<Pin<Box<Connecting<F>>>>,
    refused: Option<Error>,
}

impl<F, T, E> Future for Arriving<F>
where
    F: Future<Output = Result<T, E>>,
    T: Connection,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(refused) = self.refused.take() {
            return Poll::Ready(Err(refused.into()));
        }
        let Some(connecting) = &mut self.connecting else {
            return Poll::Pending;
        };
        let arrived = ready!(connecting.as_mut().poll(cx));
        let tracker = connecting.setup().tracker();
        Poll::Ready(arrived.map_err(|error| failed(error, tracker.as_deref()).into()))
    }
}

impl<F> Debug for Arriving<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arriving").finish_non_exhaustive()
    }
}

/// The tracker of a set-up that no attempt watches over.
pub(super) fn alone(limits: &Limits) -> Arc<Tracker> {
    let tracker = Tracker::new(*limits, AttemptSpans::default(), clock::now());
    tracker.begin();
    Arc::new(tracker)
}

/// There is no connection, and so nothing was sent on it; nor before, unless the attempt has waited for
/// an answer already: then this may be the next leg of a redirect that somebody follows.
fn failed(error: BoxError, tracker: Option<&Tracker>) -> Error {
    let Some(tracker) = tracker else {
        return Error::new(Diagnosis::foreign(&*error).or_at(Hop::Connect)).because(error);
    };
    let waited = tracker.events().any(|(stage, ..)| stage == Stage::Wait);
    let mut diagnosis = diagnose(tracker, &*error);
    diagnosis.effect = match waited || tracker.is_taken() {
        true => effect_of(tracker),
        false => Effect::None,
    };
    match Error::ours(error) {
        // It was refused by name: there is nothing to add.
        Ok(ours) => ours,
        Err(other) => Error::new(diagnosis).because(other),
    }
}

/// Refuses an address that stands in the URL itself. A filter that cannot see where it goes refuses that, too.
fn admit(filter: &Filter, known: bool, literal: Option<IpAddr>) -> Result<(), Error> {
    let filtered = || Error::new(Diagnosis::new(Hop::Dns, Kind::Filtered, Effect::None));
    if !known && *filter != Filter::new() {
        return Err(filtered().caused_by(Unseen));
    }
    literal.map_or(Ok(()), |address| {
        let admitted = filter.check(address);
        admitted.map_err(|refused| filtered().because(refused))
    })
}

/// Where a connector is asked to go. reqwest keeps the type to itself that it asks with, but not its text.
fn destination(target: &impl Debug) -> Option<Url> {
    let text = format!("{target:?}");
    let inner = text.strip_prefix("Unnameable(");
    let inner = inner.and_then(|rest| rest.strip_suffix(')'));
    Url::parse(inner.unwrap_or(&text))
        .ok()
        .filter(Url::has_host)
}

fn literal(url: &Url) -> Option<SocketAddr> {
    let address: IpAddr = match url.host()? {
        Host::Domain(_) => return None,
        Host::Ipv4(address) => address.into(),
        Host::Ipv6(address) => address.into(),
    };
    Some(SocketAddr::new(address, url.port_or_known_default()?))
}

/// As a TLS server name, without the brackets of an IPv6 literal.
fn host(url: &Url) -> Option<Arc<str>> {
    let host = url.host_str()?;
    Some(host.trim_start_matches('[').trim_end_matches(']').into())
}

/// The filter is on, and the connector was asked for something that is no URL.
#[derive(Debug)]
struct Unseen;

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connector does not tell where it is asked to go")
    }
}

impl std::error::Error for Unseen {}

#[cfg(test)]
#[path = "anywhere_tests.rs"]
mod tests;
