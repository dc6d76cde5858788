//! The layer around a foreign connector. It reports the setup of a connection, and turns a failed one into an error of
//! this crate.

#![cfg_attr(
    not(feature = "hyper-util"),
    expect(unreachable_pub, reason = "it is shown with that feature")
)]

use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Extensions;
use hyper_util::client::legacy::connect::{Connection, HttpInfo};

use super::connector::{Connecting, Setup};
use super::judge::{Seen, filtered, judge, unseen};
use crate::box_error::BoxError;
use crate::diagnose::diagnose;
use crate::dns::AddressFilter;
use crate::error::Error;
use crate::hop::{Diagnosis, Effect, Hop, Stage};
use crate::record::effect_of;
use crate::record::tracker::{self, Tracker};
use crate::timeout::Timeouts;
use crate::transport::leave::alone;

/// Reports the connection setups of a client, and applies the timeouts of dns, connect and tls to them. It refuses an
/// address in a URL if the filter refuses it, and each destination that the filter cannot judge. That is a scheme other
/// than http and https, or a host that is an address in an unusual spelling (`0x7f.1`). It is also a connection whose
/// address came neither from the URL nor from this crate's resolver.
#[derive(Clone, Debug)]
pub struct ConnectorLayer {
    pub(super) filter: AddressFilter,
    pub(super) timeouts: Timeouts,
    /// Whether connections may go to a proxy, which the filter does not judge.
    pub(super) proxied: bool,
    /// Whether the client follows no redirect. Then a failed setup proves that its request was not sent.
    pub(super) single_leg: bool,
}

impl ConnectorLayer {
    /// Begins a connection, unless the filter refuses its destination.
    pub(super) fn begin<F: Future>(
        &self,
        seen: Option<Seen>,
        connect: impl FnOnce() -> F,
    ) -> ConnectorFuture<F> {
        let Self {
            filter,
            timeouts,
            proxied,
            single_leg,
        } = self;
        let outer = tracker::current();
        let is_proof = match &outer {
            Some(attempt) => attempt.is_unsent(),
            None => *single_leg,
        };
        if let Err(error) = judge(filter, seen.as_ref()) {
            return ConnectorFuture {
                connecting: None,
                refused: Some(error),
                arrival: None,
                is_proof,
            };
        }
        let is_led_away = outer
            .as_ref()
            .is_some_and(|attempt| attempt.facts(|facts| facts.is_led_away));
        let literal = seen.as_ref().and_then(Seen::literal);
        let (tracker, own) = match outer {
            Some(tracker) => (tracker, false),
            None => {
                let tracker = alone(timeouts);
                tracker.begin();
                (tracker, true)
            }
        };
        let mut setup = Setup::new(
            seen.as_ref().map(|seen| seen.dial.shown()),
            tracker.timeouts(),
        );
        setup.is_led_away = is_led_away;
        setup.port = seen.as_ref().and_then(|seen| seen.port);
        setup.watch_look_up(tracker, own);
        if literal.is_some() {
            setup.dialling(literal);
        }
        ConnectorFuture {
            connecting: Some(Box::pin(Connecting::new(connect(), setup))),
            refused: None,
            arrival: (filter.is_on() && !proxied).then(|| Arrival {
                filter: filter.clone(),
                is_literal: literal.is_some(),
            }),
            is_proof,
        }
    }
}

/// The future of a connection. It is in a box, because hyper-util moves it.
#[must_use = "futures do nothing unless polled"]
pub struct ConnectorFuture<F> {
    connecting: Option<Pin<Box<Connecting<F>>>>,
    refused: Option<Error>,
    arrival: Option<Arrival>,
    /// Whether an error may prove that nothing was sent.
    is_proof: bool,
}

impl<F> ConnectorFuture<F> {
    /// Returns the error as the client gets it. Without an attempt around it, an earlier request may have been sent:
    /// this may be the next leg of a redirect.
    fn proved(&self, error: Error) -> BoxError {
        match self.is_proof {
            true => error.into(),
            false => error.unproved().into(),
        }
    }
}

impl<F, T, E> Future for ConnectorFuture<F>
where
    F: Future<Output = Result<T, E>>,
    T: Connection,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(refused) = this.refused.take() {
            return Poll::Ready(Err(this.proved(refused)));
        }
        let Some(connecting) = &mut this.connecting else {
            return Poll::Pending;
        };
        let arrived = ready!(connecting.as_mut().poll(cx));
        let setup = connecting.setup();
        let judged = match (arrived, &this.arrival) {
            (Ok(connection), Some(arrival)) => {
                arrival.judge(setup, &connection).map(|()| connection)
            }
            (arrived, _) => {
                let tracker = setup.tracker();
                arrived.map_err(|error| failed(error, tracker.as_deref()))
            }
        };
        Poll::Ready(judged.map_err(|error| this.proved(error)))
    }
}

impl<F> Debug for ConnectorFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorFuture").finish_non_exhaustive()
    }
}

/// Returns the error of a failed setup: nothing was sent on a connection that does not exist. If the attempt has waited
/// for a response already, an earlier request may have been sent: this may be the next leg of a redirect.
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
        // The refusal names its reason: there is nothing to add.
        Ok(ours) => ours,
        Err(other) => Error::new(diagnosis).because(other),
    }
}

/// The facts by which a connection of any connector is judged.
struct Arrival {
    filter: AddressFilter,
    /// Whether the URL holds an address, so that there was nothing to look up.
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

const NOT_ASKED: &str = "the connector chose the address without this crate's resolver";

#[cfg(test)]
#[path = "connector_layer_tests.rs"]
mod tests;
