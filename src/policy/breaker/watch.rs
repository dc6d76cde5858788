//! Publishes the state of a destination to its watchers, and its events to the observers.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::event::{Change, CircuitEvent, Observers};
use super::shared::SharedCircuit;
use super::state::{CircuitState, Position};
use crate::destination::Destination;
use crate::telemetry::Span;

/// Publishes the states and the events of a circuit.
#[derive(Debug)]
pub(super) struct CircuitPublisher {
    /// Created for the first watcher. Until then it costs one word.
    states: OnceLock<watch::Sender<Position>>,
    /// The destination of the circuit, and the observers of its events.
    about: OnceLock<(Destination, Arc<Observers>)>,
}

impl CircuitPublisher {
    pub(super) const fn new() -> Self {
        Self {
            states: OnceLock::new(),
            about: OnceLock::new(),
        }
    }

    pub(super) fn about(&self, destination: Destination, observers: Arc<Observers>) {
        let _ = self.about.set((destination, observers));
    }

    /// Reports an event to the span and to the observers.
    pub(super) fn report(&self, change: Change, span: &Span) {
        if let Some((destination, observers)) = self.about.get() {
            observers.tell(&CircuitEvent::new(destination.clone(), change), span);
        }
    }

    /// Publishes a position, unless a later one was already published.
    pub(super) fn publish(&self, position: Position) {
        let Some(sender) = self.states.get() else {
            return;
        };
        sender.send_if_modified(|known| {
            let is_news = known.state != position.state;
            let is_later = known.generation < position.generation;
            if is_later {
                *known = position;
            }
            is_later && is_news
        });
    }

    fn subscribe(&self) -> watch::Receiver<Position> {
        let before_all = Position {
            generation: 0,
            state: CircuitState::Closed,
            opened: None,
        };
        self.states
            .get_or_init(|| watch::Sender::new(before_all))
            .subscribe()
    }
}

/// A watcher of one destination's state; see [`CircuitBreakerHandle::watch`](super::CircuitBreakerHandle::watch).
///
/// # Cancel safety
///
/// [`changed`](Self::changed) may be dropped at any time. The next call returns the change that it did not return.
#[derive(Debug)]
pub struct CircuitWatcher {
    receiver: watch::Receiver<Position>,
    /// Keeps the registry from removing a watched circuit.
    _shared: Arc<SharedCircuit>,
}

impl CircuitWatcher {
    pub(super) fn new(shared: Arc<SharedCircuit>) -> Self {
        // Subscribe first, then read: the receiver then sees a change in between.
        let mut receiver = shared.watch.subscribe();
        shared.watch.publish(shared.position());
        receiver.mark_unchanged();
        Self {
            receiver,
            _shared: shared,
        }
    }

    /// Returns the current state.
    #[must_use]
    pub fn current(&self) -> CircuitState {
        self.receiver.borrow().state
    }

    /// Waits for a state that differs from the last seen one. If several changes come before the next call, it
    /// returns only the latest state.
    pub async fn changed(&mut self) -> CircuitState {
        if self.receiver.changed().await.is_err() {
            // Unreachable while this watcher holds the circuit. If the sender is gone, nothing will ever change.
            std::future::pending::<()>().await;
        }
        self.receiver.borrow_and_update().state
    }
}
