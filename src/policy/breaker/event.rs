//! The events of a circuit, for callbacks, spans and metrics.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::attempt::Refusal;
use super::cause::RejectionCause;
use super::state::{CircuitState, Position};
use crate::destination::Destination;
#[cfg(feature = "otel")]
use crate::metrics::Metrics;
use crate::telemetry::{Span, circuit};

/// A change of a destination's circuit, or a rejection by it.
#[derive(Clone, Debug)]
pub struct CircuitEvent {
    destination: Destination,
    change: Change,
}

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CircuitEventKind {
    /// The circuit opened.
    Opened,
    /// The open time is over, or the destination has new addresses. The circuit sends probes.
    HalfOpened,
    /// The circuit closed.
    Closed,
    /// The user isolated the destination.
    Isolated,
    /// The circuit rejected an attempt. If it only observes, it would have rejected the attempt.
    Rejected,
}

impl CircuitEventKind {
    /// Returns the name of the kind, as in telemetry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::HalfOpened => "half_opened",
            Self::Closed => "closed",
            Self::Isolated => "isolated",
            Self::Rejected => "rejected",
        }
    }
}

/// The kind of an event, with its cause and wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    kind: CircuitEventKind,
    cause: Option<RejectionCause>,
    wait: Option<Duration>,
}

impl Change {
    /// Returns the change to a new position.
    pub(super) fn to(position: &Position) -> Self {
        let (cause, wait) = position.opened.unzip();
        let kind = match position.state {
            CircuitState::Closed => CircuitEventKind::Closed,
            CircuitState::Open => CircuitEventKind::Opened,
            CircuitState::HalfOpen => CircuitEventKind::HalfOpened,
            CircuitState::Isolated => CircuitEventKind::Isolated,
        };
        Self { kind, cause, wait }
    }

    pub(super) fn rejected(refusal: &Refusal) -> Self {
        Self {
            kind: CircuitEventKind::Rejected,
            cause: Some(refusal.cause),
            wait: refusal.retry_after,
        }
    }
}

impl CircuitEvent {
    pub(super) const fn new(destination: Destination, change: Change) -> Self {
        Self {
            destination,
            change,
        }
    }

    /// Returns the destination of the circuit.
    #[must_use]
    pub const fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Returns the kind of the event.
    #[must_use]
    pub const fn kind(&self) -> CircuitEventKind {
        self.change.kind
    }

    /// Returns why the circuit opened or rejected the attempt.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.change.cause.as_ref().map(|cause| cause as _)
    }

    /// Returns how long the circuit stays open from now on, if it is open.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.change.wait
    }
}

/// The observers of the events of all circuits of a breaker.
#[derive(Default)]
pub(super) struct Observers(RwLock<Arc<[Observer]>>);

pub(crate) type EventObserver = Arc<dyn Fn(&CircuitEvent) + Send + Sync>;

#[derive(Clone)]
enum Observer {
    User(EventObserver),
    #[cfg(feature = "otel")]
    Metrics(Metrics),
}

impl Observers {
    pub(super) fn add(&self, observer: EventObserver) {
        let mut observers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let observer = Observer::User(observer);
        *observers = observers.iter().cloned().chain([observer]).collect();
    }

    /// Counts the events in these metrics, once: clones of a breaker share its circuits.
    #[cfg(feature = "otel")]
    pub(super) fn count_in(&self, metrics: &Metrics) {
        let mut observers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_same =
            |known: &Observer| matches!(known, Observer::Metrics(known) if known.is_same(metrics));
        if !observers.iter().any(is_same) {
            let observer = Observer::Metrics(metrics.clone());
            *observers = observers.iter().cloned().chain([observer]).collect();
        }
    }

    /// Reports the event to the span and to all observers, without holding a lock.
    pub(super) fn tell(&self, event: &CircuitEvent, span: &Span) {
        let Change { kind, cause, wait } = event.change;
        // The span of the call already has the rejection.
        if kind != CircuitEventKind::Rejected {
            circuit(
                span,
                (event.destination.as_str(), kind.as_str()),
                (cause.as_ref().map(|cause| cause as _), wait),
            );
        }
        let observers = {
            let observers = self.0.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&observers)
        };
        for observer in observers.iter() {
            match observer {
                Observer::User(observe) => observe(event),
                #[cfg(feature = "otel")]
                Observer::Metrics(metrics) => {
                    metrics.count_circuit(&event.destination, kind.as_str())
                }
            }
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observers").finish_non_exhaustive()
    }
}
