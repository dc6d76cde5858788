//! The ear around a connector that goes wherever it is told: it looks names up by itself, and nobody
//! below it reports the sending. What it cannot connect to it says in our words.

#![cfg_attr(
    not(feature = "hyper"),
    expect(unreachable_pub, reason = "it is shown with that feature")
)]

use std::fmt::{self, Debug};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Extensions, Uri};
use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use tower_layer::Layer;
use tower_service::Service;
use url::Url;

use super::connector::{Connecting, Setup};
use super::leave::alone;
use super::target::{Dial, OTHER_SCHEME, host, is_canonical, is_judged, unseen};
use crate::box_error::BoxError;
use crate::diagnose::diagnose;
use crate::dns::{Filter, Refused};
use crate::error::Error;
use crate::hop::{Diagnosis, Effect, Hop, Kind, Stage};
use crate::limit::Limits;
use crate::record::effect_of;
use crate::record::tracker::{self, Tracker};

/// Listens to the connections of a client, keeps the limits of dns, connect and tls on them, and refuses
/// what the filter refuses: addresses in URLs, and whatever it cannot judge. That is a scheme other than
/// http and https, a host that is an address in an unusual spelling (`0x7f.1`), and a connection whose
/// address came neither from the URL nor from our resolver.
#[derive(Clone, Debug)]
pub struct ConnectorLayer {
    pub(super) filter: Filter,
    pub(super) limits: Limits,
    /// Whether connections may go to a proxy, which is not judged.
    pub(super) proxied: bool,
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
        let ConnectorLayer {
            filter,
            limits,
            proxied,
        } = &self.layer;
        let seen = Seen::of(&target);
        let judged = if filter.is_on() {
            judge(filter, seen.as_ref())
        } else {
            Ok(())
        };
        if let Err(error) = judged {
            return Arriving {
                connecting: None,
                refused: Some(error),
                arrival: None,
            };
        }
        let literal = seen.as_ref().and_then(Seen::literal);
        let (tracker, own) = match tracker::current() {
            Some(tracker) => (tracker, false),
            None => {
                let tracker = alone(limits);
                tracker.begin();
                (tracker, true)
            }
        };
        let mut setup = Setup::new(
            seen.as_ref().map(|seen| seen.dial.shown()),
            tracker.limits(),
        );
        setup.port = seen.as_ref().and_then(|seen| seen.port);
        setup.watch_look_up(tracker, own);
        if literal.is_some() {
            setup.dialling(literal);
        }
        Arriving {
            connecting: Some(Box::pin(Connecting::new(self.inner.call(target), setup))),
            refused: None,
            arrival: (filter.is_on() && !proxied).then(|| Arrival {
                filter: filter.clone(),
                is_literal: literal.is_some(),
            }),
        }
    }
}

/// The future of [`Connector`]. In a box, because hyper-util wants to move it.
#[must_use = "futures do nothing unless polled"]
pub struct Arriving<F> {
    connecting: Option<Pin<Box<Connecting<F>>>>,
    refused: Option<Error>,
    arrival: Option<Arrival>,
}

impl<F, T, E> Future for Arriving<F>
where
    F: Future<Output = Result<T, E>>,
    T: Connection,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(refused) = this.refused.take() {
            return Poll::Ready(Err(refused.into()));
        }
        let Some(connecting) = &mut this.connecting else {
            return Poll::Pending;
        };
        let arrived = ready!(connecting.as_mut().poll(cx));
        let setup = connecting.setup();
        Poll::Ready(match (arrived, &this.arrival) {
            (Ok(connection), Some(arrival)) => match arrival.judge(setup, &connection) {
                Ok(()) => Ok(connection),
                Err(refused) => Err(refused.into()),
            },
            (arrived, _) => {
                let tracker = setup.tracker();
                arrived.map_err(|error| failed(error, tracker.as_deref()).into())
            }
        })
    }
}

impl<F> Debug for Arriving<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arriving").finish_non_exhaustive()
    }
}

/// There is no connection, and so nothing was sent on it; nor before, unless the attempt has waited for
/// an answer already: then this may be the next leg of a redirect that somebody follows.
fn failed(error: BoxError, tracker: Option<&Tracker>) -> Error {
    let Some(tracker) = tracker else {
        return Error::new(Diagnosis::foreign(&*error).or_at(Hop::Connect)).because(error);
    };
    let waited = tracker.has_entered(Stage::Wait);
    let mut diagnosis = diagnose(tracker, &*error);
    diagnosis.effect = match waited || tracker.is_taken() {
        true => effect_of(tracker),
        false => Effect::unsent(),
    };
    match Error::ours(error) {
        // It was refused by name: there is nothing to add.
        Ok(ours) => ours,
        Err(other) => Error::new(diagnosis).because(other),
    }
}

/// Where a connector is asked to go.
struct Seen {
    url: Url,
    dial: Dial,
    port: Option<u16>,
    /// Whether the host is written as it is read here: else the connector may read it in another way.
    is_canonical: bool,
}

impl Seen {
    /// reqwest keeps the type to itself that it asks with, but not its text.
    fn of(target: &impl Debug) -> Option<Self> {
        let text = format!("{target:?}");
        let inner = text.strip_prefix("Unnameable(");
        let inner = inner.and_then(|rest| rest.strip_suffix(')'));
        let text = inner.unwrap_or(&text);
        let url = Url::parse(text).ok().filter(Url::has_host)?;
        let dial = host(&url).ok()?;
        let uri = text.parse::<Uri>();
        Some(Self {
            port: url.port_or_known_default(),
            is_canonical: uri.is_ok_and(|uri| is_canonical(&uri, &dial)),
            url,
            dial,
        })
    }

    fn literal(&self) -> Option<SocketAddr> {
        match self.dial {
            Dial::Address(address) => Some(SocketAddr::new(address, self.port?)),
            Dial::Name(_) => None,
        }
    }
}

/// Refuses what the filter refuses, and what it cannot judge. Names are judged when they are looked up.
fn judge(filter: &Filter, seen: Option<&Seen>) -> Result<(), Error> {
    let seen = seen.ok_or_else(|| unseen("the connector does not tell where it is asked to go"))?;
    if !is_judged(&seen.url) {
        return Err(unseen(OTHER_SCHEME));
    }
    match seen.dial {
        Dial::Address(address) => filter.check(address).map_err(filtered)?,
        Dial::Name(_) => {}
    }
    if !seen.is_canonical {
        return Err(unseen("its host is an address in an unusual spelling"));
    }
    Ok(())
}

/// What a connection is judged by that a connector of any kind has made.
struct Arrival {
    filter: Filter,
    /// The URL held an address, so there was nothing to look up.
    is_literal: bool,
}

impl Arrival {
    /// Refuses a connection whose address was not judged: a unix socket, a tunnel, an address from another
    /// resolver. Nothing was sent on it.
    fn judge(&self, setup: &Setup, connection: &impl Connection) -> Result<(), Error> {
        let mut extras = Extensions::new();
        connection.connected().get_extras(&mut extras);
        let peer = extras.get::<HttpInfo>().map(HttpInfo::remote_addr);
        if let Some(peer) = peer {
            self.filter.check(peer.ip()).map_err(filtered)?;
        }
        let is_known = if self.is_literal {
            peer.is_some()
        } else {
            setup.was_asked()
        };
        if is_known {
            Ok(())
        } else {
            Err(unseen(NOT_ASKED))
        }
    }
}

fn filtered(refused: Refused) -> Error {
    Error::new(Diagnosis::unsent(Hop::Dns, Kind::Filtered)).because(refused)
}

const NOT_ASKED: &str = "the connector chose the address without our resolver";

#[cfg(test)]
#[path = "anywhere_tests.rs"]
mod tests;
